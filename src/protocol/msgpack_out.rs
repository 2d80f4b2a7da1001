//! MessagePack, written: headers in their shortest form, by `rmp`.

use rmp::{Marker, encode};

use super::msgpack_from_json::put_json;
use super::out::{Out, Shape};

/// Writes MessagePack into bytes. Writing into a `Vec` cannot fail, so no result is looked at.
pub(super) struct Msgpack(pub(super) Vec<u8>);

/// How many fields or elements the shortest header counts. Most frames have fewer.
const FEW: usize = 15;

impl Out for Msgpack {
    fn string(&mut self, text: &str) {
        let _ = encode::write_str(&mut self.0, text);
    }

    fn bytes(&mut self, bytes: &[u8]) -> Option<&'static str> {
        let _ = encode::write_bin(&mut self.0, bytes);
        None
    }

    fn number(&mut self, number: u64) {
        let _ = encode::write_uint(&mut self.0, number);
    }

    fn decimal(&mut self, number: f64) {
        // The whole numbers that a float holds without a doubt.
        const WHOLE: f64 = 9_007_199_254_740_992.0;
        if number.fract() == 0.0 && (0.0..WHOLE).contains(&number) {
            self.number((number as i64).cast_unsigned());
        } else {
            let _ = encode::write_f64(&mut self.0, number);
        }
    }

    fn boolean(&mut self, value: bool) {
        let _ = encode::write_bool(&mut self.0, value);
    }

    fn null(&mut self) {
        let _ = encode::write_nil(&mut self.0);
    }

    fn json(&mut self, text: &[u8], bytes_at: &[u32]) {
        match std::str::from_utf8(text) {
            Ok(text) => put_json(&mut self.0, text, bytes_at),
            // Never: a JSON payload is UTF-8.
            Err(_) => self.null(),
        }
    }

    fn open(&mut self, _shape: Shape) -> usize {
        let opened = self.0.len();
        // The place of the header, which has one byte if little follows.
        self.0.push(0);
        opened
    }

    fn name(&mut self, name: &str, _is_first: bool) {
        self.string(name);
    }

    fn element(&mut self, _is_first: bool) {}

    fn close(&mut self, shape: Shape, opened: usize, count: usize) {
        if let (0..=FEW, Some(place)) = (count, self.0.get_mut(opened)) {
            let short = match shape {
                Shape::Object => Marker::FixMap(count as u8),
                Shape::Array => Marker::FixArray(count as u8),
            };
            *place = short.to_u8();
            return;
        }
        let mut header = Vec::new();
        put_header(&mut header, shape, count);
        self.0.splice(opened..=opened, header);
    }
}

/// Counts one field more in the map that begins the bytes, whose name and value the caller appends;
/// `None` where no map begins there, or one of more fields than any frame has.
pub(super) fn open_for_more(map: &mut [u8]) -> Option<()> {
    let header = map.first_mut()?;
    match Marker::from_u8(*header) {
        Marker::FixMap(count) if usize::from(count) < FEW => {
            *header = Marker::FixMap(count + 1).to_u8();
            Some(())
        }
        _ => None,
    }
}

/// The header of a map or an array of so many fields or elements.
pub(super) fn put_header(out: &mut Vec<u8>, shape: Shape, count: usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let _ = match shape {
        Shape::Object => encode::write_map_len(out, count),
        Shape::Array => encode::write_array_len(out, count),
    };
}
