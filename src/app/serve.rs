//! The workers and what each of them answers with.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::body::BoxBody;
use actix_http::{HttpServiceBuilder, Request, Response};
use actix_server::Server;
use actix_service::{Service, ServiceFactory, fn_factory, fn_service, map_config};
use actix_web::dev::{AppConfig, ServiceRequest, ServiceResponse};
use actix_web::web;

use super::listen::{Listener, max_connections};
use super::reload::Doors;
use super::wind_up::Answers;
use super::{App, StartError};
use crate::api::{self, Address, ApiState};
use crate::gateway::{
    Entrance, Gateway, Guest, Io, REQUEST_TIMEOUT, Reception, TakeOver, Unread, attended,
    event_stream, upgrade,
};
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;

/// An answer that is sent while input is unread is given so long to be read, before a reset may
/// destroy it.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A server that takes connections from here on: on one address all of it, or the HTTP API on an
/// address of its own.
pub fn serve(
    app: App,
    server: Listener,
    admin: Option<Listener>,
    doors: &Doors,
    shutdown: &Shutdown,
    answers: &Answers,
) -> Result<Server, StartError> {
    let config = app.config.now();
    let entrance = Entrance {
        broker: app.broker.clone(),
        door: Arc::clone(&doors.server),
        throttle: Arc::clone(&app.throttle),
        config: app.config.clone(),
        shutdown: shutdown.clone(),
        max_connections: max_connections(config.server.max_connections),
    };
    let mut state = ApiState::new(
        app.broker.clone(),
        Arc::clone(&doors.server),
        Arc::clone(&app.throttle),
        shutdown.clone(),
        app.config.clone(),
    );
    state.hang_up = |request| {
        let connection = request.conn_data::<TakeOver>()?.clone();
        Some(Box::new(move || connection.end()))
    };
    // The limit on descriptors has been raised by now.
    app.throttle.descriptors.measure();
    let workers = app.broker.settings().workers;
    let receive = {
        let (throttle, metrics) = (app.throttle.clone(), app.broker.metrics().clone());
        let (busy, patience) = (Arc::clone(&answers.busy), config.session.write_timeout);
        move || {
            let (throttle, busy) = (Arc::clone(&throttle), Arc::clone(&busy));
            Reception::new(throttle, metrics.clone(), busy, patience)
        }
    };
    let builder = Server::build()
        .workers(workers)
        .backlog(config.server.backlog)
        // See `Reception::serve`.
        .max_concurrent_connections((app.throttle.descriptors.ahead() / workers).max(1))
        .shutdown_timeout(config.server.drain.as_secs().max(1))
        .disable_signals();
    let builder = match admin {
        None => builder,
        Some(admin) => {
            let of_operators = ApiState {
                door: Arc::clone(&doors.admin),
                address: Address::Admin,
                ..state.clone()
            };
            state.address = Address::Server;
            let state = web::Data::new(of_operators);
            let (answers, receive) = (answers.clone(), receive.clone());
            builder.listen("admin", admin.socket, move || {
                let state = state.clone();
                let web_app = guarded(state.broker.metrics().clone())
                    .configure(move |services| api::configure(services, state));
                let http =
                    http(answers.clone()).finish(map_config(web_app, |()| AppConfig::default()));
                receive().for_operators().serve(http)
            })?
        }
    };
    let state = web::Data::new(state);
    let routes = app.routes;
    let answers = answers.clone();
    let builder = builder.listen("fanfare", server.socket, move || {
        let entrance = entrance.clone();
        let state = state.clone();
        let routes = routes.clone();
        // Runs on the worker's own thread, once per worker and again if one is started anew.
        let gateway = Gateway::start(entrance)
            .map_err(|error| tracing::error!(%error, "a worker does not start"));
        let streams = gateway.clone();
        let web_app = guarded(state.broker.metrics().clone()).configure(move |services| {
            for route in &routes {
                route(services);
            }
            if let Ok(gateway) = streams {
                services
                    .app_data(gateway)
                    .route("/sse", web::to(event_stream));
            }
            api::configure(services, state);
        });
        let http = http(answers.clone())
            .upgrade(fn_factory(move || {
                let gateway = gateway.clone();
                async move {
                    let gateway = gateway?;
                    Ok::<_, ()>(fn_service(move |(request, framed)| {
                        upgrade(Rc::clone(&gateway), request, framed)
                    }))
                }
            }))
            .finish(map_config(web_app, |()| AppConfig::default()));
        receive().serve(http)
    })?;
    Ok(builder.run())
}

/// An application in which a panic ends one request.
fn guarded(
    metrics: Metrics,
) -> actix_web::App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    actix_web::App::new().wrap_fn(move |mut request, service| {
        let guest = request.conn_data::<Rc<Guest>>().cloned();
        let unread = Unread::of(&mut request);
        let answer = attended(guest, api::guarded(metrics.clone(), service.call(request)));
        async move {
            let answer = answer.await?;
            Ok(match unread {
                Some(unread) => unread.hold(answer),
                None => answer,
            })
        }
    })
}

/// How HTTP is spoken at every address.
fn http<S>(answers: Answers) -> HttpServiceBuilder<Io, S>
where
    S: ServiceFactory<Request, Config = ()>,
    S::Error: Into<Response<BoxBody>> + 'static,
    S::InitError: fmt::Debug,
    <S::Service as Service<Request>>::Future: 'static,
{
    HttpServiceBuilder::default()
        .keep_alive(Duration::from_secs(75))
        .client_request_timeout(REQUEST_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .h1_allow_half_closed(false)
        .graceful_shutdown_signal(move || answers.last())
        .on_connect_ext(|io: &Io, extensions| {
            extensions.insert(io.take_over());
            if let Some(guest) = io.guest() {
                extensions.insert(guest);
            }
        })
}
