//! What was said and heard while brokers came and went: what the checker judges.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// By whom, and which of theirs: what a message is told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub publisher: u32,
    pub number: u64,
}

/// Where a message is in its topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub epoch: String,
    pub offset: u64,
}

/// What a publisher did.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// In this order, each once, however often it was sent.
    pub sent: Vec<(String, Name)>,
    pub acked: Vec<(String, Name, Place)>,
}

/// What a subscriber got, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// `None` is a message that nobody can have sent.
    Message(String, Place, Option<Name>),
    /// It was told that something of the topic is missing; where it was told what comes next, that is the
    /// one behind this place.
    Broken(String, Option<Place>),
}

/// What the broker holds in the end, by topic.
pub type Stored = BTreeMap<String, Vec<(Place, Option<Name>)>>;

impl Name {
    pub fn new(publisher: u32, number: u64) -> Self {
        Self { publisher, number }
    }

    /// What the message says: nothing in it is by chance, so that a byte that was changed is seen.
    pub fn data(self) -> Value {
        let length = match self.number % 50 {
            0 => 5000,
            some => (some * 13 + u64::from(self.publisher)) % 300,
        };
        let padding: String = (0..length).map(|n| letter(n + self.number)).collect();
        json!({"publisher": self.publisher, "number": self.number, "padding": padding})
    }

    /// Whose message says that; `None` where it is not whole.
    pub fn of(data: &Value) -> Option<Self> {
        let inside;
        let data = match data {
            Value::String(text) => {
                inside = serde_json::from_str(text).ok()?;
                &inside
            }
            data => data,
        };
        let publisher = data["publisher"].as_u64()?.try_into().ok()?;
        let name = Self::new(publisher, data["number"].as_u64()?);
        (*data == name.data()).then_some(name)
    }
}

fn letter(number: u64) -> char {
    char::from(b'a' + (number % 26) as u8)
}

impl Place {
    pub fn new(epoch: &str, offset: u64) -> Self {
        Self {
            epoch: epoch.to_owned(),
            offset,
        }
    }

    /// As answers and messages name it.
    pub fn of(fields: &Value) -> Self {
        let epoch = fields["epoch"].as_str();
        let offset = fields["offset"].as_u64();
        let (Some(epoch), Some(offset)) = (epoch, offset) else {
            panic!("no position: {fields}");
        };
        Self::new(epoch, offset)
    }
}

impl Said {
    pub fn send(&mut self, topic: &str, name: Name) {
        self.sent.push((topic.to_owned(), name));
    }

    pub fn ack(&mut self, topic: &str, name: Name, answer: &Value) {
        self.acked.push((topic.to_owned(), name, Place::of(answer)));
    }
}
