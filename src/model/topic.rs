//! Topic names and topic filters: MQTT 5 §4.7, in every protocol the broker speaks.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use thiserror::Error;

/// The longest name or filter, in bytes.
const MAX_BYTES: usize = 255;

const DIRECT: &str = "$direct";
const BROADCAST: &str = "$broadcast";

/// Why a text is no topic name, or no filter.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TopicError {
    /// The text is empty.
    #[error("a topic has at least one character")]
    Empty,
    /// Longer than the 255 bytes a name or filter may have.
    #[error("a topic has at most {MAX_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// Holds a control character.
    #[error("a topic has no control characters, this one has {0:?}")]
    Control(char),
    /// A `+` or `#` where a name is asked for.
    #[error("'+' and '#' stand in filters only; a plain topic name is needed here")]
    Wildcard,
    /// A wildcard that shares its level with other characters.
    #[error("'{0}' must be a whole level of a filter, as in 'a/{0}'")]
    PartLevel(char),
    /// A `#` before the last level.
    #[error("'#' must be the last level of a filter")]
    NotLast,
}

/// A topic's name. Cheap to clone; shared by all who speak of the topic.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicName(Arc<str>);

// As a str hashes, since maps are asked by &str.
impl Hash for TopicName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TopicName {
    /// A name from any text.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn new(text: &str) -> Result<Self, TopicError> {
        // Nearly all are of such characters, and seen to be at a glance.
        let is_plain = |b: u8| matches!(b, b' '..=b'~') && !matches!(b, b'+' | b'#');
        if text.is_empty() || text.len() > MAX_BYTES || !text.bytes().all(is_plain) {
            check(text)?;
            if text.contains(['+', '#']) {
                return Err(TopicError::Wildcard);
            }
        }
        Ok(Self(text.into()))
    }

    /// What stands for a topic in a message to one session, or to those of one user.
    pub fn direct() -> Self {
        Self(DIRECT.into())
    }

    /// What stands for a topic in a message to every session.
    pub fn broadcast() -> Self {
        Self(BROADCAST.into())
    }

    /// Whether it stands for no topic: the message was sent to sessions themselves.
    pub fn is_of_no_topic(&self) -> bool {
        matches!(&*self.0, DIRECT | BROADCAST)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name belongs to the broker (`$sys/…`, `$direct`, `$broadcast`).
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }
}

/// A topic filter: a name, or a name in which a whole level is `+` or the last is `#`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Filter(Arc<str>);

impl Filter {
    /// A filter from any text.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn new(text: &str) -> Result<Self, TopicError> {
        check(text)?;
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            for wildcard in ['+', '#'] {
                if level.contains(wildcard) && level.len() > 1 {
                    return Err(TopicError::PartLevel(wildcard));
                }
            }
            if level == "#" && levels.peek().is_some() {
                return Err(TopicError::NotLast);
            }
        }
        Ok(Self(text.into()))
    }

    /// The filter as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, where the filter has no wildcard and so matches just one topic.
    pub fn as_name(&self) -> Option<TopicName> {
        (!self.has_wildcard()).then(|| TopicName(self.0.clone()))
    }

    /// Whether a level is `+` or `#`.
    pub fn has_wildcard(&self) -> bool {
        self.0.contains(['+', '#'])
    }

    /// Whether the filter matches that name.
    pub fn matches(&self, topic: &TopicName) -> bool {
        covers(self.as_str(), topic.as_str())
    }

    /// Whether some topic may be matched by both.
    pub fn meets(&self, other: &Filter) -> bool {
        meet(self.as_str(), other.as_str())
    }

    /// Whether every topic that `other` matches is matched by this filter: the test for a grant.
    pub fn contains(&self, other: &Filter) -> bool {
        covers(self.as_str(), other.as_str())
    }
}

impl From<TopicName> for Filter {
    fn from(name: TopicName) -> Self {
        Self(name.0)
    }
}

/// Whether all that `inner` (a name or filter) matches is matched by the filter `outer`.
fn covers(outer: &str, inner: &str) -> bool {
    if outer.starts_with(['+', '#']) && inner.starts_with('$') {
        return false;
    }
    // Most are a name, or all that is below a name: that is seen without looking at levels.
    if outer == inner {
        return true;
    }
    if let Some(above) = outer.strip_suffix("/#")
        && let Some(rest) = inner.strip_prefix(above)
        && (rest.is_empty() || rest.starts_with('/'))
    {
        return true;
    }
    let mut inner_levels = inner.split('/');
    for outer_level in outer.split('/') {
        if outer_level == "#" {
            return true;
        }
        match inner_levels.next() {
            // "a/#" matches "a" itself, which no filter of two plain levels does.
            None | Some("#") => return false,
            Some(level) => {
                if outer_level != "+" && outer_level != level {
                    return false;
                }
            }
        }
    }
    // "a" does not cover "a/b"; and "a/b" written as a prefix of "a/b/#" covers only a part of it.
    inner_levels.next().is_none()
}

