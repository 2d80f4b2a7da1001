//! Inflating messages (RFC 7692 §7.2.2).

use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress, Status};

use super::Fault;

/// What a sender cuts off the end of a compressed message.
pub(super) const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The first memory that is taken for what comes out.
const FIRST: usize = 512;

/// How often a message may say that a block is its last: each time costs more than a block of data.
const MAX_LAST_BLOCKS: u32 = 100;

/// Makes messages of compressed ones.
///
/// It has a window of 2 to the power of its bits in bytes, and about 8 KiB beside it.
#[derive(Debug)]
pub struct Inflater {
    inner: Decompress,
}

impl Inflater {
    /// An inflater for what was compressed with a window of at most 2 to the power of `window_bits`
    /// bytes, 8 to 15.
    pub fn new(window_bits: u8) -> Self {
        Self {
            // zlib has no window of 256 bytes; what was made with one goes through a larger one.
            inner: Decompress::new_with_window_bits(false, window_bits.clamp(9, 15)),
        }
    }

    /// The message that was compressed to `data`. With `takeover` it may refer to what was inflated
    /// before.
    ///
    /// No more memory is taken than the message has, and never more than `max` bytes and one.
    ///
    /// # Errors
    /// 1007 for what nothing compresses to, and 1009 as soon as more than `max` bytes come out.
    pub fn inflate(&mut self, data: &[u8], max: usize, takeover: bool) -> Result<Vec<u8>, Fault> {
        if !takeover {
            self.inner.reset(false);
        }
        let mut out = Vec::new();
        self.feed(data, &mut out, max)?;
        let inflated = out.len();
        self.feed(&TAIL, &mut out, max)?;
        if out.len() > inflated {
            // The end belongs to no block of the message: one before it was cut off.
            return Err(garbage());
        }
        Ok(out)
    }

    /// Takes all of `data`, and gives all that comes of it.
    fn feed(&mut self, mut data: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
        let mut last_blocks = 0;
        loop {
            if out.len() == out.capacity() {
                let more = out.len().max(data.len() * 2).max(FIRST);
                out.reserve_exact(more.min(max + 1 - out.len()));
            }
            let (consumed, made) = (self.inner.total_in(), out.len());
            let status = self
                .inner
                .decompress_vec(data, out, FlushDecompress::None)
                .map_err(|_| garbage())?;
            let consumed = usize::try_from(self.inner.total_in() - consumed).unwrap_or(data.len());
            data = data.get(consumed..).unwrap_or_default();
            if out.len() > max {
                return Err(Fault::too_large("message", max));
            }
            if status == Status::StreamEnd {
                // A block may say that it is the last (§7.2.3.4); what follows begins anew.
                last_blocks += 1;
                if last_blocks > MAX_LAST_BLOCKS {
                    return Err(garbage());
                }
                self.inner.reset(false);
            } else if consumed == 0 && out.len() == made && !data.is_empty() {
                return Err(garbage());
            }
            if data.is_empty() && out.len() < out.capacity() {
                return Ok(());
            }
        }
    }
}

/// The inflater of this thread, for messages that go on with nothing.
pub(super) fn with_shared<T>(act: impl FnOnce(&mut Inflater) -> T) -> T {
    thread_local!(static SHARED: RefCell<Inflater> = RefCell::new(Inflater::new(15)));
    SHARED.with_borrow_mut(act)
}

fn garbage() -> Fault {
    Fault::inconsistent("the message cannot be inflated")
}
