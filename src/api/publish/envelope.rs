//! Reads what `POST /v1/publish` takes: a message with its topic or topics, or an array of them.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::model::TopicName;
use crate::protocol::{ErrorCode, Publish, Refusal, parse_publish};

/// What may stand around a JSON text.
const WHITE_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

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
    One(Result<Publish, Refusal>),
    /// `topics`: the same message to each.
    Several(Vec<Result<Publish, Refusal>>),
}

impl Asked {
    /// How many topics it names in `topics`.
    pub fn several(&self) -> Option<usize> {
        match self {
            Self::One(_) => None,
            Self::Several(each) => Some(each.len()),
        }
    }

    /// The messages it asks for.
    pub fn into_each(self) -> Vec<Result<Publish, Refusal>> {
        match self {
            Self::One(one) => vec![one],
            Self::Several(each) => each,
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
            return Ok(Asked::One(parse_publish(text)));
        };
        let envelope: Envelope<'_> = serde_json::from_str(text)
            .map_err(|error| bad(format!("a message to publish cannot be read: {error}")))?;
        if envelope.idempotency_key.is_some() {
            return Err(bad(
                "'idempotency_key' is not carried out by this broker yet; leave it out",
            ));
        }
        let Some(topics) = envelope.topics else {
            if self.left == 0 {
                return Err(self.exceeded());
            }
            return Ok(Asked::One(parse_publish(text)));
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
            Ok(Publish {
                topic,
                ..publish.clone()
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
