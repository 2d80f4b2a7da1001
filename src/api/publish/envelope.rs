//! Reads what `POST /v1/publish` takes: a message with its topic or topics, or an array of them.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::once::IdempotencyKey;
use crate::model::TopicName;
use crate::protocol::{ErrorCode, Publish, Refusal, parse_publish};

/// What may stand around a JSON text.
pub const WHITE_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// What a request asks for.
#[derive(Debug)]
pub enum Ask {
    /// One item, whose answer is the answer.
    One(Asked),
    /// An array, which is answered by one.
    Array(Vec<Asked>),
}

/// What one item asks for.
#[derive(Debug)]
pub enum Asked {
    /// `topic`: one message.
    One(Result<Item, Refusal>),
    /// `topics`: the same message to each.
    Several(Vec<Result<Item, Refusal>>),
}

/// A message, and the name it is to be published once by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The message.
    pub publish: Publish,
    /// Its idempotency key.
    pub key: Option<IdempotencyKey>,
}

impl Asked {
    /// How many topics it names in `topics`.
    pub fn several(&self) -> Option<usize> {
        match self {
            Self::One(_) => None,
            Self::Several(each) => Some(each.len()),
        }
    }

    /// The same, by that idempotency key.
    ///
    /// # Errors
    /// If it has one already.
    pub fn by_key(mut self, key: Option<&IdempotencyKey>) -> Result<Self, Refusal> {
        let Some(key) = key else { return Ok(self) };
        let each = match &mut self {
            Self::One(one) => std::slice::from_mut(one),
            Self::Several(each) => each,
        };
        for item in each.iter_mut().flatten() {
            if item.key.replace(key.clone()).is_some() {
                return Err(bad(
                    "give the header 'Idempotency-Key' or the field 'idempotency_key', not both",
                ));
            }
        }
        Ok(self)
    }

    /// The same, none of which is published, for that reason.
    pub fn refused(self, refusal: &Refusal) -> Self {
        let refuse = |item: Result<Item, Refusal>| item.and_then(|_| Err(refusal.clone()));
        match self {
            Self::One(one) => Self::One(refuse(one)),
            Self::Several(each) => Self::Several(each.into_iter().map(refuse).collect()),
        }
    }
}

/// The fields that this call has and a publish frame has not.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    topic: Option<&'a RawValue>,
    #[serde(borrow)]
    topics: Option<&'a RawValue>,
    #[serde(borrow)]
    idempotency_key: Option<&'a RawValue>,
}

/// How many messages one request may still ask for, and how many it may ask for at all.
#[derive(Clone, Copy)]
struct Budget {
    left: usize,
    most: usize,
}

/// Reads a body that asks for at most `most` messages.
///
/// # Errors
/// If it is an array that is none after all, or one that is too long. An item that is wrong is an
/// item that is answered by a problem.
pub fn read(text: &str, most: usize) -> Result<Ask, Refusal> {
    let mut budget = Budget { left: most, most };
    let text = text.trim_matches(WHITE_SPACE);
    if !text.starts_with('[') {
        return Ok(Ask::One(budget.read_item(text)));
    }
    let items = elements::<&RawValue>(text, most)
        .map_err(|error| bad(format!("the body is not valid JSON: {error}")))?
        .ok_or_else(|| budget.exceeded())?;
    let asked = items.iter().map(|item| budget.read_item(item.get()));
    Ok(Ask::Array(asked.collect()))
}

impl Budget {
    /// Reads an item and takes off what it asks for.
    fn read_item(&mut self, text: &str) -> Asked {
        let asked = self
            .read_any(text)
            .unwrap_or_else(|refusal| Asked::One(Err(refusal)));
        self.left = self.left.saturating_sub(asked.several().unwrap_or(1));
        asked
    }

    fn read_any(self, text: &str) -> Result<Asked, Refusal> {
        let Some(fields) = text.strip_prefix('{') else {
            // It says what stands there instead.
            let publish = parse_publish(text);
            return Ok(Asked::One(
                publish.map(|publish| Item { publish, key: None }),
            ));
        };
        let envelope: Envelope<'_> = serde_json::from_str(text)
            .map_err(|error| bad(format!("a message to publish cannot be read: {error}")))?;
        let key = envelope.idempotency_key.map(read_key).transpose()?;
        let Some(topics) = envelope.topics else {
            if self.left == 0 {
                return Err(self.exceeded());
            }
            return Ok(Asked::One(
                parse_publish(text).map(|publish| Item { publish, key }),
            ));
        };
        if envelope.topic.is_some() {
            return Err(bad("give 'topic' or 'topics', not both"));
        }
        let topics = elements::<Cow<'_, str>>(topics.get(), self.left)
            .map_err(|_| bad("'topics' must be an array of topic names"))?
            .ok_or_else(|| self.exceeded())?;
        if topics.is_empty() {
            return Err(bad("'topics' must name at least one topic"));
        }
        // A frame's reader wants one topic: it gets a stand-in, put before the fields there are.
        let publish = parse_publish(&format!(r#"{{"topic":"-",{fields}"#))?;
        let each = topics.iter().map(|topic| {
            let topic =
                TopicName::new(topic).map_err(|error| Refusal::invalid_topic("topics", &error))?;
            Ok(Item {
                publish: Publish {
                    topic,
                    ..publish.clone()
                },
                key: key.clone(),
            })
        });
        Ok(Asked::Several(each.collect()))
    }

    fn exceeded(self) -> Refusal {
        let most = self.most;
        Refusal::new(
            ErrorCode::TooLarge,
            format!("one request publishes at most {most} messages; send more requests"),
        )
    }
}

/// Reads one line of a stream, which is one object.
pub fn read_line(text: &str, most: usize) -> Asked {
    let text = text.trim_matches(WHITE_SPACE);
    if text.starts_with('[') {
        return Asked::One(Err(bad(
            "a line must be one object, not an array; give each message a line",
        )));
    }
    Budget { left: most, most }.read_item(text)
}

fn read_key(value: &RawValue) -> Result<IdempotencyKey, Refusal> {
    const FIELD: &str = "idempotency_key";
    let text: Cow<'_, str> = serde_json::from_str(value.get())
        .map_err(|_| bad(format!("'{FIELD}' must be a string")))?;
    IdempotencyKey::new(FIELD, &text)
}

/// The elements of an array; `None` where there are more than `most`.
fn elements<'a, T: Deserialize<'a>>(
    text: &'a str,
    most: usize,
) -> Result<Option<Vec<T>>, serde_json::Error> {
    struct Elements<'v, T> {
        most: usize,
        found: &'v mut Option<Vec<T>>,
    }

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<'_, T> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
            let mut found = Vec::new();
            while let Some(element) = elements.next_element()? {
                if found.len() == self.most {
                    *self.found = None;
                    return Err(serde::de::Error::custom("too many elements"));
                }
                found.push(element);
            }
            *self.found = Some(found);
            Ok(())
        }
    }

    let mut found = Some(Vec::new());
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = reader
        .deserialize_seq(Elements {
            most,
            found: &mut found,
        })
        .and_then(|()| reader.end());
    match (read, found) {
        (Ok(()), found) => Ok(found),
        (Err(_), None) => Ok(None),
        (Err(error), Some(_)) => Err(error),
    }
}

fn bad(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(ErrorCode::BadRequest, message)
}
