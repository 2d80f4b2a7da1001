//! A panic ends the request that it happened in, and is counted.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use actix_web::dev::ServiceResponse;
use actix_web::error::InternalError;

use super::Problem;
use crate::metrics::{Metrics, Place};

/// Answers for a call of any route that panics.
///
/// # Errors
/// Those of the call; 500 where it panicked.
pub async fn guarded<B>(
    metrics: Metrics,
    call: impl Future<Output = Result<ServiceResponse<B>, actix_web::Error>>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    caught(&metrics, call).await.unwrap_or_else(|| {
        let answer = Problem::internal().response();
        Err(InternalError::from_response("a route panicked", answer).into())
    })
}

/// What the work came to; `None` where it panicked.
pub(super) async fn caught<T>(metrics: &Metrics, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        // What panicked is not polled again, so nobody sees what it left half done.
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
        polled.map_or_else(
            |_| {
                metrics.panicked(Place::Http);
                Poll::Ready(None)
            },
            |polled| polled.map(Some),
        )
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_one_request_and_is_counted() {
        let metrics = Metrics::new("0", "test").unwrap();
        let work = async {
            tokio::task::yield_now().await;
            assert!(metrics.render().is_err(), "on purpose");
        };
        let outcome = actix_rt::System::new().block_on(caught(&metrics, work));
        assert_eq!(outcome, None);
        let text = metrics.render().unwrap();
        assert!(
            text.contains(r#"fanfare_panics_total{place="http"} 1"#),
            "{text}"
        );
    }
}
