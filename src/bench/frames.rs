//! WebSocket frames (RFC 6455), as much of them as a load and a yardstick need: walk what was read,
//! write a header, mask and unmask.

/// What goes on with the message of the frame before: of servers that send a message in several.
pub const CONTINUATION: u8 = 0;
/// A frame of text.
pub const TEXT: u8 = 1;
/// A frame of bytes.
pub const BINARY: u8 = 2;
/// A frame that closes the connection.
pub const CLOSE: u8 = 8;
/// A ping, to be answered with a pong of the same payload.
pub const PING: u8 = 9;
/// The answer to a ping.
pub const PONG: u8 = 10;

/// The bits of a frame that is a whole message, and of one that is compressed.
const WHOLE: u8 = 0x80;
const RSV1: u8 = 0x40;

/// The key that masks every frame of the load. It need not be a secret on a loopback device, but it must
/// not be zero either: unmasking is a part of what a server does for a publish.
pub const KEY: [u8; 4] = [0x5a, 0xc3, 0x17, 0x88];

/// Where a frame's parts lie in the bytes that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What kind of frame it is.
    pub opcode: u8,
    /// Whether its payload is masked; the key stands in the four bytes before the payload.
    pub masked: bool,
    /// Where its payload begins.
    pub start: usize,
    /// Where it ends, and the next frame begins.
    pub end: usize,
}

/// The frame that begins at `at`, or none where it is not whole yet. Both sides here send only whole
/// messages without extensions, so a fragment or a reserved bit is an error.
///
/// # Errors
/// What stands there is no such frame.
#[inline]
pub fn next(bytes: &[u8], at: usize) -> Result<Option<Frame>, &'static str> {
    next_with(bytes, at, WHOLE)
}

/// The same where permessage-deflate was agreed on; true, if this frame's message is compressed (RFC 7692 §6).
///
/// # Errors
/// What stands there is no such frame.
#[inline]
pub fn next_compressible(bytes: &[u8], at: usize) -> Result<Option<(Frame, bool)>, &'static str> {
    let is_compressed = bytes.get(at).is_some_and(|first| first & RSV1 != 0);
    let bits = if is_compressed { WHOLE | RSV1 } else { WHOLE };
    Ok(next_with(bytes, at, bits)?.map(|frame| (frame, is_compressed)))
}

/// The same where the bits beside the opcode are to be these.
#[inline]
fn next_with(bytes: &[u8], at: usize, bits: u8) -> Result<Option<Frame>, &'static str> {
    let Some(&[first, second, ref rest @ ..]) = bytes.get(at..) else {
        return Ok(None);
    };
    if first & 0xf0 != bits {
        return Err("a fragment, a reserved bit or no frame at all");
    }
    let (size, extra) = match (second & 0x7f, rest) {
        (126, [a, b, ..]) => (usize::from(u16::from_be_bytes([*a, *b])), 2),
        (126, _) => return Ok(None),
        (127, rest) => {
            let Some(size) = rest.first_chunk() else {
                return Ok(None);
            };
            let size = usize::try_from(u64::from_be_bytes(*size));
            (size.map_err(|_| "a frame beyond any size")?, 8)
        }
        (size, _) => (usize::from(size), 0),
    };
    let masked = second & 0x80 != 0;
    let start = at + 2 + extra + if masked { 4 } else { 0 };
    let end = start.checked_add(size).ok_or("a frame beyond any size")?;
    if end > bytes.len() {
        return Ok(None);
    }
    Ok(Some(Frame {
        opcode: first & 0x0f,
        masked,
        start,
        end,
    }))
}

/// Appends the header of a whole message; with a key, the frame is announced as masked.
pub fn put_header(out: &mut Vec<u8>, opcode: u8, size: usize, key: Option<[u8; 4]>) {
    let masked: u8 = if key.is_some() { 0x80 } else { 0 };
    out.push(0x80 | opcode);
    if size < 126 {
        out.push(masked + size as u8);
    } else if let Ok(size) = u16::try_from(size) {
        out.push(masked + 126);
        out.extend_from_slice(&size.to_be_bytes());
    } else {
        out.push(masked + 127);
        out.extend_from_slice(&(size as u64).to_be_bytes());
    }
    if let Some(key) = key {
        out.extend_from_slice(&key);
    }
}

/// Appends a masked frame with the payload that the parts make together.
pub fn put_masked(out: &mut Vec<u8>, opcode: u8, parts: &[&[u8]]) {
    put_header(
        out,
        opcode,
        parts.iter().map(|part| part.len()).sum(),
        Some(KEY),
    );
    let start = out.len();
    for part in parts {
        out.extend_from_slice(part);
    }
    mask(out.get_mut(start..).unwrap_or_default(), KEY);
}

/// Masks a payload, or unmasks it: the same thing twice is nothing.
pub fn mask(payload: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// Unmasks the payload of a frame where it lies.
pub fn unmask(bytes: &mut [u8], frame: Frame) {
    if frame.masked {
        let Some((head, payload)) = bytes
            .get_mut(..frame.end)
            .and_then(|bytes| bytes.split_at_mut_checked(frame.start))
        else {
            return;
        };
        if let Some(key) = head.last_chunk() {
            mask(payload, *key);
        }
    }
}
