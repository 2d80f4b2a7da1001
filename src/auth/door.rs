//! The door: who comes in, by what is known of a request before anything is done for it.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{self, Config, TopicRule, Who};
use crate::metrics::{self, AuthFailure};
use crate::protocol::{ErrorCode, Refusal};

use super::{
    Access, AllowedOrigin, ApiKeys, Circumstances, Facts, Identity, KeyEntry, Malformed, Scope,
    Secret, Standing, TrustedProxies, find_credential, is_local, origin_allowed,
};

/// Lets requests in, or says why not.
#[derive(Clone, Debug)]
pub struct Door {
    keys: ApiKeys,
    anonymous: Option<Arc<Access>>,
    /// Of a session of this machine, where that is who is served.
    local: Arc<Access>,
    has_auth: bool,
    origins: Vec<AllowedOrigin>,
    listener: IpAddr,
    /// Whether the metrics are for whoever can reach the listener.
    has_open_metrics: bool,
    proxies: TrustedProxies,
    timeout: Duration,
}

/// Someone who was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The topics it may use.
    pub access: Arc<Access>,
    /// By what it was let in.
    pub identity: Identity,
    /// Its user, where its credentials name one.
    pub user: Option<Arc<str>>,
    /// The name of the key it came with.
    pub key: Option<Arc<str>>,
    /// What it may do with the HTTP API.
    pub scopes: Vec<Scope>,
    /// Whether it may do nothing before it has authenticated, and is sent away if it does not.
    pub must_authenticate: bool,
}

/// Why someone is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The credentials are not there, not readable, not known or not good for this.
    Credentials {
        /// Which of these.
        reason: AuthFailure,
        /// What would do.
        message: Cow<'static, str>,
    },
    /// The request belongs to a page that may not connect.
    Origin,
    /// Nobody is configured, so only this machine is served, and the request is not of it for that
    /// reason.
    NotLocal(&'static str),
}

impl Door {
    /// The door that the configuration describes.
    pub fn from_config(config: &Config) -> Self {
        let auth = config.auth.as_ref();
        let anonymous = auth
            .and_then(|auth| auth.anonymous.as_ref())
            .filter(|anonymous| !anonymous.is_empty())
            .map(|grant| Access::anonymous(grant.subscribe.clone(), grant.publish.clone()));
        let is_for_anyone =
            |rule: &TopicRule| [rule.subscribe, rule.publish].contains(&Who::Anyone);
        // What is for anyone needs no credentials, though nothing else is granted without.
        let anonymous = match anonymous {
            None if config.topics.iter().any(is_for_anyone) => Some(Access::nothing()),
            anonymous => anonymous,
        };
        let origins = auth.map_or_else(
            || vec![AllowedOrigin::SameOrigin],
            |auth| auth.allowed_origins.iter().map(origin).collect(),
        );
        Self {
            keys: ApiKeys::new(config.api.keys.iter().map(key).collect()),
            anonymous: anonymous.map(Arc::new),
            local: Arc::new(Access::everything()),
            has_auth: auth.is_some(),
            origins,
            listener: config.server.listen.ip(),
            has_open_metrics: false,
            proxies: TrustedProxies::new(config.server.trusted_proxies.clone()),
            timeout: auth.map_or_else(|| config::Auth::default().timeout, |auth| auth.timeout),
        }
    }

    /// The same, for an address of its own that is listened on for operators.
    #[must_use]
    pub fn for_operators(&self, listener: IpAddr) -> Self {
        Self {
            listener,
            has_open_metrics: true,
            ..self.clone()
        }
    }

    /// Who opens a session.
    ///
    /// # Errors
    /// A foreign origin, credentials that nothing knows, or none where some are needed at once.
    pub fn session(&self, facts: &Facts<'_>) -> Result<Caller, Denied> {
        if !origin_allowed(facts.origin, facts.host, &self.origins, false) {
            return Err(Denied::Origin);
        }
        let offers = facts.offers.iter().copied();
        if let Some(secret) = find_credential(facts.authorization, facts.query, offers)? {
            return self.token(&secret).ok_or_else(Denied::unknown);
        }
        if !self.has_auth {
            return self.local(facts, self.listener, &self.local);
        }
        Ok(match &self.anonymous {
            Some(access) => Caller::anonymous(Arc::clone(access)),
            None => Caller {
                must_authenticate: true,
                identity: Identity::Pending,
                ..Caller::anonymous(Arc::new(Access::nothing()))
            },
        })
    }

