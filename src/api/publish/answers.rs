//! The actor that answers lines: one to a request, alive in the body of its answer.
//!
//! The context is polled as that body is, so whoever does not read answers is not read. It holds what
//! is written without a bound; for that reason a turn writes one piece at most, which the poll that made the turn
//! takes away again.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix::fut::ActorFuture;
use actix::{Actor, ActorContext, AsyncContext};
use actix_web::http::StatusCode;
use actix_web::web::{Bytes, BytesMut, Payload};
use actix_web_actors::HttpContext;
use bytes::BufMut as _;
use futures_util::Stream as _;
use tokio::time::{Instant, Sleep, sleep_until};

use super::envelope::{WHITE_SPACE, read_line};
use super::lines::{Line, Lines};
use super::outcome::Outcome;
use super::pipeline::Pipeline;
use super::publisher::Publisher;
use crate::api::{Problem, body};
use crate::protocol::{ErrorCode, Refusal};
use crate::shutdown::{Phase, Shutdown};

/// Answers that are sent together at most, in bytes.
const PIECE: usize = 16 * 1024;
/// Lines that are taken before other tasks of the worker have their turn.
const TURN: usize = 256;

/// Answers that are written while the lines come.
pub struct Answers {
    publisher: Rc<Publisher>,
    pipeline: Pipeline,
    lines: Lines,
    /// The most messages of one line.
    batch: usize,
    /// The request's body; `None` once it is over or read no further.
    payload: Option<Payload>,
    /// Since when a line is waited for.
    waiting: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
    draining: Pin<Box<dyn Future<Output = ()>>>,
    /// Lines taken in this turn.
    taken: usize,
}

/// What the actor does as often as its context is polled.
struct Turns;

impl Answers {
    /// Publishes the lines of that body; each may have so many bytes, and so many messages.
    pub fn new(
        publisher: Publisher,
        payload: Payload,
        longest: usize,
        batch: usize,
        shutdown: Shutdown,
    ) -> Self {
        let publisher = Rc::new(publisher);
        Self {
            pipeline: Pipeline::new(Rc::clone(&publisher)),
            publisher,
            lines: Lines::new(longest),
            batch,
            payload: Some(payload),
            waiting: None,
            alarm: Box::pin(sleep_until(Instant::now())),
            draining: Box::pin(drained(shutdown)),
            taken: 0,
        }
    }

    /// The answers there are; `None` after the last.
    fn go_on(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut piece = BytesMut::new();
        let mut has_more = true;
        let is_idle = loop {
            let is_idle = self.write(&mut piece, cx);
            if !has_more || piece.len() >= PIECE || self.taken >= TURN {
                break is_idle;
            }
            has_more = self.take(cx) == Poll::Ready(Some(()));
        };
        if !piece.is_empty() {
            return Poll::Ready(Some(piece.freeze()));
        }
        if is_idle && self.payload.is_none() {
            return Poll::Ready(None);
        }
        if self.taken >= TURN {
            cx.waker().wake_by_ref();
        }
        self.taken = 0;
        Poll::Pending
    }

    /// Writes what is answered, in its order. Whether nothing is on its way any more.
    fn write(&mut self, piece: &mut BytesMut, cx: &mut Context<'_>) -> bool {
        while piece.len() < PIECE {
            match self.pipeline.poll_next(cx) {
                Poll::Ready(Some(outcome)) => put(piece, &outcome),
                Poll::Ready(None) => return true,
                Poll::Pending => return false,
            }
        }
        false
    }

