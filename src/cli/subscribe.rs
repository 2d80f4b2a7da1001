//! `sub`: what is published, a line each.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::Process;
use super::args::SubArgs;
use super::connection::{Connection, Event};
use super::exit::{Exit, Failure, Unwritten, written};
use super::lines::{Form, escape};

#[derive(Serialize)]
struct Subscribe<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: u64,
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<u32>,
}

/// Subscribes, and prints until it is told to stop, has printed enough, or nobody reads any more.
pub(super) fn run(
    args: &SubArgs,
    process: &mut Process<'_>,
    stop: &AtomicBool,
) -> Result<Exit, Failure> {
    let token = process.token(args.broker.token.as_ref());
    let url = process.url(args.broker.url.as_deref());
    let mut connection = Connection::open(url, token.as_ref())?;
    let mut subscriber = Subscriber {
        filters: distinct(&args.filters),
        form: Form::of(args),
        left: args.count,
        quiet: args.broker.quiet,
        process,
    };
    let ended = subscriber.attend(&mut connection, args.last, stop);
    connection.leave();
    match ended {
        Ok(()) | Err(Unwritten::Closed) => Ok(Exit::Done),
        Err(Unwritten::Failed(failure)) => Err(failure),
    }
}

/// Each filter once: the broker refuses a second.
fn distinct(filters: &[String]) -> Vec<&str> {
    let mut distinct: Vec<&str> = Vec::with_capacity(filters.len());
    for filter in filters {
        if !distinct.contains(&filter.as_str()) {
            distinct.push(filter);
        }
    }
    distinct
}

struct Subscriber<'a, 'p> {
    /// What is subscribed to, less what the broker ended.
    filters: Vec<&'a str>,
    form: Form,
    /// How many messages are still to be printed.
    left: Option<u64>,
    quiet: bool,
    process: &'a mut Process<'p>,
}

impl Subscriber<'_, '_> {
    fn attend(
        &mut self,
        connection: &mut Connection,
        last: Option<u32>,
        stop: &AtomicBool,
    ) -> Result<(), Unwritten> {
        for (id, topic) in (1..).zip(&self.filters) {
            let frame = Subscribe {
                kind: "subscribe",
                id,
                topic,
                last,
            };
            connection.send(&frame).map_err(Unwritten::Failed)?;
        }
        while self.left != Some(0) && !stop.load(Ordering::SeqCst) {
            let received = connection.receive().map_err(Unwritten::Failed)?;
            let Some((event, frame)) = received else {
                continue;
            };
            if event.kind == "message" {
                self.print(&frame)?;
            } else {
                self.heed(&event).map_err(Unwritten::Failed)?;
            }
        }
        Ok(())
    }

    fn print(&mut self, frame: &str) -> Result<(), Unwritten> {
        let Some(line) = self.form.print(frame) else {
            self.note("a message of a kind that this version does not know was left out");
            return Ok(());
        };
        let stdout = &mut self.process.stdout;
        written(stdout.write_all(&line).and_then(|()| stdout.flush()))?;
        self.left = self.left.map(|left| left.saturating_sub(1));
        Ok(())
    }

    /// What is no message: told on standard error.
    fn heed(&mut self, event: &Event) -> Result<(), Failure> {
        let topic = escape(event.topic.as_deref().unwrap_or("?")).into_owned();
        match event.kind.as_str() {
            "ok" if !self.quiet => self.note(&format!("subscribed to {topic}")),
            "error" => {
                let filter = event
                    .id
                    .and_then(|id| usize::try_from(id).ok()?.checked_sub(1))
                    .and_then(|index| self.filters.get(index));
                let filter = filter.map_or_else(String::new, |filter| format!(" to {filter}"));
                return Err(Failure::failed(format!(
                    "the broker refuses the subscription{filter} with {}",
                    event.complaint()
                )));
            }
            "gap" => {
                let reason = escape(event.reason.as_deref().unwrap_or("?")).into_owned();
                let count = event
                    .count
                    .map_or_else(|| "some".to_owned(), |n| n.to_string());
                self.note(&format!("{topic}: {count} messages are missing ({reason})"));
            }
            "unsubscribed" => {
                let ended = format!(
                    "the broker ended the subscription to {topic} with {}",
                    event.complaint()
                );
                self.filters.retain(|filter| *filter != topic);
                if self.filters.is_empty() {
                    return Err(Failure::failed(ended));
                }
                self.note(&ended);
            }
            _ => {}
        }
        Ok(())
    }

    fn note(&mut self, note: &str) {
        let _ = writeln!(self.process.stderr, "fanfare: {note}");
    }
}
