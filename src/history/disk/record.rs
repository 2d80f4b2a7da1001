//! What a record on the disk is: a checksum over all that it says and where it stands, a version, and
//! fields one after another.
//!
//! Whoever reads one is told either all of it or that it is damaged.

use std::sync::Arc;

use bytes::Bytes;

use super::state::{Mark, State};
use crate::history::{Once, Remembered};
use crate::model::{
    Durability, Epoch, Kind, Message, Payload, Position, SessionId, Timestamp, TopicName,
};

/// Bytes that are no record, or not of this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

const VERSION: u8 = 1;

// What a message's record has; the two lowest bits are its kind.
const HAS_USER: u8 = 1 << 2;
const HAS_KEY: u8 = 1 << 3;
const HAS_PUBLISHER: u8 = 1 << 4;
const HAS_BYTES_AT: u8 = 1 << 5;
const HAS_POSITION: u8 = 1 << 6;

// What a topic's record has; the two lowest bits are its durability.
const HAS_ASIDE: u8 = 1 << 2;

/// What kind of record it is, so that none passes for one of another kind.
#[derive(Clone, Copy)]
enum Sort {
    Message = 1,
    Topic = 2,
    Retained = 3,
    Once = 4,
}

/// A record that is being written. Its checksum covers its sort and place, which are not in it.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    sum: crc32fast::Hasher,
}

fn sum(sort: Sort, place: &[u64]) -> crc32fast::Hasher {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&[sort as u8]);
    for number in place {
        sum.update(&number.to_le_bytes());
    }
    sum
}

impl<'a> Writer<'a> {
    fn new(out: &'a mut Vec<u8>, sort: Sort, place: &[u64]) -> Self {
        out.clear();
        out.extend_from_slice(&[0; 4]);
        out.push(VERSION);
        let sum = sum(sort, place);
        Self { out, sum }
    }

    fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }

    fn number(&mut self, number: u64) {
        self.out.extend_from_slice(&number.to_le_bytes());
    }

    fn short(&mut self, number: usize) {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        self.out.extend_from_slice(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.short(text.len());
        self.out.extend_from_slice(text.as_bytes());
    }

    fn epoch(&mut self, epoch: Epoch) {
        let text = epoch.as_str();
        self.byte(text.len() as u8);
        self.out.extend_from_slice(text.as_bytes());
    }

    fn end(mut self, rest: &[u8]) {
        self.out.extend_from_slice(rest);
        if let Some((place, said)) = self.out.split_first_chunk_mut::<4>() {
            self.sum.update(said);
            *place = self.sum.finalize().to_le_bytes();
        }
    }
}

/// A record that is being read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn new(record: &'a [u8], sort: Sort, place: &[u64]) -> Result<Self, Damaged> {
        let (found, said) = record.split_first_chunk::<4>().ok_or(Damaged)?;
        let mut sum = sum(sort, place);
        sum.update(said);
        if sum.finalize().to_le_bytes() != *found {
            return Err(Damaged);
        }
        let mut reader = Self(said);
        if reader.byte()? == VERSION {
            Ok(reader)
        } else {
            Err(Damaged)
        }
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (chunk, rest) = self.0.split_first_chunk().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*chunk)
    }

    fn byte(&mut self) -> Result<u8, Damaged> {
        self.chunk().map(|[byte]| byte)
    }

    fn number(&mut self) -> Result<u64, Damaged> {
        self.chunk().map(u64::from_le_bytes)
    }

    fn time(&mut self) -> Result<Timestamp, Damaged> {
        self.number().map(Timestamp)
    }

    fn short(&mut self) -> Result<u32, Damaged> {
        self.chunk().map(u32::from_le_bytes)
    }

    fn bytes(&mut self, len: usize) -> Result<&'a [u8], Damaged> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(Damaged)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<&'a str, Damaged> {
        let len = self.short()? as usize;
        str::from_utf8(self.bytes(len)?).map_err(|_| Damaged)
    }

    fn epoch(&mut self) -> Result<Epoch, Damaged> {
        let len = usize::from(self.byte()?);
        let text = str::from_utf8(self.bytes(len)?).map_err(|_| Damaged)?;
        Epoch::parse(text).ok_or(Damaged)
    }

    fn topic(&mut self) -> Result<TopicName, Damaged> {
        let text = str::from_utf8(self.0).map_err(|_| Damaged)?;
        TopicName::new(text).map_err(|_| Damaged)
    }
}

