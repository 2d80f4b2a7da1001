//! Nchan: a WebSocket for each channel that is published to, and bare messages.

use fanfare::bench::connect;
use fanfare::bench::dialect::{Dialect, Message, Notice, Opening, Role, Sink};
use fanfare::bench::frames;

/// Nchan, with the locations `/sub` and `/pub` of our configuration.
pub struct Nchan {
    /// The size of a message's data.
    pub payload: usize,
}

impl Dialect for Nchan {
    type Carry = ();

    fn request(&self, opening: Opening<'_>) -> Vec<u8> {
        let place = match opening.role {
            Role::Subscriber => "sub",
            Role::Publisher => "pub",
        };
        let channel = opening.topic.replace('/', "-");
        super::request(&format!("/{place}?topic={channel}"), "")
    }

    fn is_open(&self, _role: Role, head: &str) -> bool {
        connect::is_websocket(head)
    }

    fn begin(&self, _opening: Opening<'_>, _out: &mut Vec<u8>) -> bool {
        false
    }

    fn put_publish(&self, out: &mut Vec<u8>, _topic: &str, data: &[u8]) {
        frames::put_masked(out, frames::TEXT, &[data]);
    }

    fn read(
        &self,
        (): &mut (),
        role: Role,
        bytes: &[u8],
        sink: &mut impl Sink,
    ) -> Result<usize, &'static str> {
        let mut at = 0;
        while let Some(frame) = frames::next(bytes, at)? {
            let payload = &bytes[frame.start..frame.end];
            at = frame.end;
            match (frame.opcode, role) {
                // How many it was queued for.
                (frames::TEXT | frames::BINARY, Role::Publisher) | (frames::PONG, _) => {}
                (frames::TEXT | frames::BINARY, Role::Subscriber) => sink.message(Message {
                    data: payload,
                    is_whole: payload.len() == self.payload,
                    size: payload.len(),
                    offset: None,
                }),
                (frames::PING, _) => {
                    let mut pong = Vec::new();
                    frames::put_masked(&mut pong, frames::PONG, &[payload]);
                    sink.notice(Notice::Answer(pong));
                }
                _ => sink.notice(Notice::Closing(payload)),
            }
        }
        Ok(at)
    }
}
