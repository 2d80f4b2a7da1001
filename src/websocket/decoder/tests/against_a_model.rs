//! Any stream of frames, in any pieces, against a plain model that sees whole frames.

use super::*;

/// A frame as a client means it.
#[derive(Clone, Debug)]
struct Sent {
    first: u8,
    payload: Vec<u8>,
    key: [u8; 4],
}

/// What a decoder without cleverness makes of whole frames.
fn model(frames: &[Sent], limits: Limits) -> Read {
    let mut events = Vec::new();
    let mut message: Option<(u8, Vec<u8>, u32, usize)> = None;
    for Sent { first, payload, .. } in frames {
        let (fin, opcode) = (first & FIN != 0, first & 0x0f);
        let carried = payload.len();
        if first & 0x70 != 0 || !matches!(opcode, 0..=2 | 8..=10) {
            return (events, Some(1002));
        }
        if opcode >= 8 {
            if !fin || carried > 125 {
                return (events, Some(1002));
            }
            events.push(match opcode {
                PING => Event::Ping(bytes(payload)),
                PONG => Event::Pong(bytes(payload)),
                _ => match close::read(payload) {
                    Ok(code) => {
                        events.push(Event::Close(code));
                        return (events, None);
                    }
                    Err(fault) => return (events, Some(fault.code)),
                },
            });
            continue;
        }
        if (opcode == CONTINUE) != message.is_some() {
            return (events, Some(1002));
        }
        let (kind, mut data, fragments, overhead) =
            message.take().unwrap_or((opcode, vec![], 0, 0));
        let overhead = overhead + frame(*first, payload).len() - carried;
        if carried > limits.frame || data.len() + carried > limits.message {
            return (events, Some(1009));
        }
        data.extend_from_slice(payload);
        if fragments >= limits.fragments || overhead > data.len() + limits.overhead as usize {
            return (events, Some(1008));
        }
        let is_text = kind == TEXT;
        match std::str::from_utf8(&data) {
            Err(error) if is_text && (fin || error.error_len().is_some()) => {
                return (events, Some(1007));
            }
            _ => {}
        }
        if !fin {
            events.push(Event::Fragment(carried));
            message = Some((kind, data, fragments + 1, overhead));
        } else if is_text {
            events.push(Event::Message(
                Incoming::Text(data.try_into().unwrap()),
                carried,
            ));
        } else {
            events.push(Event::Message(Incoming::Binary(data.into()), carried));
        }
    }
    (events, None)
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-z€é😀]{0,12}".prop_map(String::into_bytes),
        2 => vec(any::<u8>(), 0..6),
        1 => (120usize..400).prop_map(|n| vec![b'x'; n]),
        // Characters that end in another fragment.
        2 => proptest::sample::select(vec![&b"a\xe2"[..], b"\x82", b"\xac", b"\xf0\x9f"])
            .prop_map(<[u8]>::to_vec),
        1 => any::<u16>().prop_map(|code| code.to_be_bytes().to_vec()),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    let first = prop_oneof![
        6 => prop_oneof![Just(FIN | TEXT), Just(FIN | BINARY), Just(TEXT), Just(BINARY)],
        8 => prop_oneof![Just(CONTINUE), Just(CONTINUE), Just(FIN | CONTINUE)],
        4 => prop_oneof![Just(FIN | PING), Just(FIN | PONG)],
        1 => Just(FIN | CLOSE),
        1 => any::<u8>(),
    ];
    (first, payload(), any::<[u8; 4]>()).prop_map(|(first, payload, key)| Sent {
        first,
        payload,
        key,
    })
}

/// Streams that begin well more often than chance would have it.
fn stream() -> impl Strategy<Value = Vec<Sent>> {
    (vec(sent(), 0..20), any::<bool>()).prop_map(|(mut frames, mends)| {
        let mut is_open = false;
        for frame in frames.iter_mut().filter(|_| mends) {
            if matches!(frame.first & 0x0f, TEXT | BINARY) && is_open {
                frame.first &= FIN;
            } else if frame.first & 0x0f == CONTINUE && !is_open {
                frame.first |= BINARY;
            }
            if frame.first & 0x08 == 0 {
                is_open = frame.first & FIN == 0;
            }
        }
        frames
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_stream_in_any_pieces_reads_as_the_model_says(
        frames in stream(),
        cuts in vec(any::<Index>(), 0..12),
    ) {
        let limits = Limits { frame: 300, message: 400, fragments: 5, overhead: 20 };
        let bytes: Vec<u8> = frames
            .iter()
            .flat_map(|Sent { first, payload, key }| masked(*first, payload, *key))
            .collect();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]);
        let expected = model(&frames, limits);
        let fresh = || Decoder::new(limits, None);
        prop_assert_eq!(feed(&mut fresh(), [&bytes[..]]), expected.clone());
        prop_assert_eq!(feed(&mut fresh(), pieces), expected.clone());
        prop_assert_eq!(feed(&mut fresh(), bytes.chunks(1)), expected);
    }

    #[test]
    fn no_bytes_whatever_make_it_panic_or_read_otherwise_in_pieces(
        bytes in vec(any::<u8>(), 0..200),
        size in 1usize..20,
    ) {
        let whole = feed(&mut plain(), [&bytes[..]]);
        prop_assert_eq!(feed(&mut plain(), bytes.chunks(size)), whole);
    }
}
