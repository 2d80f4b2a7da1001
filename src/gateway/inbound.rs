//! The frames that a WebSocket's client sends, all of one read as one item.

use std::cell::{Cell, RefCell};
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_util::Stream;

use crate::broker::{Subscriber, Worker};
use crate::websocket::{Decoder, Event, Fault, Input};

use super::socket::Socket;

/// What one look at the socket gave; nothing, where the session was closed by someone else.
#[derive(Default)]
pub struct Arrivals {
    /// What came, in order. actix hands an actor at most 16 items a poll, so one item holds all that
    /// one read brought.
    pub events: Vec<Event>,
    /// What came after them broke the protocol.
    pub fault: Option<Fault>,
}

thread_local! {
    /// Room for what the next read brings.
    static ROOM: Cell<Vec<Event>> = const { Cell::new(Vec::new()) };
}

/// The most events that there is room for while nothing is read.
const MAX_ROOM: usize = 1024;

impl Arrivals {
    /// Gives the room of events that were carried out to the next read.
    pub fn recycle(mut events: Vec<Event>) {
        if (1..=MAX_ROOM).contains(&events.capacity()) {
            events.clear();
            ROOM.set(events);
        }
    }
}

/// Reads a socket until it ends.
pub struct Frames {
    socket: Rc<Socket>,
    subscriber: Rc<Subscriber>,
    worker: Rc<Worker>,
    decoder: Decoder,
    /// What came with the handshake.
    first: Vec<u8>,
    /// The session has been told that it was closed.
    told: bool,
}

impl Frames {
    /// The frames of a socket, the first of which came with the handshake.
    pub fn new(
        socket: Rc<Socket>,
        subscriber: Rc<Subscriber>,
        worker: Rc<Worker>,
        decoder: Decoder,
        first: &[u8],
    ) -> Self {
        Self {
            socket,
            subscriber,
            worker,
            decoder,
            // The connection's own read buffer is large: what is kept of it is copied.
            first: first.to_vec(),
            told: false,
        }
    }

    /// All that the bytes of one read amount to; `None` where more must come.
    fn decode(decoder: &mut Decoder, read: &mut [u8]) -> Option<Arrivals> {
        let mut arrivals = Arrivals {
            events: ROOM.take(),
            fault: None,
        };
        let mut read = Input::new(read);
        loop {
            match decoder.next(&mut read) {
                Ok(Some(event)) => arrivals.events.push(event),
                Ok(None) => break,
                Err(fault) => {
                    arrivals.fault = Some(fault);
                    break;
                }
            }
        }
        if arrivals.events.is_empty() && arrivals.fault.is_none() {
            Arrivals::recycle(arrivals.events);
            return None;
        }
        Some(arrivals)
    }
}

impl Stream for Frames {
    type Item = Arrivals;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Arrivals>> {
        thread_local!(static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 * 1024]));
        let this = &mut *self;
        loop {
            if !this.told && this.subscriber.closed_with().is_some() {
                // Closed by something that is not the session: the broker, the timer or the drain.
                this.told = true;
                return Poll::Ready(Some(Arrivals::default()));
            }
            // Whose answers pile up, and who publishes more than gets on, is not read.
            let is_held = !this.subscriber.is_ending()
                && (this.subscriber.is_congested() || this.worker.holds_back(cx.waker()));
            if !is_held && let Some(arrivals) = this.socket.take_back() {
                return Poll::Ready(Some(arrivals));
            }
            if is_held {
                return this.socket.poll_hold(cx).map(|()| None);
            }
            let mut first = mem::take(&mut this.first);
            if let Some(arrivals) = Self::decode(&mut this.decoder, &mut first) {
                return Poll::Ready(Some(arrivals));
            }
            let polled = SCRATCH.with_borrow_mut(|scratch| {
                let read = ready!(this.socket.poll_scratch(cx, scratch));
                let read = read.and_then(|n| scratch.get_mut(..n));
                Poll::Ready(read.map(|read| Self::decode(&mut this.decoder, read)))
            });
            match polled {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Some(arrivals))) => return Poll::Ready(Some(arrivals)),
                Poll::Ready(Some(None)) => {}
            }
        }
    }
}
