//! Fanfare: a pub/sub message broker that gets messages from backend services to browsers.

#![forbid(unsafe_code)]

pub mod config;
pub mod model;
