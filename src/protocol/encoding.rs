//! How the frames of a session stand on its wire: plain, or compressed once for all that agreed on the
//! same (RFC 7692).

use bytes::Bytes;

use super::WireFormat;
use crate::websocket::{Deflater, Opcode, put_deflated};

/// How frames stand on a session's wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Encoding {
    /// What is spoken.
    pub format: WireFormat,
    /// The window for which messages are compressed, where that was agreed on.
    pub window: Option<Window>,
}

/// Some of all encodings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncodingSet(u16);

/// The windows for which messages are compressed. What suits a window suits every larger one, so that two
/// are enough: that of nearly everybody, and one for those who asked for less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// As large as the configuration allows.
    Large,
    /// As small as there is.
    Small,
}

/// How messages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// How much work it may be, from 1 to 9.
    pub level: u8,
    /// Messages of fewer bytes are not worth it.
    pub min_bytes: usize,
    /// The bits of the large window, 8 to 15.
    pub window_bits: u8,
}

/// Compresses messages, each once.
pub struct Deflaters {
    effort: Effort,
    /// By [`Window`]; each is made when it is needed first, and takes up to 260 KiB.
    made: [Option<Deflater>; 2],
    /// Is told the bytes of each message before and after.
    told: Box<dyn Fn(usize, usize)>,
}

/// The bits of the small window.
const SMALL: u8 = 8;

impl Default for Effort {
    fn default() -> Self {
        Self {
            level: 1,
            min_bytes: 256,
            window_bits: 15,
        }
    }
}

impl Encoding {
    /// How many encodings there are.
    pub const COUNT: usize = Self::ALL.len();
    /// Every encoding, in the order of [`Encoding::index`]; an event stream has no frames to compress.
    pub const ALL: [Self; 10] = [
        Self::plain(WireFormat::Json),
        Self::plain(WireFormat::Msgpack),
        Self::plain(WireFormat::Raw),
        Self::plain(WireFormat::Sse),
        Self::deflated(WireFormat::Json, Window::Large),
        Self::deflated(WireFormat::Msgpack, Window::Large),
        Self::deflated(WireFormat::Raw, Window::Large),
        Self::deflated(WireFormat::Json, Window::Small),
        Self::deflated(WireFormat::Msgpack, Window::Small),
        Self::deflated(WireFormat::Raw, Window::Small),
    ];

    /// Frames as they are.
    pub const fn plain(format: WireFormat) -> Self {
        Self {
            format,
            window: None,
        }
    }

    const fn deflated(format: WireFormat, window: Window) -> Self {
        Self {
            format,
            window: Some(window),
        }
    }

    /// A number below [`Encoding::COUNT`], for arrays with one entry for each encoding.
    pub const fn index(self) -> usize {
        match (self.window, self.format) {
            (None, format) | (Some(_), format @ WireFormat::Sse) => format.index(),
            (Some(Window::Large), format) => WireFormat::COUNT + format.index(),
            (Some(Window::Small), format) => 2 * WireFormat::COUNT - 1 + format.index(),
        }
    }
}

impl EncodingSet {
    /// The same with that encoding, or without it.
    #[must_use]
    pub const fn with(self, encoding: Encoding, is_in: bool) -> Self {
        let bit = 1 << encoding.index();
        Self(if is_in { self.0 | bit } else { self.0 & !bit })
    }

    /// The encodings that are in either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Each of them, in the order of [`Encoding::index`].
    pub fn iter(self) -> impl Iterator<Item = Encoding> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let next = Encoding::ALL.get(left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(*next)
        })
    }
}

impl Window {
    /// The window for a client that agreed on so many bits, where the large one has `large`.
    pub const fn for_bits(agreed: u8, large: u8) -> Self {
        if agreed >= large {
            Self::Large
        } else {
            Self::Small
        }
    }
}

impl Deflaters {
    /// Compresses messages with that effort; `told` is told the bytes of each before and after.
    pub fn new(effort: Effort, told: impl Fn(usize, usize) + 'static) -> Self {
        Self {
            effort,
            made: [None, None],
            told: Box::new(told),
        }
    }

