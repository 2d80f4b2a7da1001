//! What `pub` and `sub` take.

use std::convert::Infallible;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};

use crate::auth::Secret;
use crate::config::units::parse_duration;
use crate::model::{Filter, TopicName};

pub(super) const PUB_EXAMPLES: &str = "\
Examples:
  fanfare pub chat/lobby 'Hello'                a text
  fanfare pub --json sensors/1 '{\"celsius\":21.5}'
  fanfare pub --binary --file cat.png pictures/cat
  fanfare pub a/1 --topic a/2 --topic a/3 'x'   to several topics
  tail -f access.log | fanfare pub --lines log  each line as it comes, across restarts of the broker
  fanfare pub --json --lines --file orders.ndjson orders
  fanfare pub clock tick --repeat 60 --interval 1s
  fanfare pub -- chat/lobby -dash               data that begins with a dash";

pub(super) const SUB_EXAMPLES: &str = "\
Examples:
  fanfare sub chat/lobby 'sensors/+'
  fanfare sub --last 10 chat/lobby              the last ten messages, then live ones
  fanfare sub --since 'dbvetsz9:41' chat/lobby  what came after that one, then live ones
  fanfare sub --json 'sensors/#' | jq .data     whole message objects, one a line
  fanfare sub --raw --count 1 pictures/cat > cat.png
  fanfare sub --count 1 --timeout 30s deploy/done && echo deployed

After a lost connection it comes back and gets what it missed. Ctrl-C ends it with 0.";

/// Which broker, and as whom.
#[derive(Args)]
pub(in crate::cli) struct BrokerArgs {
    /// The broker's WebSocket [env: FANFARE_URL] [default: ws://127.0.0.1:8080/ws]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(in crate::cli) url: Option<String>,
    /// A token or API key. Others on this machine see it there: rather use a file or the variable
    /// [env: FANFARE_TOKEN]
    #[arg(long, value_name = "T", value_parser = secret)]
    pub(in crate::cli) token: Option<Secret>,
    /// A file that holds the token or API key, and nothing else
    #[arg(long, value_name = "FILE", conflicts_with = "token", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) token_file: Option<PathBuf>,
    /// Print only what was asked for, and errors
    #[arg(short, long)]
    pub(in crate::cli) quiet: bool,
}

#[derive(Args)]
pub(in crate::cli) struct PubArgs {
    /// The topic, such as chat/lobby
    #[arg(value_name = "TOPIC", value_parser = topic)]
    pub(in crate::cli) topic: String,
    /// What to publish; "-" or nothing reads standard input to its end
    #[arg(value_name = "DATA", allow_negative_numbers = true)]
    pub(in crate::cli) data: Option<OsString>,
    /// Publish what this file holds; may be repeated: each is a message
    #[arg(long, value_name = "FILE", conflicts_with = "data", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) file: Vec<PathBuf>,
    /// Each line of standard input, or of the files, is a message
    #[arg(long)]
    pub(in crate::cli) lines: bool,
    #[command(flatten)]
    pub(in crate::cli) kind: KindArgs,
    /// Publish it to this topic as well; may be repeated
    #[arg(long = "topic", value_name = "TOPIC", value_parser = topic)]
    pub(in crate::cli) more_topics: Vec<String>,
    /// Have the topic keep it for those who subscribe later, where the topic's rule allows that
    #[arg(long)]
    pub(in crate::cli) retain: bool,
    /// The message's key, for subscribers that want only the newest of each
    #[arg(long, value_name = "KEY")]
    pub(in crate::cli) key: Option<String>,
    /// Publish each message N times
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        hide_default_value = true,
        conflicts_with = "lines",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub(in crate::cli) repeat: u64,
    /// Wait that long between one message and the next, such as 500ms
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(in crate::cli) interval: Option<Duration>,
    /// With --lines: end with 1 when the connection is lost, in place of connecting again
    #[arg(long, requires = "lines")]
    pub(in crate::cli) no_reconnect: bool,
    #[command(flatten)]
    pub(in crate::cli) broker: BrokerArgs,
}

#[derive(Args)]
#[group(multiple = false)]
pub(in crate::cli) struct KindArgs {
    /// The data is JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
    /// The data is text (the default)
    #[arg(long)]
    pub(in crate::cli) text: bool,
    /// The data is bytes
    #[arg(long)]
    pub(in crate::cli) binary: bool,
}

#[derive(Args)]
pub(in crate::cli) struct SubArgs {
    /// Topics or filters: "+" stands for one level, "#" at the end for all below
    #[arg(value_name = "FILTER", required = true, value_parser = filter)]
    pub(in crate::cli) filters: Vec<String>,
    /// Print each message object as the broker sent it, a line each
    #[arg(long, conflicts_with = "raw")]
    pub(in crate::cli) json: bool,
    /// Print only the data: text and JSON a line each, bytes as they are with nothing added
    #[arg(long)]
    pub(in crate::cli) raw: bool,
    /// Begin with the last N messages of each topic that keeps history
    #[arg(long, value_name = "N")]
    pub(in crate::cli) last: Option<u32>,
    /// Begin with what came after this message of the topic
    #[arg(long, value_name = "EPOCH:OFFSET", value_parser = place)]
    pub(in crate::cli) since: Option<Place>,
    /// End with 0 after N messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(in crate::cli) count: Option<u64>,
    /// End after that long, such as 30s: with 0, or with 1 where --count was not reached
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(in crate::cli) timeout: Option<Duration>,
    /// End with 1 when the connection is lost, in place of connecting again
    #[arg(long)]
    pub(in crate::cli) no_reconnect: bool,
    #[command(flatten)]
    pub(in crate::cli) broker: BrokerArgs,
}

/// A message's place in its topic's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Place {
    pub(in crate::cli) epoch: String,
    pub(in crate::cli) offset: u64,
}

// The signature is clap's.
#[allow(clippy::unnecessary_wraps)]
fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

pub(super) fn topic(text: &str) -> Result<String, String> {
    TopicName::new(text)
        .map(|topic| topic.as_str().to_owned())
        .map_err(|error| error.to_string())
}

fn filter(text: &str) -> Result<String, String> {
    Filter::new(text)
        .map(|filter| filter.as_str().to_owned())
        .map_err(|error| error.to_string())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

fn place(text: &str) -> Result<Place, String> {
    let place = text.split_once(':').and_then(|(epoch, offset)| {
        Some(Place {
            epoch: (!epoch.is_empty()).then(|| epoch.to_owned())?,
            offset: offset.parse().ok()?,
        })
    });
    place.ok_or_else(|| {
        "EPOCH:OFFSET is needed, such as dbvetsz9:41; --json shows both of each message".to_owned()
    })
}
