//! A chunked answer, as it comes.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;

/// What stands in the chunks of an answer.
pub struct Chunks {
    reader: BufReader<TcpStream>,
    left: usize,
}

impl Chunks {
    /// What follows the head.
    pub fn new(reader: BufReader<TcpStream>) -> Self {
        Self { reader, left: 0 }
    }
}

impl Read for Chunks {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            self.left = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
            if self.left == 0 {
                return Ok(0);
            }
        }
        let most = self.left.min(out.len());
        let count = self.reader.read(&mut out[..most])?;
        self.left -= count;
        if self.left == 0 {
            let mut end = [0; 2];
            self.reader.read_exact(&mut end)?;
        }
        Ok(count)
    }
}
