//! What the frames say: the publish, the message, and the stamp by which a message is known again.
//!
//! The data of every publish begins with a stamp: eight hex digits that tell this run from any other, and
//! eight that count the publishes of the topic from 0. The time of sending is not in it; the load sent it,
//! so it remembers.

use super::frames;

/// How many bytes of the data the stamp takes.
pub const STAMP: usize = 16;
/// The beginning of the data in a message or a publish.
const DATA: &[u8; 8] = br#""data":""#;
const PUBLISH: &[u8] = br#"{"type":"publish","topic":""#;
const MESSAGE: &[u8] = br#"{"type":"message","topic":""#;
const BEFORE_DATA: &[u8] = br#"","data":""#;
const AFTER_DATA: &[u8] = br#"","time":1700000000000}"#;

/// The bytes of a message frame's payload beside topic and data, as the protocol has it for a topic without
/// history. The bare loop writes so many, unless it is told how many the broker writes.
pub const ENVELOPE: usize = MESSAGE.len() + BEFORE_DATA.len() + AFTER_DATA.len();

/// The name of a topic below a prefix.
pub fn topic(prefix: &str, index: usize) -> String {
    format!("{prefix}/{index}")
}

/// The data of a run's publishes: a place for the stamp, and printable bytes to the size that is asked for.
pub fn data(run: u32, size: usize) -> Vec<u8> {
    let mut data = format!("{run:08x}{:08x}", 0).into_bytes();
    data.extend((b'a'..=b'z').cycle().take(size.saturating_sub(STAMP)));
    data
}

/// Writes the count into the data's stamp.
pub fn set_stamp(data: &mut [u8], count: u32) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (place, byte) in data.iter_mut().skip(8).take(STAMP - 8).enumerate() {
        let digit = (count >> (28 - 4 * place)) as usize & 15;
        *byte = DIGITS.get(digit).copied().unwrap_or_default();
    }
}

/// The count in the stamp of a message of this run, or none where the data is not of this run.
///
/// This runs tens of millions of times a second: eight digits are read as one word.
#[inline]
pub fn read_stamp(data: &[u8], run: [u8; 8]) -> Option<u32> {
    let (tag, rest) = data.split_first_chunk::<8>()?;
    if *tag != run {
        return None;
    }
    let digits = u64::from_be_bytes(*rest.first_chunk()?);
    // A letter's bit 6 is set, and its low half is nine less than its worth.
    let halves = (digits & 0x0f0f_0f0f_0f0f_0f0f) + ((digits >> 6) & 0x0101_0101_0101_0101) * 9;
    let bytes = (halves | halves >> 4) & 0x00ff_00ff_00ff_00ff;
    let words = (bytes | bytes >> 8) & 0x0000_ffff_0000_ffff;
    Some((words | words >> 16) as u32)
}

/// Appends the masked frame that publishes the data.
pub fn put_publish(out: &mut Vec<u8>, topic: &str, data: &[u8]) {
    frames::put_masked(
        out,
        frames::TEXT,
        &[PUBLISH, topic.as_bytes(), BEFORE_DATA, data, b"\"}"],
    );
}

/// Topic and data of a publish as `put_publish` writes it.
pub fn read_publish(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = payload.strip_prefix(PUBLISH)?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    let (topic, rest) = rest.split_at_checked(end)?;
    let data = rest.strip_prefix(BEFORE_DATA)?.strip_suffix(b"\"}")?;
    Some((topic, data))
}

/// Appends the frame of a message whose payload has `envelope` bytes beside topic and data. Spaces behind
/// the object make up the length: they are JSON too.
pub fn put_message(out: &mut Vec<u8>, topic: &[u8], data: &[u8], envelope: usize) {
    let size = envelope.max(ENVELOPE) + topic.len() + data.len();
    frames::put_header(out, frames::TEXT, size, None);
    put_object(out, topic, data, envelope);
}

/// Appends the object alone.
pub fn put_object(out: &mut Vec<u8>, topic: &[u8], data: &[u8], envelope: usize) {
    let spaces = envelope.saturating_sub(ENVELOPE);
    for part in [MESSAGE, topic, BEFORE_DATA, data, AFTER_DATA] {
        out.extend_from_slice(part);
    }
    out.resize(out.len() + spaces, b' ');
}

/// Where the data begins in a message, or none where the payload has no data.
pub fn find_data(payload: &[u8]) -> Option<usize> {
    payload
        .windows(DATA.len())
        .position(|window| window == DATA)
        .map(|at| at + DATA.len())
}

/// Whether the data begins there. A cheap question, so that the answer of `find_data` for one message can
/// serve for the next.
#[inline]
pub fn is_data(payload: &[u8], at: usize) -> bool {
    at >= DATA.len()
        && payload
            .get(at - DATA.len()..)
            .and_then(|rest| rest.first_chunk())
            == Some(DATA)
}
