//! Whether nothing was lost: from what publishers were told, subscribers got and the broker holds.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{Heard, Name, Place, Said, Stored};

/// What must not be. Topic first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Acknowledged, and not there at its place.
    Lost(String, Name, Place),
    /// Acknowledged in another life of the topic than the present one.
    Epoch(String, Name, Place),
    /// There more than once.
    Doubled(String, Name),
    /// Behind one that its publisher sent later.
    Reordered(String, Name),
    /// No message at this offset, and later ones.
    Hole(String, u64),
    /// Nobody sent that there, or not those bytes.
    Strange(String, Place),
    /// Two messages had this place.
    Twice(String, Place),
    /// The subscriber (by its number) got this out of turn: not the one behind the last it had.
    OutOfTurn(usize, String, Place),
    /// The subscriber was told that something is missing.
    Broken(usize, String),
    /// A subscriber had seen it, and it is gone.
    Gone(usize, String, Place),
}

/// What may come to nothing, of which topic: what was acknowledged in another life of it.
pub type MayForget<'a> = &'a dyn Fn(&str) -> bool;

/// All that is wrong, in no order.
pub fn faults(
    stored: &Stored,
    said: &[&Said],
    heard: &[&[Heard]],
    may_forget: MayForget<'_>,
) -> BTreeSet<Fault> {
    let mut faults = BTreeSet::new();
    let mut places = Places::default();
    let sent: BTreeSet<(&str, Name)> = said
        .iter()
        .flat_map(|said| &said.sent)
        .map(|(topic, name)| (topic.as_str(), *name))
        .collect();
    for (topic, messages) in stored {
        check_topic(topic, messages, &sent, may_forget(topic), &mut faults);
        for (place, name) in messages {
            places.has(topic, place, *name, &mut faults);
        }
    }
    for (topic, name, place) in said.iter().flat_map(|said| &said.acked) {
        places.has(topic, place, Some(*name), &mut faults);
        let at = (topic.clone(), *name, place.clone());
        match at_place(stored, topic, place) {
            Kept::Message(kept) if kept == Some(*name) => {}
            Kept::OtherLife if may_forget(topic) => {}
            Kept::OtherLife => drop(faults.insert(Fault::Epoch(at.0, at.1, at.2))),
            Kept::Message(_) | Kept::Nothing => drop(faults.insert(Fault::Lost(at.0, at.1, at.2))),
        }
    }
    for (number, heard) in heard.iter().enumerate() {
        check_heard(number, heard, stored, may_forget, &mut places, &mut faults);
    }
    faults
}

fn check_topic(
    topic: &str,
    messages: &[(Place, Option<Name>)],
    sent: &BTreeSet<(&str, Name)>,
    may_forget: bool,
    faults: &mut BTreeSet<Fault>,
) {
    let mut seen = BTreeSet::new();
    let mut newest = BTreeMap::new();
    // Nothing is trimmed in these tests: what is held begins with the first.
    let first = messages.first().map_or(1, |(place, _)| place.offset);
    let mut expected = if may_forget { first } else { 1 };
    for (place, name) in messages {
        if place.offset > expected {
            faults.insert(Fault::Hole(topic.to_owned(), expected));
        } else if place.offset < expected {
            faults.insert(Fault::Twice(topic.to_owned(), place.clone()));
        }
        expected = place.offset + 1;
        let Some(name) = name.filter(|name| sent.contains(&(topic, *name))) else {
            faults.insert(Fault::Strange(topic.to_owned(), place.clone()));
            continue;
        };
        if !seen.insert(name) {
            faults.insert(Fault::Doubled(topic.to_owned(), name));
        }
        let last = newest.insert(name.publisher, name.number);
        if last.is_some_and(|last| last > name.number) {
            faults.insert(Fault::Reordered(topic.to_owned(), name));
        }
    }
}

