//! Who subscribes, and comes again with what it had, whenever the broker or it itself went away.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use super::record::{Heard, Name, Place};
use crate::support::{Dice, Mortal};

/// How somebody subscribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// One filter for all topics.
    Filter,
    /// A subscription for each name.
    Names,
    /// An event stream of one topic.
    Stream,
    /// An event stream of all of them.
    Streams,
}

pub struct Subscriber {
    pub heard: Vec<Heard>,
    /// How often it came.
    pub comings: usize,
    by: By,
    dice: Dice,
    had: BTreeMap<String, Had>,
    /// What an `EventSource` would name on coming again.
    last_event: String,
    /// What a filter's last `ok` said.
    from: u64,
    /// What came by a stream that may bring it again.
    known: HashMap<(String, Place), Option<Name>>,
    /// Topics of which it was told that something is missing: by time it may come all the same.
    broken: BTreeSet<String>,
}

/// The newest message of each topic.
pub type Newest = BTreeMap<String, Place>;

/// The first message of a topic, which everybody has.
#[derive(Clone)]
pub struct First {
    pub topic: &'static str,
    pub name: Name,
    pub place: Place,
    pub time: u64,
}

/// The last that somebody had of a topic; `None` where it was told that something is missing.
pub type Had = Option<Place>;

impl Subscriber {
    /// Has these.
    pub fn new(number: u64, by: By, first: &[First], dice: &Dice) -> Self {
        let from = first.iter().map(|first| first.time).min().expect("topics");
        let First { place, time, .. } = &first[0];
        let had = |first: &First| (first.topic.to_owned(), Some(first.place.clone()));
        let known = |first: &First| {
            (
                (first.topic.to_owned(), first.place.clone()),
                Some(first.name),
            )
        };
        let heard = |first: &First| {
            Heard::Message(
                first.topic.to_owned(),
                first.place.clone(),
                Some(first.name),
            )
        };
        Self {
            heard: first.iter().map(heard).collect(),
            comings: 0,
            by,
            dice: dice.for_the(1000 + number),
            had: first.iter().map(had).collect(),
            last_event: format!("{}:{}:{time}", place.epoch, place.offset),
            from,
            known: first.iter().map(known).collect(),
            broken: BTreeSet::new(),
        }
    }

    /// Listens until the broker goes away, or everything up to these offsets is there. Now and then it
    /// goes away itself, and comes again.
    pub fn listen(&mut self, address: SocketAddr, up_to: Option<&Newest>) {
        let is_steady = up_to.is_some();
        loop {
            let patience = if is_steady {
                usize::MAX
            } else {
                1 + self.dice.below(2000)
            };
            self.comings += 1;
            let stayed = match self.by {
                By::Filter | By::Names => self.by_session(address, patience, up_to),
                By::Stream | By::Streams => self.by_stream(address, patience, up_to),
            };
            if stayed.is_none() || is_steady {
                return;
            }
        }
    }

    /// What it has of each topic.
    pub fn had(&self) -> &BTreeMap<String, Had> {
        &self.had
    }

    fn has(&self, up_to: Option<&Newest>) -> bool {
        let Some(up_to) = up_to else { return false };
        // Whoever was told that something is missing does not wait for it.
        self.had.iter().all(|(topic, had)| {
            let newest = up_to.get(topic);
            had.as_ref().is_none_or(|had| {
                newest.is_none_or(|to| had.epoch == to.epoch && had.offset >= to.offset)
            })
        })
    }

