//! WebSocket frames as a server writes them: whole messages, never masked (RFC 6455 §5.2).

use bytes::Bytes;

/// The opcodes of RFC 6455 §5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// The next piece of a fragmented message.
    Continuation,
    /// A text message.
    Text,
    /// A binary message.
    Binary,
    /// The end of the connection.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
}

impl Opcode {
    /// The four bits of the opcode.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// The opcode of four bits, unless they are reserved.
    pub(super) const fn of_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    /// Whether it may stand between the fragments of a message (RFC 6455 §5.5).
    pub(super) const fn is_control(self) -> bool {
        self.bits() & 8 != 0
    }
}

/// The longest payload of a control frame, in bytes (RFC 6455 §5.5).
const MAX_CONTROL: usize = 125;

/// FIN.
const FINAL: u8 = 0x80;
const RSV1: u8 = 0x40;

/// Appends one final frame: header and payload.
pub fn put_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    out.reserve(header_len(payload.len()) + payload.len());
    put_header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Appends one final frame that says that its payload, a whole message, is compressed (RFC 7692 §6).
pub fn put_deflated(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    out.reserve(header_len(payload.len()) + payload.len());
    put_head(out, FINAL | RSV1 | opcode.bits(), payload.len());
    out.extend_from_slice(payload);
}

/// A ping frame. Of a payload over the 125 bytes that a control frame may have, the rest is cut off.
pub fn ping_bytes(payload: &[u8]) -> Bytes {
    control_frame(Opcode::Ping, payload)
}

/// A pong frame that answers a ping with its payload.
pub fn pong_bytes(payload: &[u8]) -> Bytes {
    control_frame(Opcode::Pong, payload)
}

/// A close frame. The reason is cut to 123 bytes, at the end of a character. The codes 1005 and 1006
/// never stand in a frame (RFC 6455 §7.4.1): for them the frame is empty.
pub fn close_bytes(code: u16, reason: &str) -> Bytes {
    if matches!(code, 1005 | 1006) {
        return control_frame(Opcode::Close, &[]);
    }
    let reason = reason
        .get(..reason.floor_char_boundary(MAX_CONTROL - 2))
        .unwrap_or_default();
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    control_frame(Opcode::Close, &payload)
}

/// The most bytes that a header has.
pub const MAX_HEADER: usize = 10;

/// How many bytes the header before a payload of that length has.
pub const fn header_len(payload: usize) -> usize {
    match payload {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => MAX_HEADER,
    }
}

/// Appends the header of a final frame.
pub fn put_header(out: &mut Vec<u8>, opcode: Opcode, payload: usize) {
    put_head(out, FINAL | opcode.bits(), payload);
}

/// Writes the header of a final frame before its payload, for which the first [`MAX_HEADER`] bytes have
/// been left free; gives how many of them it leaves free.
pub fn put_header_before(frame: &mut [u8], opcode: Opcode) -> usize {
    let payload = frame.len().saturating_sub(MAX_HEADER);
    let mut header = [0; MAX_HEADER];
    let [first, len, rest @ ..] = &mut header;
    *first = FINAL | opcode.bits();
    match payload {
        0..=125 => *len = payload as u8,
        126..=0xffff => {
            *len = 126;
            let [a, b, ..] = rest;
            [*a, *b] = (payload as u16).to_be_bytes();
        }
        _ => {
            *len = 127;
            *rest = (payload as u64).to_be_bytes();
        }
    }
    let start = MAX_HEADER - header_len(payload);
    let place = frame.iter_mut().skip(start);
    for (place, byte) in place.zip(header).take(header_len(payload)) {
        *place = byte;
    }
    start
}

fn put_head(out: &mut Vec<u8>, first: u8, payload: usize) {
    out.push(first);
    match payload {
        0..=125 => out.push(payload as u8),
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(payload as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload as u64).to_be_bytes());
        }
    }
}

