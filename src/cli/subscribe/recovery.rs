//! What was received, so that a new connection goes on where the last one broke off.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::super::args::SubArgs;
use super::super::event::Event;
use super::super::exit::Failure;
use super::super::lines::escape;
use crate::model::{Filter, TopicName};

/// Topics whose place is known. Of more than these the rest is recovered by time, and may repeat.
const MOST_TOPICS: usize = 100_000;

/// Replays whatever there is.
const ALL: u32 = u32::MAX;

/// The most that is told by name.
const MOST_NAMES: usize = 10;

/// What a frame may amount to where the broker does not say.
const FRAME: usize = 64 * 1024;

/// A `subscribe` frame.
#[derive(Debug, Serialize)]
pub(super) struct Subscribe {
    #[serde(rename = "type")]
    kind: &'static str,
    id: u64,
    topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Since>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Since {
    Name(Position),
    Filter {
        positions: BTreeMap<String, Position>,
        from: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Position {
    epoch: String,
    offset: u64,
}

/// The last message of a topic.
struct Seen {
    /// Where the topic keeps history.
    position: Option<Position>,
    time: u64,
}

/// One of the filters that were asked for.
struct Subscription {
    filter: Filter,
    has_stood: bool,
    /// The broker ended it.
    is_over: bool,
    /// Messages came that no history keeps: what is published while nobody listens is lost.
    is_unkept: bool,
    /// When everything of the filter's topics was here.
    complete: Option<u64>,
    /// When the subscription stood, and how many replayed messages are still to come.
    replaying: Option<(u64, u64)>,
}

/// Which subscriptions there are, and what they have received.
pub(super) struct Recovery {
    subscriptions: Vec<Subscription>,
    seen: HashMap<String, Seen>,
    last: Option<u32>,
}

impl Recovery {
    /// What the options ask for; each filter once, since the broker refuses a second.
    ///
    /// # Errors
    /// `--since` with anything but one topic.
    pub(super) fn new(args: &SubArgs) -> Result<Self, Failure> {
        let mut subscriptions: Vec<Subscription> = Vec::with_capacity(args.filters.len());
        for text in &args.filters {
            let filter = Filter::new(text).map_err(Failure::misused)?;
            if subscriptions.iter().all(|other| other.filter != filter) {
                subscriptions.push(Subscription {
                    filter,
                    has_stood: false,
                    is_over: false,
                    is_unkept: false,
                    complete: None,
                    replaying: None,
                });
            }
        }
        let mut seen = HashMap::new();
        if let Some(place) = &args.since {
            let [only] = subscriptions.as_slice() else {
                return Err(Failure::misused("--since goes with one topic only"));
            };
            if only.filter.has_wildcard() {
                return Err(Failure::misused(
                    "--since goes with a topic only, not with a filter",
                ));
            }
            let position = Some(Position {
                epoch: place.epoch.clone(),
                offset: place.offset,
            });
            seen.insert(only.filter.to_string(), Seen { position, time: 0 });
        }
        Ok(Self {
            subscriptions,
            seen,
            last: args.last,
        })
    }

    /// Whether any subscription has stood.
    pub(super) fn has_stood(&self) -> bool {
        self.subscriptions.iter().any(|one| one.has_stood)
    }

    /// Whether the broker ended them all.
    pub(super) fn is_over(&self) -> bool {
        self.subscriptions.iter().all(|one| one.is_over)
    }

    /// The filter that the frame of that number asked for.
    pub(super) fn filter(&self, id: u64) -> Option<&str> {
        let index = usize::try_from(id).ok()?.checked_sub(1)?;
        Some(self.subscriptions.get(index)?.filter.as_str())
    }

    /// The broker ended the subscription to that.
    pub(super) fn end(&mut self, filter: Option<&str>) {
        for one in &mut self.subscriptions {
            one.is_over |= Some(one.filter.as_str()) == filter;
        }
    }

    /// A connection is lost: what was on its way is asked for again.
    pub(super) fn begin_anew(&mut self) {
        for one in &mut self.subscriptions {
            one.replaying = None;
        }
    }

    /// What to ask of a new connection, whose frames may be so long.
    pub(super) fn subscribe(&self, max_message: Option<usize>) -> Vec<Subscribe> {
        // Half of it: the bound of a frame may be that of a message.
        let room = max_message.unwrap_or(FRAME).min(FRAME) / 2;
        let frame = |(id, one): (u64, &Subscription)| {
            let since = self.since(one, room);
            let last = if since.is_some() {
                Some(ALL)
            } else {
                self.last
            };
            let replayed_before = one.has_stood && since.is_none();
            Subscribe {
                kind: "subscribe",
                id,
                topic: one.filter.to_string(),
                last: last.filter(|_| !replayed_before),
                since,
            }
        };
        let numbered = (1..).zip(&self.subscriptions);
        numbered
            .filter(|(_, one)| !one.is_over)
            .map(frame)
            .collect()
    }

    fn since(&self, one: &Subscription, room: usize) -> Option<Since> {
        if !one.filter.has_wildcard() {
            let seen = self.seen.get(one.filter.as_str())?;
            return seen.position.clone().map(Since::Name);
        }
        let from = one.complete?;
        let mut left = room;
        let mut positions = BTreeMap::new();
        for (topic, seen) in &self.seen {
            let (Some(position), Ok(name)) = (&seen.position, TopicName::new(topic)) else {
                continue;
            };
            if !one.filter.matches(&name) {
                continue;
            }
            // Quotes may be escaped.
            let Some(rest) = left.checked_sub(2 * topic.len() + 64) else {
                break;
            };
            left = rest;
            positions.insert(topic.clone(), position.clone());
        }
        Some(Since::Filter { positions, from })
    }

    /// Takes note of a message. Not whether it is one that was here before.
    pub(super) fn is_new(&mut self, event: &Event) -> bool {
        let Some(topic) = event.topic.as_deref() else {
            return true;
        };
        if event.replay {
            self.replayed(topic);
        }
        let time = event.time.unwrap_or(0);
        let offset = event.epoch.as_ref().zip(event.offset);
        if offset.is_none() && self.subscriptions.iter().any(|one| !one.is_unkept) {
            self.each_of(topic, |one| one.is_unkept = true);
        }
        if let Some(seen) = self.seen.get_mut(topic) {
            let is_new = match (&seen.position, offset) {
                (Some(before), Some((epoch, offset))) if before.epoch == *epoch => {
                    offset > before.offset
                }
                // Kept for whoever subscribes, so it comes with every subscription.
                (None, None) => !event.retain || time > seen.time,
                _ => true,
            };
            if is_new {
                seen.time = time;
                match (&mut seen.position, offset) {
                    (Some(before), Some((epoch, offset))) if before.epoch == *epoch => {
                        before.offset = offset;
                    }
                    (position, offset) => *position = offset.map(Position::of),
                }
            }
            return is_new;
        }
        if self.seen.len() < MOST_TOPICS {
            let position = offset.map(Position::of);
            self.seen.insert(topic.to_owned(), Seen { position, time });
        }
        true
    }

    /// A replayed message came.
    fn replayed(&mut self, topic: &str) {
        self.each_of(topic, |one| {
            if let Some((stood, left)) = &mut one.replaying {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    one.complete = Some(*stood);
                    one.replaying = None;
                }
            }
        });
    }

    fn each_of(&mut self, topic: &str, mut act: impl FnMut(&mut Subscription)) {
        let Ok(topic) = TopicName::new(topic) else {
            return;
        };
        for one in &mut self.subscriptions {
            if one.filter.matches(&topic) {
                act(one);
            }
        }
    }

    /// Takes note of the `ok` of a subscription. What to say of it, and what is missing.
    pub(super) fn stood(&mut self, ok: &Event) -> (Option<String>, Vec<String>) {
        let index = ok
            .id
            .and_then(|id| usize::try_from(id).ok()?.checked_sub(1));
        let Some(one) = index.and_then(|index| self.subscriptions.get_mut(index)) else {
            return (None, Vec::new());
        };
        let again = std::mem::replace(&mut one.has_stood, true);
        let filter = escape(one.filter.as_str()).into_owned();
        let mut missing = Vec::new();
        let replayed = ok.replayed.unwrap_or(0);
        if one.filter.has_wildcard() {
            match (ok.time, replayed) {
                (Some(time), 0) => one.complete = Some(time),
                (Some(time), replayed) => one.replaying = Some((time, replayed)),
                (None, _) => {}
            }
            if ok.recovered == Some(false) {
                missing.push(match names(&ok.gaps) {
                    None => format!("{filter}: messages may be missing"),
                    Some(names) => format!("{filter}: messages of {names} may be missing"),
                });
            }
        } else {
            one.is_unkept = ok.epoch.is_none();
            let before = self.seen.get(one.filter.as_str());
            let before = before.and_then(|seen| seen.position.as_ref());
            let position = ok.epoch.as_ref().zip(ok.offset).map(|(epoch, offset)| {
                // What is replayed is still to come.
                Position::of((epoch, offset.saturating_sub(replayed)))
            });
            if ok.recovered == Some(false) {
                missing.extend(match (before, &position) {
                    (Some(before), Some(now)) if before.epoch == now.epoch => {
                        let count = now.offset.saturating_sub(before.offset);
                        let kept = "the history does not reach back to them";
                        Some(format!("{filter}: {count} messages are missing: {kept}"))
                    }
                    (_, Some(_)) => Some(format!(
                        "{filter}: the history has begun anew, so messages may be missing"
                    )),
                    (_, None) => None,
                });
            }
            if ok.recovered != Some(true) && (position.is_some() || before.is_some()) {
                let time = ok.time.unwrap_or(0);
                let seen = Seen { position, time };
                self.seen.insert(one.filter.to_string(), seen);
            }
        }
        if again && one.is_unkept {
            missing.push(format!(
                "{filter}: what was published in the meantime to topics without history is missing"
            ));
        }
        let said = match (again, replayed) {
            (false, _) => format!("subscribed to {filter}"),
            (true, 0) => format!("subscribed to {filter} again"),
            (true, 1) => format!("subscribed to {filter} again; one missed message follows"),
            (true, n) => format!("subscribed to {filter} again; {n} missed messages follow"),
        };
        (Some(said), missing)
    }
}

impl Position {
    fn of((epoch, offset): (&String, u64)) -> Self {
        let epoch = epoch.clone();
        Self { epoch, offset }
    }
}

/// The first of these topics, for people; `None` where there are none.
fn names(topics: &[String]) -> Option<String> {
    let shown: Vec<_> = topics.iter().take(MOST_NAMES).map(|t| escape(t)).collect();
    let more = topics.len().saturating_sub(MOST_NAMES);
    let more = (more > 0).then(|| format!(" and {more} other topics"));
    (!shown.is_empty()).then(|| shown.join(", ") + &more.unwrap_or_default())
}
