//! One layer of the configuration: a file, an environment variable or a command-line option. Each
//! value remembers where it was written.

use std::path::Path;

use ::config::{ConfigError as MergeError, Map, Source, Value, ValueKind};
use toml::de::{DeTable, DeValue};

use super::ConfigError;

/// What the source of a built-in default begins with.
pub(super) const BUILT_IN: &str = "built-in defaults";
/// What the source of an environment variable's value begins with.
const ENVIRONMENT: &str = "environment ";
/// What the source of a command-line option's value begins with.
const OPTION: &str = "--";

/// The name that every layer's values stand below while layers are merged.
const ROOT: &str = "root";

/// The values that come from one place.
#[derive(Clone, Debug)]
pub(super) struct Layer(Map<String, Value>);

impl Layer {
    /// A file's text. `name` is what faults call the file.
    pub(super) fn toml(name: &Path, text: &str) -> Result<Self, ConfigError> {
        let origin = FileOrigin {
            name: name.display().to_string(),
            text,
        };
        match DeTable::parse(text) {
            Ok(table) => Ok(Self(origin.table(table.into_inner()))),
            Err(error) => Err(ConfigError::File {
                path: name.to_owned(),
                line: error.span().map(|span| line_of(text, span.start)),
                reason: format!("this is no TOML: {}", error.message()),
            }),
        }
    }

    /// `FANFARE__SECTION__KEY`; `None` for a variable of another name, which is no setting.
    pub(super) fn environment(name: &str, text: &str) -> Option<Self> {
        let key = name.strip_prefix("FANFARE__")?.to_lowercase();
        let path: Vec<&str> = key.split("__").collect();
        let source = format!("{ENVIRONMENT}{name}");
        Some(Self::at(&path, from_text(&source, text)))
    }

    /// A command-line option that sets the key `section.key`.
    pub(super) fn option(option: &str, key: &str, text: &str) -> Self {
        let path: Vec<&str> = key.split('.').collect();
        let source = format!("{OPTION}{option}");
        Self::at(&path, from_text(&source, text))
    }

    /// Where this layer writes the key of that path, if it does.
    pub(super) fn source_of(&self, key: &str) -> Option<String> {
        let mut table = &self.0;
        let mut source = None;
        for name in key.split('.') {
            let value = table.get(name)?;
            source = value.origin().map(str::to_owned);
            match &value.kind {
                ValueKind::Table(inner) => table = inner,
                _ => return source,
            }
        }
        source
    }

    /// The value at the end of the path; nothing else.
    fn at(path: &[&str], value: Value) -> Self {
        let origin = value.origin().map(str::to_owned);
        let nested = path.iter().rev().fold(value, |value, name| {
            let table = Map::from_iter([((*name).to_owned(), value)]);
            Value::new(origin.as_ref(), table)
        });
        match nested.kind {
            ValueKind::Table(table) => Self(table),
            _ => Self(Map::new()),
        }
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    // Below a name of its own: what stands at the very top would be read as a path, and a key
    // with dots or brackets in it is just an unknown key.
    fn collect(&self) -> Result<Map<String, Value>, MergeError> {
        Ok(Map::from_iter([(ROOT.to_owned(), self.0.clone().into())]))
    }
}

/// All layers as one; each yields to the next.
pub(super) fn merge(layers: &[Layer]) -> Result<Value, MergeError> {
    let mut merged = ::config::Config::builder();
    for layer in layers {
        merged = merged.add_source(layer.clone());
    }
    let root = match merged.build()?.cache.kind {
        ValueKind::Table(mut tables) => tables.remove(ROOT),
        _ => None,
    };
    Ok(root.unwrap_or_default())
}

/// Whether the value was given as bare text, in which numbers, booleans and lists have no mark of
/// their own: by the environment or on the command line.
pub(super) fn is_bare_text(value: &Value) -> bool {
    value
        .origin()
        .is_some_and(|origin| origin.starts_with(ENVIRONMENT) || origin.starts_with(OPTION))
}

/// The file that the value was written in, if it was one.
pub(super) fn written_in(value: &Value) -> Option<&Path> {
    let origin = value.origin().filter(|_| !is_bare_text(value))?;
    let (file, _line) = origin.rsplit_once(':')?;
    Some(Path::new(file))
}

struct FileOrigin<'a> {
    name: String,
    text: &'a str,
}

impl FileOrigin<'_> {
    fn table(&self, table: DeTable<'_>) -> Map<String, Value> {
        table
            .into_iter()
            .map(|(key, value)| {
                let line = line_of(self.text, key.span().start);
                let source = format!("{}:{line}", self.name);
                let value = self.value(&source, value.into_inner());
                (key.into_inner().into_owned(), value)
            })
            .collect()
    }

    fn value(&self, source: &String, value: DeValue<'_>) -> Value {
        let kind = match value {
            DeValue::Table(table) => ValueKind::Table(self.table(table)),
            DeValue::Array(items) => items
                .into_iter()
                .map(|item| {
                    let line = line_of(self.text, item.span().start);
                    self.value(&format!("{}:{line}", self.name), item.into_inner())
                })
                .collect::<Vec<Value>>()
                .into(),
            scalar => plain(scalar),
        };
        Value::new(Some(source), kind)
    }
}

/// A value that holds no others. A number too big for its type stays text, which no number's key
/// takes.
fn plain(value: DeValue<'_>) -> ValueKind {
    match value {
        DeValue::String(text) => text.into_owned().into(),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => number.into(),
            Err(_) => number.as_str().to_owned().into(),
        },
        DeValue::Float(number) => match number.as_str().parse::<f64>() {
            Ok(number) => number.into(),
            Err(_) => number.as_str().to_owned().into(),
        },
        DeValue::Boolean(yes) => yes.into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(_) | DeValue::Table(_) => ValueKind::Nil,
    }
}

/// The value of a bare text: a table or list where it is written as one, in TOML or JSON, else
/// the text itself.
fn from_text(source: &str, text: &str) -> Value {
    let source = source.to_owned();
    if text.trim_start().starts_with(['{', '['])
        && let Some(value) = structured(text)
    {
        return with_origin(&source, value);
    }
    Value::new(Some(&source), text)
}

fn structured(text: &str) -> Option<serde_json::Value> {
    if let Ok(value) = serde_json::from_str(text) {
        return Some(value);
    }
    let document = format!("value = {text}");
    let mut table: serde_json::Map<String, serde_json::Value> = toml::from_str(&document).ok()?;
    let value = table.remove("value")?;
    table.is_empty().then_some(value)
}

fn with_origin(source: &String, value: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    let kind = match value {
        Json::Null => ValueKind::Nil,
        Json::Bool(yes) => yes.into(),
        Json::Number(number) => match number.as_i64() {
            Some(number) => number.into(),
            None => number.to_string().into(),
        },
        Json::String(text) => text.into(),
        Json::Array(items) => items
            .into_iter()
            .map(|item| with_origin(source, item))
            .collect::<Vec<Value>>()
            .into(),
        Json::Object(entries) => entries
            .into_iter()
            .map(|(key, item)| (key, with_origin(source, item)))
            .collect::<Map<String, Value>>()
            .into(),
    };
    Value::new(Some(source), kind)
}

/// The line of that byte, counted from 1.
fn line_of(text: &str, byte: usize) -> usize {
    let before = text.as_bytes().iter().take(byte);
    before.filter(|byte| **byte == b'\n').count() + 1
}