fn meet(one: &str, other: &str) -> bool {
    let is_apart = |one: &str, other: &str| one.starts_with(['+', '#']) && other.starts_with('$');
    if is_apart(one, other) || is_apart(other, one) {
        return false;
    }
    let (mut one, mut other) = (one.split('/'), other.split('/'));
    loop {
        match (one.next(), other.next()) {
            // "a/#" matches "a" itself.
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(a), Some(b)) if a == "+" || b == "+" || a == b => {}
            _ => return false,
        }
    }
}

fn check(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > MAX_BYTES {
        return Err(TopicError::TooLong(text.len()));
    }
    match text.chars().find(|c| c.is_control()) {
        Some(control) => Err(TopicError::Control(control)),
        None => Ok(()),
    }
}

macro_rules! text_traits {
    ($type:ty) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}
text_traits!(TopicName);
text_traits!(Filter);

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Filter {
        Filter::new(text).unwrap()
    }

    #[test]
    fn filters_meet_where_some_topic_is_matched_by_both() {
        for (one, other, meet) in [
            ("a/b", "a/b", true),
            ("a/b", "a/c", false),
            ("a/+", "+/b", true),
            ("a/#", "a", true),
            ("a/#", "a/+/c", true),
            ("a/+", "a", false),
            ("a/+/c", "a/b", false),
            ("#", "a/b", true),
            ("#", "$sys/x", false),
            ("+/x", "$sys/#", false),
            ("$sys/#", "$sys/x", true),
            ("a/#", "b/#", false),
        ] {
            assert_eq!(filter(one).meets(&filter(other)), meet, "{one} {other}");
            assert_eq!(filter(other).meets(&filter(one)), meet, "{other} {one}");
        }
    }

    #[test]
    fn names_follow_the_rules_of_the_protocol() {
        for good in ["a", "/", "a//b", "/a", "a/", "é/日本", "$sys/x", "a b"] {
            assert!(TopicName::new(good).is_ok(), "{good}");
        }
        let long = "x".repeat(256);
        for (bad, why) in [
            ("", TopicError::Empty),
            (long.as_str(), TopicError::TooLong(256)),
            ("a/+", TopicError::Wildcard),
            ("a/#", TopicError::Wildcard),
            ("a\0", TopicError::Control('\0')),
            ("a\u{85}", TopicError::Control('\u{85}')),
        ] {
            assert_eq!(TopicName::new(bad), Err(why), "{bad}");
        }
        assert!(TopicName::new(&"x".repeat(255)).is_ok());
    }

    #[test]
    fn filters_follow_the_rules_of_mqtt() {
        for good in ["#", "+", "a/+/b", "a/#", "+/#", "/+", "a"] {
            assert!(Filter::new(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("a/#/b", TopicError::NotLast),
            ("a#", TopicError::PartLevel('#')),
            ("a/b+", TopicError::PartLevel('+')),
            ("++", TopicError::PartLevel('+')),
        ] {
            assert_eq!(Filter::new(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn filters_match_as_mqtt_says() {
        for (pattern, name, matched) in [
            ("a", "a", true),
            ("a", "a/b", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/#", "ab", false),
            ("+", "a", true),
            ("+", "a/b", false),
            ("+", "/a", false),
            ("/+", "/a", true),
            ("+/+", "/a", true),
            ("a/+", "a/", true),
            ("a/+", "a", false),
            ("a/+/c", "a/b/c", true),
            ("#", "a/b", true),
            ("+/#", "a", true),
            ("+/#", "a/b", true),
            ("/#", "/a", true),
            ("/#", "a", false),
            ("a/b/#", "a/bc", false),
            ("#", "$sys/a", false),
            ("+/a", "$sys/a", false),
            ("$sys/#", "$sys/a", true),
            ("$sys/+", "$sys/a", true),
        ] {
            let name = TopicName::new(name).unwrap();
            assert_eq!(filter(pattern).matches(&name), matched, "{pattern} {name}");
        }
    }

    #[test]
    fn a_grant_contains_a_filter_only_whole() {
        for (grant, asked, contained) in [
            ("#", "a/#", true),
            ("#", "#", true),
            ("#", "+/b", true),
            ("a/#", "a", true),
            ("a/#", "a/+", true),
            ("a/#", "a/#", true),
            ("a/+/#", "a/+/#", true),
            ("a/+/#", "a/#", false),
            ("a/#", "#", false),
            ("a/+", "a/b", true),
            ("a/+", "a/+", true),
            ("a/+", "a/#", false),
            ("a/b", "a/+", false),
            ("+", "a/#", false),
            ("+/+", "+/b", true),
            ("a", "a/#", false),
            ("#", "$sys/#", false),
            ("+/#", "$sys/#", false),
            ("$sys/#", "$sys/a/+", true),
        ] {
            assert_eq!(
                filter(grant).contains(&filter(asked)),
                contained,
                "{grant} {asked}"
            );
        }
    }
}