fn place_of(id: i64, mark: Mark) -> [u64; 4] {
    [id.cast_unsigned(), mark.offset, mark.time.0, mark.before]
}

/// Writes a message of a history.
pub(super) fn write_message(id: i64, mark: Mark, message: &Message, out: &mut Vec<u8>) {
    let mut writer = Writer::new(out, Sort::Message, &place_of(id, mark));
    // Where it is says its position and time.
    fields(&mut writer, message, None);
    writer.end(&message.payload.data);
}

/// Reads a message of a history back.
pub(super) fn read_message(
    (id, epoch): (i64, Epoch),
    mark: Mark,
    topic: &TopicName,
    record: &[u8],
) -> Result<Message, Damaged> {
    let reader = Reader::new(record, Sort::Message, &place_of(id, mark))?;
    let mut message = message(reader, topic, mark.time)?;
    message.position = Some(Position {
        epoch,
        offset: mark.offset,
    });
    Ok(message)
}

/// Whether a message's record is whole.
pub(super) fn check_message(id: i64, mark: Mark, record: &[u8]) -> Result<(), Damaged> {
    Reader::new(record, Sort::Message, &place_of(id, mark)).map(|_| ())
}

/// Writes a message that a topic retains.
pub(super) fn write_retained(id: i64, message: &Message, out: &mut Vec<u8>) {
    let mut writer = Writer::new(out, Sort::Retained, &[id.cast_unsigned()]);
    writer.number(message.time.0);
    fields(&mut writer, message, message.position);
    writer.end(&message.payload.data);
}

/// Reads a message back that a topic retains.
pub(super) fn read_retained(id: i64, topic: &TopicName, record: &[u8]) -> Result<Message, Damaged> {
    let mut reader = Reader::new(record, Sort::Retained, &[id.cast_unsigned()])?;
    let time = reader.time()?;
    message(reader, topic, time)
}

fn fields(writer: &mut Writer<'_>, message: &Message, position: Option<Position>) {
    let kind = match message.payload.kind {
        Kind::Json => 0,
        Kind::Text => 1,
        Kind::Binary => 2,
    };
    let bytes_at = message.payload.bytes_at();
    let has = |flag: u8, has: bool| if has { flag } else { 0 };
    writer.byte(
        kind | has(HAS_USER, message.user.is_some())
            | has(HAS_KEY, message.key.is_some())
            | has(HAS_PUBLISHER, message.publisher.is_some())
            | has(HAS_BYTES_AT, !bytes_at.is_empty())
            | has(HAS_POSITION, position.is_some()),
    );
    if let Some(user) = &message.user {
        writer.text(user);
    }
    if let Some(key) = &message.key {
        writer.text(key);
    }
    if let Some(SessionId(publisher)) = message.publisher {
        writer.number(publisher);
    }
    if !bytes_at.is_empty() {
        writer.short(bytes_at.len());
        for at in bytes_at {
            writer.short(*at as usize);
        }
    }
    if let Some(position) = position {
        writer.epoch(position.epoch);
        writer.number(position.offset);
    }
}

