//! Takes each request: finds its call, lets the caller in, counts, and survives a panic.

use std::net::IpAddr;
use std::time::Instant;

use actix_web::http::{ConnectionType, Method, header};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::guard::caught;
use super::query::Query;
use super::{
    ApiState, Problem, Route, history, listing, message, node, openapi, public, publish, sessions,
    topic,
};
use crate::auth::{Caller, Denied, Door, Facts, Scope};
use crate::metrics::Refusal as Reason;
use crate::protocol::{ErrorCode, Refusal};

/// A request and what answers it.
pub(super) struct Call<'a> {
    pub request: &'a HttpRequest,
    pub state: &'a Data<ApiState>,
}

impl Call<'_> {
    /// Lets in who may do what needs that scope.
    ///
    /// # Errors
    /// 401 or 403.
    pub(super) fn admit(&self, needs: Scope) -> Result<Caller, Problem> {
        self.let_in(|door, facts| door.api(facts, needs))
    }

    /// Lets in who may read the metrics.
    ///
    /// # Errors
    /// 401 or 403.
    pub(super) fn admit_to_metrics(&self) -> Result<Caller, Problem> {
        self.let_in(Door::metrics)
    }

    /// The request's query.
    ///
    /// # Errors
    /// If it is not percent-encoded as it should be.
    pub(super) fn query(&self) -> Result<Query<'_>, Problem> {
        Query::read(self.request.query_string())
    }

    fn facts(&self) -> Facts<'_> {
        let headers = self.request.headers().iter();
        let peer = self.request.peer_addr().map(|address| address.ip());
        Facts::new(
            headers.map(|(name, value)| (name.as_str(), value.as_bytes())),
            None,
            peer,
        )
    }

    /// Where the request comes from.
    pub(super) fn client(&self) -> Option<IpAddr> {
        self.state.door.now().client(&self.facts())
    }

    fn let_in(
        &self,
        ask: impl FnOnce(&Door, &Facts<'_>) -> Result<Caller, Denied>,
    ) -> Result<Caller, Problem> {
        let (facts, throttle) = (self.facts(), &self.state.throttle);
        let door = self.state.door.now();
        let client = door.client(&facts);
        if facts.has_credential() {
            throttle
                .may_authenticate(client, Instant::now())
                .map_err(|excess| excess.refusal())?;
        }
        ask(&door, &facts).map_err(|denied| {
            if denied.is_wrong_guess() {
                throttle.failed_to_authenticate(client, Instant::now());
            }
            if let Some(reason) = denied.auth_failure() {
                self.state.broker.metrics().auth_failed(reason);
            }
            denied.into()
        })
    }
}

/// Answers a request.
pub(super) async fn serve(
    request: HttpRequest,
    payload: Payload,
    state: Data<ApiState>,
) -> HttpResponse {
    let started = Instant::now();
    let route = Route::of(request.path(), &state);
    let call = Call {
        request: &request,
        state: &state,
    };
    let metrics = state.broker.metrics();
    let answered = caught(metrics, answer(&call, route, payload)).await;
    let mut response = answered
        .unwrap_or_else(|| Err(Problem::internal()))
        .unwrap_or_else(|problem| problem.response());
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        header::HeaderValue::from_static("nosniff"),
    );
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(
            header::CACHE_CONTROL,
            header::HeaderValue::from_static("no-store"),
        );
    }
    if request.head().upgrade() {
        // A client that offers another protocol beside an ordinary request, as Java's does with h2c,
        // would keep a connection that actix-http ends after this answer.
        response
            .head_mut()
            .set_connection_type(ConnectionType::Close);
    }
    metrics.http_request(
        route.pattern(),
        request.method().as_str(),
        response.status().as_u16(),
        started.elapsed(),
    );
    response
}

async fn answer(
    call: &Call<'_>,
    route: Route<'_>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    if route == Route::WebSocket {
        // Those that ask for an upgrade do not come here.
        let metrics = call.state.broker.metrics();
        metrics.handshake_refused(Reason::NotUpgrade);
    }
    let Some(allow) = route.allow() else {
        return Err(Problem::not_found("there is nothing at this path"));
    };
    let method = call.request.method();
    if !allow.split(", ").any(|allowed| allowed == method.as_str()) {
        return Err(Problem::method_not_allowed(allow));
    }
    match route {
        Route::Messages(topic) if method == Method::POST => {
            message::post(call, topic, payload).await
        }
        Route::Messages(topic) if method == Method::DELETE => history::delete(call, topic).await,
        Route::Messages(topic) => history::get(call, topic).await,
        Route::Presence(topic) => topic::presence(call, topic).await,
        Route::Topic(topic) => topic::get(call, topic),
        Route::Topics => listing::get(call).await,
        Route::Publish => publish::post(call, payload).await,
        Route::Sessions(route) => sessions::answer(call, route, payload).await,
        Route::Stats => node::stats(call).await,
        Route::OpenApi => openapi::get(call.state),
        Route::Metrics => node::metrics(call).await,
        Route::Health => node::health(),
        Route::Ready => node::ready(call),
        Route::Page(file) => Ok(file.response(call.request)),
        Route::Public(directory) => public::get(call.request, directory).await,
        Route::WebSocket => Err(Problem::upgrade_required()),
        Route::Events => Err(Problem::from(Refusal::new(
            ErrorCode::Unavailable,
            "this worker takes no event streams; connect again",
        ))),
        Route::Unknown => Err(Problem::not_found("there is nothing at this path")),
    }
}

/// A JSON answer.
///
/// # Errors
/// If the value cannot be written, which would be a fault of this module.
pub(super) fn json(value: &impl Serialize) -> Result<HttpResponse, Problem> {
    let text = serde_json::to_string(value).map_err(|_| Problem::internal())?;
    Ok(json_text(text))
}

/// A JSON answer that is written already.
pub(super) fn json_text(text: String) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(text)
}
