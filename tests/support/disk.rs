//! A directory of data that outlives the brokers that run on it.

use std::path::{Path, PathBuf};

use super::{Forgetful, Http, Process, Ran, Running, command};

/// A broker's data, and the configuration that it is started with.
pub struct Disk {
    /// What the brokers run under, where the disk is not what it seems.
    pub forgetful: Option<Forgetful>,
    more: Vec<(&'static str, String)>,
    toml: String,
    home: tempfile::TempDir,
    /// Where the data is, if not at home.
    elsewhere: Option<PathBuf>,
}

/// One message of a history, as the API gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    pub epoch: String,
    pub offset: u64,
    pub time: u64,
    pub data: serde_json::Value,
}

impl Disk {
    /// An empty one; `toml` says nothing of the store.
    pub fn new(toml: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("data")).unwrap();
        Self {
            forgetful: None,
            more: Vec::new(),
            toml: toml.to_owned(),
            home,
            elsewhere: None,
        }
    }

    /// One that can forget and fail.
    pub fn forgetful(toml: &str) -> Self {
        let mut disk = Self::new(toml);
        disk.forgetful = Some(Forgetful::new(disk.home.path()));
        disk
    }

    /// One whose data is there, on a file system of the test's.
    pub fn at(elsewhere: &Path, toml: &str) -> Self {
        let mut disk = Self::new(toml);
        disk.elsewhere = Some(elsewhere.to_owned());
        disk
    }

    /// The brokers run under this as well.
    pub fn under(mut self, environment: Vec<(&'static str, String)>) -> Self {
        self.more = environment;
        self
    }

    /// The same data with another configuration.
    pub fn with(mut self, toml: &str) -> Self {
        toml.clone_into(&mut self.toml);
        self
    }

    /// Where the data is.
    pub fn data(&self) -> PathBuf {
        let at_home = || self.home.path().join("data");
        self.elsewhere.clone().unwrap_or_else(at_home)
    }

    /// Where a test may put what else it needs.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The whole configuration. What stands alone comes before what begins a section.
    pub fn toml(&self) -> String {
        let path = self.data();
        let path = path.to_str().unwrap();
        let store = format!("store.kind = \"disk\"\nstore.path = {path:?}\n");
        store + &self.toml
    }

    /// A broker on it, which is ready.
    #[track_caller]
    pub fn start(&self) -> Process {
        self.try_start().unwrap_or_else(|told| panic!("{told}"))
    }

    /// The same; or what it told, where it does not start.
    #[track_caller]
    pub fn try_start(&self) -> Result<Process, String> {
        Process::try_start_under(&self.environment(), &self.toml())
    }

    /// What brokers run under.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = self.more.clone();
        environment.extend(self.forgetful.iter().flat_map(Forgetful::environment));
        environment
    }

    /// A broker that is to find it unusable: runs it to its end.
    #[track_caller]
    pub fn start_in_vain(&self) -> Ran {
        let file = self.home.path().join("in-vain.toml");
        std::fs::write(&file, self.toml()).unwrap();
        let file = file.to_str().unwrap();
        let mut command = command(&["serve", "--config", file, "--listen", "127.0.0.1:0"]);
        command.envs(self.environment());
        Running::spawn(command.current_dir(self.home.path())).end()
    }

    /// The power goes: what was not synced is gone, or torn, as the dice say.
    pub fn lose_power(&mut self, cut: super::Cut, dice: &mut super::Dice) {
        let forgetful = self.forgetful.as_mut().expect("a disk that can forget");
        forgetful.lose_power(cut, dice);
    }

    /// All files, the biggest first.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let mut files = Vec::new();
        let mut dirs = vec![self.data()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    dirs.push(entry.path());
                } else {
                    files.push((entry.path(), entry.metadata().unwrap().len()));
                }
            }
        }
        files.sort_by_key(|(path, size)| (std::cmp::Reverse(*size), path.clone()));
        files
    }

    /// What all files take.
    pub fn size(&self) -> u64 {
        self.files().iter().map(|(_, size)| size).sum()
    }
}

/// Everything that a topic holds behind that offset of its present epoch, read in pieces.
pub fn held(address: std::net::SocketAddr, topic: &str, after: u64) -> Vec<Held> {
    let path = format!("/v1/topics/{topic}/messages");
    let first = Http::new(address, "GET", &format!("{path}?limit=1")).send();
    if first.status == 404 {
        return Vec::new();
    }
    assert_eq!(first.status, 200, "{topic}: {}", first.text());
    let first = first.json();
    let epoch = first["epoch"].as_str().unwrap();
    let newest = first["offset"].as_u64().unwrap();
    let (mut held, mut after) = (Vec::new(), after);
    while after < newest {
        let query = format!("{path}?since_epoch={epoch}&since_offset={after}&limit=1000");
        let page = Http::new(address, "GET", &query).send();
        assert_eq!(page.status, 200, "{topic}: {}", page.text());
        let page = page.json();
        assert_eq!(page["epoch"], epoch, "{topic}");
        let messages = page["messages"].as_array().unwrap();
        if messages.is_empty() {
            break;
        }
        for message in messages {
            after = message["offset"].as_u64().unwrap();
            held.push(Held {
                epoch: message["epoch"].as_str().unwrap().to_owned(),
                offset: after,
                time: message["time"].as_u64().unwrap(),
                data: message["data"].clone(),
            });
        }
    }
    held
}
