//! File descriptors: how near the process is to having none.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use socket2::{Domain, Socket, Type};

use crate::metrics::Metrics;

/// So many are kept for what is no connection, and for connections that are accepted and not yet
/// looked at; where there are few, an eighth of them.
const KEPT: usize = 256;

/// They are short no longer once they have not been so for this long: what is freed in a flood is in
/// use again in a moment.
const CALM: Duration = Duration::from_secs(5);

/// With more connections than this nothing else is counted anew: looking takes too long then.
const COUNTED: usize = 1000;

/// Watches the process's file descriptors: those of connections are counted as they come and go, what
/// else the process has open now and then.
pub struct Descriptors {
    /// So many there may be.
    limit: AtomicUsize,
    /// Connections.
    open: AtomicUsize,
    /// Whatever is no connection.
    others: AtomicUsize,
    short: AtomicBool,
    /// When they were short last.
    last: Mutex<Option<Instant>>,
    metrics: Metrics,
}

/// How many there still are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// Enough.
    Enough,
    /// They are short.
    Little,
    /// There are next to none.
    None,
}

/// The descriptor of one connection, counted until this is dropped.
pub struct Descriptor(Arc<Descriptors>);

impl Descriptors {
    /// Those of the process, by the limit that holds now.
    pub fn of_process(metrics: Metrics) -> Arc<Self> {
        let descriptors = Self::new(usize::MAX, metrics);
        descriptors.measure();
        descriptors
    }

    fn new(limit: usize, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicUsize::new(limit),
            open: AtomicUsize::new(0),
            others: AtomicUsize::new(0),
            short: AtomicBool::new(false),
            last: Mutex::default(),
            metrics,
        })
    }

    /// Asks the system for the limit, which may have been raised.
    pub fn measure(&self) {
        let limit = getrlimit(Resource::Nofile).current;
        let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        self.limit
            .store(limit.unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// Counts a connection; how many there are with it.
    pub fn open(self: &Arc<Self>, now: Instant) -> (Descriptor, Room) {
        self.open.fetch_add(1, Ordering::Relaxed);
        let room = self.room();
        if room > Room::Enough {
            self.now_short(now);
        }
        (Descriptor(Arc::clone(self)), room)
    }

    /// Connections that may be accepted and not looked at, at a time: so few that they do not use up
    /// what is kept.
    pub fn ahead(&self) -> usize {
        self.kept() / 2
    }

    /// Whether they are short, or were a moment ago.
    pub fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// Looks for itself, by taking what accepting a connection takes. To be called about once a second.
    pub fn probe(&self, now: Instant) {
        let can_accept = Socket::new(Domain::IPV4, Type::STREAM, None).is_ok();
        let open = self.open.load(Ordering::Relaxed);
        if open <= COUNTED
            && let Some(all) = in_use()
        {
            self.others
                .store(all.saturating_sub(open), Ordering::Relaxed);
        }
        self.judge(can_accept, now);
    }

    fn judge(&self, can_accept: bool, now: Instant) {
        if !can_accept || self.room() > Room::Enough {
            return self.now_short(now);
        }
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_calm = last.is_none_or(|last| now.saturating_duration_since(last) >= CALM);
        if is_calm && self.short.swap(false, Ordering::Relaxed) {
            self.metrics.descriptors_short(false);
            tracing::info!("file descriptors are no longer short");
        }
    }

    fn room(&self) -> Room {
        let used = self.open.load(Ordering::Relaxed) + self.others.load(Ordering::Relaxed);
        let (limit, kept) = (self.limit.load(Ordering::Relaxed), self.kept());
        if used < limit - kept {
            Room::Enough
        } else if used < limit - kept / 2 {
            Room::Little
        } else {
            Room::None
        }
    }

    fn kept(&self) -> usize {
        KEPT.min(self.limit.load(Ordering::Relaxed) / 8)
    }

    fn now_short(&self, now: Instant) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        if !self.short.swap(true, Ordering::Relaxed) {
            self.metrics.descriptors_short(true);
            tracing::warn!(
                limit = self.limit.load(Ordering::Relaxed),
                "file descriptors are short: a new connection is let in only where one that asks \
                 for nothing can be dropped; raise the limit of open files, or lower \
                 server.max_connections"
            );
        }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many the process has in use, where the system tells.
fn in_use() -> Option<usize> {
    let listed = fs::read_dir("/proc/self/fd").or_else(|_| fs::read_dir("/dev/fd"));
    // That of the listing itself is one of them.
    Some(listed.ok()?.count().saturating_sub(1))
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
    fn a_shortage_is_told_once_and_ends_when_it_has_been_calm() {
        let metrics = Metrics::new("0", "test").unwrap();
        let descriptors = Descriptors::new(80, metrics.clone());
        descriptors.others.store(20, Ordering::Relaxed);
        let start = Instant::now();
        let mut open = Vec::new();
        for count in 1..=60 {
            let (descriptor, room) = descriptors.open(start);
            open.push(descriptor);
            let expected = match count {
                ..50 => Room::Enough,
                50..55 => Room::Little,
                _ => Room::None,
            };
            assert_eq!(room, expected, "{count}");
        }
        let state = || {
            (
                descriptors.is_short(),
                shown(&metrics, "fanfare_descriptors_short "),
                shown(&metrics, "fanfare_descriptor_shortages_total "),
            )
        };
        assert_eq!(state(), (true, "1".into(), "1".into()));
        open.truncate(10);
        descriptors.judge(true, start + CALM / 2);
        assert_eq!(state(), (true, "1".into(), "1".into()));
        descriptors.judge(true, start + CALM);
        assert_eq!(state(), (false, "0".into(), "1".into()));
        // Something else uses them up.
        descriptors.judge(false, start + CALM * 2);
        assert_eq!(state(), (true, "1".into(), "2".into()));
        let (_one, room) = descriptors.open(start + CALM * 2);
        assert_eq!(room, Room::Enough);
        descriptors.judge(true, start + CALM * 3);
        assert_eq!(state(), (false, "0".into(), "2".into()));
    }

    #[test]
    fn a_process_at_rest_is_not_short() {
        let descriptors = Descriptors::of_process(Metrics::new("0", "test").unwrap());
        descriptors.probe(Instant::now());
        assert!(!descriptors.is_short());
        assert!(descriptors.others.load(Ordering::Relaxed) >= 3);
        assert!(descriptors.ahead() > 0);
    }
}
