//! What ARCHITECTURE.md says about who may know whom, checked in the sources themselves.

mod tokens;

use std::fs;
use std::io;
use std::path::Path;

use tokens::{Token, names_above, names_below, tokens};

/// A module imports only from lower ranks; the highest know everything.
const RANKS: &[(usize, &[&str])] = &[
    (6, &["main", "lib", "cli", "app", "bench"]),
    (5, &["gateway", "api", "admin"]),
    (4, &["session"]),
    (3, &["broker"]),
    (2, &["history", "cluster", "auth", "limits"]),
    (1, &["protocol"]),
    (
        0,
        &[
            "model",
            "config",
            "metrics",
            "shutdown",
            "telemetry",
            "websocket",
        ],
    ),
];
const HIGHEST: usize = 6;

/// The words that everything is written in: the others of its rank may use it too.
const GROUND: &str = "model";

/// From here on upwards HTTP and sockets are known.
const HTTP_FROM: usize = 5;

/// Plain structs: time and input are passed in, effects come out.
const PURE: &[&str] = &["protocol", "model", "websocket"];

/// A file is one idea.
const LONGEST: usize = 400;

struct Source {
    /// Below src, as `broker/topic.rs`.
    path: String,
    text: String,
}

impl Source {
    /// `broker/table/mod.rs` is the module `broker::table`.
    fn module(&self) -> Vec<&str> {
        let name = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        let mut levels: Vec<_> = name.split('/').collect();
        if levels.last() == Some(&"mod") {
            levels.pop();
        }
        levels
    }

    fn is_crate_root(&self) -> bool {
        matches!(self.path.as_str(), "lib.rs" | "main.rs")
    }

    /// `#[cfg(test)] mod tests;` with its file beside it.
    fn is_test(&self) -> bool {
        self.module().iter().skip(1).any(|level| *level == "tests")
    }
}

fn rank(module: &str) -> Option<usize> {
    RANKS
        .iter()
        .find(|(_, modules)| modules.contains(&module))
        .map(|(rank, _)| *rank)
}

fn faults(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources {
        let lines = source.text.lines().count();
        if lines > LONGEST {
            faults.push(format!(
                "{}: {lines} lines, more than {LONGEST}",
                source.path
            ));
        }
        if !source.is_test() {
            faults.extend(import_faults(source));
        }
    }
    faults
}

fn import_faults(source: &Source) -> Vec<String> {
    let module = source.module();
    let top = module.first().copied().unwrap_or_default();
    let Some(own) = rank(top) else {
        return vec![format!("{}: the module `{top}` has no rank", source.path)];
    };
    let tokens = tokens(&source.text);
    let mut faults = Vec::new();

    let mut imports = names_below(&tokens, "crate");
    let depth = if source.is_crate_root() {
        0
    } else {
        module.len()
    };
    for (supers, names) in names_above(&tokens) {
        if supers >= depth {
            imports.extend(names);
        }
    }
    imports.retain(|name| *name != top && *name != "self");
    if own < HIGHEST {
        for name in imports {
            match rank(name) {
                Some(other) if other < own => {}
                Some(_) if name == GROUND => {}
                Some(other) if other == own => {
                    faults.push(format!("of rank {own}, imports `{name}` of the same rank"));
                }
                Some(other) => {
                    faults.push(format!("of rank {own}, imports `{name}` of rank {other}"));
                }
                // A re-export in lib.rs would be a way around the ranks.
                None => faults.push(format!(
                    "imports `crate::{name}`, which is no ranked module"
                )),
            }
        }
        if top != "config" && names_below(&tokens, "std").contains(&"env") {
            faults.push("reads the environment, which is for config, cli and app".to_owned());
        }
    }

    let mentions = |prefixes: &[&str]| -> Vec<&str> {
        let words = tokens.iter().filter_map(|token| match token {
            Token::Word(word) if prefixes.iter().any(|prefix| word.starts_with(prefix)) => {
                Some(*word)
            }
            _ => None,
        });
        words.collect()
    };
    if own < HTTP_FROM
        && let Some(word) = mentions(&["actix_web", "actix_http"]).first()
    {
        faults.push(format!("knows HTTP: `{word}`"));
    }
    if PURE.contains(&top)
        && let Some(word) = mentions(&["actix", "tokio"]).first()
    {
        faults.push(format!("is to be pure, but mentions `{word}`"));
    }

    faults.sort();
    faults.dedup();
    faults
        .into_iter()
        .map(|fault| format!("{}: {fault}", source.path))
        .collect()
}

