//! Rust source as words and signs: as much as it takes to see which paths a file uses.

/// A word (identifier or keyword) or a sign; literals, comments and lifetimes are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token<'a> {
    Word(&'a str),
    Sign(char),
}
use Token::{Sign, Word};

/// The tokens of a file without its comments, its literals and what stands under `#[cfg(test)]`.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = if first.is_whitespace() {
            rest.trim_start()
        } else if let Some(after) = rest.strip_prefix("//") {
            after.find('\n').map_or("", |end| after.split_at(end).1)
        } else if rest.starts_with("/*") {
            after_block_comment(rest)
        } else if let Some(after) = after_string(rest) {
            after
        } else if first == '\'' {
            after_quote(rest)
        } else if first == '_' || first.is_alphanumeric() {
            let (word, after) = split_word(rest);
            if !first.is_ascii_digit() {
                found.push(Word(word));
            }
            after
        } else {
            found.push(Sign(first));
            rest.split_at(first.len_utf8()).1
        };
    }
    without_tests(&found)
}

/// The names X in `root::X` and `root::{X, …}`, wherever they stand.
pub fn names_below<'a>(tokens: &[Token<'a>], root: &str) -> Vec<&'a str> {
    let mut names = Vec::new();
    let mut rest = tokens;
    while let [first, after @ ..] = rest {
        rest = after;
        if *first == Word(root)
            && let [Sign(':'), Sign(':'), below @ ..] = after
        {
            names.extend(heads(below));
        }
    }
    names
}

/// For each chain of `super::`, how many there are, and the names that follow.
pub fn names_above<'a>(tokens: &[Token<'a>]) -> Vec<(usize, Vec<&'a str>)> {
    let mut found = Vec::new();
    let mut rest = tokens;
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != Word("super") {
            continue;
        }
        let mut count = 1;
        while let [Sign(':'), Sign(':'), Word("super"), more @ ..] = rest {
            count += 1;
            rest = more;
        }
        if let [Sign(':'), Sign(':'), below @ ..] = rest {
            found.push((count, heads(below)));
        }
    }
    found
}

/// The first name of a path, or of every path of a group.
fn heads<'a>(path: &[Token<'a>]) -> Vec<&'a str> {
    match path {
        [Word(name), ..] => vec![name],
        [Sign('*'), ..] => vec!["*"],
        [Sign('{'), group @ ..] => {
            let (mut names, mut depth, mut at_start) = (Vec::new(), 0, true);
            for token in group {
                match token {
                    Sign('{') => depth += 1,
                    Sign('}') if depth == 0 => break,
                    Sign('}') => depth -= 1,
                    Sign(',') if depth == 0 => {
                        at_start = true;
                        continue;
                    }
                    Word(name) if at_start => names.push(*name),
                    Sign('*') if at_start => names.push("*"),
                    _ => {}
                }
                at_start = false;
            }
            names
        }
        _ => Vec::new(),
    }
}

fn split_word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| c != '_' && !c.is_alphanumeric());
    text.split_at(end.unwrap_or(text.len()))
}

fn after_block_comment(text: &str) -> &str {
    let mut depth = 0_usize;
    let mut rest = text;
    loop {
        if let Some(after) = rest.strip_prefix("/*") {
            depth += 1;
            rest = after;
        } else if let Some(after) = rest.strip_prefix("*/") {
            depth -= 1;
            rest = after;
            if depth == 0 {
                return rest;
            }
        } else {
            let mut chars = rest.chars();
            if chars.next().is_none() {
                return "";
            }
            rest = chars.as_str();
        }
    }
}

/// What follows a string literal of any kind, if one stands here.
fn after_string(text: &str) -> Option<&str> {
    let unprefixed = text.strip_prefix(['b', 'c']).unwrap_or(text);
    if let Some(raw) = unprefixed.strip_prefix('r') {
        let body = raw.trim_start_matches('#');
        let fence = "#".repeat(raw.len() - body.len());
        // `r#name` is no string, but a name.
        let body = body.strip_prefix('"')?;
        let end = format!("\"{fence}");
        return Some(body.split_once(&end).map_or("", |(_, after)| after));
    }
    let body = unprefixed.strip_prefix('"')?;
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '"' => break,
            _ => {}
        }
    }
    Some(chars.as_str())
}

/// What follows a character literal or a lifetime.
fn after_quote(text: &str) -> &str {
    let mut chars = text.chars();
    chars.next();
    let body = chars.as_str();
    match chars.next() {
        Some('\\') => {
            chars.next();
            chars
                .as_str()
                .split_once('\'')
                .map_or("", |(_, after)| after)
        }
        Some(_) if chars.as_str().starts_with('\'') => chars.as_str().split_at(1).1,
        _ => split_word(body).1,
    }
}

