//! Walks the merged values against what is asked for, and keeps every fault on the way.

use std::collections::{BTreeMap, BTreeSet};

use ::config::{Map, Value, ValueKind};

use super::Fault;
use super::layer::{BUILT_IN, Layer, is_bare_text, merge};
use super::suggest::suggest;

/// What a value must be: the checked value, or what would do in its place.
pub(super) type Check<T> = Result<T, String>;

/// The walk's memory: where each key was written, what is wrong.
pub(super) struct Reader {
    layers: Vec<Layer>,
    sources: BTreeMap<String, String>,
    known: BTreeSet<String>,
    faults: Vec<Found>,
}

enum Found {
    Fault(Fault),
    Unknown { key: String, source: String },
}

impl Found {
    fn key(&self) -> &str {
        match self {
            Self::Fault(Fault { key, .. }) | Self::Unknown { key, .. } => key,
        }
    }
}

impl Reader {
    /// A walk over what was merged from these layers, the first of which yields to all others.
    pub(super) fn new(layers: Vec<Layer>) -> Self {
        Self {
            layers,
            sources: BTreeMap::new(),
            known: BTreeSet::new(),
            faults: Vec::new(),
        }
    }

    /// All layers merged, to take sections from.
    pub(super) fn root(&mut self) -> Option<Section<'_>> {
        match merge(&self.layers) {
            Ok(root) => self.open(String::new(), root, ""),
            Err(error) => {
                self.refuse("", error.to_string(), "other values are needed".to_owned());
                None
            }
        }
    }

    /// Everything that is wrong.
    pub(super) fn finish(self) -> Vec<Fault> {
        let known = self.known;
        let told = |found| match found {
            Found::Fault(fault) => fault,
            Found::Unknown { key, source } => Fault {
                remedy: suggest(&key, &known),
                found: "unknown key".to_owned(),
                source,
                key,
            },
        };
        self.faults.into_iter().map(told).collect()
    }

    /// The keys that were asked for, without the numbers of list items.
    #[cfg(test)]
    pub(super) fn known(&self) -> &BTreeSet<String> {
        &self.known
    }

    fn refuse(&mut self, key: &str, found: String, remedy: String) {
        let source = match self.sources.get(key) {
            Some(source) => source.clone(),
            None => self.written(key),
        };
        self.faults.push(Found::Fault(Fault {
            source,
            key: key.to_owned(),
            found,
            remedy,
        }));
    }

    /// The last layer that writes the key.
    fn written(&self, key: &str) -> String {
        let mut layers = self.layers.iter().rev();
        layers
            .find_map(|layer| layer.source_of(key))
            .unwrap_or_else(|| "configuration".to_owned())
    }

    fn open(&mut self, path: String, value: Value, example: &str) -> Option<Section<'_>> {
        let source = self.source(&path, &value);
        self.sources.insert(path.clone(), source.clone());
        let found = describe(&path, &value);
        if let ValueKind::Table(entries) = value.kind {
            return Some(Section {
                path,
                source,
                entries,
                reader: self,
            });
        }
        let remedy = format!("a table is needed: {example}");
        self.refuse(&path, found, remedy);
        None
    }

    /// Where the value was written. A table that was merged does not know it itself.
    fn source(&self, path: &str, value: &Value) -> String {
        let origin = value.origin().map(str::to_owned);
        origin.unwrap_or_else(|| self.written(path))
    }
}

/// A table whose keys are asked for one by one. What nobody asked for is an unknown key.
pub(super) struct Section<'r> {
    path: String,
    source: String,
    entries: Map<String, Value>,
    reader: &'r mut Reader,
}

