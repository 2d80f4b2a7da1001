//! The broker as a program: built from a configuration, run until it is told to stop.

mod listen;
mod reload;
mod serve;
mod store;
mod sys;
mod wind_up;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web::ServiceConfig;
use thiserror::Error;

use crate::api;
use crate::broker::{Broker, Rules, Settings};
use crate::config::{Config, LiveConfig};
use crate::history::{HistoryStore, StoreError};
use crate::limits::{Memory, Pressure, Throttle};
use crate::metrics::{Metrics, MetricsError};
use crate::protocol::Effort;
use crate::shutdown::Shutdown;

use listen::{Listener, explain};
use reload::{Doors, follow};
use serve::serve;
use wind_up::{answers, wind_up};

type Routes = Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>;

/// A broker that is built and does not listen yet.
pub struct App {
    config: LiveConfig,
    broker: Broker,
    store: Arc<dyn HistoryStore>,
    throttle: Arc<Throttle>,
    routes: Vec<Routes>,
}

/// Why a broker does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {}", explain(.source))]
    Listen {
        /// The address of `server.listen` or `admin.listen`.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The metrics could not be set up.
    #[error("the metrics cannot be set up: {0}")]
    Metrics(#[from] MetricsError),
    /// What is to be kept cannot be.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Workers did not start, or the server ended by itself.
    #[error("the server failed: {0}")]
    Server(#[from] io::Error),
}

/// A broker that listens: its address is known, nothing is answered yet.
pub struct Bound {
    app: App,
    server: Listener,
    admin: Option<Listener>,
}

impl App {
    /// A broker that does what the configuration says.
    ///
    /// # Errors
    /// [`StartError::Metrics`], [`StartError::Store`].
    pub fn build(config: impl Into<LiveConfig>) -> Result<Self, StartError> {
        let live = config.into();
        let config = live.now();
        let metrics = Metrics::new(
            env!("CARGO_PKG_VERSION"),
            option_env!("FANFARE_REVISION").unwrap_or("unknown"),
        )?;
        let store = store::open(&config, &metrics)?;
        let usage = Arc::clone(&store);
        let broker = Broker::new(settings(&config, Arc::clone(&store)), metrics.clone());
        metrics.set_store_limit(config.store.memory);
        let per_topic = config.metrics.per_topic.clone();
        let seen = broker.downgrade();
        let reloads = live.clone();
        metrics.on_scrape(Box::new(move |metrics| {
            let Some(broker) = seen.upgrade() else { return };
            metrics.set_reloaded(reloads.is_up_to_date());
            usage.show(&metrics.store());
            let usage = usage.usage();
            metrics.set_history(usage.messages, usage.bytes);
            metrics.set_retained(usage.retained, usage.retained_bytes);
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
        let throttle = Throttle::new(&config.limits, metrics);
        Ok(Self {
            config: live,
            broker,
            store,
            throttle: Arc::new(throttle),
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

    /// Listens on the configured addresses; port 0 takes any that is free.
    ///
    /// # Errors
    /// [`StartError::Listen`].
    pub fn bind(self) -> Result<Bound, StartError> {
        let config = self.config.now();
        let backlog = config.server.backlog;
        let bind = |address| {
            Listener::on(address, backlog).map_err(|source| StartError::Listen { address, source })
        };
        Ok(Bound {
            server: bind(config.server.listen)?,
            admin: config.admin.listen.map(bind).transpose()?,
            app: self,
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
        self.server.address
    }

    /// The address of the HTTP API, where it has one of its own.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
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
        let Self { app, server, admin } = self;
        let (broker, store) = (app.broker.clone(), Arc::clone(&app.store));
        let config = app.config.clone();
        let drain = config.now().server.drain;
        let doors = Doors::new(&app.config.now(), admin.as_ref().map(|a| a.address.ip()));
        let throttle = Arc::clone(&app.throttle);
        let following = actix_rt::spawn(follow(
            app.config.clone(),
            broker.clone(),
            Arc::clone(&throttle),
            doors.clone(),
        ));
        api::show_readiness(&broker, &shutdown, &throttle);
        let (ending, answers) = answers();
        let server = serve(app, server, admin, &doors, &shutdown, &answers)?;
        let handle = server.handle();
        let metrics = broker.metrics().clone();
        let memory = Arc::clone(&throttle.memory);
        let speaking = actix_rt::spawn(sys::speak(broker.clone(), config, shutdown.clone()));
        let sampling = actix_rt::spawn(async move {
            let mut seconds = actix_rt::time::interval(Duration::from_secs(1));
            loop {
                seconds.tick().await;
                metrics.sample();
                throttle.descriptors.probe(Instant::now());
                throttle.sweep(Instant::now());
            }
        });
        let squeezing = actix_rt::spawn(squeeze(broker.clone(), memory));
        let winding_up = actix_rt::spawn(wind_up(handle, broker, ending, drain, shutdown));
        let served = server.await;
        winding_up.abort();
        sampling.abort();
        squeezing.abort();
        speaking.abort();
        following.abort();
        // The workers have ended: nobody gives it anything any more.
        store.close();
        Ok(served?)
    }
}

/// Watches how much memory there is, and has sessions hold less of it while there is too little.
async fn squeeze(broker: Broker, memory: Arc<Memory>) {
    let mut ticks = actix_rt::time::interval(Duration::from_millis(100));
    let mut squeezed = false;
    loop {
        ticks.tick().await;
        memory.probe();
        let squeeze = memory.pressure() == Pressure::VeryShort;
        if squeeze != squeezed {
            squeezed = squeeze;
            broker.squeeze(squeeze);
        }
    }
}

/// What the configuration says of the broker.
fn settings(config: &Config, store: Arc<dyn HistoryStore>) -> Settings {
    Settings {
        workers: match config.server.workers {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            workers => workers,
        },
        rules: Rules::from_config(&config.topics),
        store,
        max_topics: config.limits.topics,
        max_replay: config.limits.replay_messages as u64,
        max_subscriptions: config.session.subscriptions,
        flush_interval: config.websocket.flush_interval,
        compression: Effort {
            level: config.websocket.compression.level,
            min_bytes: config.websocket.compression.min_bytes,
            window_bits: config.websocket.compression.max_window_bits,
        },
        queue: config.session.queue,
        idempotency_window: config.api.idempotency_window,
        max_answers: config.api.idempotency_keys,
    }
}

#[cfg(test)]
mod tests;
