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
mod page;
mod problem;
mod publish;
mod query;
mod route;
mod serve;
#[cfg(test)]
mod tests;
mod topic;

use std::sync::Arc;
use std::time::Instant;

use actix_web::web::{self, Data, ServiceConfig};

use crate::auth::Door;
use crate::broker::Broker;
use crate::config::Config;
use crate::limits::Throttle;
use crate::shutdown::Shutdown;

pub use guard::guarded;
pub use page::Page;
pub use problem::Problem;
pub use route::Route;

/// What the calls work with. Cheap to clone: each worker has its own.
#[derive(Clone)]
pub struct ApiState {
    /// Publishes, and knows what there is.
    pub broker: Broker,
    /// Says who may.
    pub door: Arc<Door>,
    /// Says who does too much.
    pub throttle: Arc<Throttle>,
    /// Tells when no more is published.
    pub shutdown: Shutdown,
    /// Limits, paths and rules.
    pub config: Arc<Config>,
    /// When the process started.
    pub started: Instant,
    /// The page with the demo.
    pub page: Page,
}

impl ApiState {
    /// The state of a broker that starts now.
    pub fn new(
        broker: Broker,
        door: Arc<Door>,
        throttle: Arc<Throttle>,
        shutdown: Shutdown,
        config: Arc<Config>,
    ) -> Self {
        Self {
            broker,
            door,
            throttle,
            shutdown,
            config,
            started: Instant::now(),
            page: Page::embedded(),
        }
    }
}

/// Adds the API to an application: it answers whatever no other service of the application does.
pub fn configure(services: &mut ServiceConfig, state: Data<ApiState>) {
    services
        .app_data(state)
        .default_service(web::to(serve::serve));
}
