//! `POST /v1/publish` of `application/x-ndjson`: a message a line, answered by a line each, while
//! the body is still coming.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::web::{Bytes, Payload};
use actix_web::{Error, HttpResponse};
use actix_web_actors::HttpContext;
use futures_util::Stream;
use tokio::time::Instant;

use super::answers::{Answers, stopping};
use super::publisher::Publisher;
use crate::api::serve::Call;
use crate::api::{HangUp, Problem};
use crate::metrics::{Metrics, Place};

/// The media type, of the body and of its answer.
pub const NDJSON: &str = "application/x-ndjson";
/// How long answers may wait for whoever asked to read them.
const UNREAD: Duration = Duration::from_secs(30);

/// The body of an answer. It breaks off where what makes it panics, for a clean end would say that all
/// lines were answered.
struct Body<S> {
    answers: S,
    /// When the last piece was given away, while it is not known to have been written.
    given: Rc<Cell<Option<Instant>>>,
    metrics: Metrics,
}

/// Begins to answer; lines may have so many bytes.
///
/// # Errors
/// `unavailable` where nothing is published at present.
pub fn answer(
    call: &Call<'_>,
    publisher: Publisher,
    payload: Payload,
    longest: usize,
) -> Result<HttpResponse, Problem> {
    if publisher.is_draining() {
        return Err(stopping().into());
    }
    let batch = call.state.config.now().limits.batch;
    let shutdown = call.state.shutdown.clone();
    let answers = Answers::new(publisher, payload, longest, batch, shutdown);
    let body = Body::new(
        HttpContext::create(answers),
        call.state.broker.metrics().clone(),
    );
    if let Some(hang_up) = (call.state.hang_up)(call.request) {
        actix_rt::spawn(watch(Rc::downgrade(&body.given), hang_up));
    }
    Ok(HttpResponse::Ok()
        .content_type(NDJSON)
        // A proxy that gathers answers would hold them back until there are many.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(body))
}

impl<S> Body<S> {
    fn new(answers: S, metrics: Metrics) -> Self {
        Self {
            answers,
            given: Rc::new(Cell::new(None)),
            metrics,
        }
    }
}

impl<S: Stream<Item = Result<Bytes, Error>> + Unpin> Stream for Body<S> {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.given.set(None);
        let answers = Pin::new(&mut self.answers);
        // What panicked is given up whole, so nobody sees what it left half done.
        let Ok(polled) = catch_unwind(AssertUnwindSafe(|| answers.poll_next(cx))) else {
            self.metrics.panicked(Place::Http);
            let panicked = io::Error::other("publishing lines panicked");
            return Poll::Ready(Some(Err(panicked.into())));
        };
        if matches!(polled, Poll::Ready(Some(_))) {
            self.given.set(Some(Instant::now()));
        }
        polled
    }
}

/// Ends the connection where answers are not read.
async fn watch(given: Weak<Cell<Option<Instant>>>, hang_up: HangUp) {
    loop {
        actix_rt::time::sleep(UNREAD / 3).await;
        let Some(given) = given.upgrade() else { return };
        if given.get().is_some_and(|given| given.elapsed() > UNREAD) {
            return hang_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use actix::{Actor, AsyncContext as _};
    use futures_util::StreamExt as _;

    use super::*;

    /// Writes once, and panics once that is taken.
    struct Faulty;

    impl Actor for Faulty {
        type Context = HttpContext<Self>;

        fn started(&mut self, context: &mut Self::Context) {
            context.write(Bytes::from_static(b"{}\n"));
            context.spawn(actix::fut::wrap_future(async {
                tokio::task::yield_now().await;
                panic!("a fault, made by a test");
            }));
        }
    }

    #[tokio::test]
    async fn a_panic_breaks_the_answer_off_and_is_counted() {
        let metrics = Metrics::new("0", "test").unwrap();
        let mut body = Body::new(HttpContext::create(Faulty), metrics.clone());
        assert_eq!(body.next().await.unwrap().unwrap(), "{}\n");
        assert!(body.given.get().is_some());
        let broken = body.next().await;
        assert!(broken.unwrap().is_err());
        assert!(body.given.get().is_none(), "nothing is left to be read");
        let text = metrics.render().unwrap();
        let counted = r#"fanfare_panics_total{place="http"} 1"#;
        assert!(text.contains(counted), "{text}");
    }
}
