//! File descriptors: how near the process is to having none.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::{Resource, getrlimit};
use socket2::{Domain, Socket, Type};

use crate::metrics::Metrics;

/// So many are kept for what is no connection: files, and the moment between the accepting of a
/// connection and its refusal.
const KEPT: usize = 64;

/// Watches the process's file descriptors.
///
/// A new descriptor has the lowest number that is free: one with a high number says that all below it
/// are in use, whatever uses them.
pub struct Descriptors {
    /// From this number on they are short.
    high: AtomicUsize,
    /// Below this number they are no longer.
    low: AtomicUsize,
    short: AtomicBool,
    metrics: Metrics,
}

impl Descriptors {
    /// Those of the process, by the limit that holds now.
    pub fn of_process(metrics: Metrics) -> Self {
        let descriptors = Self::new(usize::MAX, metrics);
        descriptors.measure();
        descriptors
    }

    fn new(limit: usize, metrics: Metrics) -> Self {
        let descriptors = Self {
            high: AtomicUsize::new(usize::MAX),
            low: AtomicUsize::new(usize::MAX),
            short: AtomicBool::new(false),
            metrics,
        };
        descriptors.bound(limit);
        descriptors
    }

    /// Asks the system for the limit, which may have been raised.
    pub fn measure(&self) {
        let limit = getrlimit(Resource::Nofile).current;
        self.bound(limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        }));
    }

    fn bound(&self, limit: usize) {
        let kept = KEPT.min(limit / 8);
        self.high.store(limit - kept, Ordering::Relaxed);
        self.low.store(limit - kept - kept / 2, Ordering::Relaxed);
    }

    /// Whether they are short.
    pub fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// Takes note of a descriptor that is new, or of there being none to be had; whether they are short
    /// at this moment. What changes is logged once.
    pub fn seen(&self, new: Option<usize>) -> bool {
        let is_high = new.is_none_or(|number| number >= self.high.load(Ordering::Relaxed));
        let is_low = new.is_some_and(|number| number < self.low.load(Ordering::Relaxed));
        if is_high && !self.short.swap(true, Ordering::Relaxed) {
            self.metrics.descriptors_short(true);
            tracing::warn!(
                "file descriptors are short: connections that ask for nothing are dropped for new \
                 ones, and new ones are refused or not accepted until some are free; \
                 raise the limit of open files, or lower server.max_connections"
            );
        } else if is_low && self.short.swap(false, Ordering::Relaxed) {
            self.metrics.descriptors_short(false);
            tracing::info!("file descriptors are no longer short");
        }
        is_high
    }

    /// Looks for itself, by what accepting a connection takes. To be called about once a second.
    pub fn probe(&self) {
        use std::os::fd::AsRawFd;
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None);
        let number = |socket: Socket| usize::try_from(socket.as_raw_fd()).ok();
        self.seen(socket.ok().and_then(number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(metrics: &Metrics, series: &str) -> String {
        let text = metrics.render().unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.unwrap().trim().to_owned()
    }

    #[test]
    fn a_shortage_begins_high_and_ends_low_and_is_counted_once() {
        let metrics = Metrics::new("0", "test").unwrap();
        let descriptors = Descriptors::new(1000, metrics.clone());
        let (short, total) = (
            "fanfare_descriptors_short ",
            "fanfare_descriptor_shortages_total ",
        );
        for (new, is_high, is_short, count) in [
            (Some(20), false, false, "0"),
            (Some(935), false, false, "0"),
            (Some(936), true, true, "1"),
            (Some(999), true, true, "1"),
            (None, true, true, "1"),
            // Some are free again, but few.
            (Some(935), false, true, "1"),
            (Some(904), false, true, "1"),
            (Some(903), false, false, "1"),
            (None, true, true, "2"),
            (Some(3), false, false, "2"),
        ] {
            assert_eq!(descriptors.seen(new), is_high, "{new:?}");
            assert_eq!(descriptors.is_short(), is_short, "{new:?}");
            assert_eq!(shown(&metrics, short) == "1", is_short, "{new:?}");
            assert_eq!(shown(&metrics, total), count, "{new:?}");
        }
    }

    #[test]
    fn a_process_at_rest_is_not_short() {
        let descriptors = Descriptors::of_process(Metrics::new("0", "test").unwrap());
        descriptors.probe();
        assert!(!descriptors.is_short());
    }

    #[test]
    fn a_small_limit_keeps_an_eighth() {
        let descriptors = Descriptors::new(200, Metrics::new("0", "test").unwrap());
        assert!(!descriptors.seen(Some(174)));
        assert!(descriptors.seen(Some(175)));
    }
}
