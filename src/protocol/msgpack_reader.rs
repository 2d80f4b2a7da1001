//! Goes through MessagePack that may be anything: no value costs stack, and nothing is allocated by
//! what a header says that is to follow.

use rmp::Marker;
use thiserror::Error;

use super::out::Shape;

/// How deep a value may be nested.
pub(super) const MAX_DEPTH: usize = 128;

/// Bytes of which the beginning has been read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

/// What a value begins with: all of it, unless it holds others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Head<'a> {
    Nil,
    Boolean(bool),
    Number(u64),
    /// Below 0.
    Negative(i64),
    Float(f64),
    /// A string, which should be UTF-8.
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    /// That many values follow, or for an object that many pairs of them.
    Open(Shape, u32),
    Extension,
}

/// What a walk comes by. For all but keys and ends it is said whether it is the first of what it
/// stands in, or stands in nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Piece<'a> {
    Nil,
    Boolean(bool),
    Number(u64),
    Negative(i64),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Key(&'a str),
    Open(Shape),
    Close(Shape),
}

/// Why bytes are no MessagePack, or not such as the protocol has it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum Fault {
    /// Less than was announced.
    #[error("ends in the middle of a value")]
    Truncated,
    /// The one byte that means nothing.
    #[error("has the byte 0xc1, which begins no value")]
    Reserved,
    /// More than one value.
    #[error("goes on behind its end")]
    Trailing,
    /// Nested too deep.
    #[error("is nested more than {MAX_DEPTH} levels deep; make it flatter")]
    TooDeep,
    /// An extension type.
    #[error(
        "has an extension type in it, as libraries make of dates; send a number or a string instead"
    )]
    Extension,
    /// A string of other bytes.
    #[error("has a string in it that is not UTF-8; send bytes as bin")]
    NotUtf8,
    /// NaN or an infinity.
    #[error("has a float in it that is no finite number; send null or a string instead")]
    NotFinite,
    /// A key that JSON could not have.
    #[error("has a map in it with a key that is no string; make its keys strings")]
    Key,
    /// A key that stands twice.
    #[error("has a map in it with the same key twice; give each key once")]
    Duplicate,
}

impl<'a> Reader<'a> {
    /// The next value's beginning.
    pub(super) fn head(&mut self) -> Result<Head<'a>, Fault> {
        let [marker] = self.array()?;
        Ok(match Marker::from_u8(marker) {
            Marker::Null => Head::Nil,
            Marker::True => Head::Boolean(true),
            Marker::False => Head::Boolean(false),
            Marker::FixPos(number) => Head::Number(u64::from(number)),
            Marker::FixNeg(number) => signed(i64::from(number)),
            Marker::U8 => Head::Number(u64::from(u8::from_be_bytes(self.array()?))),
            Marker::U16 => Head::Number(u64::from(u16::from_be_bytes(self.array()?))),
            Marker::U32 => Head::Number(u64::from(u32::from_be_bytes(self.array()?))),
            Marker::U64 => Head::Number(u64::from_be_bytes(self.array()?)),
            Marker::I8 => signed(i64::from(i8::from_be_bytes(self.array()?))),
            Marker::I16 => signed(i64::from(i16::from_be_bytes(self.array()?))),
            Marker::I32 => signed(i64::from(i32::from_be_bytes(self.array()?))),
            Marker::I64 => signed(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Head::Float(f64::from(f32::from_be_bytes(self.array()?))),
            Marker::F64 => Head::Float(f64::from_be_bytes(self.array()?)),
            Marker::FixStr(len) => Head::Text(self.take(u32::from(len))?),
            Marker::Str8 => Head::Text(self.take_len8()?),
            Marker::Str16 => Head::Text(self.take_len16()?),
            Marker::Str32 => Head::Text(self.take_len32()?),
            Marker::Bin8 => Head::Bytes(self.take_len8()?),
            Marker::Bin16 => Head::Bytes(self.take_len16()?),
            Marker::Bin32 => Head::Bytes(self.take_len32()?),
            Marker::FixArray(len) => Head::Open(Shape::Array, u32::from(len)),
            Marker::Array16 => Head::Open(Shape::Array, u32::from(self.len16()?)),
            Marker::Array32 => Head::Open(Shape::Array, self.len32()?),
            Marker::FixMap(len) => Head::Open(Shape::Object, u32::from(len)),
            Marker::Map16 => Head::Open(Shape::Object, u32::from(self.len16()?)),
            Marker::Map32 => Head::Open(Shape::Object, self.len32()?),
            Marker::FixExt1 => self.extension(1)?,
            Marker::FixExt2 => self.extension(2)?,
            Marker::FixExt4 => self.extension(4)?,
            Marker::FixExt8 => self.extension(8)?,
            Marker::FixExt16 => self.extension(16)?,
            Marker::Ext8 => {
                let [len] = self.array()?;
                self.extension(u32::from(len))?
            }
            Marker::Ext16 => {
                let len = self.len16()?;
                self.extension(u32::from(len))?
            }
            Marker::Ext32 => {
                let len = self.len32()?;
                self.extension(len)?
            }
            Marker::Reserved => return Err(Fault::Reserved),
        })
    }

