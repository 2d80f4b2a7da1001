//! What a close frame of the peer's may hold (RFC 6455 §5.5.1, §7.4).

use super::Fault;

/// Whether a close frame may carry this code: RFC 6455 §7.4, with the codes that IANA registered
/// since (1012 to 1014). 1004, 1005, 1006 and 1015 never stand in a frame.
pub const fn may_stand_in_a_close(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// The code of a close frame, which may have none.
///
/// # Errors
/// 1002 for a payload of one byte or a code that may not be sent, 1007 for a reason that is not UTF-8.
pub(super) fn read(payload: &[u8]) -> Result<Option<u16>, Fault> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() {
            Ok(None)
        } else {
            Err(Fault::protocol(
                "a close frame has no code or one of two bytes",
            ))
        };
    };
    let code = u16::from_be_bytes(*code);
    if !may_stand_in_a_close(code) {
        return Err(Fault::protocol("the close code is none that may be sent"));
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(Fault::inconsistent(
            "the reason of the close frame is not valid UTF-8",
        ));
    }
    Ok(Some(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_may_send_only_the_codes_of_the_rfc() {
        for code in [
            1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999,
            4000, 4999,
        ] {
            assert!(may_stand_in_a_close(code), "{code}");
        }
        for code in [
            0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
        ] {
            assert!(!may_stand_in_a_close(code), "{code}");
        }
    }

    #[test]
    fn a_close_frame_is_held_to_the_rfc() {
        for (payload, expected) in [
            (&b""[..], Ok(None)),
            (b"\x03", Err(1002)),
            (b"\x03\xe8", Ok(Some(1000))),
            (b"\x03\xe8bye", Ok(Some(1000))),
            (b"\x03\xe8\xc3\xa9", Ok(Some(1000))),
            (b"\x03\xe8\xff", Err(1007)),
            (b"\x03\xe8\xc3", Err(1007)),
            (b"\x03\xed", Err(1002)),
            (b"\x03\xe7", Err(1002)),
            (b"\x13\x88", Err(1002)),
        ] {
            assert_eq!(
                read(payload).map_err(|fault| fault.code),
                expected,
                "{payload:x?}"
            );
        }
    }
}
