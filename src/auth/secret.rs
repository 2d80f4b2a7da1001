//! A text that nobody may see.

use std::fmt;

use subtle::ConstantTimeEq;

/// A token or key. It has no way into a log: whatever writes it writes `[hidden]`.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for who checks it. It goes nowhere else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Secret {
    /// Takes a time that does not tell where they differ, only whether their lengths do.
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_however_it_is_written() {
        let secret = Secret::new("s3cret");
        for written in [
            format!("{secret}"),
            format!("{secret:?}"),
            format!("{secret:#?}"),
            format!("{:?}", Some(&secret)),
        ] {
            assert!(!written.contains("s3cret"), "{written}");
            assert!(written.contains("[hidden]"), "{written}");
        }
    }

    #[test]
    fn secrets_are_equal_where_their_texts_are() {
        assert_eq!(Secret::new("a"), Secret::new("a"));
        for other in ["b", "", "aa", "A"] {
            assert_ne!(Secret::new("a"), Secret::new(other), "{other}");
        }
    }
}
