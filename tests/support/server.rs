//! A broker of a test's own, with real sockets.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;

use fanfare::app::App;
use fanfare::broker::Broker;
use fanfare::config::{Change, Config, LiveConfig};
use fanfare::shutdown::{self, Trigger};

use super::{Answer, Client, Http, Raw, Wire, eventually};

/// A broker on a free port, in a thread of its own. Dropped, it is stopped.
pub struct Server {
    pub address: SocketAddr,
    /// Where the HTTP API is, where it has an address of its own.
    pub admin: Option<SocketAddr>,
    pub broker: Broker,
    config: LiveConfig,
    trigger: Trigger,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(config: Config) -> Self {
        Self::start_with(config, |app| app)
    }

    /// Starts an app that was changed before.
    pub fn start_with(config: Config, change: impl FnOnce(App) -> App + Send + 'static) -> Self {
        let (trigger, shutdown) = shutdown::pair();
        let (sender, bound) = mpsc::channel();
        let config = LiveConfig::from(config);
        let live = config.clone();
        let thread = std::thread::spawn(move || {
            actix::System::new().block_on(async move {
                let bound = change(App::build(live).unwrap()).bind().unwrap();
                let told = (bound.address(), bound.admin_address(), bound.broker());
                sender.send(told).unwrap();
                bound.run(shutdown).await.unwrap();
            });
        });
        let (address, admin, broker) = bound.recv().unwrap();
        let server = Self {
            address,
            admin,
            broker,
            config,
            trigger,
            thread: Some(thread),
        };
        eventually("all workers run", || {
            let (running, configured) = server.broker.workers();
            running == configured
        });
        server
    }

    /// Changes the configuration of the broker that runs.
    pub fn reconfigure(&self, change: impl FnOnce(&mut Config)) -> Change {
        let mut config = Config::clone(&self.config.now());
        change(&mut config);
        self.config.replace(config)
    }

    /// A JSON client on `/ws`.
    pub fn connect(&self) -> Client {
        Client::open(self.address, "/ws")
    }

    /// A JSON client with that query.
    pub fn connect_with(&self, query: &str) -> Client {
        Client::open(self.address, &format!("/ws?{query}"))
    }

    /// A raw client at that path.
    pub fn raw(&self, path: &str) -> Raw {
        Raw::open(self.address, path)
    }

    /// A JSON session of which every byte is the test's.
    pub fn wire(&self) -> Wire {
        Wire::open(self.address, "/ws", "")
    }

    /// A request that can be given headers and a body.
    pub fn http(&self, method: &str, path: &str) -> Http {
        Http::new(self.address, method, path)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.http("GET", path).send()
    }

    /// Publishes by HTTP, and expects it to be done.
    pub fn publish(&self, topic: &str, data: &serde_json::Value) -> serde_json::Value {
        let answer = self
            .http("POST", &format!("/v1/topics/{topic}/messages"))
            .header("Content-Type", "application/json")
            .body(data.to_string())
            .send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// The metrics, in the Prometheus text format.
    pub fn metrics(&self) -> String {
        let answer = self.get("/metrics");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }

    /// The sum of `name`, or of those of its series that have the labels of `name{a="b",…}`.
    pub fn metric(&self, name: &str) -> u64 {
        sum(&self.metrics(), name)
    }

    /// Waits until a metric has that value.
    #[track_caller]
    pub fn await_metric(&self, name: &str, value: u64) {
        let mut seen = 0;
        eventually(&format!("{name} is {value}"), || {
            seen = self.metric(name);
            seen == value
        });
    }

    /// Asks it to stop: once drains, twice ends at once.
    pub fn stop(&self) {
        self.trigger.fire();
    }

    /// Waits until it has stopped by itself.
    pub fn await_end(mut self) {
        let thread = self.thread.take().unwrap();
        eventually("the server ends", || thread.is_finished());
        thread.join().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.trigger.fire();
        self.trigger.fire();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "the server panicked"
            );
        }
    }
}

pub(super) fn sum(text: &str, wanted: &str) -> u64 {
    find(text, wanted).unwrap_or_else(|| panic!("there is no metric {wanted}"))
}

/// The sum of a metric, if anything was counted in it yet.
pub(super) fn find(text: &str, wanted: &str) -> Option<u64> {
    let (name, labels) = wanted.split_once('{').unwrap_or((wanted, "}"));
    let labels: Vec<_> = labels
        .trim_end_matches('}')
        .split(',')
        .filter(|label| !label.is_empty())
        .collect();
    let mut total = 0.0;
    let mut known = false;
    for line in text.lines() {
        known |= line.starts_with("# TYPE") && name.starts_with(line.split(' ').nth(2).unwrap());
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let (its_name, its_labels) = series.split_once('{').unwrap_or((series, ""));
        if its_name == name && labels.iter().all(|label| its_labels.contains(label)) {
            total += value.parse::<f64>().unwrap();
        }
    }
    #[allow(clippy::cast_sign_loss, reason = "counts are not negative")]
    let total = total as u64;
    known.then_some(total)
}
