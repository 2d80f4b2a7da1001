//! MQTT 3.1.1 over a WebSocket, at most once: its packets are a stream within binary frames.

use fanfare::bench::connect;
use fanfare::bench::dialect::{Dialect, Message, Notice, Opening, Role, Sink, Standing};
use fanfare::bench::frames;

use super::Stream;

const CONNECT: &[u8] = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00";

/// A broker of MQTT without credentials.
pub struct Mqtt {
    /// The size of a message's data.
    pub payload: usize,
}

impl Dialect for Mqtt {
    type Carry = Stream;

    fn request(&self, _opening: Opening<'_>) -> Vec<u8> {
        super::request("/mqtt", "Sec-WebSocket-Protocol: mqtt\r\n")
    }

    fn is_open(&self, _role: Role, head: &str) -> bool {
        connect::is_websocket(head)
    }

    fn begin(&self, opening: Opening<'_>, out: &mut Vec<u8>) -> bool {
        let mut packets = CONNECT.to_vec();
        if opening.role == Role::Subscriber {
            let topic = opening.topic.as_bytes();
            packets.push(0x82);
            put_length(&mut packets, 2 + 2 + topic.len() + 1);
            packets.extend_from_slice(&[0, 1]);
            packets.extend_from_slice(&(topic.len() as u16).to_be_bytes());
            packets.extend_from_slice(topic);
            packets.push(0);
        }
        frames::put_masked(out, frames::BINARY, &[&packets]);
        true
    }

    fn put_publish(&self, out: &mut Vec<u8>, topic: &str, data: &[u8]) {
        let topic = topic.as_bytes();
        let mut head = vec![0x30];
        put_length(&mut head, 2 + topic.len() + data.len());
        head.extend_from_slice(&(topic.len() as u16).to_be_bytes());
        frames::put_masked(out, frames::BINARY, &[&head, topic, data]);
    }

    fn read(
        &self,
        stream: &mut Stream,
        role: Role,
        bytes: &[u8],
        sink: &mut impl Sink,
    ) -> Result<usize, &'static str> {
        stream.read(bytes, sink, |bytes, sink| self.packets(bytes, role, sink))
    }
}

impl Mqtt {
    fn packets(
        &self,
        bytes: &[u8],
        role: Role,
        sink: &mut impl Sink,
    ) -> Result<usize, &'static str> {
        let mut at = 0;
        while let Some((start, end)) = packet(&bytes[at..])? {
            let kind = bytes[at] >> 4;
            let body = &bytes[at + start..at + end];
            let whole = &bytes[at..at + end];
            at += end;
            match (kind, role) {
                (3, _) => {
                    let name: &[u8; 2] = body.first_chunk().ok_or("a PUBLISH without a topic")?;
                    let data_at = 2 + usize::from(u16::from_be_bytes(*name));
                    let data = body.get(data_at..).ok_or("a PUBLISH that is cut off")?;
                    sink.message(Message {
                        data,
                        is_whole: data.len() == self.payload,
                        size: whole.len(),
                        offset: None,
                    });
                }
                // CONNACK and SUBACK.
                (2, _) if body != [0, 0] => sink.notice(Notice::Unexpected(whole)),
                (2, Role::Publisher) | (9, Role::Subscriber) => {
                    sink.notice(Notice::Stands(Standing::default()));
                }
                (2, Role::Subscriber) => {}
                _ => sink.notice(Notice::Unexpected(whole)),
            }
        }
        Ok(at)
    }
}

/// Where the body of the packet lies that stands at the beginning, if it is whole.
fn packet(bytes: &[u8]) -> Result<Option<(usize, usize)>, &'static str> {
    let mut size = 0;
    for place in 0..4 {
        let Some(&byte) = bytes.get(1 + place) else {
            return Ok(None);
        };
        size |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            let (start, end) = (2 + place, 2 + place + size);
            return Ok((end <= bytes.len()).then_some((start, end)));
        }
    }
    Err("a packet beyond any size")
}

fn put_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}
