//! The integration tests, in one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail the test, as tests do"
)]

#[path = "../src/metrics/promtool.rs"]
mod promtool;
mod ranks;
mod support;

mod admin;
mod admission;
mod bad_input;
mod clocks;
mod closing;
mod commands;
mod compression;
mod conformance;
mod crash;
mod crowds;
mod disk_faults;
mod disk_starts;
mod drain;
mod drain_many;
mod embedding;
mod events;
mod exactness;
mod faults;
mod floods;
mod forgetting;
mod frames;
mod handshake;
mod heartbeat;
mod history;
mod history_filters;
mod http_abuse;
mod http_api;
mod http_keys;
mod keeping;
mod leaks;
mod limits;
mod lines;
mod memory;
mod metrics;
mod msgpack;
mod names;
mod odd_json;
mod overflow;
mod overload;
mod pace;
mod paths;
mod presence;
mod public;
mod raw;
mod reload;
mod resuming;
mod retained;
mod rules;
mod secrets;
mod sessions;
mod slow;
mod soak;
mod sse_recovery;
mod sse_transport;
mod subscribing;
mod sys;
mod throttle;
