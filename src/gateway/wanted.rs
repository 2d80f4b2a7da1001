//! What the query of a handshake asks for.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::metrics::Refusal as Reason;
use crate::model::{Filter, TopicError, TopicName};
use crate::protocol::{ErrorCode, Refusal};

use super::handshake::{Refused, malformed};

/// What a query asks for: `?topic=F` (repeatable; one that stands there twice is one), and once each
/// `last`, `echo`, `publish`, `last_event_id`.
/// `token` is read elsewhere; what is not named here is not ours.
#[derive(Debug)]
pub struct Wanted {
    /// What to subscribe to, each once.
    pub filters: Vec<Filter>,
    /// How much of it to replay.
    pub last: Option<u64>,
    /// Whether the session's own messages come back to it.
    pub echo: bool,
    /// Where a raw session publishes, where that is said.
    pub publish: Option<TopicName>,
    /// The last event that a stream had.
    pub last_event: Option<String>,
}

impl Wanted {
    /// Reads a query.
    ///
    /// # Errors
    /// 400, with the parameter and what would do.
    pub fn read(query: &str) -> Result<Self, Refused> {
        let mut wanted = Self {
            filters: Vec::new(),
            last: None,
            echo: true,
            publish: None,
            last_event: None,
        };
        let mut seen = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if matches!(name, "publish" | "last" | "echo" | "last_event_id") {
                if seen.contains(&name) {
                    let message = format!("'{name}' stands in the query twice; give it once");
                    return Err(malformed(message));
                }
                seen.push(name);
            }
            match name {
                "topic" => {
                    let text = decode("topic", value)?;
                    let filter = Filter::new(&text).map_err(|e| invalid_topic("topic", &e))?;
                    if !wanted.filters.contains(&filter) {
                        wanted.filters.push(filter);
                    }
                }
                "publish" => {
                    let text = decode("publish", value)?;
                    let topic = TopicName::new(&text).map_err(|e| invalid_topic("publish", &e))?;
                    if topic.is_reserved() {
                        return Err(reserved(&topic));
                    }
                    wanted.publish = Some(topic);
                }
                "last" => {
                    let last = value
                        .parse()
                        .map_err(|_| malformed("'last' is a whole number, as in ?last=30"))?;
                    wanted.last = Some(last);
                }
                "echo" => {
                    wanted.echo = match value {
                        "true" => true,
                        "false" => false,
                        _ => return Err(malformed("'echo' is true or false")),
                    };
                }
                "last_event_id" => {
                    wanted.last_event = Some(decode("last_event_id", value)?.into_owned());
                }
                _ => {}
            }
        }
        Ok(wanted)
    }

    /// Where a raw session publishes: the topic that is named for it, else the one plain name that
    /// it subscribes to.
    pub fn publish_to(&self) -> Option<TopicName> {
        match (&self.publish, self.filters.as_slice()) {
            (Some(topic), _) => Some(topic.clone()),
            (None, [only]) => only.as_name(),
            (None, _) => None,
        }
    }
}

/// Undoes percent-encoding, as strictly as the HTTP API does.
fn decode<'a>(name: &str, value: &'a str) -> Result<Cow<'a, str>, Refused> {
    let is_escape = |after: &str| {
        let digits = after.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let is_whole = value.split('%').skip(1).all(is_escape);
    let decoded = percent_decode_str(value).decode_utf8().ok();
    decoded
        .filter(|_| is_whole)
        .ok_or_else(|| malformed(format!("'{name}' must be UTF-8 that is percent-encoded")))
}

fn invalid_topic(name: &str, error: &TopicError) -> Refused {
    Refused::new(Reason::InvalidTopic, Refusal::invalid_topic(name, error))
}

fn reserved(topic: &TopicName) -> Refused {
    let message = format!(
        "topics under '$' belong to the broker: nobody publishes to '{topic}'; name another"
    );
    Refused::new(
        Reason::Forbidden,
        Refusal::new(ErrorCode::Forbidden, message),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_what_to_subscribe_to() {
        let wanted =
            Wanted::read("topic=a%2Fb&topic=c/+&topic=a/b&last=30&echo=false&x=y").unwrap();
        let filters: Vec<_> = wanted.filters.iter().map(Filter::as_str).collect();
        assert_eq!(filters, ["a/b", "c/+"]);
        assert_eq!((wanted.last, wanted.echo), (Some(30), false));
        assert_eq!(wanted.publish_to(), None);
    }

    #[test]
    fn a_raw_session_publishes_to_its_one_name_or_where_it_says() {
        for (query, expected) in [
            ("topic=a", Some("a")),
            ("topic=a/%23", None),
            ("topic=a&topic=b", None),
            ("topic=a&topic=b&publish=c", Some("c")),
            ("", None),
        ] {
            let topic = Wanted::read(query).unwrap().publish_to();
            assert_eq!(topic.as_ref().map(TopicName::as_str), expected, "{query}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for query in [
            "topic=",
            "topic=a%00",
            "topic=%ff",
            "topic=a%zz",
            "topic=a%2",
            "topic=%",
            "publish=a%zz",
            "topic=a%23b",
            "publish=a/%2B",
            "last=-1",
            "last=x",
            "echo=yes",
            "last=1&last=2",
            "echo=true&topic=a&echo=true",
            "publish=a&publish=a",
            "last_event_id=&last_event_id=",
        ] {
            let refused = Wanted::read(query).unwrap_err();
            assert_eq!(refused.status, 400, "{query}");
        }
        for query in ["publish=$sys/x", "publish=%24direct", "topic=a&publish=$"] {
            let refused = Wanted::read(query).unwrap_err();
            assert_eq!(refused.status, 403, "{query}");
        }
    }
}