fn check_heard(
    number: usize,
    heard: &[Heard],
    stored: &Stored,
    may_forget: MayForget<'_>,
    places: &mut Places,
    faults: &mut BTreeSet<Fault>,
) {
    let mut last: BTreeMap<&str, &Place> = BTreeMap::new();
    for event in heard {
        let (topic, place, name) = match event {
            Heard::Message(topic, place, name) => (topic, place, name),
            Heard::Broken(topic, place) => {
                if !may_forget(topic) {
                    faults.insert(Fault::Broken(number, topic.clone()));
                }
                last.remove(topic.as_str());
                last.extend(place.as_ref().map(|place| (topic.as_str(), place)));
                continue;
            }
        };
        places.has(topic, place, *name, faults);
        let is_next = last
            .insert(topic, place)
            .is_none_or(|last| last.epoch == place.epoch && last.offset + 1 == place.offset);
        if !is_next {
            faults.insert(Fault::OutOfTurn(number, topic.clone(), place.clone()));
        }
        let is_kept = match at_place(stored, topic, place) {
            Kept::Message(kept) => kept == *name,
            Kept::OtherLife => may_forget(topic),
            Kept::Nothing => false,
        };
        if !is_kept {
            faults.insert(Fault::Gone(number, topic.clone(), place.clone()));
        }
    }
}

/// Which message had which place, of whatever life of its topic.
#[derive(Default)]
struct Places {
    names: BTreeMap<(String, Place), Option<Name>>,
}

impl Places {
    fn has(
        &mut self,
        topic: &str,
        place: &Place,
        name: Option<Name>,
        faults: &mut BTreeSet<Fault>,
    ) {
        let at = (topic.to_owned(), place.clone());
        if *self.names.entry(at).or_insert(name) != name {
            faults.insert(Fault::Twice(topic.to_owned(), place.clone()));
        }
    }
}

enum Kept {
    Message(Option<Name>),
    Nothing,
    OtherLife,
}

fn at_place(stored: &Stored, topic: &str, place: &Place) -> Kept {
    let messages = stored.get(topic).map_or(&[][..], Vec::as_slice);
    let found = messages.binary_search_by_key(&place.offset, |(at, _)| at.offset);
    match found {
        _ if messages
            .first()
            .is_none_or(|(at, _)| at.epoch != place.epoch) =>
        {
            Kept::OtherLife
        }
        Ok(index) => Kept::Message(messages[index].1),
        Err(_) => Kept::Nothing,
    }
}

/// A run that went well, to be spoilt.
struct Run {
    stored: Stored,
    said: Said,
    heard: Vec<Heard>,
}

const TOPIC: &str = "t";

impl Run {
    fn new() -> Self {
        let mut run = Self {
            stored: Stored::new(),
            said: Said::default(),
            heard: Vec::new(),
        };
        let mut stored = Vec::new();
        for number in 1..=5 {
            let (name, place) = (Name::new(1, number), Place::new("e", number));
            run.said.send(TOPIC, name);
            // What was not acknowledged may be there or not; of the fourth nobody knows.
            if number != 4 {
                run.said.acked.push((TOPIC.to_owned(), name, place.clone()));
            }
            run.heard
                .push(Heard::Message(TOPIC.to_owned(), place.clone(), Some(name)));
            stored.push((place, Some(name)));
        }
        run.said.send(TOPIC, Name::new(1, 6));
        run.stored.insert(TOPIC.to_owned(), stored);
        run
    }

    fn messages(&mut self) -> &mut Vec<(Place, Option<Name>)> {
        self.stored.get_mut(TOPIC).unwrap()
    }

    /// That, and nothing else.
    #[track_caller]
    fn expect(&self, expected: &[Fault]) {
        let found = faults(&self.stored, &[&self.said], &[&self.heard], &|_| false);
        assert_eq!(found, expected.iter().cloned().collect());
    }
}

fn at(offset: u64) -> Place {
    Place::new("e", offset)
}

fn topic() -> String {
    TOPIC.to_owned()
}

#[test]
fn a_run_that_went_well_has_no_faults() {
    let mut run = Run::new();
    run.expect(&[]);
    // An unacknowledged one that nobody saw may be there.
    run.messages().push((at(6), Some(Name::new(1, 6))));
    run.expect(&[]);
}

#[test]
fn a_message_that_was_lost_is_found() {
    let mut run = Run::new();
    run.heard.clear();
    run.messages().pop();
    run.expect(&[Fault::Lost(topic(), Name::new(1, 5), at(5))]);
    // An unacknowledged one that was seen must not be gone either; here it leaves a hole.
    let mut run = Run::new();
    run.messages().remove(3);
    run.expect(&[Fault::Hole(topic(), 4), Fault::Gone(0, topic(), at(4))]);
}

