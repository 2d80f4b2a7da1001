//! Fanfare: a pub/sub message broker that gets messages from backend services to browsers.

#![forbid(unsafe_code)]

pub mod auth;
pub mod metrics;
pub mod model;
pub mod telemetry;
