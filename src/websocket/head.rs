//! The header of a frame that a client sent, but for its key (RFC 6455 §5.2).

use super::{Fault, Opcode};

/// The longest header of a masked frame, in bytes.
pub(super) const MAX_HEAD: usize = 14;

/// The longest payload of a control frame, in bytes (RFC 6455 §5.5).
const MAX_CONTROL: u64 = 125;

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// FIN: the frame is the last of its message.
    pub last: bool,
    /// RSV1, which says that the message is compressed (RFC 7692 §6).
    pub compressed: bool,
    /// What it is.
    pub opcode: Opcode,
    /// The bytes of its payload.
    pub len: u64,
}

impl Head {
    /// Reads a header up to its key, and says how many bytes that took; `None` where more must come.
    /// A fault is told by the first byte that shows it.
    ///
    /// # Errors
    /// 1002 for what RFC 6455 does not allow any frame of a client's.
    pub fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, Fault> {
        const FIN: u8 = 0x80;
        const RSV1: u8 = 0x40;
        const OTHER_RSV: u8 = 0x30;
        const MASKED: u8 = 0x80;
        let Some((&first, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        if first & OTHER_RSV != 0 {
            return Err(reserved_bit());
        }
        let Some(opcode) = Opcode::of_bits(first & 0x0f) else {
            return Err(Fault::protocol("the frame has an unknown opcode"));
        };
        let last = first & FIN != 0;
        let compressed = first & RSV1 != 0;
        if opcode.is_control() && !last {
            return Err(bad_control());
        }
        if compressed && !matches!(opcode, Opcode::Text | Opcode::Binary) {
            return Err(Fault::protocol(
                "only the first frame of a message says that it is compressed",
            ));
        }
        let Some((&second, rest)) = rest.split_first() else {
            return Ok(None);
        };
        if second & MASKED == 0 {
            return Err(Fault::protocol("a client masks its frames"));
        }
        let short = u64::from(second & 0x7f);
        if opcode.is_control() && short > MAX_CONTROL {
            return Err(bad_control());
        }
        let (len, size, is_minimal) = match short {
            126 => {
                let Some(len) = rest.first_chunk::<2>() else {
                    return Ok(None);
                };
                let len = u64::from(u16::from_be_bytes(*len));
                (len, 4, len > 125)
            }
            127 => {
                let Some(len) = rest.first_chunk::<8>() else {
                    return Ok(None);
                };
                let len = u64::from_be_bytes(*len);
                if len > i64::MAX as u64 {
                    return Err(Fault::protocol("a length has 63 bits"));
                }
                (len, 10, len > 0xffff)
            }
            short => (short, 2, true),
        };
        if !is_minimal {
            return Err(Fault::protocol("a length is written in its shortest form"));
        }
        let head = Self {
            last,
            compressed,
            opcode,
            len,
        };
        Ok(Some((head, size)))
    }
}

pub(super) fn reserved_bit() -> Fault {
    Fault::protocol("a reserved bit is set and no extension was agreed on")
}

fn bad_control() -> Fault {
    Fault::protocol("a control frame is whole and has at most 125 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<(u64, usize)>, u16> {
        match Head::read(bytes) {
            Ok(read) => Ok(read.map(|(head, size)| (head.len, size))),
            Err(fault) => Err(fault.code),
        }
    }

    #[test]
    fn lengths_are_read_in_each_form() {
        for (bytes, expected) in [
            (&[0x81, 0x80][..], (0, 2)),
            (&[0x82, 0xfd, 1, 2], (125, 2)),
            (&[0x02, 0xfe, 0, 126], (126, 4)),
            (&[0x80, 0xfe, 0xff, 0xff], (0xffff, 4)),
            (&[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0], (0x1_0000, 10)),
            (&[0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0], (1 << 62, 10)),
            (&[0xc2, 0x81], (1, 2)),
            (&[0x89, 0xfd], (125, 2)),
        ] {
            assert_eq!(read(bytes), Ok(Some(expected)), "{bytes:x?}");
            for cut in 0..expected.1 {
                assert_eq!(read(&bytes[..cut]), Ok(None), "{cut} of {bytes:x?}");
            }
        }
    }

    #[test]
    fn what_no_frame_may_be_is_told_by_the_first_byte_that_shows_it() {
        for bytes in [
            // RSV2, RSV3, and RSV1 where no message starts.
            &[0xa1][..],
            &[0x91],
            &[0xc9],
            &[0xc0],
            // Opcodes that nobody knows.
            &[0x83],
            &[0x87],
            &[0x8b],
            &[0x8f],
            // Control frames in fragments, or too long.
            &[0x08],
            &[0x09],
            &[0x0a],
            &[0x88, 0xfe],
            &[0x89, 0xff],
            // Not masked.
            &[0x81, 0x02],
            &[0x89, 0x00],
            // 2^63, and lengths that a shorter form has room for.
            &[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0],
            &[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x81, 0xfe, 0, 125],
            &[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
        ] {
            assert_eq!(read(bytes), Err(1002), "{bytes:x?}");
            let cut = &bytes[..bytes.len() - 1];
            assert_eq!(read(cut), Ok(None), "{cut:x?}");
        }
    }
}
