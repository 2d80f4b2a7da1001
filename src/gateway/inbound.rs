//! The frames that a WebSocket's client sends, all of one read as one item.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_http::ws::{Codec, Frame, ProtocolError};
use bytes::BytesMut;
use futures_util::Stream;
use smallvec::SmallVec;
use tokio_util::codec::Decoder;

use crate::broker::{Subscriber, Worker};
use crate::protocol::{Close, CloseCode};

use super::socket::{Inbound, Socket};

/// What one look at the socket gave; nothing, where the session was closed by someone else.
#[derive(Default)]
pub struct Arrivals {
    /// Frames in the order in which they came. actix hands an actor at most 16 items a poll, so
    /// one item holds all that one read brought.
    pub frames: SmallVec<[Frame; 1]>,
    /// What came after them broke the protocol.
    pub fault: Option<Close>,
}

/// Reads a socket until it ends.
pub struct Frames {
    socket: Rc<Socket>,
    subscriber: Rc<Subscriber>,
    worker: Rc<Worker>,
    codec: Codec,
    max_frame: usize,
    buf: BytesMut,
    /// A fault was told; what still comes is thrown away.
    failed: bool,
    /// The session has been told that it was closed.
    told: bool,
}

impl Frames {
    /// The frames of a socket, the first of which may be in `buf` already.
    pub fn new(
        socket: Rc<Socket>,
        subscriber: Rc<Subscriber>,
        worker: Rc<Worker>,
        max_frame: usize,
        buf: &[u8],
    ) -> Self {
        Self {
            socket,
            subscriber,
            worker,
            codec: Codec::new().max_size(max_frame),
            max_frame,
            // The connection's own read buffer is large: what is kept of it is copied.
            buf: BytesMut::from(buf),
            failed: false,
            told: false,
        }
    }

    fn decode(&mut self) -> Arrivals {
        let mut arrivals = Arrivals::default();
        while !self.failed {
            if let Some(fault) =
                check_header(&self.buf, self.max_frame).or_else(|| check_close(&self.buf))
            {
                arrivals.fault = Some(fault);
                self.failed = true;
                break;
            }
            match self.codec.decode(&mut self.buf) {
                Ok(Some(frame)) => arrivals.frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    arrivals.fault = Some(close_for(&error));
                    self.failed = true;
                }
            }
        }
        if self.failed || (self.buf.is_empty() && self.buf.capacity() > 0) {
            // An emptied buffer would keep its room for as long as the session lives.
            self.buf = BytesMut::new();
        }
        arrivals
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
            if !is_held && !this.buf.is_empty() {
                let arrivals = this.decode();
                if !arrivals.frames.is_empty() || arrivals.fault.is_some() {
                    return Poll::Ready(Some(arrivals));
                }
            }
            let polled = if is_held {
                this.socket.poll_hold(cx)
            } else {
                SCRATCH.with(|scratch| {
                    this.socket
                        .poll_read(cx, &mut scratch.borrow_mut(), &mut this.buf)
                })
            };
            match polled {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Inbound::Some) => {}
                Poll::Ready(Inbound::End) => return Poll::Ready(None),
            }
        }
    }
}

/// Looks at a frame's first bytes: actix-http's parser checks sizes only once a frame is whole, so
/// that a client could make it hold whatever length it declares.
fn check_header(buf: &[u8], max_frame: usize) -> Option<Close> {
    let (&[first, second], rest) = buf.split_first_chunk::<2>()?;
    if first & 0b0111_0000 != 0 {
        return Some(Close::new(
            CloseCode::PROTOCOL_ERROR,
            "a reserved bit is set and no extension was agreed on",
        ));
    }
    let declared = match second & 0x7f {
        126 => u64::from(u16::from_be_bytes(*rest.first_chunk::<2>()?)),
        127 => u64::from_be_bytes(*rest.first_chunk::<8>()?),
        short => u64::from(short),
    };
    let is_control = first & 0b1000 != 0;
    if is_control && (declared > 125 || first & 0x80 == 0) {
        return Some(Close::new(
            CloseCode::PROTOCOL_ERROR,
            "a control frame is whole and has at most 125 bytes",
        ));
    }
    if declared > max_frame as u64 {
        return Some(Close::new(
            CloseCode::TOO_LARGE,
            format!("a frame has at most {max_frame} bytes here"),
        ));
    }
    None
}

