//! Fanfare's protocol with permessage-deflate, as a load can afford it: a compressed frame is inflated once, and
//! compared byte by byte with what the other sessions get.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use fanfare::bench::dialect::{Dialect, Opening, Role, Sink};
use fanfare::bench::fanfare::Fanfare;
use fanfare::bench::frames;
use fanfare::bench::message::STAMP;
use fanfare::websocket::Inflater;

/// So many frames are remembered: more than are outstanding in any measurement.
const REMEMBERED: usize = 512;
/// The longest message that is inflated.
const LONGEST: usize = 1 << 20;

/// Fanfare with JSON, whose subscribers may ask for permessage-deflate. What is published is text as it goes to
/// browsers: names that repeat, figures that do not.
pub struct Compressed {
    inner: Fanfare,
    asks: bool,
    body: Vec<u8>,
    known: RefCell<Known>,
    counted: Counted,
}

/// The compressed frames that came so far.
pub type Counted = Rc<Cell<u64>>;

/// Where a session is: where the data began in the last message, and the number of the frame that it may get next.
#[derive(Default)]
pub struct Place {
    hint: usize,
    next: u64,
}

struct Known {
    inflater: Inflater,
    /// Compressed payloads, and the frames that they would have been.
    frames: VecDeque<(Vec<u8>, Vec<u8>)>,
    /// The number of the first of them.
    first: u64,
}

impl Compressed {
    /// Subscribers that ask, or do not.
    pub fn new(inner: Fanfare, asks: bool) -> (Self, Counted) {
        let counted = Counted::default();
        let body = text(inner.payload - STAMP);
        let this = Self {
            inner,
            asks,
            body,
            known: RefCell::new(Known {
                inflater: Inflater::new(15),
                frames: VecDeque::new(),
                first: 0,
            }),
            counted: Rc::clone(&counted),
        };
        (this, counted)
    }
}

/// So many bytes of text such as prices are told in, without what JSON would escape. It comes to about half when it is
/// compressed.
fn text(size: usize) -> Vec<u8> {
    let mut noise = 1_u32;
    let mut figure = move || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise >> 12
    };
    let mut out = Vec::new();
    while out.len() < size {
        let (bid, ask, of) = (figure() % 100_000, figure() % 100_000, figure() % 1000);
        out.extend(
            format!("; symbol=EUR{of} bid=1.{bid:05} ask=1.{ask:05} venue=XETRA").into_bytes(),
        );
    }
    out.truncate(size);
    out
}

impl Known {
    /// The frame that this compressed payload would have been, by its number.
    fn find(&mut self, payload: &[u8], guess: u64) -> Result<u64, &'static str> {
        let at = guess.wrapping_sub(self.first);
        let is_there = |(wire, _): &(Vec<u8>, Vec<u8>)| wire == payload;
        if usize::try_from(at).is_ok_and(|at| self.frames.get(at).is_some_and(is_there)) {
            return Ok(guess);
        }
        if let Some(at) = self.frames.iter().rposition(is_there) {
            return Ok(self.first + at as u64);
        }
        let plain = self.inflater.inflate(payload, LONGEST, false);
        let plain = plain.map_err(|_| "a message that cannot be inflated")?;
        let mut frame = Vec::new();
        frames::put_header(&mut frame, frames::TEXT, plain.len(), None);
        frame.extend_from_slice(&plain);
        if self.frames.len() == REMEMBERED {
            self.frames.pop_front();
            self.first += 1;
        }
        self.frames.push_back((payload.to_vec(), frame));
        Ok(self.first + self.frames.len() as u64 - 1)
    }

    fn frame(&self, number: u64) -> &[u8] {
        &self.frames[(number - self.first) as usize].1
    }
}

impl Dialect for Compressed {
    type Carry = Place;

    fn request(&self, opening: Opening<'_>) -> Vec<u8> {
        let mut request = self.inner.request(opening);
        if self.asks && opening.role == Role::Subscriber {
            request.truncate(request.len() - 2);
            request.extend_from_slice(
                b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
            );
        }
        request
    }

    fn is_open(&self, role: Role, head: &str) -> bool {
        let has_agreed = head.to_ascii_lowercase().contains(": permessage-deflate");
        self.inner.is_open(role, head) && has_agreed == (self.asks && role == Role::Subscriber)
    }

    fn begin(&self, opening: Opening<'_>, out: &mut Vec<u8>) -> bool {
        self.inner.begin(opening, out)
    }

    fn put_publish(&self, out: &mut Vec<u8>, topic: &str, data: &[u8]) {
        let data = [&data[..STAMP], &self.body].concat();
        self.inner.put_publish(out, topic, &data);
    }

    fn read(
        &self,
        place: &mut Place,
        role: Role,
        bytes: &[u8],
        sink: &mut impl Sink,
    ) -> Result<usize, &'static str> {
        if !self.asks {
            return self.inner.read(&mut place.hint, role, bytes, sink);
        }
        let mut known = self.known.borrow_mut();
        let mut at = 0;
        while let Some((frame, is_compressed)) = frames::next_compressible(bytes, at)? {
            if is_compressed {
                let number = known.find(&bytes[frame.start..frame.end], place.next)?;
                place.next = number + 1;
                self.counted.set(self.counted.get() + 1);
                let plain = known.frame(number);
                self.inner.read(&mut place.hint, role, plain, sink)?;
            } else {
                let plain = &bytes[at..frame.end];
                self.inner.read(&mut place.hint, role, plain, sink)?;
            }
            at = frame.end;
        }
        Ok(at)
    }
}
