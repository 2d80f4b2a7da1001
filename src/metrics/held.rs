//! A gauge that counts what lives.

use prometheus::IntGauge;

/// Counts one in a gauge from when it is made until it is dropped, whatever ends it.
#[must_use = "it counts only as long as it lives"]
pub struct Held(Option<IntGauge>);

impl Held {
    pub(super) fn new(gauge: Option<&IntGauge>) -> Self {
        if let Some(gauge) = gauge {
            gauge.inc();
        }
        Self(gauge.cloned())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(gauge) = &self.0 {
            gauge.dec();
        }
    }
}