    /// The frame with its payload compressed; `None` where it is too short or would not be shorter.
    pub fn deflate(&mut self, frame: &[u8], window: Window) -> Option<Bytes> {
        let (&[first, second], _) = frame.split_first_chunk::<2>()?;
        let header = match second {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        let payload = frame.get(header..)?;
        if payload.len() < self.effort.min_bytes {
            return None;
        }
        let opcode = if first & 0x0f == Opcode::Text.bits() {
            Opcode::Text
        } else {
            Opcode::Binary
        };
        let (made, bits) = match (window, &mut self.made) {
            (Window::Large, [large, _]) => (large, self.effort.window_bits),
            (Window::Small, [_, small]) => (small, SMALL),
        };
        let deflater = made.get_or_insert_with(|| Deflater::new(bits, self.effort.level));
        let deflated = deflater.deflate(payload, false);
        if deflated.len() >= payload.len() {
            return None;
        }
        (self.told)(payload.len(), deflated.len());
        let mut out = Vec::new();
        put_deflated(&mut out, opcode, &deflated);
        Some(Bytes::from(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::{Inflater, put_frame};

    fn deflaters(level: u8, min_bytes: usize) -> Deflaters {
        let effort = Effort {
            level,
            min_bytes,
            window_bits: 15,
        };
        Deflaters::new(effort, |plain, deflated| assert!(deflated < plain))
    }

    fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_frame(&mut out, opcode, payload);
        out
    }

    #[test]
    fn each_encoding_has_a_place_of_its_own() {
        for (index, encoding) in Encoding::ALL.into_iter().enumerate() {
            assert_eq!(encoding.index(), index, "{encoding:?}");
            let plain = Encoding::plain(encoding.format);
            assert_eq!(plain.index(), encoding.format.index());
        }
    }

    #[test]
    fn a_set_holds_what_was_put_in_and_not_taken_out() {
        let mut set = EncodingSet::default();
        assert_eq!(set.iter().count(), 0);
        for encoding in Encoding::ALL {
            set = set.or(EncodingSet::default().with(encoding, true));
        }
        assert!(set.iter().eq(Encoding::ALL));
        for (left, encoding) in Encoding::ALL.into_iter().enumerate().rev() {
            set = set.with(encoding, false);
            assert!(set.iter().eq(Encoding::ALL.into_iter().take(left)));
        }
    }

    #[test]
    fn who_asked_for_less_gets_the_small_window() {
        for (agreed, large, window) in [
            (15, 15, Window::Large),
            (14, 15, Window::Small),
            (8, 15, Window::Small),
            (10, 10, Window::Large),
            (8, 8, Window::Large),
        ] {
            assert_eq!(Window::for_bits(agreed, large), window, "{agreed} {large}");
        }
    }

    #[test]
    fn what_is_short_or_would_not_be_shorter_stays_plain() {
        let mut deflaters = deflaters(1, 100);
        let mut noise = 1_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        })
        .take(1000)
        .collect();
        for payload in [&b"x".repeat(99)[..], &noise] {
            let plain = frame(Opcode::Binary, payload);
            assert_eq!(deflaters.deflate(&plain, Window::Large), None);
        }
        for broken in [&b""[..], b"\x81", b"\x81\x7e", b"\x81\x7f\0\0"] {
            assert_eq!(deflaters.deflate(broken, Window::Large), None);
        }
    }

    #[test]
    fn what_is_compressed_is_read_back_whatever_was_before() {
        let mut deflaters = deflaters(6, 10);
        for length in [10, 200, 70_000] {
            for opcode in [Opcode::Text, Opcode::Binary] {
                let payload = b"a message, ".repeat(length)[..length].to_vec();
                let plain = frame(opcode, &payload);
                for window in [Window::Large, Window::Small] {
                    let Some(deflated) = deflaters.deflate(&plain, window) else {
                        assert_eq!(length, 10, "what repeats nothing is no shorter");
                        continue;
                    };
                    assert!(deflated.len() < plain.len());
                    assert_eq!(deflated[0], 0xc0 | opcode.bits(), "final, with RSV1");
                    let header = match deflated[1] {
                        126 => 4,
                        127 => 10,
                        _ => 2,
                    };
                    let bits = if window == Window::Large { 15 } else { 9 };
                    let read = Inflater::new(bits).inflate(&deflated[header..], length, false);
                    assert_eq!(read.unwrap(), payload);
                }
            }
        }
    }
}
