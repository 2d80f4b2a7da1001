//! Reads the frames of one client, as they come.

use bytes::Bytes;

use super::head::{Head, MAX_HEAD, reserved_bit};
use super::inflate::{Inflater, with_shared};
use super::message::{Growing, Incoming, Kind};
use super::{Fault, Input, Negotiated, Opcode, close, mask};

/// What a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest payload of a frame, in bytes.
    pub frame: usize,
    /// The longest message, in bytes: as sent, and once more when it is inflated.
    pub message: usize,
    /// The most fragments that one message may come in.
    pub fragments: u32,
    /// How many bytes the headers of a message's fragments may have beyond what the fragments carry.
    pub overhead: u32,
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole message, and how many bytes its last frame carried.
    Message(Incoming, usize),
    /// A fragment that is not the last of its message, and how many bytes it carried.
    Fragment(usize),
    /// A ping, to be answered by a pong with the same payload.
    Ping(Bytes),
    /// A pong.
    Pong(Bytes),
    /// The peer closes, with that code if it told one. Whatever follows is ignored.
    Close(Option<u16>),
}

/// Makes events of the bytes that one client sends, however they are cut.
///
/// Frames are unmasked where they lie in the reader's buffer; what is copied is each message, into
/// memory of just its size. A frame that is too long is refused by its header, and memory is taken for
/// what has come, never for what was declared. Between messages nothing is held.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    inflation: Inflation,
    has_ended: bool,
    open: Option<Box<Open>>,
}

/// How compressed messages are inflated.
#[derive(Debug)]
enum Inflation {
    /// It was not agreed on.
    Off,
    /// Each message for itself: one inflater is enough for all connections of a thread.
    EachAnew,
    /// With what came before; made with the first compressed message.
    GoesOn(u8, Option<Box<Inflater>>),
}

/// What is not whole.
#[derive(Debug, Default)]
struct Open {
    /// The first bytes of a header.
    head: [u8; MAX_HEAD],
    head_len: usize,
    /// The frame of which a part came.
    frame: Option<Frame>,
    /// The payload of a control frame, which may come within a message.
    control: Vec<u8>,
    message: Option<Growing>,
}

/// A frame whose payload comes.
#[derive(Debug)]
struct Frame {
    head: Head,
    /// The length of its header.
    size: usize,
    /// For what comes next.
    key: [u8; 4],
    /// How many bytes of it came.
    got: usize,
    /// How many bytes are still to come.
    left: usize,
}

impl Decoder {
    /// A decoder for a connection that agreed on that.
    pub fn new(limits: Limits, deflate: Option<&Negotiated>) -> Self {
        Self {
            limits,
            inflation: match deflate {
                None => Inflation::Off,
                Some(agreed) if agreed.client_takeover => {
                    Inflation::GoesOn(agreed.client_window, None)
                }
                Some(_) => Inflation::EachAnew,
            },
            has_ended: false,
            open: None,
        }
    }

    /// The next event in `input`, of which everything that was looked at is taken away; `None` where
    /// more must come. After a close or a fault all input is thrown away.
    ///
    /// # Errors
    /// What the peer did wrong: 1002 for what is no WebSocket, 1007 for a text that is not UTF-8 (as
    /// soon as a byte shows it) and for data that cannot be inflated, 1008 for too many fragments, and
    /// 1009 for what is over a limit (a frame by its header).
    pub fn next(&mut self, input: &mut Input<'_>) -> Result<Option<Event>, Fault> {
        let result = if self.has_ended {
            Ok(None)
        } else {
            self.read(input)
        };
        if matches!(result, Err(_) | Ok(Some(Event::Close(_)))) {
            self.has_ended = true;
            self.open = None;
        }
        if self.has_ended {
            input.clear();
        }
        result
    }