    /// Who calls the HTTP API for something that needs that scope.
    ///
    /// # Errors
    /// No key, none that is known, or one without the scope; and, where no key is configured, a
    /// request that is not of this machine.
    pub fn api(&self, facts: &Facts<'_>, needs: Scope) -> Result<Caller, Denied> {
        match self.presented(facts)? {
            Some(caller) => caller.having(needs),
            None if self.keys.is_empty() => {
                let access = Access {
                    standing: Standing::Api,
                    ..Access::everything()
                };
                self.local(facts, self.listener, &Arc::new(access))
            }
            None => Err(Denied::missing()),
        }
    }

    /// Who reads the metrics: whoever is on this machine or reaches the operators' address, else as
    /// [`api`](Self::api) has it.
    ///
    /// # Errors
    /// As for [`api`](Self::api).
    pub fn metrics(&self, facts: &Facts<'_>) -> Result<Caller, Denied> {
        match self.presented(facts)? {
            Some(caller) => caller.having(Scope::Read),
            None if self.has_open_metrics => Ok(Caller {
                scopes: vec![Scope::Read],
                ..Caller::anonymous(Arc::new(Access::nothing()))
            }),
            // Where the broker listens does not matter, where the request comes from does.
            None => self.local(facts, Ipv4Addr::LOCALHOST.into(), &self.local),
        }
    }

    /// Who has that token: for the `auth` frame.
    pub fn token(&self, secret: &Secret) -> Option<Caller> {
        self.keys.find(secret).map(Caller::with_key)
    }

    /// Where a request comes from: the peer, or whom a trusted proxy names. It is for limits, logs and
    /// listings; whether a request is of this machine is a matter of the peer.
    pub fn client(&self, facts: &Facts<'_>) -> Option<IpAddr> {
        let named = facts.forwarded_for.iter().copied();
        facts.peer.map(|peer| self.proxies.client(peer, named))
    }

    /// What those that came in by that may now; `None` where they would not be let in any more.
    pub fn renewed(&self, identity: Identity) -> Option<Arc<Access>> {
        match identity {
            Identity::Key(sha256) => {
                let key = self.keys.of_hash(&sha256)?;
                Some(Arc::new(Access::for_key(key)))
            }
            Identity::Local if !self.has_auth => Some(Arc::clone(&self.local)),
            Identity::Local | Identity::Anonymous => self.anonymous.clone(),
            Identity::Pending => Some(Arc::new(Access::nothing())),
        }
    }

    /// Who a caller of the HTTP API is now, as [`api`](Self::api) let it in by another door.
    ///
    /// # Errors
    /// Its key is not known any more or lacks the scope, or a key is needed by now.
    pub fn renewed_caller(&self, caller: &Caller, needs: Scope) -> Result<Caller, Denied> {
        match caller.identity {
            Identity::Key(sha256) => {
                let key = self.keys.of_hash(&sha256).ok_or_else(Denied::unknown)?;
                Caller::with_key(key).having(needs)
            }
            Identity::Local if self.keys.is_empty() => Ok(caller.clone()),
            _ => Err(Denied::missing()),
        }
    }

    /// How long a session that must authenticate may take to do so.
    pub fn auth_timeout(&self) -> Duration {
        self.timeout
    }

    /// Who came with a key in the header.
    fn presented(&self, facts: &Facts<'_>) -> Result<Option<Caller>, Denied> {
        let secret = find_credential(facts.authorization, None, [])?;
        secret
            .map(|secret| self.token(&secret).ok_or_else(Denied::unknown))
            .transpose()
    }

    fn local(
        &self,
        facts: &Facts<'_>,
        listener: IpAddr,
        access: &Arc<Access>,
    ) -> Result<Caller, Denied> {
        let circumstances = Circumstances {
            listener,
            peer: facts.peer,
            host: facts.host,
            forwarded: facts.forwarded,
            origin: facts.origin,
        };
        match is_local(&circumstances) {
            Ok(()) => Ok(Caller {
                identity: Identity::Local,
                scopes: vec![Scope::Publish, Scope::Read, Scope::Admin],
                ..Caller::anonymous(Arc::clone(access))
            }),
            // A key would have done.
            Err(_) if !self.keys.is_empty() => Err(Denied::missing()),
            Err(why) => Err(Denied::NotLocal(why)),
        }
    }
}

