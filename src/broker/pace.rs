//! How often a worker writes what is due to its sessions.
//!
//! Most of what a message costs is the kernel's write to each session, whatever it writes. Where messages
//! may wait for a moment, those that come meanwhile go in the same write.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::{Duration, Instant};

use actix_rt::time::{Sleep, sleep_until};

/// When a worker writes. The first message after a pause is written at once; what follows waits until
/// the interval is over, counted from the end of the last writing.
pub struct Pace {
    interval: Duration,
    next: Option<Instant>,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    /// Writes at most once in that time; zero is every turn.
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            next: None,
            waiting: None,
        }
    }

    /// Whether it is time to write. If not, the task is woken when it is.
    pub fn is_time(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(next) = self.next else { return true };
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(sleep_until(next.into())));
        if waiting.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.waiting = None;
        self.next = None;
        true
    }

    /// Something has been written.
    pub fn wrote(&mut self) {
        if !self.interval.is_zero() {
            self.waiting = None;
            self.next = Some(Instant::now() + self.interval);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;

    /// Waits until it is time to write.
    async fn time(pace: &mut Pace) {
        poll_fn(|cx| {
            if pace.is_time(cx) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    #[actix_rt::test]
    async fn the_first_is_written_at_once_and_what_follows_after_the_interval() {
        let interval = Duration::from_millis(20);
        let mut pace = Pace::new(interval);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(pace.is_time(&mut cx));
        pace.wrote();
        let wrote = Instant::now();
        assert!(!pace.is_time(&mut cx));
        time(&mut pace).await;
        assert!(wrote.elapsed() + Duration::from_millis(2) >= interval);
        assert!(pace.is_time(&mut cx), "nothing was written since");
    }

    #[actix_rt::test]
    async fn without_an_interval_it_is_always_time() {
        let mut pace = Pace::new(Duration::ZERO);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for _ in 0..3 {
            assert!(pace.is_time(&mut cx));
            pace.wrote();
        }
    }
}
