//! Fanfare: a pub/sub message broker that gets messages from backend services to browsers.

#![forbid(unsafe_code)]

pub mod api;
pub mod auth;
pub mod broker;
pub mod config;
pub mod history;
pub mod metrics;
pub mod model;
pub mod protocol;
pub mod shutdown;
pub mod telemetry;
