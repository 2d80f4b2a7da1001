use super::super::Inflater;
use super::*;

/// Texts as a broker has them, one much like the other.
fn messages() -> Vec<Vec<u8>> {
    let text = |n: usize| {
        format!(
            r#"{{"type":"message","topic":"chat/{}","data":{n}}}"#,
            n % 7
        )
    };
    let mut messages: Vec<_> = (0..40)
        .map(|n| text(n).repeat(1 + n * 5).into_bytes())
        .collect();
    messages.push(Vec::new());
    // What cannot be compressed: the low bytes of a walk with a large step.
    messages.push(
        (0..50_000u64)
            .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8)
            .collect(),
    );
    messages
}

#[test]
fn what_is_deflated_is_inflated_to_the_same() {
    for takeover in [false, true] {
        for window in 8..=15 {
            for level in 1..=9 {
                let mut deflater = Deflater::new(window, level);
                let mut inflater = Inflater::new(window);
                for message in messages() {
                    let deflated = deflater.deflate(&message, takeover);
                    assert!(deflated.len() <= message.len() + message.len() / 100 + 40);
                    let inflated = inflater.inflate(&deflated, 1 << 20, takeover).unwrap();
                    assert!(inflated == message, "{window} {level} {takeover}");
                }
            }
        }
    }
}

#[test]
fn the_tail_is_cut_off_and_an_empty_message_is_one_byte() {
    let mut deflater = Deflater::new(15, 6);
    for takeover in [false, true, true] {
        assert_eq!(deflater.deflate(b"", takeover), [0]);
        assert!(!deflater.deflate(b"Hello", takeover).ends_with(&TAIL));
    }
}

#[test]
fn messages_that_go_on_are_smaller_and_others_the_same_each_time() {
    let mut deflater = Deflater::new(15, 6);
    let text = b"a text that comes again and again".as_slice();
    let alone = deflater.deflate(text, false);
    assert_eq!(deflater.deflate(text, false), alone);
    let after = deflater.deflate(text, true);
    assert!(after.len() < alone.len(), "{} {}", after.len(), alone.len());
}

#[test]
fn nothing_refers_further_back_than_the_window() {
    for window in 8..=15 {
        for level in 1..=9 {
            let mut deflater = Deflater::new(window, level);
            let mut furthest = 0;
            for message in messages() {
                furthest = furthest.max(distances::furthest(&deflater.deflate(&message, false)));
            }
            assert!(furthest > 0, "{level}: the messages repeat themselves");
            assert!(
                furthest <= 1 << window,
                "{furthest} of 2^{window} at level {level}"
            );
        }
    }
}

/// A reader of RFC 1951 that looks at nothing but how far back matches go.
mod distances {
    struct Bits<'a> {
        data: &'a [u8],
        at: usize,
    }

    impl Bits<'_> {
        fn is_over(&self) -> bool {
            self.at / 8 >= self.data.len()
        }

        fn take(&mut self, count: usize) -> usize {
            (0..count).map(|n| self.bit() << n).sum()
        }

        fn bit(&mut self) -> usize {
            let byte = self.data.get(self.at / 8).copied().unwrap_or_default();
            let bit = usize::from(byte >> (self.at % 8) & 1);
            self.at += 1;
            bit
        }
    }

    /// A Huffman code: of each length how many there are, and the symbols in order.
    struct Code {
        counts: [usize; 16],
        symbols: Vec<usize>,
    }

    impl Code {
        fn new(lengths: &[usize]) -> Self {
            let mut counts = [0; 16];
            for length in lengths {
                counts[*length] += 1;
            }
            counts[0] = 0;
            let mut symbols: Vec<_> = (0..lengths.len()).filter(|s| lengths[*s] > 0).collect();
            symbols.sort_by_key(|symbol| lengths[*symbol]);
            Self { counts, symbols }
        }

        fn read(&self, bits: &mut Bits<'_>) -> usize {
            let (mut code, mut first, mut index) = (0, 0, 0);
            for count in &self.counts[1..] {
                code |= bits.bit();
                if code < first + count {
                    return self.symbols[index + code - first];
                }
                index += count;
                first = (first + count) << 1;
                code <<= 1;
            }
            panic!("no code");
        }
    }

    fn fixed() -> (Code, Code) {
        let literals: Vec<_> = (0..288)
            .map(|symbol| match symbol {
                0..144 | 280.. => 8,
                144..256 => 9,
                _ => 7,
            })
            .collect();
        (Code::new(&literals), Code::new(&[5; 30]))
    }

    fn dynamic(bits: &mut Bits<'_>) -> (Code, Code) {
        const ORDER: [usize; 19] = [
            16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
        ];
        let (literals, distances) = (bits.take(5) + 257, bits.take(5) + 1);
        let mut lengths = [0; 19];
        for place in &ORDER[..bits.take(4) + 4] {
            lengths[*place] = bits.take(3);
        }
        let code = Code::new(&lengths);
        let mut lengths = Vec::new();
        while lengths.len() < literals + distances {
            let (length, times) = match code.read(bits) {
                16 => (lengths[lengths.len() - 1], 3 + bits.take(2)),
                17 => (0, 3 + bits.take(3)),
                18 => (0, 11 + bits.take(7)),
                length => (length, 1),
            };
            lengths.resize(lengths.len() + times, length);
        }
        (
            Code::new(&lengths[..literals]),
            Code::new(&lengths[literals..]),
        )
    }

    /// The furthest distance of a message as a frame has it.
    pub fn furthest(message: &[u8]) -> usize {
        let mut bits = Bits {
            data: message,
            at: 0,
        };
        let mut furthest = 0;
        loop {
            bits.take(1);
            let (literals, distances) = match bits.take(2) {
                0 => {
                    bits.at = bits.at.div_ceil(8) * 8;
                    if bits.is_over() {
                        // What is left of the block whose end every message lacks.
                        return furthest;
                    }
                    let len = bits.take(16);
                    bits.at += 16 + 8 * len;
                    continue;
                }
                1 => fixed(),
                2 => dynamic(&mut bits),
                _ => panic!("a reserved block"),
            };
            loop {
                match literals.read(&mut bits) {
                    0..256 => {}
                    256 => break,
                    symbol => {
                        let extra = match symbol {
                            257..265 | 285 => 0,
                            symbol => (symbol - 261) / 4,
                        };
                        bits.take(extra);
                        let symbol = distances.read(&mut bits);
                        let extra = (symbol / 2).saturating_sub(1);
                        let base = if symbol < 2 {
                            symbol
                        } else {
                            (2 + symbol % 2) << extra
                        };
                        furthest = furthest.max(1 + base + bits.take(extra));
                    }
                }
            }
        }
    }
}