    fn by_session(
        &mut self,
        address: SocketAddr,
        patience: usize,
        up_to: Option<&Newest>,
    ) -> Option<()> {
        let mut broker = Mortal::session(address)?;
        let topics: Vec<_> = self.had.keys().cloned().collect();
        if self.by == By::Filter {
            let position = |topic: &String| (topic.clone(), since(self.had[topic].as_ref()));
            let positions: Map<_, _> = topics.iter().map(position).collect();
            let since = json!({"positions": positions, "from": self.from});
            broker
                .tell(&json!({"type": "subscribe", "topic": "crash/#", "since": since, "id": 0}))?;
        } else {
            for (id, topic) in topics.iter().enumerate() {
                let since = since(self.had[topic].as_ref());
                broker.tell(
                    &json!({"type": "subscribe", "topic": topic, "since": since, "id": id}),
                )?;
            }
        }
        let mut taken = 0;
        while taken < patience && !self.has(up_to) {
            let frame = broker.frame()?;
            match frame["type"].as_str() {
                Some("message") => {
                    self.take(&frame);
                    taken += 1;
                }
                Some("ok") if self.by == By::Filter => self.filter_stands(&frame),
                Some("ok") => {
                    let id = frame["id"].as_u64().unwrap();
                    self.name_stands(&topics[usize::try_from(id).unwrap()], &frame);
                }
                Some("gap") => self.broken(frame["topic"].as_str().unwrap(), None),
                Some("closing") => return None,
                _ => panic!("{frame}"),
            }
        }
        Some(())
    }

    fn name_stands(&mut self, topic: &str, ok: &Value) {
        if ok["recovered"] != true {
            // From here on it comes live.
            self.broken(topic, Some(Place::of(ok)));
        }
    }

    fn filter_stands(&mut self, ok: &Value) {
        self.from = ok["time"].as_u64().unwrap();
        if ok["recovered"] != true {
            let gaps = ok["gaps"].as_array();
            let gaps = gaps.unwrap_or_else(|| panic!("not recovered, and no gaps: {ok}"));
            for topic in gaps.clone() {
                self.broken(topic.as_str().unwrap(), None);
            }
        }
    }

    fn broken(&mut self, topic: &str, from: Option<Place>) {
        self.heard
            .push(Heard::Broken(topic.to_owned(), from.clone()));
        self.had.insert(topic.to_owned(), from);
        self.broken.insert(topic.to_owned());
    }

    fn by_stream(
        &mut self,
        address: SocketAddr,
        patience: usize,
        up_to: Option<&Newest>,
    ) -> Option<()> {
        let query: Vec<_> = self
            .had
            .keys()
            .map(|topic| format!("topic={topic}"))
            .collect();
        let mut broker = Mortal::events(address, &query.join("&"), Some(&self.last_event))?;
        let mut taken = 0;
        while taken < patience && !self.has(up_to) {
            let event = broker.event()?;
            match event.name.as_deref() {
                Some("message") => taken += usize::from(self.take_from_stream(&event.data)),
                Some("gap") => self.broken(event.data["topic"].as_str().unwrap(), None),
                Some("closing") => return None,
                Some(_) => panic!("{event:?}"),
                None => {}
            }
            // Behind what it names: half of an event names nothing.
            if let Some(id) = event.id {
                self.last_event = id;
            }
        }
        Some(())
    }

    /// Says whether it was new: a stream of several topics may bring again what it brought.
    fn take_from_stream(&mut self, message: &Value) -> bool {
        let topic = message["topic"].as_str().unwrap();
        let place = Place::of(message);
        let had = self.had[topic].as_ref();
        let is_again =
            had.is_some_and(|had| had.epoch == place.epoch && had.offset >= place.offset);
        if is_again && self.by == By::Streams {
            let known = self.known.get(&(topic.to_owned(), place));
            let name = Name::of(&message["data"]);
            let is_same = known.map_or(self.broken.contains(topic), |known| *known == name);
            assert!(is_same, "not what it was, {known:?}: {message}");
            return false;
        }
        self.take(message);
        true
    }

    fn take(&mut self, message: &Value) {
        let topic = message["topic"].as_str().unwrap().to_owned();
        let place = Place::of(message);
        let name = Name::of(&message["data"]);
        self.heard
            .push(Heard::Message(topic.clone(), place.clone(), name));
        if self.by == By::Streams {
            self.known.insert((topic.clone(), place.clone()), name);
        }
        self.had.insert(topic, Some(place));
    }
}

/// How a client names what it has.
fn since(had: Option<&Place>) -> Value {
    match had {
        Some(place) => json!({"epoch": place.epoch, "offset": place.offset}),
        None => json!({"epoch": "none", "offset": 0}),
    }
}
