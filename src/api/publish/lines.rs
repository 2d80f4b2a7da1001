//! Lines of a body that comes in pieces.

use bytes::{Buf as _, Bytes, BytesMut};

/// Makes lines of pieces. Holds at most one line that has not ended, and the last piece.
#[derive(Debug)]
pub struct Lines {
    held: BytesMut,
    /// So much of it has no end of a line.
    searched: usize,
    longest: usize,
    /// What is left of a line that was too long is passed over.
    is_skipping: bool,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Its bytes, without the end of the line.
    Whole(Bytes),
    /// It is longer than lines may be, and not held.
    TooLong,
}

impl Lines {
    /// Lines of at most so many bytes.
    pub fn new(longest: usize) -> Self {
        Self {
            held: BytesMut::new(),
            searched: 0,
            longest,
            is_skipping: false,
        }
    }

    /// Takes the next piece. To be called once [`next`](Self::next) has no more.
    pub fn feed(&mut self, mut piece: Bytes) {
        if self.is_skipping {
            match find_end(&piece) {
                None => return,
                Some(end) => {
                    piece.advance(end + 1);
                    self.is_skipping = false;
                }
            }
        }
        self.held.extend_from_slice(&piece);
    }

    /// The next line that has ended, or is too long already.
    pub fn next(&mut self) -> Option<Line> {
        let unsearched = self.held.get(self.searched..).unwrap_or_default();
        match find_end(unsearched) {
            Some(end) => {
                let line = self.held.split_to(self.searched + end).freeze();
                self.held.advance(1);
                self.searched = 0;
                Some(self.bounded(line))
            }
            None if self.held.len() > self.longest => {
                self.held.clear();
                self.searched = 0;
                self.is_skipping = true;
                Some(Line::TooLong)
            }
            None => {
                self.searched = self.held.len();
                None
            }
        }
    }

    /// What stands after the last end of a line, once there are no more pieces.
    pub fn last(&mut self) -> Option<Line> {
        self.searched = 0;
        let line = self.held.split().freeze();
        (!line.is_empty()).then(|| self.bounded(line))
    }

    /// How many bytes wait for the end of their line.
    pub fn pending(&self) -> usize {
        self.held.len()
    }

    fn bounded(&self, line: Bytes) -> Line {
        if line.len() > self.longest {
            Line::TooLong
        } else {
            Line::Whole(line)
        }
    }
}

fn find_end(bytes: &[u8]) -> Option<usize> {
    memchr::memchr(b'\n', bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]], longest: usize) -> Vec<Line> {
        let mut lines = Lines::new(longest);
        let mut read = Vec::new();
        for piece in pieces {
            lines.feed(Bytes::copy_from_slice(piece));
            read.extend(std::iter::from_fn(|| lines.next()));
            assert!(lines.pending() <= longest);
        }
        read.extend(lines.last());
        assert_eq!(lines.pending(), 0);
        read
    }

    fn whole(text: &str) -> Line {
        Line::Whole(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_the_next_is_read() {
        for pieces in [
            &[&b"ab\nabcdefghij\ncd\n"[..]][..],
            &[b"ab\nabc", b"def", b"ghij\nc", b"d"],
            &[b"ab\nabcdefg", b"h", b"ij", b"\n", b"cd\n"],
        ] {
            let expected = [whole("ab"), Line::TooLong, whole("cd")];
            assert_eq!(read(pieces, 4), expected, "{pieces:?}");
        }
        assert_eq!(read(&[b"abcde"], 4), [Line::TooLong]);
        assert_eq!(read(&[b"abcd"], 4), [whole("abcd")]);
        assert_eq!(read(&[b"\n\n"], 4), [whole(""), whole("")]);
        assert_eq!(read(&[], 4), []);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_a_body_is_cut(
            body in proptest::collection::vec(proptest::sample::select(&b"ab\n"[..]), 0..60),
            cuts in proptest::collection::vec(0_usize..60, 0..6),
            longest in 1_usize..8,
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&pieces, longest), read(&[&body], longest));
        }
    }
}
