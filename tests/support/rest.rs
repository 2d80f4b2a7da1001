//! What a broker holds while nobody is connected, to be compared with later.

use serde_json::json;

use super::{Http, Process, eventually_some};

/// What has to be as it was once everybody left.
#[derive(Clone, Debug, PartialEq)]
pub struct Rest {
    pub descriptors: usize,
    pub topics: u64,
}

impl Rest {
    /// Waits until nobody is there any more and nothing waits for anyone; gives what is left.
    #[track_caller]
    pub fn of(broker: &Process) -> Self {
        for nothing in [
            "fanfare_connections",
            "fanfare_subscriptions",
            "fanfare_session_queued_bytes",
            "fanfare_sessions_slow",
            "fanfare_registry_mailbox_messages",
        ] {
            broker.await_metric(nothing, 0);
        }
        assert_eq!(broker.metric("fanfare_panics_total"), 0);
        let get = |path: &str| Http::new(broker.address, "GET", path).send().json();
        let roster = get("/v1/sessions?limit=1");
        assert_eq!(roster, json!({"sessions": [], "next": null}));
        Self {
            descriptors: broker.descriptors(),
            topics: broker.metric("fanfare_topics"),
        }
    }

    /// Waits until it is exactly as it was.
    #[track_caller]
    pub fn await_again(&self, broker: &Process) {
        let mut seen = self.clone();
        eventually_some(&format!("it is as before: {self:?}"), || {
            seen = Self::of(broker);
            (seen == *self).then_some(())
        });
    }
}
