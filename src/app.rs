//! The broker as a program: built from a configuration, run until it is told to stop.

mod ending;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use actix_http::HttpService;
use actix_server::Server;
use actix_service::{Service, fn_factory, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::web::{self, ServiceConfig};
use thiserror::Error;
use tokio::sync::watch;

use crate::api::{self, ApiState};
use crate::auth::Door;
use crate::broker::{Broker, Rules, Settings};
use crate::config::Config;
use crate::gateway::{
    Entrance, Gateway, Guest, Io, REQUEST_TIMEOUT, attended, event_stream, random, receive_all,
    upgrade,
};
use crate::history::MemoryStore;
use crate::limits::Throttle;
use crate::metrics::{Metrics, MetricsError};
use crate::model::Timestamp;
use crate::shutdown::Shutdown;

use ending::{Ending, wind_up};

/// An answer that is sent while input is unread is given so long to be read, before a reset may
/// destroy it.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Descriptors that are not for sessions: listeners, files, plain HTTP.
const RESERVED_DESCRIPTORS: usize = 512;

type Routes = Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>;

/// A broker that is built and does not listen yet.
pub struct App {
    config: Arc<Config>,
    broker: Broker,
    throttle: Arc<Throttle>,
    routes: Vec<Routes>,
}

/// Why a broker does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {}", explain(.source))]
    Listen {
        /// The address of `server.listen`.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The metrics could not be set up.
    #[error("the metrics cannot be set up: {0}")]
    Metrics(#[from] MetricsError),
    /// Workers did not start, or the server ended by itself.
    #[error("the server failed: {0}")]
    Server(#[from] io::Error),
}

/// A broker that listens: its address is known, nothing is answered yet.
pub struct Bound {
    app: App,
    listener: TcpListener,
    address: SocketAddr,
}

impl App {
    /// A broker that does what the configuration says.
    ///
    /// # Errors
    /// [`StartError::Metrics`].
    pub fn build(config: Config) -> Result<Self, StartError> {
        let metrics = Metrics::new(
            env!("CARGO_PKG_VERSION"),
            option_env!("FANFARE_REVISION").unwrap_or("unknown"),
        )?;
        let workers = match config.server.workers {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            workers => workers,
        };
        let store = MemoryStore::new(config.store.memory, random, Timestamp::now());
        let usage = store.clone();
        let settings = Settings {
            workers,
            rules: Rules::from_config(&config.topics),
            store: Arc::new(store),
            max_topics: config.limits.topics,
            max_replay: config.limits.replay_messages as u64,
            max_subscriptions: config.session.subscriptions,
            queue: config.session.queue,
        };
        let broker = Broker::new(settings, metrics.clone());
        let per_topic = config.metrics.per_topic.clone();
        let seen = broker.downgrade();
        metrics.on_scrape(Box::new(move |metrics| {
            let Some(broker) = seen.upgrade() else { return };
            let usage = usage.usage();
            metrics.set_history(usage.messages, usage.bytes);
            let topics = per_topic
                .iter()
                .flat_map(|filter| broker.topics(Some(filter), None, usize::MAX));
            let left_out = metrics.set_topic_subscribers(topics.map(|view| {
                (
                    view.topic.to_string(),
                    usize::try_from(view.subscribers).unwrap_or(usize::MAX),
                )
            }));
            if left_out > 0 {
                tracing::warn!(
                    left_out,
                    "metrics.per_topic matches more topics than are shown"
                );
            }
        }));
        let throttle = Throttle::new(config.limits.rates.clone(), metrics);
        Ok(Self {
            throttle: Arc::new(throttle),
            config: Arc::new(config),
            broker,
            routes: Vec::new(),
        })
    }

    /// Adds routes of the program that embeds the broker: they come before the broker's own.
    #[must_use]
    pub fn routes(mut self, routes: impl Fn(&mut ServiceConfig) + Send + Sync + 'static) -> Self {
        self.routes.push(Arc::new(routes));
        self
    }

    /// The handle by which the embedding program publishes and asks.
    pub fn broker(&self) -> Broker {
        self.broker.clone()
    }

    /// Listens on the configured address; port 0 takes any that is free.
    ///
    /// # Errors
    /// [`StartError::Listen`].
    pub fn bind(self) -> Result<Bound, StartError> {
        let address = self.config.server.listen;
        let bound = listen(address, self.config.server.backlog)
            .and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = bound.map_err(|source| StartError::Listen { address, source })?;
        Ok(Bound {
            app: self,
            listener,
            address,
        })
    }

    /// Listens and serves until the shutdown.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn run(self, shutdown: Shutdown) -> Result<(), StartError> {
        self.bind()?.run(shutdown).await
    }
}

impl Bound {
    /// The address that is listened on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The handle by which the embedding program publishes and asks.
    pub fn broker(&self) -> Broker {
        self.app.broker()
    }

    /// Serves until the shutdown: then sessions are sent away over the drain time, and this
    /// returns.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn run(self, shutdown: Shutdown) -> Result<(), StartError> {
        let Self { app, listener, .. } = self;
        let broker = app.broker.clone();
        let drain = app.config.server.drain;
        let throttle = Arc::clone(&app.throttle);
        let busy = Arc::new(AtomicUsize::new(0));
        let (closing, closed) = watch::channel(());
        let server = serve(app, listener, &shutdown, Arc::clone(&busy), closed)?;
        let ending = Ending {
            server: server.handle(),
            broker: broker.clone(),
            busy,
            closing,
            drain,
        };
        let metrics = broker.metrics().clone();
        let sampling = actix_rt::spawn(async move {
            let mut seconds = actix_rt::time::interval(Duration::from_secs(1));
            loop {
                seconds.tick().await;
                metrics.sample();
                throttle.descriptors.probe(Instant::now());
                throttle.sweep(Instant::now());
            }
        });
        let winding_up = actix_rt::spawn(wind_up(ending, shutdown));
        let served = server.await;
        winding_up.abort();
        sampling.abort();
        Ok(served?)
    }
}

fn serve(
    app: App,
    listener: TcpListener,
    shutdown: &Shutdown,
    busy: Arc<AtomicUsize>,
    closed: watch::Receiver<()>,
) -> Result<Server, StartError> {
    let door = Arc::new(Door::from_config(&app.config));
    let entrance = Entrance {
        broker: app.broker.clone(),
        door: Arc::clone(&door),
        throttle: Arc::clone(&app.throttle),
        config: Arc::clone(&app.config),
        shutdown: shutdown.clone(),
        busy,
        max_connections: max_connections(app.config.server.max_connections),
    };
    // The limit on descriptors has been raised by now.
    app.throttle.descriptors.measure();
    let ahead = app.throttle.descriptors.ahead();
    let state = web::Data::new(ApiState::new(
        app.broker.clone(),
        door,
        app.throttle,
        shutdown.clone(),
        Arc::clone(&app.config),
    ));
    let routes = app.routes;
    let workers = app.broker.settings().workers;
    let server = Server::build()
        .workers(workers)
        .backlog(app.config.server.backlog)
        .max_concurrent_connections((ahead / workers).max(1))
        .shutdown_timeout(app.config.server.drain.as_secs().max(1))
        .disable_signals()
        .listen("fanfare", listener, move || {
            let entrance = entrance.clone();
            let state = state.clone();
            let routes = routes.clone();
            let closed = closed.clone();
            // Runs on the worker's own thread, once per worker and again if one is started anew.
            let gateway = Gateway::start(entrance)
                .map_err(|error| tracing::error!(%error, "a worker does not start"));
            let streams = gateway.clone();
            let received_by = gateway.clone();
            let metrics = state.broker.metrics().clone();
            let web_app = actix_web::App::new()
                .wrap_fn(move |request, service| {
                    let guest = request.conn_data::<Rc<Guest>>().cloned();
                    attended(guest, api::guarded(metrics.clone(), service.call(request)))
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
                    let mut closed = closed.clone();
                    async move {
                        // Nothing is ever sent: the sender goes.
                        let _gone = closed.changed().await;
                    }
                })
                .on_connect_ext(|io: &Io, extensions| {
                    extensions.insert(io.kill_switch());
                    if let Some(guest) = io.guest() {
                        extensions.insert(guest);
                    }
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
            receive_all(received_by, http)
        })?
        .run();
    Ok(server)
}

fn listen(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restart finds its own old connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// How many sessions there may be: as configured, else as the descriptors allow. The soft limit on
/// descriptors is raised to the hard one first: it is low for the sake of programs that use select.
fn max_connections(configured: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit on descriptors stays as it is");
    }
    if configured > 0 {
        return configured;
    }
    let descriptors = getrlimit(Resource::Nofile)
        .current
        .map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
    // Where there are few, half of them: some are left for requests and handshakes.
    let half = descriptors / 2;
    descriptors.saturating_sub(RESERVED_DESCRIPTORS).max(half)
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there; stop it, or set server.listen to another port".into()
        }
        io::ErrorKind::PermissionDenied => {
            "this user may not; choose a port above 1023, or give the process CAP_NET_BIND_SERVICE"
                .into()
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have that address; check server.listen".into()
        }
        _ => error.to_string(),
    }
}
