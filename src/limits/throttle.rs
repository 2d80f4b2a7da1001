//! What addresses, users and keys do, over all workers.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::buckets::Buckets;
use super::counts::Counts;
use super::{Descriptors, Excess, Memory, Source};
use crate::config::{Limits, Rates};
use crate::metrics::{Metrics, RateLimit};

/// How long to wait where nobody can say when a session will end.
const WAIT: Duration = Duration::from_secs(5);

/// Holds back who does too much. One for all workers.
pub struct Throttle {
    rates: RwLock<Arc<Rates>>,
    generation: AtomicU64,
    handshakes: Buckets<Source>,
    failures: Buckets<Source>,
    publishers: Buckets<Publisher>,
    addresses: Counts<Source>,
    users: Counts<Arc<str>>,
    /// The process's file descriptors.
    pub descriptors: Arc<Descriptors>,
    /// The process's memory.
    pub memory: Arc<Memory>,
    metrics: Metrics,
}

/// Who publishes over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Publisher {
    /// Whoever has the key of that name.
    Key(Arc<str>),
    /// Whoever is there, without a key.
    Address(Source),
}

/// A session that is counted with its address and its user for as long as this is held. It holds
/// nothing where neither was limited when the session came.
#[derive(Default)]
pub struct Entry(Option<Box<Counted>>);

struct Counted {
    throttle: Arc<Throttle>,
    address: Option<Source>,
    user: Option<Arc<str>>,
}

impl Throttle {
    /// One that holds back what exceeds those limits.
    pub fn new(limits: &Limits, metrics: Metrics) -> Self {
        Self {
            rates: RwLock::new(Arc::new(limits.rates.clone())),
            generation: AtomicU64::new(1),
            handshakes: Buckets::default(),
            failures: Buckets::default(),
            publishers: Buckets::default(),
            addresses: Counts::default(),
            users: Counts::default(),
            descriptors: Descriptors::of_process(metrics.clone()),
            memory: Memory::of_process(limits.memory, metrics.clone()),
            metrics,
        }
    }

    /// Puts other limits in force. Sessions that are open take them up with their next frame; sessions that
    /// came while their address or user was not limited stay uncounted.
    pub fn replace(&self, limits: &Limits) {
        self.memory.bound(limits.memory);
        let rates = limits.rates.clone();
        let mut current = self.rates.write().unwrap_or_else(PoisonError::into_inner);
        if **current == rates {
            return;
        }
        if current.handshakes != rates.handshakes {
            self.handshakes.clear();
        }
        if current.auth_failures != rates.auth_failures {
            self.failures.clear();
        }
        if current.over_http() != rates.over_http() {
            self.publishers.clear();
        }
        *current = Arc::new(rates);
        drop(current);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// The rates in force.
    pub fn rates(&self) -> Arc<Rates> {
        let rates = self.rates.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&rates)
    }

    /// How often the rates have changed: for who keeps something of them.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Admits a handshake.
    ///
    /// # Errors
    /// If its address makes too many.
    pub fn handshake(&self, client: Option<IpAddr>, now: Instant) -> Result<(), Excess> {
        match self.rates().handshakes {
            None => Ok(()),
            Some(rate) => self
                .handshakes
                .take(Source::of(client), rate, now)
                .map_err(|wait| self.exceeded(RateLimit::Handshakes, wait)),
        }
    }

    /// Whether credentials from that address are looked at. While they are not, nothing is learned of
    /// them, right or wrong.
    ///
    /// # Errors
    /// If too many wrong ones came from there.
    pub fn may_authenticate(&self, client: Option<IpAddr>, now: Instant) -> Result<(), Excess> {
        match self.rates().auth_failures {
            None => Ok(()),
            Some(_) => self
                .failures
                .look(&Source::of(client), now)
                .map_err(|wait| self.exceeded(RateLimit::AuthFailures, wait)),
        }
    }

    /// Notes that credentials from that address were wrong.
    pub fn failed_to_authenticate(&self, client: Option<IpAddr>, now: Instant) {
        if let Some(rate) = self.rates().auth_failures {
            // What was found wrong at the same moment by another worker may have emptied it.
            let _empty = self.failures.take(Source::of(client), rate, now);
        }
    }

    /// Admits a publish over HTTP.
    ///
    /// # Errors
    /// If its publisher makes too many.
    pub fn publish(
        &self,
        publisher: impl FnOnce() -> Publisher,
        now: Instant,
    ) -> Result<(), Excess> {
        match self.rates().over_http() {
            None => Ok(()),
            Some(rate) => self
                .publishers
                .take(publisher(), rate, now)
                .map_err(|wait| self.exceeded(RateLimit::Publishes, wait)),
        }
    }

    /// Admits a session: it counts until what is returned is dropped.
    ///
    /// # Errors
    /// If its address or its user has as many as it may.
    pub fn enter(
        self: &Arc<Self>,
        client: Option<IpAddr>,
        user: Option<&Arc<str>>,
    ) -> Result<Entry, Excess> {
        let most = self.rates().connections_per_ip;
        let mut entry = Entry::default();
        if most > 0 {
            let source = Source::of(client);
            if !self.addresses.enter(source, most) {
                return Err(self.exceeded(RateLimit::ConnectionsPerIp, WAIT));
            }
            entry.counted(self).address = Some(source);
        }
        if let Some(user) = user {
            entry.identify(self, user)?;
        }
        Ok(entry)
    }

    /// Counts something that exceeded a limit.
    pub fn count(&self, excess: &Excess) {
        self.metrics.rate_limited(excess.limit);
    }

    /// Forgets who keeps to the limits again. To be called about once a second.
    pub fn sweep(&self, now: Instant) {
        self.handshakes.sweep(now);
        self.failures.sweep(now);
        self.publishers.sweep(now);
    }

    fn exceeded(&self, limit: RateLimit, wait: Duration) -> Excess {
        let excess = Excess { limit, wait };
        self.count(&excess);
        excess
    }
}

impl Entry {
    /// Counts the session with that user from now on, and with no other.
    ///
    /// # Errors
    /// If the user has as many sessions as it may. The session is counted with no user then.
    pub fn identify(&mut self, throttle: &Arc<Throttle>, user: &Arc<str>) -> Result<(), Excess> {
        let known = self.0.as_ref().and_then(|counted| counted.user.as_ref());
        if known == Some(user) {
            return Ok(());
        }
        if let Some(former) = self.0.as_mut().and_then(|counted| counted.user.take()) {
            throttle.users.leave(former);
        }
        let most = throttle.rates().connections_per_user;
        if most == 0 {
            return Ok(());
        }
        if !throttle.users.enter(Arc::clone(user), most) {
            return Err(throttle.exceeded(RateLimit::ConnectionsPerUser, WAIT));
        }
        self.counted(throttle).user = Some(Arc::clone(user));
        Ok(())
    }

    fn counted(&mut self, throttle: &Arc<Throttle>) -> &mut Counted {
        self.0.get_or_insert_with(|| {
            Box::new(Counted {
                throttle: Arc::clone(throttle),
                address: None,
                user: None,
            })
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            self.throttle.addresses.leave(address);
        }
        if let Some(user) = self.user.take() {
            self.throttle.users.leave(user);
        }
    }
}

#[cfg(test)]
impl Throttle {
    /// How many addresses, users and keys it knows anything of.
    pub(super) fn known(&self) -> usize {
        let kept = self.handshakes.len() + self.failures.len() + self.publishers.len();
        kept + self.addresses.keys() + self.users.keys()
    }
}
