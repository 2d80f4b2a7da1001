//! Fanfare: a pub/sub message broker that gets messages from backend services to browsers.

#![forbid(unsafe_code)]

pub mod api;
pub mod app;
pub mod auth;
#[cfg(target_os = "linux")]
pub mod bench;
pub mod broker;
pub mod cli;
pub mod config;
pub mod gateway;
pub mod history;
pub mod limits;
pub mod metrics;
pub mod model;
pub mod protocol;
pub mod session;
pub mod shutdown;
pub mod telemetry;
pub mod websocket;
