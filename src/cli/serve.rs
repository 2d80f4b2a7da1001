//! `serve`: everything around the broker: its log, its signals, and how it ends.

use std::error::Error;
use std::future::poll_fn;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::configuration::{Source, failure, is_source};
use super::exit::{Exit, Failure};
use super::reload::Reloading;
use crate::config::{LiveConfig, Loaded, LogFormat};
use crate::shutdown::{self, Shutdown, Trigger};
use crate::telemetry;

/// How running the broker ended.
pub type StartResult = Result<(), Box<dyn Error>>;

/// Where the broker says that it listens.
#[derive(Debug)]
pub struct Listening(());

impl Listening {
    /// Logs the addresses, the second being that of the HTTP API where it has one of its own, and
    /// prints the page's URL. To be called once connections are taken.
    pub fn on(self, address: SocketAddr, admin: Option<SocketAddr>) {
        tracing::info!(%address, "listening");
        if let Some(address) = admin {
            tracing::info!(%address, "listening for the HTTP API and the metrics");
        }
        let mut stdout = io::stdout();
        let _ = writeln!(stdout, "Fanfare is at {}", page(address)).and_then(|()| stdout.flush());
    }
}

/// The URL of the page, for a browser on this machine.
fn page(mut address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    format!("http://{address}/")
}

/// Runs the broker until it is told to stop, and has.
pub(super) fn run<Start, Running>(source: Source, start: Start) -> Result<Exit, Failure>
where
    Start: FnOnce(LiveConfig, Shutdown, Listening) -> Running,
    Running: Future<Output = StartResult>,
{
    let loaded = source.load().map_err(|error| failure(&error))?;
    let log = &loaded.config.log;
    let format = match log.format {
        LogFormat::Pretty => telemetry::Format::Pretty,
        LogFormat::Json => telemetry::Format::Json,
    };
    let level = telemetry::init(&log.level, format).map_err(Failure::failed)?;
    say_start(&loaded);
    let live = LiveConfig::from(loaded.config);
    let reloading = |live| Reloading::new(source, live, level);
    match actix::System::new().block_on(attended(live, reloading, start)) {
        Ok(()) => {
            tracing::info!("stopped");
            Ok(Exit::Done)
        }
        // Who reads standard error as JSON gets nothing else there.
        Err(error) if format == telemetry::Format::Json => {
            tracing::error!(why = explain(&*error), "failed");
            Ok(Exit::Failed)
        }
        Err(error) => Err(Failure::failed(explain(&*error))),
    }
}

fn say_start(loaded: &Loaded) {
    let (version, process) = (env!("CARGO_PKG_VERSION"), std::process::id());
    tracing::info!(version, process, "starting");
    for note in &loaded.notes {
        if is_source(note) {
            tracing::info!(?note, "configuration");
        } else {
            tracing::warn!(?note, "configuration");
        }
    }
}

/// The broker, with signals heard from before it starts until it has ended.
async fn attended<Start, Running>(
    config: LiveConfig,
    reloading: impl FnOnce(LiveConfig) -> io::Result<Reloading>,
    start: Start,
) -> StartResult
where
    Start: FnOnce(LiveConfig, Shutdown, Listening) -> Running,
    Running: Future<Output = StartResult>,
{
    let (trigger, shutdown) = shutdown::pair();
    let signals = Signals::new()?;
    let heard = actix::spawn(signals.obey(trigger));
    let reloading = actix::spawn(reloading(config.clone())?.run());
    let ended = start(config, shutdown, Listening(())).await;
    heard.abort();
    reloading.abort();
    ended
}

/// The signals that a broker obeys.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The first wish to stop drains, every further one ends at once.
    async fn obey(mut self, trigger: Trigger) {
        let mut draining = false;
        loop {
            let name = self.next().await;
            if draining {
                tracing::warn!(signal = name, "stopping at once");
            } else {
                tracing::info!(
                    signal = name,
                    "draining; the same signal again stops at once"
                );
            }
            draining = true;
            trigger.fire();
        }
    }

    async fn next(&mut self) -> &'static str {
        poll_fn(|cx| {
            for (signal, name) in [
                (&mut self.terminate, "SIGTERM"),
                (&mut self.interrupt, "SIGINT"),
            ] {
                if signal.poll_recv(cx).is_ready() {
                    return Poll::Ready(name);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Why the broker did not start or did not go on.
fn explain(error: &(dyn Error + 'static)) -> String {
    let mut causes = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        let text = error.to_string();
        if !causes.iter().any(|cause| cause.contains(&text)) {
            causes.push(text);
        }
        next = error.source();
    }
    causes.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_page_s_url_is_one_that_a_browser_here_can_open() {
        for (address, url) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("0.0.0.0:80", "http://127.0.0.1:80/"),
            ("[::]:8080", "http://[::1]:8080/"),
            ("10.0.0.5:9000", "http://10.0.0.5:9000/"),
        ] {
            assert_eq!(page(address.parse().unwrap()), url);
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("cannot bind")]
    struct Bind(#[source] io::Error);

    #[test]
    fn each_cause_is_told_once() {
        let error = Bind(io::Error::other("it is taken"));
        assert_eq!(explain(&error), "cannot bind: it is taken");
        assert_eq!(explain(&io::Error::other("alone")), "alone");
    }

    fn from_nothing(live: LiveConfig) -> io::Result<Reloading> {
        Reloading::new(Source::default(), live, telemetry::Level::of_nothing())
    }

    #[test]
    fn a_broker_that_ends_by_itself_ends_the_command() {
        let ended = actix::System::new().block_on(attended(
            LiveConfig::from(Config::default()),
            from_nothing,
            |config, shutdown, _listening| async move {
                assert!(!shutdown.is_draining());
                let _: u16 = "8080".parse()?;
                assert_eq!(config.now().server.listen.port(), 8080);
                Ok(())
            },
        ));
        assert!(ended.is_ok());
        let failed = actix::System::new().block_on(attended(
            LiveConfig::from(Config::default()),
            from_nothing,
            |_config, _shutdown, _listening| async { Err("broken".into()) },
        ));
        assert_eq!(failed.unwrap_err().to_string(), "broken");
    }
}
