use proptest::prelude::*;

use super::*;

fn text() -> impl Strategy<Value = Option<Arc<str>>> {
    prop::option::of("\\PC{0,12}".prop_map(Arc::from))
}

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200).prop_map(|data| Payload::binary(data.into())),
        "\\PC{0,60}".prop_map(Payload::text),
        "[a-z]{0,9}".prop_map(|word| Payload::json_checked(&format!("{{\"w\":\"{word}\"}}"))),
        "[A-Za-z]{4}".prop_map(|word| {
            Payload::json_with_bytes(format!("[\"{word}\",\"{word}\"]"), vec![1, 8])
        }),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let position = prop::option::of((any::<u64>(), 1..u64::MAX));
    (
        payload(),
        text(),
        text(),
        any::<Option<u64>>(),
        any::<u64>(),
        position,
    )
        .prop_map(|(payload, user, key, publisher, time, position)| Message {
            topic: TopicName::new("t").unwrap(),
            payload,
            time: Timestamp(time),
            position: position.map(|(epoch, offset)| Position {
                epoch: Epoch::from_random(epoch),
                offset,
            }),
            user,
            key,
            publisher: publisher.map(SessionId),
        })
}

fn mark() -> impl Strategy<Value = Mark> {
    (1..u64::MAX, any::<u64>(), any::<u64>()).prop_map(|(offset, time, before)| Mark {
        offset,
        time: Timestamp(time),
        before,
    })
}

fn state() -> impl Strategy<Value = State> {
    (
        any::<i64>(),
        any::<u64>(),
        0..u64::MAX - 1,
        any::<u64>(),
        mark(),
        any::<Option<u64>>(),
    )
        .prop_map(|(id, epoch, newest, number, start, aside)| State {
            id,
            epoch: Epoch::from_random(epoch),
            newest,
            time: Timestamp(number),
            weight: number ^ 7,
            start: Mark {
                offset: start.offset.min(newest + 1),
                ..start
            },
            lost_before: Timestamp(number / 3),
            aside,
        })
}

fn assert_alike(read: &Message, given: &Message) {
    assert_eq!(read.payload, given.payload);
    assert_eq!((&read.user, &read.key), (&given.user, &given.key));
    assert_eq!(read.publisher, given.publisher);
}

proptest! {
    #[test]
    fn a_message_is_read_as_it_was_written(id: i64, mark in mark(), given in message()) {
        let epoch = Epoch::from_random(5);
        let mut record = Vec::new();
        write_message(id, mark, &given, &mut record);
        let read = read_message((id, epoch), mark, &given.topic, &record).unwrap();
        assert_alike(&read, &given);
        let offset = mark.offset;
        prop_assert_eq!(read.position, Some(Position { epoch, offset }));
        prop_assert_eq!(read.time, mark.time);
        prop_assert_eq!(check_message(id, mark, &record), Ok(()));
        // It is of that place and no other.
        let other = Mark { offset: mark.offset ^ 1, ..mark };
        prop_assert_eq!(check_message(id, other, &record), Err(Damaged));
        prop_assert_eq!(check_message(id ^ 1, mark, &record), Err(Damaged));
        write_retained(id, &given, &mut record);
        let read = read_retained(id, &given.topic, &record).unwrap();
        assert_alike(&read, &given);
        prop_assert_eq!((read.position, read.time), (given.position, given.time));
        prop_assert_eq!(check_message(id, mark, &record), Err(Damaged));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_seen(
        mark in mark(),
        given in message(),
        state in state(),
        place: prop::sample::Index,
        bit in 0..8_u32,
    ) {
        let mut records = [Vec::new(), Vec::new(), Vec::new()];
        let topic = given.topic.clone();
        write_message(3, mark, &given, &mut records[0]);
        write_topic(&topic, Durability::Synced, &state, &mut records[1]);
        write_retained(3, &given, &mut records[2]);
        for record in &mut records {
            let index = place.index(record.len());
            record[index] ^= 1 << bit;
        }
        prop_assert_eq!(check_message(3, mark, &records[0]), Err(Damaged));
        prop_assert!(read_topic(state.id, &records[1]).is_err());
        prop_assert!(read_retained(3, &topic, &records[2]).is_err());
    }

    #[test]
    fn what_is_known_of_a_topic_is_read_as_it_was_written(state in state()) {
        let topic = TopicName::new("a/b").unwrap();
        let mut record = Vec::new();
        for (_, durability) in Durability::NAMES {
            write_topic(&topic, *durability, &state, &mut record);
            let read = read_topic(state.id, &record);
            prop_assert_eq!(read, Ok((topic.clone(), *durability, state)));
        }
    }

    #[test]
    fn what_is_published_once_only_is_read_as_it_was_written(
        name: [u8; 32],
        body: [u8; 32],
        position in prop::option::of((any::<u64>(), any::<u64>())),
        time: u64,
    ) {
        let given = Remembered {
            topic: TopicName::new("a/b").unwrap(),
            once: Once { name, body },
            position: position.map(|(epoch, offset)| Position {
                epoch: Epoch::from_random(epoch),
                offset,
            }),
            time: Timestamp(time),
        };
        let mut record = Vec::new();
        write_once(&given, &mut record);
        prop_assert_eq!(read_once(given.time, &record), Ok(given));
    }

    #[test]
    fn bytes_of_any_kind_are_read_or_are_damaged(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        mark in mark(),
    ) {
        let topic = TopicName::new("t").unwrap();
        // With a right sum as well, or nothing behind it would be looked at.
        for sort in [None, Some(Sort::Message), Some(Sort::Topic), Some(Sort::Retained), Some(Sort::Once)] {
            let mut record = bytes.clone();
            if let Some(sort) = sort {
                let place: &[u64] = match sort {
                    Sort::Message => &place_of(1, mark),
                    Sort::Topic | Sort::Retained => &[1],
                    Sort::Once => &[mark.time.0],
                };
                let mut sum = sum(sort, place);
                sum.update(&[VERSION]);
                sum.update(&bytes);
                record = sum.finalize().to_le_bytes().to_vec();
                record.push(VERSION);
                record.extend(&bytes);
            }
            let _ = read_message((1, Epoch::from_random(1)), mark, &topic, &record);
            let _ = read_retained(1, &topic, &record);
            let _ = read_topic(1, &record);
            let _ = read_once(mark.time, &record);
        }
    }
}
