//! Whole messages, and those that are still coming: joined from fragments and pieces, within bounds.

use bytes::Bytes;
use bytestring::ByteString;

use super::Fault;

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// Text.
    Text(ByteString),
    /// Bytes.
    Binary(Bytes),
}

/// What a message says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// A text, which is to be UTF-8.
    pub text: bool,
    /// Compressed as a whole (RFC 7692 §6).
    pub compressed: bool,
}

impl Kind {
    /// The message that has those bytes.
    ///
    /// # Errors
    /// 1007 for a text that is not UTF-8.
    pub fn of(self, data: Bytes) -> Result<Incoming, Fault> {
        if !self.text {
            return Ok(Incoming::Binary(data));
        }
        let text = ByteString::try_from(data).map_err(|_| not_utf8())?;
        Ok(Incoming::Text(text))
    }
}

/// A message that is not whole.
#[derive(Debug)]
pub(super) struct Growing {
    pub kind: Kind,
    /// The fragments that came.
    pub fragments: u32,
    /// The bytes of their headers.
    pub overhead: usize,
    data: Vec<u8>,
    /// Of a text: how many bytes are known to be whole characters.
    checked: usize,
}

impl Growing {
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            fragments: 0,
            overhead: 0,
            data: Vec::new(),
            checked: 0,
        }
    }

    /// How many bytes came.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.data.capacity()
    }

    /// Makes room for `more` bytes: twice what there is, but never more than `expected` in all.
    fn make_room(&mut self, more: usize, expected: usize) {
        let needed = self.data.len() + more;
        if needed > self.data.capacity() {
            let room = (self.data.capacity() * 2).min(expected).max(needed);
            self.data.reserve_exact(room - self.data.len());
        }
    }

    /// Adds what came; in all there will be `expected` bytes at most.
    ///
    /// # Errors
    /// 1007 for a text that cannot become UTF-8 any more, whatever follows (RFC 6455 §8.1).
    pub fn push(&mut self, piece: &[u8], expected: usize) -> Result<(), Fault> {
        self.make_room(piece.len(), expected);
        self.data.extend_from_slice(piece);
        if self.kind.text && !self.kind.compressed {
            match std::str::from_utf8(self.data.get(self.checked..).unwrap_or_default()) {
                Ok(rest) => self.checked += rest.len(),
                // A character may end in what comes next.
                Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
                Err(_) => return Err(not_utf8()),
            }
        }
        Ok(())
    }

    /// The bytes as they were sent, all of which came.
    ///
    /// # Errors
    /// 1007 for a text that ends within a character.
    pub fn finish(self) -> Result<Vec<u8>, Fault> {
        if self.kind.text && !self.kind.compressed && self.checked < self.data.len() {
            return Err(not_utf8());
        }
        Ok(self.data)
    }
}

fn not_utf8() -> Fault {
    Fault::inconsistent("the text is not valid UTF-8")
}
