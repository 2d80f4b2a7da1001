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
        open.grow(data.len(), self.max_message);
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

impl Open {
    /// Makes room for `more` bytes: twice what there is, but never more than a message may have.
    fn grow(&mut self, more: usize, max: usize) {
        let needed = self.data.len() + more;
        if needed > self.data.capacity() {
            let room = (self.data.capacity() * 2).min(max).max(needed);
            self.data.reserve_exact(room - self.data.len());
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(data: &[u8]) -> Bytes {
        Bytes::copy_from_slice(data)
    }

    /// What the last of the pieces gives; those before it must give nothing.
    fn feed(max: usize, pieces: Vec<Piece>) -> Result<Option<Incoming>, Close> {
        let mut reader = MessageReader::new(max);
        let mut last = Ok(None);
        for piece in pieces {
            assert_eq!(last, Ok(None), "before {piece:?}");
            last = reader.feed(piece);
        }
        last
    }

    fn code(result: Result<Option<Incoming>, Close>) -> u16 {
        result.unwrap_err().code.0
    }

    #[test]
    fn whole_messages_pass_without_a_copy() {
        let data = bytes("é".as_bytes());
        let at = data.as_ptr();
        let Ok(Some(Incoming::Text(text))) = feed(2, vec![Piece::Text(data)]) else {
            panic!("a text");
        };
        assert_eq!(text.as_ptr(), at);
        let binary = feed(2, vec![Piece::Binary(bytes(b"\xff"))]);
        assert_eq!(binary, Ok(Some(Incoming::Binary(bytes(b"\xff")))));
    }

    #[test]
    fn fragments_are_joined_in_order() {
        let text = feed(
            9,
            vec![
                Piece::FirstText(bytes(b"a\xe2")),
                Piece::Continue(bytes(b"\x82")),
                Piece::Continue(bytes(b"")),
                Piece::Last(bytes(b"\xacb")),
            ],
        );
        assert_eq!(text, Ok(Some(Incoming::Text(bytes("a€b".as_bytes())))));
        let binary = feed(
            9,
            vec![
                Piece::FirstBinary(bytes(b"\xe2")),
                Piece::Last(bytes(b"\xff")),
            ],
        );
        assert_eq!(binary, Ok(Some(Incoming::Binary(bytes(b"\xe2\xff")))));
    }

    #[test]
    fn a_message_may_have_the_limit_and_not_a_byte_more() {
        for (whole, fragmented, accepted) in [(4, (2, 2), true), (5, (2, 3), false)] {
            let whole = feed(4, vec![Piece::Binary(bytes(&vec![0; whole]))]);
            let fragmented = feed(
                4,
                vec![
                    Piece::FirstBinary(bytes(&vec![0; fragmented.0])),
                    Piece::Last(bytes(&vec![0; fragmented.1])),
                ],
            );
            for result in [whole, fragmented] {
                if accepted {
                    assert!(result.is_ok());
                } else {
                    assert_eq!(code(result), 1009);
                }
            }
        }
        assert_eq!(code(feed(4, vec![Piece::FirstText(bytes(b"12345"))])), 1009);
    }

    #[test]
    fn text_that_is_not_utf8_ends_the_connection_with_the_fragment_that_shows_it() {
        for pieces in [
            vec![Piece::Text(bytes(b"\xff"))],
            vec![Piece::Text(bytes(b"a\xe2\x82"))],
            vec![Piece::FirstText(bytes(b"a\xff"))],
            vec![
                Piece::FirstText(bytes(b"a\xe2")),
                Piece::Continue(bytes(b"a")),
            ],
            // An overlong form and a surrogate show in their second byte.
            vec![
                Piece::FirstText(bytes(b"\xe0")),
                Piece::Continue(bytes(b"\x80")),
            ],
            vec![
                Piece::FirstText(bytes(b"\xed")),
                Piece::Continue(bytes(b"\xa0")),
            ],
            // Ends within a character.
            vec![
                Piece::FirstText(bytes(b"a\xe2")),
                Piece::Last(bytes(b"\x82")),
            ],
        ] {
            let what = format!("{pieces:?}");
            assert_eq!(code(feed(99, pieces)), 1007, "{what}");
        }
    }

    #[test]
    fn frames_out_of_order_are_a_protocol_error() {
        for pieces in [
            vec![Piece::Continue(bytes(b""))],
            vec![Piece::Last(bytes(b""))],
            vec![Piece::FirstText(bytes(b"")), Piece::Text(bytes(b""))],
            vec![Piece::FirstText(bytes(b"")), Piece::Binary(bytes(b""))],
            vec![Piece::FirstBinary(bytes(b"")), Piece::FirstText(bytes(b""))],
        ] {
            let what = format!("{pieces:?}");
            assert_eq!(code(feed(99, pieces)), 1002, "{what}");
        }
    }

    #[test]
    fn a_message_comes_in_a_bounded_number_of_fragments() {
        let mut pieces = vec![Piece::FirstText(Bytes::new())];
        pieces.resize(MAX_FRAGMENTS - 1, Piece::Continue(Bytes::new()));
        let mut enough = pieces.clone();
        enough.push(Piece::Last(Bytes::new()));
        assert_eq!(feed(9, enough), Ok(Some(Incoming::Text(Bytes::new()))));
        pieces.push(Piece::Continue(Bytes::new()));
        pieces.push(Piece::Last(Bytes::new()));
        assert_eq!(code(feed(9, pieces)), 1008);
    }

    #[test]
    fn an_idle_reader_is_two_words() {
        assert_eq!(size_of::<MessageReader>(), 2 * size_of::<usize>());
    }

    proptest! {
        #[test]
        fn a_text_cut_anywhere_reads_as_it_was(
            text in any::<String>(),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 1..8),
        ) {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut start = 0;
            for cut in cuts {
                let data = bytes(&text.as_bytes()[start..cut]);
                pieces.push(match pieces.len() {
                    0 => Piece::FirstText(data),
                    _ => Piece::Continue(data),
                });
                start = cut;
            }
            pieces.push(Piece::Last(bytes(&text.as_bytes()[start..])));
            let whole = feed(text.len(), pieces);
            prop_assert_eq!(whole, Ok(Some(Incoming::Text(bytes(text.as_bytes())))));
        }

        #[test]
        fn fragments_are_valid_exactly_where_the_whole_is(
            data in proptest::collection::vec(
                prop_oneof![Just(0xe2_u8), Just(0x82), Just(0xac), Just(0xf0), Just(b'a'), any::<u8>()],
                0..6,
            ),
        ) {
            let mut reader = MessageReader::new(99);
            let mut result = reader.feed(Piece::FirstText(Bytes::new()));
            for byte in &data {
                if result.is_ok() {
                    result = reader.feed(Piece::Continue(bytes(&[*byte])));
                }
            }
            if result.is_ok() {
                result = reader.feed(Piece::Last(Bytes::new()));
            }
            prop_assert_eq!(result.is_ok(), std::str::from_utf8(&data).is_ok());
        }
    }
}
