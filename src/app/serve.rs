//! The workers and what each of them answers with.

use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::{HttpService, Protocol};
use actix_rt::net::TcpStream;
use actix_server::Server;
use actix_service::{Service, ServiceFactoryExt, fn_factory, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::web;

use super::listen::max_connections;
use super::{App, StartError};
use crate::api::{self, ApiState};
use crate::auth::Door;
use crate::gateway::{Entrance, Gateway, Io, event_stream, upgrade};
use crate::shutdown::Shutdown;

/// A request's head is to arrive within this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// An answer that is sent while input is unread is given so long to be read, before a reset may
/// destroy it.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A server that takes connections from here on.
pub fn serve(app: App, listener: TcpListener, shutdown: &Shutdown) -> Result<Server, StartError> {
    let door = Arc::new(Door::from_config(&app.config));
    let entrance = Entrance {
        broker: app.broker.clone(),
        door: Arc::clone(&door),
        config: Arc::clone(&app.config),
        shutdown: shutdown.clone(),
        max_connections: max_connections(app.config.server.max_connections),
    };
    let state = web::Data::new(ApiState::new(
        app.broker.clone(),
        door,
        shutdown.clone(),
        Arc::clone(&app.config),
    ));
    let routes = app.routes;
    let builder = Server::build()
        .workers(app.broker.settings().workers)
        .backlog(app.config.server.backlog)
        .max_concurrent_connections(usize::MAX >> 1)
        .shutdown_timeout(app.config.server.drain.as_secs().max(1))
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let server = builder
        .listen("fanfare", listener, move || {
            let entrance = entrance.clone();
            let state = state.clone();
            let routes = routes.clone();
            let stopping = stopping.clone();
            // Runs on the worker's own thread, once per worker and again if one is started anew.
            let gateway = Gateway::start(entrance)
                .map_err(|error| tracing::error!(%error, "a worker does not start"));
            let streams = gateway.clone();
            let metrics = state.broker.metrics().clone();
            let web_app = actix_web::App::new()
                .wrap_fn(move |request, service| {
                    api::guarded(metrics.clone(), service.call(request))
                })
                .configure(move |cfg| {
                    for route in &routes {
                        route(cfg);
                    }
                    if let Ok(gateway) = streams {
                        cfg.app_data(gateway).route("/sse", web::to(event_stream));
                    }
                    api::configure(cfg, state);
                });
            let http = HttpService::build()
                .keep_alive(Duration::from_secs(75))
                .client_request_timeout(REQUEST_TIMEOUT)
                .client_disconnect_timeout(DISCONNECT_TIMEOUT)
                .h1_allow_half_closed(false)
                .graceful_shutdown_signal(move || {
                    let stopping = stopping.clone();
                    async move { stopping.notified().await }
                })
                .on_connect_ext(|io: &Io, extensions| {
                    extensions.insert(io.kill_switch());
                })
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
            fn_service(move |stream: TcpStream| async move {
                // Small frames must not wait for acknowledgements of earlier ones.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "a connection went before it was served");
                }
                let peer = stream.peer_addr().ok();
                Ok((Io::new(stream), Protocol::Http1, peer))
            })
            .and_then(http)
        })?
        .run();
    Ok(server)
}
