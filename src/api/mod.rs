//! The HTTP API: for backend services and operators, the metrics, and the page with the demo.
//!
//! One handler takes every request that nothing else of the server's takes: [`Route`] says what a
//! path means, each call is a function from the request to an answer or a [`Problem`].

mod body;
mod guard;
mod history;
mod listing;
mod message;
mod node;
mod openapi;
mod page;
mod problem;
mod public;
mod publish;
mod query;
mod route;
mod serve;
mod sessions;
#[cfg(test)]
mod tests;
mod topic;

use std::sync::Arc;
use std::time::Instant;

use actix_web::HttpRequest;
use actix_web::web::{self, Data, ServiceConfig};

use crate::auth::LiveDoor;
use crate::broker::Broker;
use crate::config::{Config, LiveConfig};
use crate::limits::Throttle;
use crate::shutdown::Shutdown;

pub use guard::guarded;
pub use node::show_readiness;
pub use page::Page;
pub use problem::Problem;
pub use route::{Address, Route};

/// What the calls work with. Cheap to clone: each worker has its own.
#[derive(Clone)]
pub struct ApiState {
    /// Publishes, and knows what there is.
    pub broker: Broker,
    /// Says who may.
    pub door: Arc<LiveDoor>,
    /// Says who does too much.
    pub throttle: Arc<Throttle>,
    /// Tells when no more is published.
    pub shutdown: Shutdown,
    /// Limits, paths and rules.
    pub config: LiveConfig,
    /// The configuration at the start: paths and the like do not change.
    pub fixed: Arc<Config>,
    /// At which address it answers.
    pub address: Address,
    /// How the connection of a request is ended.
    pub hang_up: fn(&HttpRequest) -> Option<HangUp>,
    /// The description of the API.
    pub openapi: Arc<str>,
    /// When the process started.
    pub started: Instant,
    /// The page with the demo; nothing of it where other files are served.
    pub page: Page,
}

/// Ends a connection from outside, whatever its task does.
pub type HangUp = Box<dyn Fn()>;

impl ApiState {
    /// The state of a broker that starts now, and listens on one address.
    pub fn new(
        broker: Broker,
        door: Arc<LiveDoor>,
        throttle: Arc<Throttle>,
        shutdown: Shutdown,
        config: LiveConfig,
    ) -> Self {
        let page = match config.now().server.public {
            None => Page::embedded(),
            Some(_) => Page::default(),
        };
        Self {
            openapi: openapi::document(&config.now()).into(),
            broker,
            door,
            throttle,
            shutdown,
            fixed: config.now(),
            config,
            address: Address::Only,
            hang_up: |_| None,
            started: Instant::now(),
            page,
        }
    }
}

/// Adds the API to an application: it answers whatever no other service of the application does.
pub fn configure(services: &mut ServiceConfig, state: Data<ApiState>) {
    services
        .app_data(state)
        .default_service(web::to(serve::serve));
}
