//! What the process says of itself: the log, on standard error.
//!
//! A message is a fixed text. What somebody else chose goes into a field, written with `?`, so that a
//! line break in it cannot begin a line that looks like one of ours; payloads, query strings and
//! credentials go nowhere.

use std::any::Any;
use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use thiserror::Error;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people: a line each, in colour on a terminal.
    #[default]
    Pretty,
    /// For machines: a JSON object a line.
    Json,
}

/// What is not logged unless it is asked for by that name: what accepts connections says twice a second
/// that there are no descriptors, which ours says once; and what reads requests has an error for each one
/// that makes no sense, so that a client could fill the log.
const QUIET: &str = "actix_server::accept=off,actix_http::h1::dispatcher=off";

/// Why there is no log.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The level is not one.
    #[error(
        "the log level {level:?} is not understood ({why}); \
         write one of off, error, warn, info, debug, trace, or directives such as \
         \"info,fanfare::broker=debug\""
    )]
    Level {
        /// What was given.
        level: String,
        /// What is wrong with it.
        why: String,
    },
    /// The process has a log already.
    #[error("the log was set up already")]
    Already,
    /// There is no log any more.
    #[error("the log has ended")]
    Gone,
}

/// The level of the log that runs, to be changed.
#[derive(Clone, Debug)]
pub struct Level(reload::Handle<EnvFilter, Registry>);

impl Level {
    /// Logs at that level from now on.
    ///
    /// # Errors
    /// If the level is not understood; the log goes on as it was.
    pub fn set(&self, level: &str) -> Result<(), TelemetryError> {
        let filter = filter(level)?;
        self.0.reload(filter).map_err(|_| TelemetryError::Gone)
    }
}

/// Starts the log and sends panics there. Once a process: it is `main`'s to call.
///
/// The level is one of `off` to `trace`, or a list of directives such as `info,fanfare=debug`. It is
/// never read from the environment here.
///
/// # Errors
/// If the level is not understood, or the process has a log already.
pub fn init(level: &str, format: Format) -> Result<Level, TelemetryError> {
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let started = match format {
        Format::Pretty => registry
            .with(layer.with_ansi(std::io::stderr().is_terminal()))
            .try_init(),
        Format::Json => registry
            .with(layer.json().flatten_event(true).with_span_list(false))
            .try_init(),
    };
    started.map_err(|_| TelemetryError::Already)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(Level(handle))
}

/// Checks a level without starting anything, for the check of a configuration.
///
/// # Errors
/// If the level is not understood.
pub fn check_level(level: &str) -> Result<(), TelemetryError> {
    filter(level).map(drop)
}

fn filter(level: &str) -> Result<EnvFilter, TelemetryError> {
    let refuse = |why: String| TelemetryError::Level {
        level: level.to_owned(),
        why,
    };
    if level.trim().is_empty() {
        return Err(refuse("it is empty".to_owned()));
    }
    EnvFilter::try_new(format!("{QUIET},{level}")).map_err(|error| refuse(error.to_string()))
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string);
    let thread = std::thread::current();
    tracing::error!(
        target: "fanfare::panic",
        location = location.as_deref().unwrap_or("unknown"),
        thread = thread.name().unwrap_or("unnamed"),
        "panic: {}",
        message(info.payload()),
    );
}

/// What a panic says, less what may come from a client. A fixed text is the program's own; one that
/// was put together may quote a message or a token, so it ends where the quoting begins.
fn message(payload: &(dyn Any + Send)) -> &str {
    if let Some(fixed) = payload.downcast_ref::<&'static str>() {
        return fixed;
    }
    payload
        .downcast_ref::<String>()
        .and_then(|text| text.split(": ").next())
        .and_then(|text| text.split(['\n', '"', '\'']).next())
        .unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Level {
        /// The level of no log at all.
        pub fn of_nothing() -> Self {
            Self(reload::Layer::new(EnvFilter::default()).1)
        }
    }

    #[test]
    fn a_level_is_a_word_or_a_list_of_directives() {
        for good in [
            "info",
            "off",
            "TRACE",
            "info,fanfare::broker=debug",
            "fanfare=trace",
        ] {
            assert!(check_level(good).is_ok(), "{good}");
        }
        for bad in ["", "  ", "fanfare=loud", "info,fanfare=="] {
            let error = check_level(bad).unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
    }

    #[test]
    fn a_panic_is_logged_without_what_a_client_sent() {
        let told = |payload: Box<dyn Any + Send>| message(&*payload).to_owned();
        assert_eq!(told(Box::new("fixed: \"text\"")), "fixed: \"text\"");
        assert_eq!(told(Box::new(7)), "without a message");
        for (whole, kept) in [
            (
                "called `Result::unwrap()` on an `Err` value: BadToken(\"s3cret\")",
                "called `Result::unwrap()` on an `Err` value",
            ),
            ("it is inside 'é' of `é s3cret`", "it is inside "),
            ("assertion failed\n  left: s3cret", "assertion failed"),
            ("index out of bounds: the len is 3", "index out of bounds"),
        ] {
            assert_eq!(told(Box::new(whole.to_owned())), kept);
        }
    }
}
