//! Loading from files, environment and options; every kind of fault; what is written about it all.

mod documents;
mod faults;
mod layers;
mod pairs;
mod rates;
mod showing;

use std::path::Path;

use super::*;

/// A working directory and what else a configuration is read from.
struct Place {
    dir: tempfile::TempDir,
    file: Option<&'static str>,
    environment: Vec<(String, String)>,
    overrides: Overrides,
}

impl Place {
    fn empty() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            file: None,
            environment: Vec::new(),
            overrides: Overrides::default(),
        }
    }

    /// A place whose config/local.toml has that text.
    fn local(text: &str) -> Self {
        Self::empty().with_file("config/local.toml", text)
    }

    fn with_file(self, name: &str, text: &str) -> Self {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn with_config(mut self, file: &'static str) -> Self {
        self.file = Some(file);
        self
    }

    fn with_env(mut self, name: &str, text: &str) -> Self {
        self.environment.push((name.to_owned(), text.to_owned()));
        self
    }

    fn with_set(mut self, key: &str, text: &str) -> Self {
        self.overrides.set.push((key.to_owned(), text.to_owned()));
        self
    }

    fn load(self) -> Result<Loaded, ConfigError> {
        load(Input {
            working_dir: self.dir.path(),
            file: self.file.map(Into::into),
            environment: self.environment,
            overrides: self.overrides,
        })
    }

    fn config(self) -> Config {
        match self.load() {
            Ok(loaded) => loaded.config,
            Err(error) => panic!("{error}"),
        }
    }

    fn faults(self) -> Vec<Fault> {
        match self.load() {
            Ok(_) => Vec::new(),
            Err(ConfigError::Faults(faults)) => faults,
            Err(error) => panic!("{error}"),
        }
    }
}

/// A text of the project itself.
fn project_file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(path).unwrap()
}

fn filters(texts: &[&str]) -> Vec<crate::model::Filter> {
    let filter = |text: &&str| crate::model::Filter::new(text).unwrap();
    texts.iter().map(filter).collect()
}

fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

/// What is wrong with config/local.toml of that text, a line for each fault.
fn told(text: &str) -> Vec<String> {
    let faults = Place::local(text).faults();
    faults.iter().map(Fault::to_string).collect()
}
