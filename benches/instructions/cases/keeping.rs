//! What is looked up and kept: filters and histories.

use std::hint::black_box;

use fanfare::broker::filters::FilterTrie;
use fanfare::history::{Beside, Bounds, HistoryStore as _, MemoryStore, News, Terms};
use fanfare::model::{Durability, Filter, Message, Timestamp, TopicName};

use super::{payload, repeat, topic};

/// Rooms with devices, by name and by wildcards.
pub fn filters() -> u64 {
    let mut trie = FilterTrie::new();
    for number in 0..10_000 {
        let (room, device) = (number % 500, number / 500);
        let text = match number % 4 {
            0 => format!("house/{room}/device/{device}"),
            1 => format!("house/{room}/device/{device}/#"),
            2 => format!("house/{room}/+/{device}"),
            _ => format!("+/{room}/device/{device}/state"),
        };
        trie.insert(&Filter::new(&text).unwrap(), number);
    }
    assert_eq!(trie.len(), 10_000);
    let names: Vec<TopicName> = (0..1000)
        .map(|n| topic(&format!("house/{}/device/{}/state", n % 500, n % 20)))
        .collect();
    repeat(1000, |time| {
        black_box(trie.matching(black_box(&names[time])));
    })
}

/// The oldest goes for each that comes.
pub fn history_append() -> u64 {
    let store = MemoryStore::new(usize::MAX, || 1, Timestamp(0));
    let bounds = Bounds {
        messages: 1000,
        age: None,
        bytes: usize::MAX,
    };
    let name = topic("sport/tennis/scores");
    let terms = Terms {
        bounds,
        durability: Durability::Memory,
    };
    let mut history = store.open(&name, terms, &News::new()).unwrap();
    let message = Message {
        topic: name,
        payload: payload(128),
        time: Timestamp(0),
        position: None,
        user: None,
        key: None,
        publisher: None,
    };
    let mut now = 1;
    let mut append = || {
        now += 1;
        let appended = history.append(message.clone(), Beside::default(), Timestamp(now));
        black_box(appended.unwrap());
    };
    for _ in 0..1000 {
        append();
    }
    repeat(2000, |_| append())
}
