//! Where a message stands in its topic's history.

use std::fmt;

/// This life of a topic's history: an opaque text of 1 to 8 characters. A topic whose history was
/// lost or cleared starts another one, so that no offset ever means two messages.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch {
    text: [u8; 8],
    len: u8,
}

impl Epoch {
    /// An epoch from a client: `None` where the text is none that a broker ever made (empty, too
    /// long, or with characters other than ASCII letters and digits).
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > 8 || !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return None;
        }
        let mut epoch = Self {
            text: [0; 8],
            len: text.len() as u8,
        };
        for (slot, byte) in epoch.text.iter_mut().zip(text.bytes()) {
            *slot = byte;
        }
        Some(epoch)
    }

    /// An epoch made of a random number.
    pub fn from_random(random: u64) -> Self {
        const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let mut text = [b'0'; 8];
        for (place, slot) in text.iter_mut().enumerate() {
            let digit = (random >> (place * 5)) & 31;
            *slot = DIGITS.get(digit as usize).copied().unwrap_or(b'0');
        }
        Self { text, len: 8 }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.text
            .get(..usize::from(self.len))
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .unwrap_or_default()
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({})", self.as_str())
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A place in a topic's history: offset 0 is before the first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The life of the history that the offset belongs to.
    pub epoch: Epoch,
    /// Counts from 1, rising by one.
    pub offset: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_reads_back_as_it_was_written() {
        for text in ["a", "Zz9", "12345678"] {
            assert_eq!(
                Epoch::parse(text).map(|e| e.to_string()).as_deref(),
                Some(text)
            );
        }
        for random in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
            let epoch = Epoch::from_random(random);
            assert_eq!(Epoch::parse(epoch.as_str()), Some(epoch));
        }
    }

    #[test]
    fn a_text_that_no_broker_made_is_no_epoch() {
        for text in ["", "123456789", "a b", "é", "a-b"] {
            assert_eq!(Epoch::parse(text), None, "{text:?}");
        }
    }
}
