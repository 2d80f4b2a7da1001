//! The node itself: whether it is alive and ready, its numbers, its metrics.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use schemars::JsonSchema;
use serde::Serialize;

use super::Problem;
use super::serve::{Call, json, json_text};
use crate::auth::Scope;
use crate::broker::Broker;
use crate::limits::{Pressure, Throttle};
use crate::metrics::Metrics;
use crate::protocol::{ErrorCode, Refusal};
use crate::shutdown::Shutdown;

/// The node in numbers.
#[derive(Serialize, JsonSchema)]
pub(super) struct Stats {
    /// The broker's version.
    version: &'static str,
    /// starting, running or draining.
    state: &'static str,
    /// How long the process runs.
    uptime_seconds: u64,
    /// Its workers.
    workers: Workers,
    /// Sessions that are connected.
    connections: u64,
    /// Topics that the broker holds anything of.
    topics: usize,
    /// Subscriptions that stand.
    subscriptions: u64,
    /// Messages accepted since the start.
    published: u64,
    /// Messages delivered since the start.
    delivered: u64,
    /// What happens per second.
    rates: Rates,
    /// The memory that the process takes.
    memory_bytes: u64,
}

/// Averages over the last ten seconds.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NodeRates")]
struct Rates {
    /// Messages accepted.
    published_per_second: f64,
    /// Messages delivered.
    delivered_per_second: f64,
}

/// Worker threads.
#[derive(Serialize, JsonSchema)]
struct Workers {
    /// Those that run.
    running: usize,
    /// Those that are to run.
    configured: usize,
}

/// `GET /v1/stats`.
pub(super) async fn stats(call: &Call<'_>) -> Result<HttpResponse, Problem> {
    call.admit(Scope::Read)?;
    let state = call.state;
    // The sums are those of the metrics, so that the two never say different things.
    let text = exposition(state.broker.metrics()).await?;
    let (running, configured) = state.broker.workers();
    let totals = state.broker.metrics().totals();
    let rates = state.broker.metrics().per_second();
    json(&Stats {
        version: env!("CARGO_PKG_VERSION"),
        state: node_state(&state.broker, &state.shutdown),
        uptime_seconds: state.started.elapsed().as_secs(),
        workers: Workers {
            running,
            configured,
        },
        connections: state.broker.metrics().sessions(),
        topics: state.broker.topic_count(),
        subscriptions: sum(&text, "fanfare_subscriptions"),
        published: totals.published,
        delivered: totals.delivered,
        rates: Rates {
            published_per_second: rounded(rates.published),
            delivered_per_second: rounded(rates.delivered),
        },
        memory_bytes: sum(&text, "process_resident_memory_bytes"),
    })
}

/// The metrics, in the Prometheus text format.
pub(super) async fn metrics(call: &Call<'_>) -> Result<HttpResponse, Problem> {
    call.admit_to_metrics()?;
    let text = exposition(call.state.broker.metrics()).await?;
    Ok(HttpResponse::Ok()
        .content_type(Metrics::CONTENT_TYPE)
        .body(text))
}

/// `GET /healthz`: whoever can answer is alive.
#[allow(clippy::unnecessary_wraps, reason = "a call like the others")]
pub(super) fn health() -> Result<HttpResponse, Problem> {
    Ok(json_text(r#"{"status":"alive"}"#.to_owned()))
}

/// `GET /readyz`.
pub(super) fn ready(call: &Call<'_>) -> Result<HttpResponse, Problem> {
    let unavailable = |message| Err(Refusal::new(ErrorCode::Unavailable, message).into());
    match node_state(&call.state.broker, &call.state.shutdown) {
        "draining" => unavailable("the broker is draining: it takes no more sessions"),
        "starting" => unavailable("the broker is starting: not all of its workers run yet"),
        _ if call.state.throttle.descriptors.is_short() => {
            unavailable("the broker is short of file descriptors")
        }
        _ if call.state.throttle.memory.pressure() > Pressure::None => {
            unavailable("the broker is short of memory: it takes no more sessions for now")
        }
        _ => match call.state.broker.store_fault() {
            Some(fault) => Err(Refusal::new(
                ErrorCode::Unavailable,
                format!("the store cannot keep what is published: {fault}"),
            )
            .into()),
            None => Ok(json_text(r#"{"status":"ready"}"#.to_owned())),
        },
    }
}

/// What the node is about.
fn node_state(broker: &Broker, shutdown: &Shutdown) -> &'static str {
    let (running, configured) = broker.workers();
    if shutdown.is_draining() {
        "draining"
    } else if running < configured {
        "starting"
    } else {
        "running"
    }
}

/// Lets the metrics say what `/readyz` says.
pub fn show_readiness(broker: &Broker, shutdown: &Shutdown, throttle: &Arc<Throttle>) {
    let (seen, shutdown) = (broker.downgrade(), shutdown.clone());
    let throttle = Arc::downgrade(throttle);
    broker.metrics().on_scrape(Box::new(move |metrics| {
        let is_running = |broker: Broker| {
            node_state(&broker, &shutdown) == "running" && broker.store_fault().is_none()
        };
        let has_room = |throttle: Arc<Throttle>| {
            !throttle.descriptors.is_short() && throttle.memory.pressure() == Pressure::None
        };
        let is_ready =
            seen.upgrade().is_some_and(is_running) && throttle.upgrade().is_some_and(has_room);
        metrics.set_ready(is_ready);
    }));
}

/// Everything that is counted, as text. Looking at the process takes a while, so it is done aside.
async fn exposition(metrics: &Metrics) -> Result<String, Problem> {
    let metrics = metrics.clone();
    web::block(move || metrics.render())
        .await
        .ok()
        .and_then(Result::ok)
        .ok_or_else(Problem::internal)
}

/// The sum of a metric over its labels.
fn sum(text: &str, name: &str) -> u64 {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let is_whole_name = rest.starts_with(['{', ' ']);
        let (_, value) = rest.rsplit_once(' ')?;
        is_whole_name.then(|| value.parse::<f64>().ok()).flatten()
    });
    whole(values.sum())
}

/// A rate as people read it: to a tenth.
pub(super) fn rounded(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}

/// A count that was written as a floating-point number.
#[allow(clippy::cast_sign_loss, reason = "counts are not negative")]
fn whole(value: f64) -> u64 {
    value.max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_no_other_is() {
        let text = "# HELP a_total Things.\n# TYPE a_total counter\na_total{b=\"x\"} 2\n\
                    a_total{b=\"y z\"} 3\na_total_more 7\nc 1.5e6\n";
        assert_eq!(sum(text, "a_total"), 5);
        assert_eq!(sum(text, "c"), 1_500_000);
        assert_eq!(sum(text, "missing"), 0);
    }
}
