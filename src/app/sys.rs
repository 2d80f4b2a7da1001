//! What the broker says of itself in its own topics.

use std::time::Duration;

use serde_json::json;

use crate::broker::{Broker, SysTopic};
use crate::config::LiveConfig;
use crate::shutdown::{Phase, Shutdown};

/// How often figures are told.
const EVERY: Duration = Duration::from_secs(5);

/// Tells figures for as long as the broker runs, that it drains, and that its configuration changed.
pub async fn speak(broker: Broker, config: LiveConfig, shutdown: Shutdown) {
    let mut ticks = actix_rt::time::interval(EVERY);
    let mut changes = config.changes();
    let mut draining = Box::pin(shutdown.reached(Phase::Draining));
    let mut is_draining = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => broker.tell(SysTopic::Stats, || stats(&broker, is_draining)),
            Ok(()) = changes.changed() => {
                broker.tell(SysTopic::Config, || json!({"event": "changed"}));
            }
            () = &mut draining, if !is_draining => {
                is_draining = true;
                broker.tell(SysTopic::Node, || json!({"state": "draining"}));
            }
        }
    }
}

fn stats(broker: &Broker, is_draining: bool) -> serde_json::Value {
    let totals = broker.metrics().totals();
    let rates = broker.metrics().per_second();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "state": if is_draining { "draining" } else { "running" },
        "connections": broker.metrics().sessions(),
        "topics": broker.topic_count(),
        "published": totals.published,
        "delivered": totals.delivered,
        "rates": {
            "published_per_second": rates.published,
            "delivered_per_second": rates.delivered,
        },
    })
}