fn control_frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    let payload = payload.get(..MAX_CONTROL).unwrap_or(payload);
    let mut out = Vec::new();
    put_frame(&mut out, opcode, payload);
    Bytes::from(out)
}

/// Reads the frames that a server wrote, for tests.
#[cfg(test)]
pub(crate) mod walk {
    /// The first frame's opcode bits and payload, and what stands behind it.
    pub fn frame(bytes: &[u8]) -> (u8, &[u8], &[u8]) {
        assert_eq!(bytes[0] & 0xf0, 0x80, "final, no extension bits");
        assert_eq!(bytes[1] & 0x80, 0, "not masked");
        let (start, len) = match bytes[1] {
            126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            127 => (
                10,
                u64::from_be_bytes(bytes[2..10].try_into().unwrap()) as usize,
            ),
            short => (2, usize::from(short)),
        };
        let minimal = match start {
            2 => true,
            4 => len > 125,
            _ => len > 0xffff,
        };
        assert!(minimal, "the shortest form of the length");
        let (payload, rest) = bytes[start..].split_at(len);
        (bytes[0] & 0x0f, payload, rest)
    }

    /// The payload of the only frame.
    pub fn only(bytes: &[u8]) -> (u8, &[u8]) {
        let (opcode, payload, rest) = frame(bytes);
        assert!(rest.is_empty(), "one frame");
        (opcode, payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_the_same_before_its_payload_as_in_front_of_it() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let payload = vec![b'x'; len];
            let mut appended = Vec::new();
            put_frame(&mut appended, Opcode::Text, &payload);
            let mut before = [&[0; MAX_HEADER][..], &payload].concat();
            let start = put_header_before(&mut before, Opcode::Text);
            assert!(before[start..] == appended, "{len}");
        }
    }

    #[test]
    fn lengths_are_written_in_their_shortest_form() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let payload = vec![7; len];
            let mut out = Vec::new();
            put_frame(&mut out, Opcode::Binary, &payload);
            put_frame(&mut out, Opcode::Text, b"next");
            assert_eq!(out.len(), header_len(len) + len + 6);
            let (opcode, read, rest) = walk::frame(&out);
            assert_eq!((opcode, read.len()), (2, len));
            assert_eq!(walk::only(rest), (1, b"next".as_slice()));
        }
    }

    #[test]
    fn a_compressed_message_says_so_by_its_first_bit() {
        let mut out = Vec::new();
        put_deflated(&mut out, Opcode::Text, b"xyz");
        assert_eq!(out, *b"\xc1\x03xyz");
        out.clear();
        put_deflated(&mut out, Opcode::Binary, &[7; 300]);
        assert_eq!(out[..4], [0xc2, 126, 1, 44]);
        assert_eq!(out.len(), 304);
    }

    #[test]
    fn control_frames_have_at_most_125_bytes() {
        for (bytes, opcode) in [
            (ping_bytes(&[1; 200]), 9),
            (pong_bytes(&[1; 200]), 10),
            (close_bytes(1000, &"x".repeat(200)), 8),
        ] {
            let (found, payload) = walk::only(&bytes);
            assert_eq!((found, payload.len()), (opcode, 125));
        }
        assert_eq!(walk::only(&pong_bytes(b"hi")), (10, b"hi".as_slice()));
    }

    #[test]
    fn a_close_reason_is_cut_at_the_end_of_a_character() {
        let reason = "é".repeat(62);
        let bytes = close_bytes(4008, &reason);
        let (_, payload) = walk::only(&bytes);
        assert_eq!(payload[..2], 4008_u16.to_be_bytes());
        assert_eq!(std::str::from_utf8(&payload[2..]).unwrap(), "é".repeat(61));
        let bytes = close_bytes(1000, "");
        assert_eq!(walk::only(&bytes).1, 1000_u16.to_be_bytes());
    }

    #[test]
    fn codes_that_never_stand_in_a_frame_are_not_written() {
        for code in [1005, 1006] {
            assert_eq!(walk::only(&close_bytes(code, "x")), (8, b"".as_slice()));
        }
    }
}