    /// Takes the next line; `None` where there is none any more.
    fn take(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        if self.pipeline.is_full() {
            self.waiting = None;
            return Poll::Pending;
        }
        if self.payload.is_some() && self.publisher.is_draining() {
            self.end(stopping());
            return Poll::Ready(Some(()));
        }
        // A refusal is told to each line.
        let room = match self.publisher.poll_room(cx) {
            Poll::Ready(room) => room,
            Poll::Pending => {
                self.waiting = None;
                return Poll::Pending;
            }
        };
        let Some(line) = ready!(self.poll_line(cx)) else {
            return Poll::Ready(None);
        };
        self.waiting = None;
        if let Err(refusal) = self.publisher.renew() {
            self.end(self.publisher.counted(refusal));
            return Poll::Ready(Some(()));
        }
        let refused = match (room, line) {
            (_, Line::TooLong) => Refusal::new(
                ErrorCode::TooLarge,
                "the line is longer than a message may be; it was passed over",
            ),
            (room, Line::Whole(line)) => match std::str::from_utf8(&line) {
                Err(_) => Refusal::new(ErrorCode::BadRequest, "a line must be UTF-8"),
                // An empty line asks for nothing.
                Ok(text) if text.trim_matches(WHITE_SPACE).is_empty() => {
                    return Poll::Ready(Some(()));
                }
                Ok(text) => {
                    let mut asked = read_line(text, self.batch);
                    if let Err(refusal) = room {
                        asked = asked.refused(&refusal);
                    }
                    self.pipeline.begin(asked, cx);
                    self.taken += 1;
                    return Poll::Ready(Some(()));
                }
            },
        };
        self.taken += 1;
        self.pipeline.answer(self.publisher.counted(refused));
        Poll::Ready(Some(()))
    }

    fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Option<Line>> {
        loop {
            if let Some(line) = self.lines.next() {
                return Poll::Ready(Some(line));
            }
            let Some(payload) = &mut self.payload else {
                return Poll::Ready(None);
            };
            match Pin::new(payload).poll_next(cx) {
                Poll::Ready(Some(Ok(piece))) => self.lines.feed(piece),
                Poll::Ready(Some(Err(_))) => {
                    self.end(Problem::bad_request("the body broke off"));
                }
                Poll::Ready(None) => {
                    self.payload = None;
                    return Poll::Ready(self.lines.last());
                }
                Poll::Pending if self.draining.as_mut().poll(cx).is_ready() => {
                    self.end(stopping());
                }
                Poll::Pending => {
                    ready!(self.poll_patience(cx));
                    self.end(Problem::with_status(
                        StatusCode::REQUEST_TIMEOUT,
                        "no line came in time; send an empty one now and then to be waited for",
                    ));
                }
            }
        }
    }

    /// Ready once a line has been waited for long enough, with more time for a long one.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        let since = *self.waiting.get_or_insert(now);
        let deadline = since + body::patience(self.lines.pending());
        if now >= deadline {
            return Poll::Ready(());
        }
        if self.alarm.deadline() != deadline {
            self.alarm.as_mut().reset(deadline);
        }
        self.alarm.as_mut().poll(cx)
    }

    /// Reads no further; the last answer says why.
    fn end(&mut self, why: impl Into<Outcome>) {
        self.payload = None;
        self.lines = Lines::new(0);
        self.pipeline.answer(why);
    }
}

impl Actor for Answers {
    type Context = HttpContext<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.spawn(Turns);
    }
}

impl ActorFuture<Answers> for Turns {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        answers: &mut Answers,
        context: &mut HttpContext<Answers>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if let Some(piece) = ready!(answers.go_on(cx)) {
            // The body is polled again once this is on its way.
            context.write(piece);
            Poll::Pending
        } else {
            context.stop();
            Poll::Ready(())
        }
    }
}

fn put(piece: &mut BytesMut, outcome: &Outcome) {
    // Strings and numbers: there is nothing that could fail to be written.
    let _ = serde_json::to_writer(piece.writer(), outcome);
    piece.put_u8(b'\n');
}

/// Why nothing is published any more.
pub fn stopping() -> Refusal {
    Refusal::new(
        ErrorCode::Unavailable,
        "the broker is stopping; publish what is not answered to another node or after its start",
    )
    .retry_after(Duration::from_secs(1))
}

async fn drained(shutdown: Shutdown) {
    shutdown.reached(Phase::Draining).await;
}
