//! The query of a request, and percent-encoding.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::Problem;

/// The fields of a query. A `+` stands for itself, since topic filters have it.
pub(super) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Reads a query.
    ///
    /// # Errors
    /// If a field is not percent-encoded as it should be.
    pub(super) fn read(text: &'a str) -> Result<Self, Problem> {
        let fields = text.split('&').filter(|field| !field.is_empty());
        fields
            .map(|field| {
                let (name, value) = field.split_once('=').unwrap_or((field, ""));
                Some((decode(name)?, decode(value)?))
            })
            .collect::<Option<_>>()
            .map(Self)
            .ok_or_else(|| Problem::bad_request("the query must be UTF-8 that is percent-encoded"))
    }

    /// The field's text.
    ///
    /// # Errors
    /// If it stands there more than once.
    pub(super) fn get(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|(known, _)| known == name);
        let first = values.next();
        if values.next().is_some() {
            return Err(Problem::bad_request(format!(
                "'{name}' stands in the query twice; give it once"
            )));
        }
        Ok(first.map(|(_, value)| &**value))
    }

    /// The field as an integer from 0 to `max`.
    ///
    /// # Errors
    /// If it is none.
    pub(super) fn number(&self, name: &str, max: u64) -> Result<Option<u64>, Problem> {
        self.number_from(name, 0, max)
    }

    /// The field as an integer from `min` to `max`.
    ///
    /// # Errors
    /// If it is none.
    pub(super) fn number_from(
        &self,
        name: &str,
        min: u64,
        max: u64,
    ) -> Result<Option<u64>, Problem> {
        let Some(text) = self.get(name)? else {
            return Ok(None);
        };
        let has_digits_only = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = has_digits_only.then(|| text.parse().ok()).flatten();
        let number = number.filter(|number| (min..=max).contains(number));
        number.map_or_else(
            || {
                Err(Problem::bad_request(format!(
                    "'{name}' must be an integer from {min} to {max}"
                )))
            },
            |number| Ok(Some(number)),
        )
    }

    /// The field as `true` or `false`; as `false` where it is missing.
    ///
    /// # Errors
    /// If it is neither.
    pub(super) fn boolean(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name)? {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::bad_request(format!(
                "'{name}' must be true or false"
            ))),
        }
    }
}

/// Undoes percent-encoding; `None` where a `%` is not followed by two hexadecimal digits, or the
/// outcome is not UTF-8.
pub(super) fn decode(text: &str) -> Option<Cow<'_, str>> {
    let is_escape = |after: &str| {
        let digits = after.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !text.split('%').skip(1).all(is_escape) {
        return None;
    }
    percent_decode_str(text).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded_and_a_plus_stays_one() {
        let query = Query::read("filter=a/+/%62%2F%23&&x&%6Bey=%C3%A9").unwrap();
        assert_eq!(query.get("filter"), Ok(Some("a/+/b/#")));
        assert_eq!(query.get("x"), Ok(Some("")));
        assert_eq!(query.get("key"), Ok(Some("é")));
        assert_eq!(query.get("other"), Ok(None));
    }

    #[test]
    fn what_cannot_be_decoded_is_refused() {
        for bad in ["a=%", "a=%4", "a=%zz", "%=a", "a=%ff", "a=%+1"] {
            assert!(Query::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_number_is_of_digits_and_within_bounds() {
        let number = |text: &str| {
            let text = format!("n={text}");
            Query::read(&text).unwrap().number("n", 100)
        };
        assert_eq!(number("0"), Ok(Some(0)));
        assert_eq!(number("100"), Ok(Some(100)));
        for bad in ["", "-1", "101", "1.0", "+1", "a", "99999999999999999999"] {
            assert!(number(bad).is_err(), "{bad}");
        }
        assert_eq!(Query::read("").unwrap().number("n", 1), Ok(None));
        // Whichever bound it is beyond, both are told.
        for bad in ["n=0", "n=1001"] {
            let problem = Query::read(bad).unwrap().number_from("n", 1, 1000);
            let told = problem.unwrap_err().body().to_json();
            assert!(told.contains("an integer from 1 to 1000"), "{told}");
        }
    }

    #[test]
    fn a_field_that_stands_twice_is_refused() {
        let query = Query::read("a=1&a=1&b=true&c=yes").unwrap();
        assert!(query.get("a").is_err());
        assert_eq!(query.boolean("b"), Ok(true));
        assert_eq!(query.boolean("missing"), Ok(false));
        assert!(query.boolean("c").is_err());
    }
}
