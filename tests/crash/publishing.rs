//! Who publishes, to a broker that may be killed at any moment, and goes on where the next one is.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::record::{Name, Place, Said};
use crate::support::{Dice, Mortal};

/// How somebody publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Texts by HTTP, one at a time; what was not answered is not sent again.
    Once,
    /// By HTTP with an idempotency key; what was not answered is sent until it is.
    Keyed,
    /// Many lines at a time; what was not answered is not sent again.
    Lines,
    /// Many lines with keys; what was not answered is sent until it is.
    KeyedLines,
    /// Many frames of a session at a time.
    Frames,
}

pub struct Publisher {
    pub said: Said,
    pub way: Way,
    number: u32,
    topics: Vec<String>,
    dice: Dice,
    last: u64,
    /// What has no answer, of ways that ask again.
    open: Vec<(String, Name)>,
    /// Whether what was answered in another epoch may be forgotten.
    may_forget: bool,
}

impl Publisher {
    pub fn new(number: u32, way: Way, topics: &[&str], dice: &Dice) -> Self {
        Self {
            said: Said::default(),
            way,
            number,
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            dice: dice.for_the(u64::from(number)),
            last: 0,
            open: Vec::new(),
            may_forget: false,
        }
    }

    /// The disk may forget what was answered.
    pub fn on_a_forgetful_disk(mut self) -> Self {
        self.may_forget = true;
        self
    }

    /// Publishes until the broker goes away.
    pub fn publish(&mut self, address: SocketAddr) {
        let gone = match self.way {
            Way::Once => self.once(address),
            Way::Keyed => self.keyed(address),
            Way::Lines | Way::KeyedLines => self.lines(address),
            Way::Frames => self.frames(address),
        };
        assert_eq!(gone, None);
    }

    fn next(&mut self) -> (String, Name) {
        self.last += 1;
        let topic = self.dice.pick(&self.topics).clone();
        let name = Name::new(self.number, self.last);
        self.said.send(&topic, name);
        (topic, name)
    }

    fn pause(&mut self) {
        if self.dice.one_in(8) {
            std::thread::sleep(self.dice.millis(1, 10));
        }
    }

    fn once(&mut self, address: SocketAddr) -> Option<()> {
        let mut broker = Mortal::connect(address)?;
        loop {
            let (topic, name) = self.next();
            let path = format!("/v1/topics/{topic}/messages");
            let text = name.data().to_string();
            let answer = broker.ask("POST", &path, "Content-Type: text/plain\r\n", &text)?;
            match answer.status {
                200 => self.said.ack(&topic, name, &answer.json()),
                status => assert_eq!(status, 503, "{}", answer.text()),
            }
            self.pause();
        }
    }

    fn keyed(&mut self, address: SocketAddr) -> Option<()> {
        let mut broker = Mortal::connect(address)?;
        self.ask_again(&mut broker)?;
        loop {
            if self.open.is_empty() {
                let next = self.next();
                self.open.push(next);
            }
            let (topic, name) = self.open[0].clone();
            // Gone before the answer: whether it was done is not known.
            if self.dice.one_in(16) {
                let mut other = Mortal::connect(address)?;
                let _ = post(&mut other, &topic, name, &name.data(), false)?;
            }
            let answer = post(&mut broker, &topic, name, &name.data(), true)??;
            if answer.0 == 503 {
                std::thread::sleep(self.dice.millis(1, 10));
                continue;
            }
            assert_eq!(answer.0, 200, "{}", answer.1);
            self.said.ack(&topic, name, &answer.1);
            self.open.clear();
            self.pause();
        }
    }

    /// What was answered before is answered the same, whatever happened since; and with other bytes it
    /// is refused.
    fn ask_again(&mut self, broker: &mut Mortal) -> Option<()> {
        let newest: Vec<_> = self.said.acked.iter().rev().take(3).cloned().collect();
        for (topic, name, place) in newest {
            let (status, answer) = post(broker, &topic, name, &name.data(), true)??;
            if status == 503 {
                return None;
            }
            if status == 200 && self.may_forget && answer["epoch"] != place.epoch.as_str() {
                self.said.ack(&topic, name, &answer);
                continue;
            }
            assert_eq!(status, 200, "{answer}");
            assert_eq!(
                Place::of(&answer),
                place,
                "{topic} {name:?}: another answer"
            );
            let (status, answer) = post(broker, &topic, name, &json!("other"), true)??;
            assert!([409, 503].contains(&status), "{answer}");
        }
        Some(())
    }

    fn lines(&mut self, address: SocketAddr) -> Option<()> {
        let mut broker = Mortal::lines(address)?;
        let mut is_begun = false;
        loop {
            if self.open.is_empty() {
                for _ in 0..=self.dice.below(40) {
                    let next = self.next();
                    self.open.push(next);
                }
            }
            let is_keyed = self.way == Way::KeyedLines;
            let batch = if is_keyed {
                self.open.clone()
            } else {
                std::mem::take(&mut self.open)
            };
            let line = |(topic, name): &(String, Name)| {
                let mut line = json!({"topic": topic, "data": name.data()});
                if is_keyed {
                    line["idempotency_key"] = key(*name).into();
                }
                line.to_string() + "\n"
            };
            broker.line(&batch.iter().map(line).collect::<String>())?;
            if !is_begun {
                broker.expect(200)?;
                is_begun = true;
            }
            for (topic, name) in batch {
                let answer = broker.answered_line()?;
                if answer["code"] == "unavailable" {
                    continue;
                }
                self.said.ack(&topic, name, &answer);
                self.open.retain(|(_, open)| *open != name);
            }
            self.pause();
        }
    }

    fn frames(&mut self, address: SocketAddr) -> Option<()> {
        let mut broker = Mortal::session(address)?;
        loop {
            let batch: Vec<_> = (0..=self.dice.below(40)).map(|_| self.next()).collect();
            for (id, (topic, name)) in batch.iter().enumerate() {
                broker.tell(
                    &json!({"type": "publish", "topic": topic, "data": name.data(), "id": id}),
                )?;
            }
            // Topics have homes of their own, so answers need not come as they were asked for.
            for _ in 0..batch.len() {
                let answer = broker.frame()?;
                if answer["type"] == "closing" {
                    return None;
                }
                let id = answer["id"].as_u64().unwrap_or_else(|| panic!("{answer}"));
                let (topic, name) = &batch[usize::try_from(id).unwrap()];
                match answer["type"].as_str() {
                    Some("ok") => self.said.ack(topic, *name, &answer),
                    _ => assert_eq!(answer["code"], "unavailable", "{answer}"),
                }
            }
            self.pause();
        }
    }
}

fn key(name: Name) -> String {
    format!("{}-{}", name.publisher, name.number)
}

/// Publishes with the message's key; `Some(None)` where nobody waits for the answer.
#[allow(clippy::option_option, reason = "the outer is the broker's end")]
fn post(
    broker: &mut Mortal,
    topic: &str,
    name: Name,
    data: &Value,
    waits: bool,
) -> Option<Option<(u16, Value)>> {
    let path = format!("/v1/topics/{topic}/messages");
    let more = format!(
        "Content-Type: application/json\r\nIdempotency-Key: {}\r\n",
        key(name)
    );
    if !waits {
        broker.send_request("POST", &path, &more, &data.to_string())?;
        return Some(None);
    }
    let answer = broker.ask("POST", &path, &more, &data.to_string())?;
    Some(Some((answer.status, answer.json())))
}