fn message(mut reader: Reader<'_>, topic: &TopicName, time: Timestamp) -> Result<Message, Damaged> {
    let flags = reader.byte()?;
    let kind = match flags & 3 {
        0 => Kind::Json,
        1 => Kind::Text,
        2 => Kind::Binary,
        _ => return Err(Damaged),
    };
    let text = |reader: &mut Reader<'_>, flag| -> Result<Option<Arc<str>>, Damaged> {
        let has = flags & flag != 0;
        has.then(|| reader.text().map(Arc::from)).transpose()
    };
    let user = text(&mut reader, HAS_USER)?;
    let key = text(&mut reader, HAS_KEY)?;
    let publisher = if flags & HAS_PUBLISHER == 0 {
        None
    } else {
        Some(SessionId(reader.number()?))
    };
    let mut bytes_at = Vec::new();
    if flags & HAS_BYTES_AT != 0 {
        for _ in 0..reader.short()? {
            bytes_at.push(reader.short()?);
        }
    }
    let position = if flags & HAS_POSITION == 0 {
        None
    } else {
        Some(Position {
            epoch: reader.epoch()?,
            offset: reader.number()?,
        })
    };
    let data = Bytes::copy_from_slice(reader.0);
    Ok(Message {
        topic: topic.clone(),
        payload: Payload::kept(kind, data, bytes_at).map_err(|_| Damaged)?,
        time,
        position,
        user,
        key,
        publisher,
    })
}

/// Writes what is known of a topic.
pub(super) fn write_topic(
    topic: &TopicName,
    durability: Durability,
    state: &State,
    out: &mut Vec<u8>,
) {
    let mut writer = Writer::new(out, Sort::Topic, &[state.id.cast_unsigned()]);
    let durability = match durability {
        Durability::Memory => 0,
        Durability::Written => 1,
        Durability::Synced => 2,
    };
    let flag = state.aside.map_or(0, |_| HAS_ASIDE);
    writer.byte(durability | flag);
    writer.epoch(state.epoch);
    for number in [
        state.newest,
        state.time.0,
        state.weight,
        state.start.offset,
        state.start.time.0,
        state.start.before,
        state.lost_before.0,
    ] {
        writer.number(number);
    }
    if let Some(aside) = state.aside {
        writer.number(aside);
    }
    writer.end(topic.as_str().as_bytes());
}

/// Reads back what is known of a topic.
pub(super) fn read_topic(
    id: i64,
    record: &[u8],
) -> Result<(TopicName, Durability, State), Damaged> {
    let mut reader = Reader::new(record, Sort::Topic, &[id.cast_unsigned()])?;
    let flags = reader.byte()?;
    let durability = match flags & !HAS_ASIDE {
        0 => Durability::Memory,
        1 => Durability::Written,
        2 => Durability::Synced,
        _ => return Err(Damaged),
    };
    let mut state = State {
        id,
        epoch: reader.epoch()?,
        newest: reader.number()?,
        time: reader.time()?,
        weight: reader.number()?,
        start: Mark {
            offset: reader.number()?,
            time: reader.time()?,
            before: reader.number()?,
        },
        lost_before: reader.time()?,
        aside: None,
    };
    if flags & HAS_ASIDE != 0 {
        state.aside = Some(reader.number()?);
    }
    if state.newest == u64::MAX || state.start.offset == 0 || state.start.offset > state.newest + 1
    {
        return Err(Damaged);
    }
    Ok((reader.topic()?, durability, state))
}

/// Writes that a message is not to be published again.
pub(super) fn write_once(remembered: &Remembered, out: &mut Vec<u8>) {
    let mut writer = Writer::new(out, Sort::Once, &[remembered.time.0]);
    let Once { name, body } = remembered.once;
    writer.out.extend_from_slice(&name);
    writer.out.extend_from_slice(&body);
    writer.byte(u8::from(remembered.position.is_some()));
    if let Some(position) = remembered.position {
        writer.epoch(position.epoch);
        writer.number(position.offset);
    }
    writer.end(remembered.topic.as_str().as_bytes());
}

/// Reads back what is not to be published again.
pub(super) fn read_once(time: Timestamp, record: &[u8]) -> Result<Remembered, Damaged> {
    let mut reader = Reader::new(record, Sort::Once, &[time.0])?;
    let once = Once {
        name: reader.chunk()?,
        body: reader.chunk()?,
    };
    let position = match reader.byte()? {
        0 => None,
        _ => Some(Position {
            epoch: reader.epoch()?,
            offset: reader.number()?,
        }),
    };
    Ok(Remembered {
        topic: reader.topic()?,
        once,
        position,
        time,
    })
}

#[cfg(test)]
mod tests;
