//! Loading: the layers, in their order, into one checked configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::kinds;
use super::layer::{BUILT_IN, Layer};
use super::paths::Paths;
use super::reader::{Reader, Section};
use super::topics::{read_endpoints, read_rules};
use super::units::format_size;
use super::{
    Admin, Api, Auth, Config, ConfigError, Endpoint, Heartbeat, Limits, Log, MemoryLimit, Metrics,
    Server, Session, Store, TopicRule, WebSocket,
};

/// The built-in defaults: every key, its default, one comment.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Where a configuration is read from. The caller says it all: nothing is taken from the process.
pub struct Input<'a, E> {
    /// Where `config/default.toml` and `config/local.toml` are looked for, and what a relative
    /// path is relative to.
    pub working_dir: &'a Path,
    /// The file of `--config`; without it, the one that `FANFARE_CONFIG` names. It must exist.
    pub file: Option<PathBuf>,
    /// The environment's variables.
    pub environment: E,
    /// The command line's options.
    pub overrides: Overrides,
}

/// What the command line sets, over every other layer.
#[derive(Clone, Default)]
pub struct Overrides {
    /// `--listen`: the address and port, in place of `server.listen`.
    pub listen: Option<String>,
    /// `--log-level`: in place of `log.level`.
    pub log_level: Option<String>,
    /// `--set KEY=VALUE`, in the order given. They yield to the options of their own.
    pub set: Vec<(String, String)>,
}

impl fmt::Debug for Overrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.set.iter().map(|(key, _)| key).collect();
        f.debug_struct("Overrides")
            .field("listen", &self.listen)
            .field("log_level", &self.log_level)
            .field("set", &keys)
            .finish()
    }
}

/// A configuration and how it came about.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// What a log should say of it: the files that were read, and what is odd but allowed.
    pub notes: Vec<String>,
}