    fn read(&mut self, input: &mut Input<'_>) -> Result<Option<Event>, Fault> {
        let begun = self.open.as_mut().and_then(|open| open.frame.take());
        let frame = match begun {
            Some(frame) => frame,
            None => match self.begin(input)? {
                Some(frame) => frame,
                None => return Ok(None),
            },
        };
        let payload = input.take(frame.left);
        mask::apply(payload, frame.key);
        let event = match frame.head.opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => self.on_control(&frame, payload)?,
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                self.on_data(&frame, payload)?
            }
        };
        if event.is_none() {
            self.open().frame = Some(frame.after(payload.len()));
        } else if self
            .open
            .as_ref()
            .is_some_and(|open| open.message.is_none())
        {
            self.open = None;
        }
        Ok(event)
    }

    /// Reads a header, the first bytes of which may have come before.
    fn begin(&mut self, input: &mut Input<'_>) -> Result<Option<Frame>, Fault> {
        let mut joined = [0; MAX_HEAD];
        let before = self.open.as_ref().map_or(0, |open| {
            joined = open.head;
            open.head_len
        });
        let head = if before == 0 {
            input.rest()
        } else {
            let mut len = before;
            for (place, byte) in joined.iter_mut().skip(before).zip(input.rest()) {
                *place = *byte;
                len += 1;
            }
            joined.get(..len).unwrap_or_default()
        };
        if let Some(frame) = self.header(head)? {
            input.take(frame.size - before);
            if let Some(open) = &mut self.open {
                open.head_len = 0;
            }
            return Ok(Some(frame));
        }
        let len = head.len();
        if before == 0 {
            for (place, byte) in joined.iter_mut().zip(input.rest()) {
                *place = *byte;
            }
        }
        input.clear();
        if len > 0 {
            let open = self.open();
            open.head = joined;
            open.head_len = len;
        }
        Ok(None)
    }

    /// The frame whose header stands at the beginning of `bytes`.
    fn header(&self, bytes: &[u8]) -> Result<Option<Frame>, Fault> {
        let Some((head, size)) = Head::read(bytes)? else {
            return Ok(None);
        };
        let len = self.admit(&head, size + 4)?;
        let key = bytes.get(size..).and_then(|rest| rest.first_chunk::<4>());
        Ok(key.map(|key| Frame {
            head,
            size: size + 4,
            key: *key,
            got: 0,
            left: len,
        }))
    }

    /// Whether the frame may stand where it stands, and be as long as it says; gives its length.
    fn admit(&self, head: &Head, size: usize) -> Result<usize, Fault> {
        if head.compressed && matches!(self.inflation, Inflation::Off) {
            return Err(reserved_bit());
        }
        let len = usize::try_from(head.len).unwrap_or(usize::MAX);
        if head.opcode.is_control() {
            return Ok(len);
        }
        let message = self.open.as_ref().and_then(|open| open.message.as_ref());
        let (before, fragments, overhead) = match (head.opcode, message) {
            (Opcode::Continuation, Some(message)) => {
                (message.len(), message.fragments, message.overhead)
            }
            (Opcode::Continuation, None) => {
                return Err(Fault::protocol(
                    "a continuation without a message to continue",
                ));
            }
            (_, Some(_)) => {
                return Err(Fault::protocol(
                    "a message starts before the one before it has ended",
                ));
            }
            (_, None) => (0, 0, 0),
        };
        if len > self.limits.frame {
            return Err(Fault::too_large("frame", self.limits.frame));
        }
        let whole = before.saturating_add(len);
        if whole > self.limits.message {
            return Err(Fault::too_large("message", self.limits.message));
        }
        if fragments >= self.limits.fragments
            || overhead + size > whole.saturating_add(self.limits.overhead as usize)
        {
            return Err(Fault::policy("too many fragments"));
        }
        Ok(len)
    }

    fn on_control(&mut self, frame: &Frame, payload: &[u8]) -> Result<Option<Event>, Fault> {
        let joined;
        let payload = if frame.is_whole(payload) {
            payload
        } else {
            let control = &mut self.open().control;
            control.extend_from_slice(payload);
            if payload.len() < frame.left {
                return Ok(None);
            }
            joined = std::mem::take(control);
            &joined
        };
        Ok(Some(match frame.head.opcode {
            Opcode::Close => Event::Close(close::read(payload)?),
            Opcode::Ping => Event::Ping(Bytes::copy_from_slice(payload)),
            _ => Event::Pong(Bytes::copy_from_slice(payload)),
        }))
    }

    fn on_data(&mut self, frame: &Frame, payload: &[u8]) -> Result<Option<Event>, Fault> {
        if payload.is_empty() && frame.left > 0 {
            // Only its header came.
            return Ok(None);
        }
        let head = &frame.head;
        let kind = Kind {
            text: head.opcode == Opcode::Text,
            compressed: head.compressed,
        };
        if head.last && head.opcode != Opcode::Continuation && frame.is_whole(payload) {
            // Most messages: one frame, which came whole.
            let message = if kind.compressed {
                self.inflated(kind, payload)?
            } else {
                kind.of(Bytes::copy_from_slice(payload))?
            };
            return Ok(Some(Event::Message(message, payload.len())));
        }
        let max = self.limits.message;
        let open = self.open();
        let message = open.message.get_or_insert_with(|| Growing::new(kind));
        let expected = if head.last {
            message.len() + frame.left
        } else {
            max
        };
        message.push(payload, expected)?;
        if payload.len() < frame.left {
            return Ok(None);
        }
        let carried = frame.got + payload.len();
        if !head.last {
            message.fragments += 1;
            message.overhead += frame.size;
            return Ok(Some(Event::Fragment(carried)));
        }
        let Some(message) = open.message.take() else {
            return Ok(None);
        };
        let kind = message.kind;
        let data = message.finish()?;
        let message = if kind.compressed {
            self.inflated(kind, &data)?
        } else {
            kind.of(Bytes::from(data))?
        };
        Ok(Some(Event::Message(message, carried)))
    }

    fn inflated(&mut self, kind: Kind, data: &[u8]) -> Result<Incoming, Fault> {
        let max = self.limits.message;
        let data = match &mut self.inflation {
            Inflation::Off => return Err(reserved_bit()),
            Inflation::EachAnew => with_shared(|inflater| inflater.inflate(data, max, false))?,
            Inflation::GoesOn(window, inflater) => inflater
                .get_or_insert_with(|| Box::new(Inflater::new(*window)))
                .inflate(data, max, true)?,
        };
        kind.of(Bytes::from(data))
    }

    fn open(&mut self) -> &mut Open {
        self.open.get_or_insert_default()
    }
}

impl Frame {
    /// Whether that is all of it.
    fn is_whole(&self, payload: &[u8]) -> bool {
        self.got == 0 && self.left == payload.len()
    }

    /// What is to come after so many bytes of it.
    fn after(mut self, bytes: usize) -> Self {
        self.key = mask::key_after(self.key, bytes);
        self.got += bytes;
        self.left -= bytes;
        self
    }
}

#[cfg(test)]
mod tests;
