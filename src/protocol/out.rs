//! How a frame is written, whatever the encoding: every field of the protocol is put once, here and in
//! what uses this, and stands in each encoding.

use crate::model::{Kind, Payload};

/// Where a value is written to, piece by piece.
pub(super) trait Out {
    /// A string.
    fn string(&mut self, text: &str);
    /// Bytes; gives the name of the encoding that they had to be put in, where the format has none.
    fn bytes(&mut self, bytes: &[u8]) -> Option<&'static str>;
    /// An unsigned integer.
    fn number(&mut self, number: u64);
    /// A finite number, without a fraction where it has none.
    fn decimal(&mut self, number: f64);
    /// A boolean.
    fn boolean(&mut self, value: bool);
    /// Nothing.
    fn null(&mut self);
    /// A value that is kept as JSON text; the strings that begin at `bytes_at` stand for bytes.
    fn json(&mut self, text: &[u8], bytes_at: &[u32]);

    /// Begins an object or an array; gives what [`Out::close`] wants back.
    fn open(&mut self, shape: Shape) -> usize;
    /// The name of a field. It needs no escaping.
    fn name(&mut self, name: &str, is_first: bool);
    /// Comes before each element of an array.
    fn element(&mut self, is_first: bool);
    /// Ends what `open` began, and what has so many fields or elements.
    fn close(&mut self, shape: Shape, opened: usize, count: usize);
}

/// What holds other values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Values by name.
    Object,
    /// Values in a row.
    Array,
}

/// What a message carries; gives the encoding that is to be told beside it.
pub(super) fn put_payload(out: &mut dyn Out, payload: &Payload) -> Option<&'static str> {
    match payload.kind {
        Kind::Json => {
            out.json(&payload.data, payload.bytes_at());
            None
        }
        Kind::Text => {
            out.string(payload.as_str().unwrap_or_default());
            Some("text")
        }
        Kind::Binary => out.bytes(&payload.data),
    }
}

/// An object that is being written, field by field.
pub(super) struct Object<'o> {
    out: &'o mut dyn Out,
    opened: usize,
    fields: usize,
}

impl<'o> Object<'o> {
    /// An object without fields.
    pub(super) fn new(out: &'o mut dyn Out) -> Self {
        let opened = out.open(Shape::Object);
        Self {
            out,
            opened,
            fields: 0,
        }
    }

    /// An object whose first field is `type`.
    pub(super) fn of_type(out: &'o mut dyn Out, name: &str) -> Self {
        let mut object = Self::new(out);
        object.string("type", name);
        object
    }

    /// Starts a field whose value the caller writes.
    pub(super) fn name(&mut self, name: &str) -> &mut dyn Out {
        self.out.name(name, self.fields == 0);
        self.fields += 1;
        self.out
    }

    /// A string.
    pub(super) fn string(&mut self, name: &str, text: &str) {
        self.name(name).string(text);
    }

    /// A string, or no field at all.
    pub(super) fn string_if(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.string(name, text);
        }
    }

    /// A string, or null.
    pub(super) fn string_or_null(&mut self, name: &str, text: Option<&str>) {
        match text {
            Some(text) => self.string(name, text),
            None => self.name(name).null(),
        }
    }

    /// An unsigned integer.
    pub(super) fn number(&mut self, name: &str, number: u64) {
        self.name(name).number(number);
    }

    /// An unsigned integer, or no field at all.
    pub(super) fn number_if(&mut self, name: &str, number: Option<u64>) {
        if let Some(number) = number {
            self.number(name, number);
        }
    }

    /// A boolean.
    pub(super) fn boolean(&mut self, name: &str, value: bool) {
        self.name(name).boolean(value);
    }

    /// An array, of which `item` writes each element.
    pub(super) fn array<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut item: impl FnMut(&mut dyn Out, T),
    ) {
        let out = self.name(name);
        let opened = out.open(Shape::Array);
        let mut count = 0;
        for value in items {
            out.element(count == 0);
            item(out, value);
            count += 1;
        }
        out.close(Shape::Array, opened, count);
    }

    /// Ends the object.
    pub(super) fn end(self) {
        self.out.close(Shape::Object, self.opened, self.fields);
    }
}