    /// The bytes of the next value, whatever it holds.
    pub(super) fn value(&mut self) -> Result<&'a [u8], Fault> {
        let whole = self.0;
        let mut left = 1_u64;
        while left > 0 {
            left -= 1;
            if let Head::Open(shape, count) = self.head()? {
                left += values(shape, count);
                // Each takes a byte at least: what announces more is known for it at once.
                if left > self.0.len() as u64 {
                    return Err(Fault::Truncated);
                }
            }
        }
        let len = whole.len() - self.0.len();
        whole.get(..len).ok_or(Fault::Truncated)
    }

    fn extension(&mut self, len: u32) -> Result<Head<'a>, Fault> {
        let [_kind] = self.array()?;
        self.take(len)?;
        Ok(Head::Extension)
    }

    fn take(&mut self, len: u32) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self
            .0
            .split_at_checked(len as usize)
            .ok_or(Fault::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn take_len8(&mut self) -> Result<&'a [u8], Fault> {
        let [len] = self.array()?;
        self.take(u32::from(len))
    }

    fn take_len16(&mut self) -> Result<&'a [u8], Fault> {
        let len = self.len16()?;
        self.take(u32::from(len))
    }

    fn take_len32(&mut self) -> Result<&'a [u8], Fault> {
        let len = self.len32()?;
        self.take(len)
    }

    fn len16(&mut self) -> Result<u16, Fault> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn len32(&mut self) -> Result<u32, Fault> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Fault::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }
}

/// Tells what the value that `bytes` are is made of, in order.
pub(super) fn walk<'a>(
    bytes: &'a [u8],
    mut tell: impl FnMut(Piece<'a>, bool),
) -> Result<(), Fault> {
    let mut reader = Reader(bytes);
    let mut levels: Vec<Level> = Vec::new();
    let mut keys: Vec<&'a str> = Vec::new();
    loop {
        let mut is_first = true;
        if let Some(level) = levels.last_mut() {
            let left = level.left;
            level.left -= 1;
            is_first = left == level.values;
            if level.shape == Shape::Object && left % 2 == 0 {
                let Head::Text(key) = reader.head()? else {
                    return Err(Fault::Key);
                };
                let key = utf8(key)?;
                keys.push(key);
                tell(Piece::Key(key), is_first);
                continue;
            }
        }
        let piece = match reader.head()? {
            Head::Nil => Piece::Nil,
            Head::Boolean(value) => Piece::Boolean(value),
            Head::Number(number) => Piece::Number(number),
            Head::Negative(number) => Piece::Negative(number),
            Head::Float(number) if !number.is_finite() => return Err(Fault::NotFinite),
            Head::Float(number) => Piece::Float(number),
            Head::Text(text) => Piece::Text(utf8(text)?),
            Head::Bytes(bytes) => Piece::Bytes(bytes),
            Head::Extension => return Err(Fault::Extension),
            Head::Open(..) if levels.len() == MAX_DEPTH => return Err(Fault::TooDeep),
            Head::Open(shape, count) => {
                levels.push(Level {
                    shape,
                    values: values(shape, count),
                    left: values(shape, count),
                    keys: keys.len(),
                });
                Piece::Open(shape)
            }
        };
        tell(piece, is_first);
        while let Some(level) = levels.pop_if(|level| level.left == 0) {
            let own = keys.get_mut(level.keys..).unwrap_or_default();
            own.sort_unstable();
            if own.array_windows().any(|[one, other]| one == other) {
                return Err(Fault::Duplicate);
            }
            keys.truncate(level.keys);
            tell(Piece::Close(level.shape), false);
        }
        if levels.is_empty() {
            return if reader.0.is_empty() {
                Ok(())
            } else {
                Err(Fault::Trailing)
            };
        }
    }
}

/// A map or array of which the end has not come.
struct Level {
    shape: Shape,
    /// How many values stand in it, keys among them.
    values: u64,
    left: u64,
    /// How many keys had been met before it.
    keys: usize,
}

fn values(shape: Shape, count: u32) -> u64 {
    match shape {
        Shape::Array => u64::from(count),
        Shape::Object => u64::from(count) * 2,
    }
}

fn signed(number: i64) -> Head<'static> {
    u64::try_from(number).map_or(Head::Negative(number), Head::Number)
}

fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| Fault::NotUtf8)
}
