//! What an unknown key was probably meant to be.

use std::collections::BTreeSet;

use super::reader::without_numbers;

/// What would do in place of an unknown key: the known key next to it, or those of its section.
pub(super) fn suggest(key: &str, known: &BTreeSet<String>) -> String {
    let plain = without_numbers(key);
    let (section, name) = split(&plain);
    let siblings = || known.iter().filter(|other| split(other).0 == section);
    let like = siblings()
        .map(|other| (distance(name, split(other).1), other))
        .filter(|(distance, other)| *distance <= (split(other).1.len() / 3).max(1))
        .min();
    if let Some((_, other)) = like {
        return format!("did you mean {}?", split(other).1);
    }
    let elsewhere = known.iter().filter(|other| split(other).1 == name);
    let elsewhere: Vec<&str> = elsewhere.map(String::as_str).collect();
    if !elsewhere.is_empty() {
        return format!("did you mean {}?", elsewhere.join(" or "));
    }
    let names: Vec<&str> = siblings().map(|other| split(other).1).collect();
    if names.is_empty() {
        return "leave it out".to_owned();
    }
    format!("leave it out; known here: {}", names.join(", "))
}

/// The section and the name in it.
fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

/// The number of letters to insert, leave out or change on the way from one to the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        next.push(above + 1);
        for ((pair, left_to), target) in row.windows(2).zip(0..).zip(&other) {
            let [diagonal, up] = *pair else { continue };
            let left: usize = next.get::<usize>(left_to).copied().unwrap_or(up);
            let changed = diagonal + usize::from(letter != *target);
            next.push(changed.min(up + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_letters() {
        for (one, other, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "ab", 2),
            ("listen", "lsten", 1),
            ("listen", "listne", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
            assert_eq!(distance(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn the_nearest_key_of_the_section_is_suggested_else_the_same_name_elsewhere() {
        let known = [
            "server",
            "server.listen",
            "server.drain",
            "topic",
            "topic[].filter",
        ];
        let known: BTreeSet<String> = known.into_iter().map(str::to_owned).collect();
        for (key, expected) in [
            ("server.lsten", "did you mean listen?"),
            ("topic[12].filtre", "did you mean filter?"),
            ("topics", "did you mean topic?"),
            ("listen", "did you mean server.listen?"),
            ("cluster", "leave it out; known here: server, topic"),
            ("server.tls", "leave it out; known here: drain, listen"),
            ("cluster.url", "leave it out"),
        ] {
            assert_eq!(suggest(key, &known), expected, "{key}");
        }
    }
}
