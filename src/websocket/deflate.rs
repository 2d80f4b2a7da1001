//! Compressing messages (RFC 7692 §7.2.1).

use flate2::{Compress, Compression, FlushCompress};

use super::inflate::TAIL;

/// What an empty message is compressed to (RFC 7692 §7.2.3.6).
const EMPTY: [u8; 1] = [0];

/// Makes compressed messages, for peers that inflate with a certain window.
///
/// It takes about 260 KiB of memory with the largest window, so there is to be one for many sessions;
/// where messages go on with what came before (`takeover`), there has to be one for each.
#[derive(Debug)]
pub struct Deflater {
    inner: Compress,
}

impl Deflater {
    /// A compressor that refers to nothing further back than 2 to the power of `window_bits` bytes, 8
    /// to 15; `level` is how much work that may be, from 1 to 9.
    pub fn new(window_bits: u8, level: u8) -> Self {
        let level = Compression::new(u32::from(level.clamp(1, 9)));
        Self {
            // zlib has no window of 256 bytes. In one of 512 it refers back 250 bytes at most, since it
            // keeps room for the longest match and the next.
            inner: Compress::new_with_window_bits(level, false, window_bits.clamp(9, 15)),
        }
    }

    /// The payload of the frame that has the message `payload` compressed; its first bit is RSV1. With
    /// `takeover` it refers to the messages before it, so each of them has to be sent.
    pub fn deflate(&mut self, payload: &[u8], takeover: bool) -> Vec<u8> {
        if payload.is_empty() {
            return EMPTY.to_vec();
        }
        if !takeover {
            self.inner.reset();
        }
        let begun = self.inner.total_in();
        // What cannot be compressed is stored, with a few bytes for each block.
        let mut out = Vec::with_capacity(payload.len() + payload.len() / 64 + 64);
        loop {
            let done = usize::try_from(self.inner.total_in() - begun).unwrap_or(payload.len());
            let rest = payload.get(done..).unwrap_or_default();
            let result = self.inner.compress_vec(rest, &mut out, FlushCompress::Sync);
            if result.is_err() || out.len() < out.capacity() {
                break;
            }
            out.reserve(out.len() / 2);
        }
        if out.ends_with(&TAIL) {
            out.truncate(out.len() - TAIL.len());
        }
        out
    }
}

#[cfg(test)]
mod tests;
