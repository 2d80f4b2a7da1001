//! The paths of requests: each leads to one thing.

use std::collections::BTreeMap;

use super::kinds;
use super::reader::Section;

/// What already answers at a path of its own.
const RESERVED: [&str; 5] = ["/", "/sse", "/healthz", "/readyz", "/openapi.json"];

/// What answers at a path and all below it.
const RESERVED_BELOW: [&str; 2] = ["/v1", "/console"];

/// The paths that were given away, and to which section.
#[derive(Default)]
pub(super) struct Paths(BTreeMap<String, String>);

impl Paths {
    /// The section's `path`, if it is there and right. One that leads elsewhere already is a fault.
    pub(super) fn take(&mut self, section: &mut Section<'_>) -> Option<String> {
        let path = section.read("path", kinds::path)?;
        let remedy = "a path of its own would do";
        if is_reserved(&path) {
            let found = format!("{path:?}, which is the broker's own");
            section.refuse("path", found, remedy);
            return Some(path);
        }
        let own = section.path().to_owned();
        match self.0.get(&path) {
            None => {
                self.0.insert(path.clone(), own);
            }
            // Nobody wrote this one: what was written in its way is at fault.
            Some(owner) if section.is_built_in("path") => {
                let found = format!("{path:?}, which is that of {own}");
                section.refuse_elsewhere(&format!("{owner}.path"), found, remedy);
            }
            Some(owner) => {
                let found = format!("{path:?}, which is that of {owner}");
                section.refuse("path", found, remedy);
            }
        }
        Some(path)
    }
}

fn is_reserved(path: &str) -> bool {
    let is_below = |reserved: &&str| {
        let rest = path.strip_prefix(*reserved);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    RESERVED.contains(&path) || RESERVED_BELOW.iter().any(is_below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_s_own_paths_are_reserved() {
        for (path, reserved) in [
            ("/", true),
            ("/v1", true),
            ("/v1/chat", true),
            ("/v10", false),
            ("/sse", true),
            ("/sse/chat", false),
            ("/console/x", true),
            ("/chat", false),
        ] {
            assert_eq!(is_reserved(path), reserved, "{path}");
        }
    }
}