/// Looks into a close frame that is whole: actix-http's parser refuses a reason that is not UTF-8, and
/// a code that may not be sent, with the error that it has for opcodes.
fn check_close(buf: &[u8]) -> Option<Close> {
    let (&[0x88, second], rest) = buf.split_first_chunk::<2>()? else {
        return None;
    };
    if second & 0x80 == 0 {
        return None;
    }
    let (mask, rest) = rest.split_first_chunk::<4>()?;
    let masked = rest.get(..usize::from(second & 0x7f))?;
    let payload: SmallVec<[u8; 125]> = masked
        .iter()
        .zip(mask.iter().cycle())
        .map(|(byte, key)| byte ^ key)
        .collect();
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return (payload.len() == 1).then(|| {
            Close::new(
                CloseCode::PROTOCOL_ERROR,
                "a close frame has no code or one of two bytes",
            )
        });
    };
    if !CloseCode::is_valid_from_peer(u16::from_be_bytes(*code)) {
        return Some(Close::new(
            CloseCode::PROTOCOL_ERROR,
            "the close code is none that may be sent",
        ));
    }
    std::str::from_utf8(reason).err().map(|_| {
        Close::new(
            CloseCode::INVALID_UTF8,
            "the reason of the close frame is not valid UTF-8",
        )
    })
}

fn close_for(error: &ProtocolError) -> Close {
    match error {
        ProtocolError::Overflow => Close::new(CloseCode::TOO_LARGE, "the frame is too large"),
        ProtocolError::UnmaskedFrame => {
            Close::new(CloseCode::PROTOCOL_ERROR, "a client masks its frames")
        }
        ProtocolError::BadOpCode | ProtocolError::InvalidOpcode(_) => {
            Close::new(CloseCode::PROTOCOL_ERROR, "the frame has an unknown opcode")
        }
        ProtocolError::ContinuationStarted | ProtocolError::ContinuationNotStarted => Close::new(
            CloseCode::PROTOCOL_ERROR,
            "a fragment stands where none may",
        ),
        _ => Close::new(CloseCode::PROTOCOL_ERROR, "the frame breaks RFC 6455"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_frame_is_held_to_the_rfc() {
        let code = |payload: &[u8]| {
            let mut frame = vec![0x88, 0x80 | payload.len() as u8, 1, 2, 3, 4];
            let keys = [1u8, 2, 3, 4];
            frame.extend(payload.iter().zip(keys.iter().cycle()).map(|(b, k)| b ^ k));
            let cut = frame.get(..frame.len() - 1).unwrap_or_default();
            assert!(check_close(cut).is_none(), "a part tells nothing");
            check_close(&frame).map(|close| close.code)
        };
        for (payload, expected) in [
            (&b""[..], None),
            (&b"\x03"[..], Some(CloseCode::PROTOCOL_ERROR)),
            (&b"\x03\xe8"[..], None),
            (&b"\x03\xe8bye"[..], None),
            (&b"\x03\xe8\xc3\xa9"[..], None),
            (&b"\x03\xe8\xff"[..], Some(CloseCode::INVALID_UTF8)),
            (&b"\x03\xe8\xc3"[..], Some(CloseCode::INVALID_UTF8)),
            (&b"\x03\xed"[..], Some(CloseCode::PROTOCOL_ERROR)),
            (&b"\x03\xe7"[..], Some(CloseCode::PROTOCOL_ERROR)),
            (&b"\x13\x88"[..], Some(CloseCode::PROTOCOL_ERROR)),
        ] {
            assert_eq!(code(payload), expected, "{payload:x?}");
        }
    }

    #[test]
    fn a_frame_is_refused_at_its_header() {
        let code = |bytes: &[u8]| check_header(bytes, 1000).map(|close| close.code);
        let huge = [0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0];
        for (bytes, expected) in [
            (&huge[..], Some(CloseCode::TOO_LARGE)),
            (
                &[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0],
                Some(CloseCode::TOO_LARGE),
            ),
            (&[0x81, 0xfe, 0x03, 0xe9], Some(CloseCode::TOO_LARGE)),
            (&[0x81, 0xfe, 0x03, 0xe8], None),
            (&[0x81, 0xfe, 0x03], None),
            (&[0x81], None),
            (&[0xc1, 0x80], Some(CloseCode::PROTOCOL_ERROR)),
            (&[0x89, 0xfe, 0, 126], Some(CloseCode::PROTOCOL_ERROR)),
            (&[0x09, 0x80], Some(CloseCode::PROTOCOL_ERROR)),
            (&[0x89, 0xfd], None),
        ] {
            assert_eq!(code(bytes), expected, "{bytes:x?}");
        }
    }
}