fn read_sources(folder: &Path, prefix: &str, sources: &mut Vec<Source>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            read_sources(&entry.path(), &format!("{path}/"), sources)?;
        } else if Path::new(&name)
            .extension()
            .is_some_and(|extension| extension == "rs")
        {
            sources.push(Source {
                path,
                text: fs::read_to_string(entry.path())?,
            });
        }
    }
    Ok(())
}

#[test]
fn a_module_imports_only_from_lower_ranks() {
    let mut sources = Vec::new();
    read_sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        "",
        &mut sources,
    )
    .expect("the sources are beside the tests");
    assert!(!sources.is_empty(), "src holds no source");
    let mut faults = faults(&sources);
    faults.sort();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn what_the_ranks_allow_is_no_fault() {
    let allowed = [
        (
            "broker/mod.rs",
            "use crate::history::History; use crate::{model::Topic, protocol};",
        ),
        (
            "broker/table.rs",
            "use super::outbox::Outbox; use crate::broker::filters; use actix::Actor;",
        ),
        (
            "gateway/ws/open.rs",
            "use super::super::sse; use actix_web::web; use actix_http::ws;",
        ),
        (
            "app.rs",
            "use crate::cli::Options; use actix_web::App; use std::env;",
        ),
        ("lib.rs", "pub use self::app::App; pub mod app;"),
        (
            "main.rs",
            "use fanfare::cli; fn main() { std::env::args(); }",
        ),
        (
            "config/environment.rs",
            "use std::{collections::HashMap, env};",
        ),
        (
            "metrics/build.rs",
            "const VERSION: &str = env!(\"CARGO_PKG_VERSION\");",
        ),
        (
            "protocol/json.rs",
            "//! Knows neither actix nor tokio.\n#[cfg(test)] mod tests { use crate::broker::Broker; }",
        ),
        ("protocol/json/tests.rs", "use crate::broker::Broker;"),
    ];
    for (path, text) in allowed {
        let source = Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(faults(&[source]), Vec::<String>::new(), "{path}: {text}");
    }
}

#[test]
fn what_the_ranks_forbid_is_told() {
    let forbidden = [
        (
            "broker/mod.rs",
            "use crate::session::Session;",
            "of rank 3, imports `session` of rank 4",
        ),
        (
            "history/mod.rs",
            "use crate::auth::Key;",
            "of rank 2, imports `auth` of the same rank",
        ),
        (
            "model/topic.rs",
            "use crate::{metrics};",
            "of rank 0, imports `metrics` of the same rank",
        ),
        (
            "api/topics.rs",
            "fn f() { crate::gateway::f() }",
            "of rank 5, imports `gateway` of the same rank",
        ),
        (
            "session/state.rs",
            "use super::super::gateway::Wire;",
            "of rank 4, imports `gateway` of rank 5",
        ),
        (
            "session.rs",
            "use super::{broker, gateway};",
            "of rank 4, imports `gateway` of rank 5",
        ),
        (
            "session/mod.rs",
            "use crate::App;",
            "imports `crate::App`, which is no ranked module",
        ),
        (
            "session/mod.rs",
            "use crate::*;",
            "imports `crate::*`, which is no ranked module",
        ),
        (
            "session/mod.rs",
            "use actix_web::web;",
            "knows HTTP: `actix_web`",
        ),
        (
            "broker/mod.rs",
            "fn f(x: actix_http::Request) {}",
            "knows HTTP: `actix_http`",
        ),
        (
            "auth/mod.rs",
            "use actix_web_actors::ws;",
            "knows HTTP: `actix_web_actors`",
        ),
        (
            "protocol/frame.rs",
            "use tokio_util::codec::Decoder;",
            "is to be pure, but mentions `tokio_util`",
        ),
        (
            "model/mod.rs",
            "use actix::Message;",
            "is to be pure, but mentions `actix`",
        ),
        (
            "gateway/mod.rs",
            "use std::{env, fs};",
            "reads the environment, which is for config, cli and app",
        ),
        (
            "auth/keys.rs",
            "fn f() { std::env::var(\"A\"); }",
            "reads the environment, which is for config, cli and app",
        ),
        ("util.rs", "", "the module `util` has no rank"),
    ];
    for (path, text, fault) in forbidden {
        let source = Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(faults(&[source]), [format!("{path}: {fault}")], "{text}");
    }
}

#[test]
fn a_file_of_more_than_400_lines_is_told() {
    let long = |lines| Source {
        path: "broker/mod.rs".to_owned(),
        text: "\n".repeat(lines),
    };
    assert_eq!(faults(&[long(400)]), Vec::<String>::new());
    assert_eq!(
        faults(&[long(401)]),
        ["broker/mod.rs: 401 lines, more than 400"]
    );
}