impl Caller {
    /// Whether it may do what needs that scope.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Someone of whom no more is known than what it may.
    #[cfg(test)]
    pub fn that_may(access: Access) -> Self {
        Self::anonymous(Arc::new(access))
    }

    fn anonymous(access: Arc<Access>) -> Self {
        Self {
            access,
            identity: Identity::Anonymous,
            user: None,
            key: None,
            scopes: Vec::new(),
            must_authenticate: false,
        }
    }

    fn with_key(key: &KeyEntry) -> Self {
        Self {
            identity: Identity::Key(key.sha256),
            key: Some(key.name.as_str().into()),
            scopes: key.scopes.clone(),
            ..Self::anonymous(Arc::new(Access::for_key(key)))
        }
    }

    fn having(self, scope: Scope) -> Result<Self, Denied> {
        if self.has(scope) {
            return Ok(self);
        }
        let scope = scope.as_str();
        Err(Denied::Credentials {
            reason: AuthFailure::Scope,
            message: format!("the key lacks the scope '{scope}'; use one that has it").into(),
        })
    }
}

impl Denied {
    /// The answer: 401 where other credentials would do, 403 where not.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Credentials { reason, message } => {
                let code = match reason {
                    AuthFailure::Scope => ErrorCode::Forbidden,
                    _ => ErrorCode::Unauthorized,
                };
                Refusal::new(code, message.clone())
            }
            Self::Origin => Refusal::new(
                ErrorCode::Forbidden,
                "pages of this origin may not connect; name it in auth.allowed_origins",
            ),
            Self::NotLocal(why) => Refusal::new(
                ErrorCode::Forbidden,
                format!(
                    "as long as no [[api.key]] or [auth] is configured, only this machine is \
                     served; {why}"
                ),
            ),
        }
    }

    /// The label of a handshake that is refused for it.
    pub fn reason(&self) -> metrics::Refusal {
        match self {
            Self::Credentials {
                reason: AuthFailure::Scope,
                ..
            } => metrics::Refusal::Forbidden,
            Self::Credentials { .. } => metrics::Refusal::Credentials,
            Self::Origin => metrics::Refusal::Origin,
            Self::NotLocal(_) => metrics::Refusal::NotLocal,
        }
    }

    /// Whether credentials were there, and wrong: what someone who guesses sends.
    pub fn is_wrong_guess(&self) -> bool {
        let failure = self.auth_failure();
        matches!(failure, Some(AuthFailure::Unknown | AuthFailure::Malformed))
    }

    /// The label of the credentials that were not accepted, where it is them.
    pub fn auth_failure(&self) -> Option<AuthFailure> {
        match self {
            Self::Credentials { reason, .. } => Some(*reason),
            Self::Origin | Self::NotLocal(_) => None,
        }
    }

    fn missing() -> Self {
        Self::Credentials {
            reason: AuthFailure::Missing,
            message: "an API key is needed: send the header 'Authorization: Bearer KEY'".into(),
        }
    }

    fn unknown() -> Self {
        Self::Credentials {
            reason: AuthFailure::Unknown,
            message: "nothing here knows this token; check that it is a configured API key".into(),
        }
    }
}

impl From<Malformed> for Denied {
    fn from(malformed: Malformed) -> Self {
        Self::Credentials {
            reason: AuthFailure::Malformed,
            message: malformed.to_string().into(),
        }
    }
}

fn key(key: &config::ApiKey) -> KeyEntry {
    KeyEntry {
        name: key.name.clone(),
        sha256: key.secret.sha256,
        scopes: key.scopes.iter().map(|scope| scope_of(*scope)).collect(),
        topics: key.topics.clone(),
    }
}

fn scope_of(scope: config::Scope) -> Scope {
    match scope {
        config::Scope::Publish => Scope::Publish,
        config::Scope::Read => Scope::Read,
        config::Scope::Admin => Scope::Admin,
    }
}

fn origin(origin: &config::AllowedOrigin) -> AllowedOrigin {
    match origin {
        config::AllowedOrigin::SameOrigin => AllowedOrigin::SameOrigin,
        config::AllowedOrigin::Any => AllowedOrigin::Any,
        config::AllowedOrigin::Exact(text) => AllowedOrigin::Exact(text.clone()),
    }
}

#[cfg(test)]
mod tests;