/// Reads every layer and checks the whole.
///
/// # Errors
/// A file that cannot be read, or everything that is wrong with the values.
pub fn load<E>(input: Input<'_, E>) -> Result<Loaded, ConfigError>
where
    E: IntoIterator<Item = (String, String)>,
{
    let environment: BTreeMap<String, String> = input.environment.into_iter().collect();
    let mut notes = Vec::new();
    let mut layers = vec![Layer::toml(Path::new(BUILT_IN), DEFAULTS)?];
    for (name, needed) in files(input.file, &environment) {
        if let Some(text) = read_file(input.working_dir, &name, needed)? {
            layers.push(Layer::toml(&name, &text)?);
            notes.push(format!("read {}", name.display()));
        }
    }
    for (name, text) in &environment {
        if let Some(layer) = Layer::environment(name, text) {
            layers.push(layer);
            notes.push(format!("took {name} from the environment"));
        }
    }
    let Overrides {
        listen,
        log_level,
        set,
    } = input.overrides;
    for (key, text) in set {
        layers.push(Layer::option("set", &key, &text));
    }
    for (option, key, text) in [
        ("listen", "server.listen", listen),
        ("log-level", "log.level", log_level),
    ] {
        layers.extend(text.map(|text| Layer::option(option, key, &text)));
    }
    let config = read_layers(layers, &environment, input.working_dir)?;
    notes.extend(shadowed(&config.topics));
    notes.extend(unguarded(&config));
    Ok(Loaded { config, notes })
}

/// The files that are read, in their order, and whether each must be there.
pub fn files(
    file: Option<PathBuf>,
    environment: &BTreeMap<String, String>,
) -> Vec<(PathBuf, bool)> {
    let named = environment
        .get("FANFARE_CONFIG")
        .filter(|name| !name.is_empty());
    let named = file.or_else(|| named.map(PathBuf::from));
    let first = (PathBuf::from("config/default.toml"), false);
    let last = (PathBuf::from("config/local.toml"), false);
    [first]
        .into_iter()
        .chain(named.map(|name| (name, true)))
        .chain([last])
        .collect()
}

/// A file's text; `None` where it need not be there and is not.
fn read_file(dir: &Path, name: &Path, needed: bool) -> Result<Option<String>, ConfigError> {
    match std::fs::read_to_string(dir.join(name)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !needed => Ok(None),
        Err(error) => Err(ConfigError::File {
            path: name.to_owned(),
            line: None,
            reason: format!("cannot be read ({error}); name a TOML file in UTF-8"),
        }),
    }
}

fn read_layers(
    layers: Vec<Layer>,
    environment: &BTreeMap<String, String>,
    working_dir: &Path,
) -> Result<Config, ConfigError> {
    let mut reader = Reader::new(layers);
    let config = reader
        .root()
        .map(|root| read(root, environment, working_dir));
    let faults = reader.finish();
    match config {
        Some(config) if faults.is_empty() => Ok(config),
        _ => Err(ConfigError::Faults(faults)),
    }
}

/// The keys that are asked for where that layer is read.
#[cfg(test)]
pub(super) fn known_keys(layer: Layer) -> std::collections::BTreeSet<String> {
    let mut reader = Reader::new(vec![layer]);
    let _ = reader
        .root()
        .map(|root| read(root, &BTreeMap::new(), Path::new("")));
    reader.known().clone()
}

fn read(
    mut root: Section<'_>,
    environment: &BTreeMap<String, String>,
    working_dir: &Path,
) -> Config {
    let watch = root.read("watch", kinds::boolean).unwrap_or_default();
    let mut paths = Paths::default();
    let server = Server::read(root.section("server"), working_dir);
    let admin = Admin::read(root.section("admin"), &server);
    let websocket = WebSocket::read(root.section("websocket"), &mut paths);
    let metrics = Metrics::read(root.section("metrics"), &mut paths);
    let store = Store::read(root.section("store"));
    let topics: Vec<TopicRule> = read_rules(&mut root, store.kind);
    let endpoints: Vec<Endpoint> = read_endpoints(&mut root, &topics, &mut paths);
    let auth = root.optional("auth", "[auth]").map(Auth::read);
    let api = Api::read(root.section("api"), environment);
    if root.is_clean(&["auth", "api"]) {
        say_who_may(&mut root, &server, auth.as_ref(), &api);
        admin.say_who_may(&mut root, &api);
    }
    let session = Session::read(root.section("session"));
    let limits = Limits::read(root.section("limits"), &websocket);
    leave_memory(&mut root, &limits, &store);
    if session.queue < limits.message_bytes && root.is_clean(&["session", "limits"]) {
        root.refuse(
            "session.queue",
            format!(
                "{}, less than the {} of limits.message_bytes: one message would fill it",
                format_size(session.queue),
                format_size(limits.message_bytes)
            ),
            "make the queue larger, or the messages smaller",
        );
    }
    Config {
        watch,
        heartbeat: Heartbeat::read(root.section("heartbeat")),
        session,
        limits,
        store,
        log: Log::read(root.section("log")),
        server,
        admin,
        websocket,
        auth,
        api,
        topics,
        endpoints,
        metrics,
    }
}

/// Whoever can reach more than this machine says who may.
fn say_who_may(root: &mut Section<'_>, server: &Server, auth: Option<&Auth>, api: &Api) {
    let anonymous = |auth: &Auth| auth.anonymous.as_ref().is_some_and(|may| !may.is_empty());
    let said = auth.is_some_and(|auth| anonymous(auth) || !api.keys.is_empty());
    if said || server.listen.ip().is_loopback() {
        return;
    }
    let missing = if auth.is_some() {
        "an [auth] section that lets no one in"
    } else {
        "no [auth] section"
    };
    root.refuse(
        "server.listen",
        format!("{}, which others can reach, and {missing}", server.listen),
        r##"say who may, were it [auth] with anonymous = { subscribe = ["#"] }, or listen on 127.0.0.1"##,
    );
}

/// A history that fills all the memory there may be would keep every new session out.
fn leave_memory(root: &mut Section<'_>, limits: &Limits, store: &Store) {
    if let MemoryLimit::Bytes(limit) = limits.memory
        && store.memory >= limit
    {
        root.refuse(
            "limits.memory",
            format!(
                "{}, no more than store.memory, {}, which is for history",
                format_size(limit),
                format_size(store.memory)
            ),
            "give it more, or store.memory less",
        );
    }
}

/// What is open, or closed, for want of a word on it.
fn unguarded(config: &Config) -> Option<String> {
    let note = match (&config.auth, config.api.keys.is_empty()) {
        (None, _) => "no [auth]: anyone on this machine may subscribe and publish (development)",
        (Some(_), true) => "no [[api.key]]: the HTTP API answers on loopback only",
        (Some(_), false) => return None,
    };
    Some(note.to_owned())
}

/// Rules that never apply, since an earlier one matches all that they match.
fn shadowed(rules: &[TopicRule]) -> Vec<String> {
    let mut notes = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let mut earlier = rules.iter().take(index);
        if let Some(first) = earlier.find(|first| first.filter.contains(&rule.filter)) {
            notes.push(format!(
                "topic[{index}], {:?}, never applies: {:?} stands before it and matches the same",
                rule.filter, first.filter
            ));
        }
    }
    notes
}
