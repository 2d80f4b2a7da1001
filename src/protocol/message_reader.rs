//! Joins the fragments of messages, within bounds (RFC 6455 §5.4, §8.1).

use bytes::Bytes;

use super::{Close, CloseCode};

/// The most fragments that one message may come in.
pub const MAX_FRAGMENTS: usize = 1024;

/// Makes whole messages of the data frames of one connection. While no message is open it holds
/// nothing but two words.
#[derive(Debug)]
pub struct MessageReader {
    max_message: usize,
    open: Option<Box<Open>>,
}

/// The payload of one data frame, unmasked, and its place in its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A whole text message.
    Text(Bytes),
    /// A whole binary message.
    Binary(Bytes),
    /// The first fragment of a text message.
    FirstText(Bytes),
    /// The first fragment of a binary message.
    FirstBinary(Bytes),
    /// A fragment that is neither the first nor the last.
    Continue(Bytes),
    /// The last fragment.
    Last(Bytes),
}

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// Text: the bytes are valid UTF-8.
    Text(Bytes),
    /// Bytes.
    Binary(Bytes),
}

/// A message of which the last fragment has not come.
#[derive(Debug)]
struct Open {
    data: Vec<u8>,
    fragments: usize,
    /// For text: how many bytes are known to be whole characters.
    text: Option<usize>,
}

impl MessageReader {
    /// A reader that takes messages of at most `max_message` bytes.
    pub fn new(max_message: usize) -> Self {
        Self {
            max_message,
            open: None,
        }
    }

    /// Takes the next frame; gives the message that it completes.
    ///
    /// # Errors
    /// How the connection is to be closed: 1002 where frames are out of order, 1007 for text that
    /// is not UTF-8 (as soon as a fragment shows it), 1008 for too many fragments and 1009 for a
    /// message over the limit.
    pub fn feed(&mut self, piece: Piece) -> Result<Option<Incoming>, Close> {
        let result = self.take(piece);
        if result.is_err() {
            self.open = None;
        }
        result
    }

    fn take(&mut self, piece: Piece) -> Result<Option<Incoming>, Close> {
        match piece {
            Piece::Text(data) => {
                self.start(data.len())?;
                if std::str::from_utf8(&data).is_err() {
                    return Err(not_utf8());
                }
                Ok(Some(Incoming::Text(data)))
            }
            Piece::Binary(data) => {
                self.start(data.len())?;
                Ok(Some(Incoming::Binary(data)))
            }
            Piece::FirstText(data) => self.open(&data, Some(0)),
            Piece::FirstBinary(data) => self.open(&data, None),
            Piece::Continue(data) => self.go_on(&data).map(|_| None),
            Piece::Last(data) => {
                let text = self.go_on(&data)?;
                let Some(open) = self.open.take() else {
                    return Err(out_of_order());
                };
                match text {
                    Some(whole) if whole < open.data.len() => Err(not_utf8()),
                    Some(_) => Ok(Some(Incoming::Text(Bytes::from(open.data)))),
                    None => Ok(Some(Incoming::Binary(Bytes::from(open.data)))),
                }
            }
        }
    }

    /// A new message may start, of at least that many bytes.
    fn start(&self, len: usize) -> Result<(), Close> {
        if self.open.is_some() {
            return Err(Close::new(
                CloseCode::PROTOCOL_ERROR,
                "a message starts before the one before it has ended",
            ));
        }
        check_size(len, self.max_message)
    }

    fn open(&mut self, data: &[u8], text: Option<usize>) -> Result<Option<Incoming>, Close> {
        self.start(0)?;
        self.open = Some(Box::new(Open {
            data: Vec::new(),
            fragments: 0,
            text,
        }));
        self.go_on(data).map(|_| None)
    }

    /// Adds a fragment to the open message; gives how much of a text is known to be whole.
    fn go_on(&mut self, data: &[u8]) -> Result<Option<usize>, Close> {
        let Some(open) = &mut self.open else {
            return Err(out_of_order());
        };
        check_size(open.data.len().saturating_add(data.len()), self.max_message)?;
        open.fragments += 1;
        if open.fragments > MAX_FRAGMENTS {
            return Err(Close::new(CloseCode::POLICY, "too many fragments"));
        }
        open.data.extend_from_slice(data);
        if let Some(whole) = &mut open.text {
            match std::str::from_utf8(open.data.get(*whole..).unwrap_or_default()) {
                Ok(rest) => *whole += rest.len(),
                // A character may end in the next fragment.
                Err(error) if error.error_len().is_none() => *whole += error.valid_up_to(),
                Err(_) => return Err(not_utf8()),
            }
        }
        Ok(open.text)
    }
}

fn check_size(len: usize, max: usize) -> Result<(), Close> {
    if len > max {
        return Err(Close::new(
            CloseCode::TOO_LARGE,
            format!("a message may have at most {max} bytes"),
        ));
    }
    Ok(())
}

fn out_of_order() -> Close {
    Close::new(
        CloseCode::PROTOCOL_ERROR,
        "a continuation without a message to continue",
    )
}

fn not_utf8() -> Close {
    Close::new(CloseCode::INVALID_UTF8, "the text is not valid UTF-8")
}
