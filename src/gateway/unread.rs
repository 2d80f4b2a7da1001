//! Bodies in chunks that are not read to their end.
//!
//! actix-http ends a connection whose request has a length and was not read, after a moment in which the
//! answer can be. Of one in chunks it waits for the rest instead, without a bound, even if the answer said
//! that the connection ends. It does so once nobody holds the body any more, so here it is held.

use std::cell::RefCell;
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::error::PayloadError;
use actix_web::HttpMessage as _;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use bytes::Bytes;
use futures_util::Stream;

/// The body of a request in chunks, until it was read to its end.
#[derive(Clone)]
pub struct Unread(Rc<RefCell<Option<Payload>>>);

/// The body of an answer, with what is left of the request's.
struct Held {
    body: BoxBody,
    _rest: Unread,
}

impl Unread {
    /// Puts itself in the place of the request's body, where that comes in chunks.
    pub fn of(request: &mut ServiceRequest) -> Option<Self> {
        if !request.chunked().unwrap_or(false) {
            return None;
        }
        let unread = Self(Rc::new(RefCell::new(Some(request.take_payload()))));
        request.set_payload(Payload::Stream {
            payload: Box::pin(unread.clone()),
        });
        Some(unread)
    }

    /// Holds what is left of the body until the answer is given, so that the connection ends with it.
    pub fn hold(self, answer: ServiceResponse) -> ServiceResponse {
        // An answer that is made while the body comes may read the rest.
        let is_read = self.0.borrow().is_none();
        if is_read {
            return answer;
        }
        answer.map_body(|_, body| BoxBody::new(Held { body, _rest: self }))
    }
}

impl Stream for Unread {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut rest = self.0.borrow_mut();
        let Some(body) = &mut *rest else {
            return Poll::Ready(None);
        };
        let piece = ready!(Pin::new(body).poll_next(cx));
        if piece.is_none() {
            *rest = None;
        }
        Poll::Ready(piece)
    }
}

impl MessageBody for Held {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}
