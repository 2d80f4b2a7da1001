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
            section.refuse(
                "path",
                format!("{path:?}, which is the broker's own"),
                remedy,
            );
        } else if let Some(owner) = self.0.get(&path) {
            section.refuse(
                "path",
                format!("{path:?}, which is that of {owner}"),
                remedy,
            );
        } else {
            self.0.insert(path.clone(), section.path().to_owned());
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
