//! Publishes by frames that ask for an answer: each is answered once it is as durable as its topic asks.

use fanfare::bench::dialect::{Dialect, Notice, Opening, Role, Sink};
use fanfare::bench::fanfare::Fanfare;
use fanfare::bench::frames;

const BEFORE_TOPIC: &[u8] = br#"{"type":"publish","id":1,"topic":""#;
const BEFORE_DATA: &[u8] = br#"","data":""#;
const OK: &[u8] = br#"{"type":"ok","#;
const WELCOME: &[u8] = br#"{"type":"welcome","#;

/// The frames of [`Fanfare`], each with an `id`. Nothing but publishers speaks it.
pub struct Asking(pub Fanfare);

impl Dialect for Asking {
    type Carry = usize;

    fn request(&self, opening: Opening<'_>) -> Vec<u8> {
        self.0.request(opening)
    }

    fn is_open(&self, role: Role, head: &str) -> bool {
        self.0.is_open(role, head)
    }

    fn begin(&self, opening: Opening<'_>, out: &mut Vec<u8>) -> bool {
        self.0.begin(opening, out)
    }

    fn put_publish(&self, out: &mut Vec<u8>, topic: &str, data: &[u8]) {
        let parts = [BEFORE_TOPIC, topic.as_bytes(), BEFORE_DATA, data, b"\"}"];
        frames::put_masked(out, frames::TEXT, &parts);
    }

    fn read(
        &self,
        _hint: &mut usize,
        _role: Role,
        bytes: &[u8],
        sink: &mut impl Sink,
    ) -> Result<usize, &'static str> {
        let mut at = 0;
        while let Some(frame) = frames::next(bytes, at)? {
            let payload = bytes.get(frame.start..frame.end).unwrap_or_default();
            sink.notice(if payload.starts_with(OK) {
                Notice::Accepted
            } else if payload.starts_with(WELCOME) {
                Notice::Nothing
            } else {
                Notice::Unexpected(payload)
            });
            at = frame.end;
        }
        Ok(at)
    }
}