#[test]
fn a_message_that_is_there_twice_is_found() {
    let mut run = Run::new();
    run.messages().push((at(6), Some(Name::new(1, 2))));
    run.expect(&[
        Fault::Doubled(topic(), Name::new(1, 2)),
        Fault::Reordered(topic(), Name::new(1, 2)),
    ]);
}

#[test]
fn messages_in_another_order_are_found() {
    let mut run = Run::new();
    run.heard.clear();
    run.said.acked.clear();
    let messages = run.messages();
    (messages[1].1, messages[2].1) = (messages[2].1, messages[1].1);
    run.expect(&[Fault::Reordered(topic(), Name::new(1, 2))]);
}

#[test]
fn an_offset_that_was_given_twice_is_found() {
    let mut run = Run::new();
    run.heard.clear();
    run.said.acked.push((topic(), Name::new(1, 6), at(5)));
    run.expect(&[
        Fault::Twice(topic(), at(5)),
        Fault::Lost(topic(), Name::new(1, 6), at(5)),
    ]);
    // Seen before the kill, and given to another message after it.
    let mut run = Run::new();
    run.said.acked.clear();
    run.messages()[4].1 = Some(Name::new(1, 6));
    run.expect(&[Fault::Twice(topic(), at(5)), Fault::Gone(0, topic(), at(5))]);
}

#[test]
fn a_changed_message_and_one_that_nobody_sent_are_found() {
    let mut run = Run::new();
    run.heard.clear();
    run.said.acked.clear();
    run.messages()[1].1 = None;
    run.messages()[2].1 = Some(Name::new(9, 9));
    run.expect(&[
        Fault::Strange(topic(), at(2)),
        Fault::Strange(topic(), at(3)),
    ]);
    let mut data = Name::new(1, 2).data();
    assert_eq!(Name::of(&data), Some(Name::new(1, 2)));
    assert_eq!(Name::of(&data.to_string().into()), Some(Name::new(1, 2)));
    data["padding"] = "other".into();
    assert_eq!(Name::of(&data), None);
}

#[test]
fn what_a_subscriber_missed_got_again_or_out_of_order_is_found() {
    let out = |offset| Fault::OutOfTurn(0, topic(), at(offset));
    let mut missed = Run::new();
    missed.heard.remove(2);
    missed.expect(&[out(4)]);
    let mut again = Run::new();
    again.heard.insert(2, again.heard[1].clone());
    again.expect(&[out(2)]);
    let mut swapped = Run::new();
    swapped.heard.swap(1, 2);
    swapped.expect(&[out(2), out(3), out(4)]);
}

#[test]
fn a_new_epoch_is_a_fault_unless_the_topic_may_forget_and_says_so() {
    let mut run = Run::new();
    for (place, _) in run.messages() {
        place.epoch = "f".to_owned();
    }
    run.heard.truncate(2);
    let found = faults(&run.stored, &[&run.said], &[&run.heard], &|_| false);
    assert_eq!(found.len(), 4 + 2, "{found:?}");
    let found = faults(&run.stored, &[&run.said], &[&run.heard], &|_| true);
    assert_eq!(found, BTreeSet::new());
    // Without a word the subscriber must not be brought over.
    let next = Heard::Message(topic(), Place::new("f", 3), Some(Name::new(1, 3)));
    run.heard.push(next.clone());
    let found = faults(&run.stored, &[&run.said], &[&run.heard], &|_| true);
    assert_eq!(found.len(), 1, "{found:?}");
    run.heard.insert(2, Heard::Broken(topic(), None));
    let found = faults(&run.stored, &[&run.said], &[&run.heard], &|_| true);
    assert_eq!(found, BTreeSet::new());
    // What it was told is where it goes on.
    run.heard[2] = Heard::Broken(topic(), Some(Place::new("f", 1)));
    let found = faults(&run.stored, &[&run.said], &[&run.heard], &|_| true);
    assert_eq!(found.len(), 1, "{found:?}");
    // Where it may not forget, to be told so is a fault of its own.
    let mut run = Run::new();
    run.heard.push(Heard::Broken(topic(), None));
    run.expect(&[Fault::Broken(0, topic())]);
}