impl Section<'_> {
    /// The value of the key, if it is there and right.
    pub(super) fn read<T>(&mut self, key: &str, check: impl Fn(&Value) -> Check<T>) -> Option<T> {
        let (path, value) = self.take(key)?;
        self.checked(&path, &value, check)
    }

    /// The value of a key that must be there.
    pub(super) fn required<T>(
        &mut self,
        key: &str,
        example: &str,
        check: impl Fn(&Value) -> Check<T>,
    ) -> Option<T> {
        if !self.has(key) {
            self.refuse(key, "nothing", format!("the key is needed: {example}"));
        }
        self.read(key, check)
    }

    /// Whether the key is there, right or wrong, and was not read yet.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Whether a table stands there.
    pub(super) fn is_table(&self, key: &str) -> bool {
        let value = self.entries.get(key);
        value.is_some_and(|value| matches!(value.kind, ValueKind::Table(_)))
    }

    /// The values of a list, if it is there; without those that are wrong.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        example: &str,
        check: impl Fn(&Value) -> Check<T>,
    ) -> Option<Vec<T>> {
        let (path, value) = self.take(key)?;
        let found = describe(&path, &value);
        let Some(items) = items(value) else {
            let remedy = format!("a list is needed: {example}");
            self.reader.refuse(&path, found, remedy);
            return None;
        };
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let source = self.reader.source(&path, item);
            self.reader.sources.insert(path.clone(), source);
            list.extend(self.checked(&path, item, &check));
        }
        Some(list)
    }

    /// The section of that name; an empty one where it is not there.
    pub(super) fn section(&mut self, key: &str) -> Section<'_> {
        let path = self.join(key);
        let value = self.take(key).map(|(_, value)| value);
        let value = value.unwrap_or_else(|| Map::<String, Value>::new().into());
        let example = format!("[{path}]");
        let source = self.source.clone();
        // Opened first, so that a fault is told; then stood in for, so that the walk goes on.
        let entries = match self.reader.open(path.clone(), value, &example) {
            Some(mut section) => std::mem::take(&mut section.entries),
            None => Map::new(),
        };
        let source = self.reader.sources.get(&path).cloned().unwrap_or(source);
        Section {
            path,
            source,
            entries,
            reader: self.reader,
        }
    }

    /// The section of that name, if it is there.
    pub(super) fn optional(&mut self, key: &str, example: &str) -> Option<Section<'_>> {
        let (path, value) = self.take(key)?;
        self.reader.open(path, value, example)
    }

    /// Each table of a list of tables, if it is there; without those that are wrong.
    pub(super) fn tables<T>(
        &mut self,
        key: &str,
        mut each: impl FnMut(Section<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let (path, value) = self.take(key)?;
        let found = describe(&path, &value);
        let example = format!("[[{path}]]");
        let ValueKind::Array(items) = value.kind else {
            let remedy = format!("a list of tables is needed: {example}");
            self.reader.refuse(&path, found, remedy);
            return None;
        };
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let path = format!("{path}[{index}]");
            list.extend(self.reader.open(path, item, &example).and_then(&mut each));
        }
        Some(list)
    }

    /// Says that a key of this section cannot be as it is.
    pub(super) fn refuse(
        &mut self,
        key: &str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let path = self.join(key);
        let source = self.source.clone();
        self.reader.sources.entry(path.clone()).or_insert(source);
        self.reader.refuse(&path, found.into(), remedy.into());
    }

    /// Says that a key of another section cannot be as it is.
    pub(super) fn refuse_elsewhere(&mut self, path: &str, found: String, remedy: &str) {
        self.reader.refuse(path, found, remedy.to_owned());
    }

    /// Whether the key's value is that of the built-in defaults.
    pub(super) fn is_built_in(&self, key: &str) -> bool {
        let source = self.reader.sources.get(&self.join(key));
        source.is_some_and(|source| source.starts_with(BUILT_IN))
    }

    /// Whether nothing is wrong below any of these keys so far.
    pub(super) fn is_clean(&self, keys: &[&str]) -> bool {
        let below = |found: &Found| {
            let first = found.key().split(['.', '[']).next().unwrap_or_default();
            keys.contains(&first)
        };
        !self.reader.faults.iter().any(below)
    }

    /// The section's own path: `topic[0]`.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    fn checked<T>(
        &mut self,
        path: &str,
        value: &Value,
        check: impl Fn(&Value) -> Check<T>,
    ) -> Option<T> {
        match check(value) {
            Ok(value) => Some(value),
            Err(remedy) => {
                self.reader.refuse(path, describe(path, value), remedy);
                None
            }
        }
    }

    fn take(&mut self, key: &str) -> Option<(String, Value)> {
        let path = self.join(key);
        self.reader.known.insert(without_numbers(&path));
        let value = self.entries.remove(key)?;
        let source = self.reader.source(&path, &value);
        self.reader.sources.insert(path.clone(), source);
        Some((path, value))
    }

    fn join(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let mut entries: Vec<_> = std::mem::take(&mut self.entries).into_iter().collect();
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (key, value) in entries {
            let key = self.join(&key);
            let source = self.reader.source(&key, &value);
            self.reader.faults.push(Found::Unknown { key, source });
        }
    }
}

/// `topic[0].filter` as `topic[].filter`.
pub(super) fn without_numbers(path: &str) -> String {
    let mut inside = false;
    let keep = |c: &char| {
        inside = *c == '[' || (inside && *c != ']');
        !inside || *c == '['
    };
    path.chars().filter(keep).collect()
}

/// A list's items. A bare text is a list divided by commas.
fn items(value: Value) -> Option<Vec<Value>> {
    let bare = is_bare_text(&value);
    let origin = value.origin().map(str::to_owned);
    match value.kind {
        ValueKind::Array(items) => Some(items),
        ValueKind::String(text) if bare => {
            let parts = text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty());
            Some(
                parts
                    .map(|part| Value::new(origin.as_ref(), part))
                    .collect(),
            )
        }
        _ => None,
    }
}

/// What a fault says was found. Of what stands under `api` only the kind is told: a key that was
/// written in the wrong place is still a secret.
fn describe(path: &str, value: &Value) -> String {
    const LONGEST: usize = 60;
    let secret = path.starts_with("api");
    match &value.kind {
        ValueKind::Nil => "nothing".to_owned(),
        ValueKind::Table(_) => "a table".to_owned(),
        ValueKind::Array(items) => format!("a list of {}", items.len()),
        ValueKind::String(text) if secret => format!("a text of {} bytes", text.len()),
        ValueKind::String(text) if text.chars().count() > LONGEST => {
            let start: String = text.chars().take(LONGEST).collect();
            format!("{start:?} and more")
        }
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Boolean(yes) => yes.to_string(),
        _ if secret => "a number".to_owned(),
        other => other.to_string(),
    }
}
