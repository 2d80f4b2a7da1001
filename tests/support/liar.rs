//! A proxy before the broker that lies about one message.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fanfare::bench::frames;

/// What becomes of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// It does not come.
    Drop,
    /// It comes twice.
    Double,
    /// The one behind it comes first.
    Swap,
    /// A byte of its data is another.
    Damage,
    /// The connection is closed instead.
    Close,
}

/// Forwards to one address. Dropped, it lets its threads end with their connections.
pub struct Liar {
    pub address: SocketAddr,
}

impl Liar {
    /// Lies about the frame that is the `nth` of those that hold this text, over all connections.
    pub fn start(target: SocketAddr, lie: Lie, marks: &'static str, nth: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(AtomicUsize::new(0));
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.unwrap();
                let far = TcpStream::connect(target).unwrap();
                let (back, forth) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                std::thread::spawn(move || forward(near, forth));
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || {
                    let is_lied_about = |frame: &[u8]| {
                        let text = String::from_utf8_lossy(frame);
                        text.contains(marks) && seen.fetch_add(1, Ordering::Relaxed) == nth
                    };
                    let _ = tell(far, &back, lie, is_lied_about);
                    let _ = back.shutdown(Shutdown::Both);
                });
            }
        });
        Self { address }
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

fn tell(
    mut from: TcpStream,
    mut to: &TcpStream,
    lie: Lie,
    is_lied_about: impl Fn(&[u8]) -> bool,
) -> std::io::Result<()> {
    let mut held = Vec::new();
    let mut behind: Option<Vec<u8>> = None;
    let mut is_open = false;
    let mut piece = [0; 16 * 1024];
    loop {
        let count = from.read(&mut piece)?;
        if count == 0 {
            return Ok(());
        }
        held.extend_from_slice(&piece[..count]);
        if !is_open {
            let Some(end) = held.windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            to.write_all(&held.drain(..end + 4).collect::<Vec<u8>>())?;
            is_open = true;
        }
        let mut at = 0;
        while let Some(frame) = frames::next(&held, at).unwrap() {
            let mut bytes = held[at..frame.end].to_vec();
            let payload_at = frame.start - at;
            at = frame.end;
            if let Some(earlier) = behind.take() {
                bytes.extend(earlier);
            } else if is_lied_about(&held[frame.start..frame.end]) {
                match lie {
                    Lie::Drop => continue,
                    Lie::Double => bytes.extend_from_within(..),
                    Lie::Swap => {
                        behind = Some(bytes);
                        continue;
                    }
                    Lie::Damage => {
                        let data = b"\"data\":\"";
                        let found = bytes.windows(data.len()).position(|part| part == data);
                        bytes[found.unwrap_or(payload_at) + data.len()] ^= 1;
                    }
                    Lie::Close => return Ok(()),
                }
            }
            to.write_all(&bytes)?;
        }
        held.drain(..at);
    }
}