fn without_tests<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let mut kept = Vec::new();
    let mut rest = tokens;
    loop {
        match rest {
            [] => return kept,
            [
                Sign('#'),
                Sign('['),
                Word("cfg"),
                Sign('('),
                Word("test"),
                Sign(')'),
                Sign(']'),
                item @ ..,
            ] => rest = after_item(item),
            [first, after @ ..] => {
                kept.push(first.clone());
                rest = after;
            }
        }
    }
}

/// What follows the item (module, function, import, field …) that stands here.
fn after_item<'t, 'a>(item: &'t [Token<'a>]) -> &'t [Token<'a>] {
    let mut rest = item;
    // Attributes come first, and any sign may stand in them.
    while let [Sign('#'), Sign('['), ..] = rest {
        let end = rest.iter().position(|token| *token == Sign(']'));
        rest = rest.split_at(end.map_or(rest.len(), |end| end + 1)).1;
    }
    let word = rest
        .iter()
        .find(|token| !matches!(token, Word("pub") | Sign(_)));
    let import = word == Some(&Word("use"));
    let ends_at_comma = !matches!(
        word,
        Some(Word(
            "use"
                | "mod"
                | "fn"
                | "impl"
                | "struct"
                | "enum"
                | "trait"
                | "type"
                | "const"
                | "static"
                | "async"
                | "unsafe"
                | "extern"
                | "let"
                | "crate"
        ))
    );
    let mut depth = 0_usize;
    while let [token, after @ ..] = rest {
        match token {
            Sign('{' | '(' | '[') => depth += 1,
            // The end of what the item stands in.
            Sign('}' | ')' | ']') if depth == 0 => return rest,
            Sign(close @ ('}' | ')' | ']')) => {
                depth -= 1;
                if depth == 0 && *close == '}' && !import {
                    return after;
                }
            }
            Sign(';') if depth == 0 => return after,
            Sign(',') if depth == 0 && ends_at_comma => return after,
            _ => {}
        }
        rest = after;
    }
    rest
}

#[test]
fn comments_strings_characters_and_tests_are_no_paths() {
    let cases = [
        ("use crate::broker::Broker;", vec!["broker"]),
        ("let x = crate::model::Topic::new();", vec!["model"]),
        (
            "use crate::{model, broker::{self, Topic}, metrics};",
            vec!["model", "broker", "metrics"],
        ),
        ("use crate::{*};", vec!["*"]),
        ("// crate::session", vec![]),
        (
            "/// [`crate::session`]\nuse crate::model::A;",
            vec!["model"],
        ),
        (
            "/* crate::a /* nested */ crate::b */ crate::model::A",
            vec!["model"],
        ),
        (
            "let s = \"crate::a \\\" crate::b\"; crate::model::f();",
            vec!["model"],
        ),
        (
            "let s = r#\"crate::a \" crate::b\"#; crate::model::f();",
            vec!["model"],
        ),
        (
            "let s = b\"crate::a\"; let r#type = crate::model::f();",
            vec!["model"],
        ),
        (
            "let c = '\"'; crate::model::f(); let d = '\"';",
            vec!["model"],
        ),
        (
            "let c = '\\''; crate::model::f(); let d = '\\'';",
            vec!["model"],
        ),
        ("fn f<'a>(x: &'a str) { crate::model::f() }", vec!["model"]),
        (
            "#[cfg(test)] mod tests { use crate::a::X; fn f() {} } use crate::model::A;",
            vec!["model"],
        ),
        (
            "#[cfg(test)] mod tests; use crate::model::A;",
            vec!["model"],
        ),
        (
            "#[cfg(test)] use crate::{a, b}; use crate::model::A;",
            vec!["model"],
        ),
        (
            "#[cfg(test)] #[allow(dead_code)] pub fn f<A, B>() { crate::a::f() } crate::model::f()",
            vec!["model"],
        ),
        (
            "struct S { #[cfg(test)] a: crate::a::A, b: crate::model::B }",
            vec!["model"],
        ),
        ("#[cfg(unix)] use crate::model::A;", vec!["model"]),
    ];
    for (source, expected) in cases {
        assert_eq!(names_below(&tokens(source), "crate"), expected, "{source}");
    }
}

#[test]
fn supers_are_counted() {
    let source = "use super::a; use super::super::{b::c, d}; pub(super) fn f() {}";
    assert_eq!(
        names_above(&tokens(source)),
        [(1, vec!["a"]), (2, vec!["b", "d"])]
    );
}
