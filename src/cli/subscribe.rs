//! `sub`: what is published, a line each, across lost connections.

mod output;
mod recovery;

use std::time::Duration;

use tokio::time::{Instant, interval, sleep, sleep_until};

use super::Process;
use super::args::SubArgs;
use super::connection::{Connection, runtime};
use super::event::Event;
use super::exit::{Exit, Failure, Unwritten};
use super::interrupt::Stop;
use super::lines::escape;
use super::lost::Lost;
use super::target::Target;
use crate::auth::Secret;

use output::Output;
use recovery::Recovery;

/// A connection that held for so long was a good one: the next try after it is the first again.
const GOOD: Duration = Duration::from_secs(5);

/// How often it is looked whether anybody still reads.
const LOOK: Duration = Duration::from_secs(1);

/// Further away than anybody waits.
const NEVER: Duration = Duration::from_hours(24 * 365);

/// Subscribes, and prints until it is told to stop, has printed enough, or nobody reads any more.
pub(super) fn run(args: &SubArgs, process: &mut Process<'_>, stop: Stop) -> Result<Exit, Failure> {
    let mut subscriber = Subscriber {
        target: Target::parse(process.url(args.broker.url.as_deref()))?.or_path("/ws"),
        token: process.token(&args.broker)?,
        reconnect: !args.no_reconnect,
        end: Instant::now() + args.timeout.unwrap_or(NEVER),
        stop,
        recovery: Recovery::new(args)?,
        output: Output::new(args, process),
    };
    let end = runtime()?.block_on(subscriber.follow());
    match end {
        End::Enough | End::Failed(Unwritten::Closed) => Ok(Exit::Done),
        End::Failed(Unwritten::Failed(failure)) => Err(failure),
        End::TimeOver => match subscriber.output.left() {
            None => Ok(Exit::Done),
            Some(left) => Err(Failure::failed(format!(
                "the time is over, and {left} of the messages that --count asks for did not come"
            ))),
        },
    }
}

/// How it ends.
enum End {
    /// As many were printed as were asked for, or it was told to stop.
    Enough,
    /// The time of `--timeout`.
    TimeOver,
    Failed(Unwritten),
}

/// Why a connection is no more.
enum Parted {
    Lost(Lost),
    Ended(End),
}

impl From<Lost> for Parted {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl From<Unwritten> for Parted {
    fn from(unwritten: Unwritten) -> Self {
        Self::Ended(End::Failed(unwritten))
    }
}

impl From<Failure> for Parted {
    fn from(failure: Failure) -> Self {
        Unwritten::Failed(failure).into()
    }
}

struct Subscriber<'p, 'a> {
    target: Target,
    token: Option<Secret>,
    reconnect: bool,
    end: Instant,
    stop: Stop,
    recovery: Recovery,
    output: Output<'p, 'a>,
}

impl Subscriber<'_, '_> {
    /// Connects, again and again, until it is enough.
    async fn follow(&mut self) -> End {
        let mut attempt = 0;
        loop {
            let opened = tokio::select! {
                opened = Connection::open(&self.target, self.token.as_ref()) => opened,
                end = halt(&mut self.stop, self.end) => return end,
            };
            let lost = match opened {
                Err(lost) => lost,
                Ok(mut connection) => {
                    let since = Instant::now();
                    let parted = self.talk(&mut connection).await;
                    if since.elapsed() >= GOOD {
                        attempt = 0;
                    }
                    match parted {
                        Parted::Ended(end) => {
                            connection.leave().await;
                            return end;
                        }
                        Parted::Lost(lost) => lost,
                    }
                }
            };
            // What never stood is rather a wrong URL than an accident.
            let may_return = self.reconnect && self.recovery.has_stood();
            let Some(wait) = lost.wait(attempt).filter(|_| may_return) else {
                return End::Failed(Unwritten::Failed(lost.why));
            };
            attempt += 1;
            let (why, seconds) = (lost.why, wait.as_secs_f64());
            self.output
                .say(&format!("{why}; connecting again in {seconds:.1} s"));
            self.recovery.begin_anew();
            tokio::select! {
                () = sleep(wait) => {}
                end = halt(&mut self.stop, self.end) => return end,
            }
        }
    }

    async fn talk(&mut self, connection: &mut Connection) -> Parted {
        match self.listen(connection).await {
            Ok(()) => Parted::Ended(End::Enough),
            Err(parted) => {
                // What was received is printed, whatever came then.
                match self.output.flush() {
                    Ok(()) => parted,
                    Err(unwritten) => unwritten.into(),
                }
            }
        }
    }

    async fn listen(&mut self, connection: &mut Connection) -> Result<(), Parted> {
        for frame in self.recovery.subscribe(connection.max_message) {
            connection.send(&frame).await?;
        }
        let mut look = interval(LOOK);
        while !self.output.is_enough() {
            let (event, frame) = tokio::select! {
                biased;
                end = halt(&mut self.stop, self.end) => return Err(Parted::Ended(end)),
                received = connection.receive() => received?,
                // For now nothing more is there.
                flushed = self.output.flush_printed() => {
                    flushed?;
                    continue;
                }
                _ = look.tick() => {
                    self.output.check_reader()?;
                    continue;
                }
            };
            if event.kind != "message" {
                self.heed(&event)?;
            } else if self.recovery.is_new(&event) {
                self.output.print(&frame)?;
            }
        }
        Ok(())
    }

    /// What is no message: told on standard error.
    fn heed(&mut self, event: &Event) -> Result<(), Parted> {
        let topic = || escape(event.topic.as_deref().unwrap_or("?"));
        match event.kind.as_str() {
            "ok" => {
                let (said, missing) = self.recovery.stood(event);
                if let Some(said) = said {
                    self.output.say(&said);
                }
                for missing in missing {
                    self.output.warn(&missing);
                }
            }
            "error" => {
                let filter = event.id.and_then(|id| self.recovery.filter(id));
                let filter = filter.map_or_else(String::new, |filter| format!(" to {filter}"));
                let why = Failure::failed(format!(
                    "the broker refuses the subscription{filter} with {}",
                    event.complaint()
                ));
                return Err(Lost::complained(why, event).into());
            }
            "gap" => {
                let reason = escape(event.reason.as_deref().unwrap_or("?"));
                let count = event
                    .count
                    .map_or_else(|| "some".to_owned(), |n| n.to_string());
                let topic = topic();
                self.output
                    .warn(&format!("{topic}: {count} messages are missing ({reason})"));
            }
            "unsubscribed" => {
                let ended = format!(
                    "the broker ended the subscription to {} with {}",
                    topic(),
                    event.complaint()
                );
                self.recovery.end(event.topic.as_deref());
                if self.recovery.is_over() {
                    return Err(Failure::failed(ended).into());
                }
                self.output.warn(&ended);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Waits until it is told to stop, or the time is over.
async fn halt(stop: &mut Stop, end: Instant) -> End {
    tokio::select! {
        () = stop.wished() => End::Enough,
        () = sleep_until(end) => End::TimeOver,
    }
}
