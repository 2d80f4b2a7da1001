//! `pub`: messages, and the broker's answer to each of them.

mod frame;
mod report;
mod source;
mod window;

use std::time::Duration;

use tokio::time::{Instant, interval, sleep, sleep_until};

use super::Process;
use super::args::PubArgs;
use super::connection::{Connection, PATIENCE, runtime};
use super::event::Event;
use super::exit::{Exit, Failure};
use super::interrupt::Stop;
use super::lost::Lost;
use super::target::Target;
use crate::auth::Secret;

use frame::Data;
use report::Report;
use source::{Piece, Pieces};
use window::Window;

/// A connection that held for so long was a good one: the next try after it is the first again.
const GOOD: Duration = Duration::from_secs(5);

/// The longest that a broker's wish to be left alone is granted.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How often it is told how far it is.
const PROGRESS: Duration = Duration::from_secs(1);

/// Publishes, and waits until the broker has stored each message as its topic asks.
pub(super) fn run(
    args: &PubArgs,
    process: &mut Process<'_>,
    watch: impl FnOnce() -> Result<Stop, Failure>,
) -> Result<Exit, Failure> {
    let target = Target::parse(process.url(args.broker.url.as_deref()))?.or_path("/ws");
    let token = process.token(&args.broker)?;
    let pieces = source::open(args, process)?;
    let mut topics = vec![args.topic.as_str()];
    for topic in &args.more_topics {
        if !topics.contains(&topic.as_str()) {
            topics.push(topic);
        }
    }
    let mut publisher = Publisher {
        first: None,
        args,
        target,
        token,
        topics,
        pieces: Some(pieces),
        window: Window::default(),
        paused: None,
        next: Instant::now(),
        heard: Instant::now(),
        report: Report::new(args, process),
        // What is read bit by bit ends tidily; the rest is over as soon as it is interrupted.
        stop: if args.lines || args.interval.is_some() {
            watch()?
        } else {
            Stop::new().1
        },
    };
    let ended = runtime()?.block_on(publisher.publish());
    publisher.report.end(ended, publisher.window.unanswered())
}

struct Publisher<'p, 'a> {
    args: &'p PubArgs,
    target: Target,
    token: Option<Secret>,
    topics: Vec<&'p str>,
    /// What was read before the broker was asked for.
    first: Option<Piece>,
    /// What is still to be published; `None` once all of it was read.
    pieces: Option<Pieces>,
    window: Window,
    /// The broker asked to be left alone until then.
    paused: Option<Instant>,
    /// When the next message is due.
    next: Instant,
    /// When the broker last answered, or had nothing to answer.
    heard: Instant,
    report: Report<'p, 'a>,
    stop: Stop,
}

impl Publisher<'_, '_> {
    /// Publishes everything, over as many connections as it takes.
    async fn publish(&mut self) -> Result<(), Failure> {
        if !self.args.lines && !self.read_first().await? {
            return Ok(());
        }
        let mut attempt = 0;
        let mut was_connected = false;
        loop {
            let opened = tokio::select! {
                opened = Connection::open(&self.target, self.token.as_ref()) => opened,
                () = self.stop.wished() => return Err(Failure::failed("interrupted")),
            };
            let lost = match opened {
                Err(lost) => lost,
                Ok(mut connection) => {
                    was_connected = true;
                    let since = Instant::now();
                    let lost = self.talk(&mut connection).await;
                    if since.elapsed() >= GOOD {
                        attempt = 0;
                    }
                    match lost {
                        Ok(()) => {
                            connection.leave().await;
                            return Ok(());
                        }
                        Err(lost) if lost.again.is_none() => {
                            connection.leave().await;
                            return Err(lost.why);
                        }
                        Err(lost) => lost,
                    }
                }
            };
            // One message is told as lost; a stream of them goes on.
            let may_return = self.args.lines && was_connected && !self.args.no_reconnect;
            let Some(wait) = lost.wait(attempt).filter(|_| may_return) else {
                return Err(lost.why);
            };
            attempt += 1;
            self.window.all_again();
            self.paused = None;
            let unanswered = self.window.unanswered();
            self.report.lost(&lost.why, wait, unanswered);
            tokio::select! {
                () = sleep(wait) => {}
                () = self.stop.wished() => return Err(lost.why),
            }
        }
    }

    /// Reads the first message; `false` if it can be published nowhere.
    async fn read_first(&mut self) -> Result<bool, Failure> {
        let Some(piece) = next(&mut self.pieces, self.next).await.transpose()? else {
            return Ok(false);
        };
        let is_only = self.args.repeat == 1 && self.args.file.len() < 2;
        let checked = Data::read(&self.args.kind, &piece.bytes).map(drop);
        if let Err(failure) = checked
            && is_only
        {
            self.report
                .refused(&piece.place, &failure, self.topics.len());
            return Ok(false);
        }
        self.first = Some(piece);
        Ok(true)
    }

    async fn talk(&mut self, connection: &mut Connection) -> Result<(), Lost> {
        let mut progress = interval(PROGRESS);
        self.heard = Instant::now();
        if let Some(piece) = self.first.take() {
            self.send(piece, connection).await?;
        }
        loop {
            if self.paused.is_none() {
                while let Some(frame) = self.window.next_again() {
                    connection.feed(frame).await?;
                }
            }
            let is_idle = self.pieces.as_ref().is_none_or(Pieces::is_empty);
            let may_send = self.paused.is_none() && self.window.has_room();
            if is_idle || !may_send || self.args.interval.is_some() {
                connection.flush().await?;
            }
            if self.pieces.is_none() && self.window.unanswered() == 0 {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = self.stop.wished(), if self.pieces.is_some() => self.pieces = None,
                received = connection.receive() => self.heed(&received?.0)?,
                () = sleep_until(self.heard + PATIENCE), if self.awaits_answer() => {
                    return Err(connection.silent());
                }
                () = until(self.paused) => self.paused = None,
                piece = next(&mut self.pieces, self.next), if may_send => match piece {
                    Some(piece) => self.send(piece.map_err(Lost::for_good)?, connection).await?,
                    None => self.pieces = None,
                },
                _ = progress.tick() => self.report.progress(),
            }
        }
    }

    fn awaits_answer(&self) -> bool {
        self.window.unanswered() > 0 && self.paused.is_none()
    }

    /// Sends one message to every topic.
    async fn send(&mut self, piece: Piece, connection: &mut Connection) -> Result<(), Lost> {
        if let Some(interval) = self.args.interval {
            // Counted from when it was due, so that the waits do not add up.
            self.next = (self.next + interval).max(Instant::now());
        }
        let Piece { place, bytes } = piece;
        let len = bytes.len();
        let data = match Data::read(&self.args.kind, &bytes) {
            Ok(data) => data,
            Err(failure) => {
                self.report.refused(&place, &failure, self.topics.len());
                return Ok(());
            }
        };
        if let Some(most) = connection.max_message.filter(|most| len > *most) {
            let why = format!("it is {len} bytes long, and the broker takes {most} at most");
            self.report.refused(&place, &why, self.topics.len());
            return Ok(());
        }
        if self.window.unanswered() == 0 {
            self.heard = Instant::now();
        }
        for topic in &self.topics {
            let id = self.window.next_id();
            let frame = data.publish(id, topic, self.args).map_err(Lost::for_good)?;
            self.window.push(place.clone(), frame.clone());
            connection.feed(frame).await?;
        }
        Ok(())
    }

    fn heed(&mut self, event: &Event) -> Result<(), Lost> {
        let is_error = event.kind == "error";
        if !is_error && event.kind != "ok" {
            return Ok(());
        }
        self.heard = Instant::now();
        let Some(id) = event.id else {
            let why = format!(
                "the broker refuses what it was sent with {}",
                event.complaint()
            );
            return Err(Lost::for_good(Failure::failed(why)));
        };
        if let Some(wait) = event.retry_after_ms.filter(|_| is_error)
            && self.window.try_again(id)
        {
            let wait = Duration::from_millis(wait).min(LONGEST_PAUSE);
            self.paused = self.paused.max(Some(Instant::now() + wait));
            return Ok(());
        }
        let Some(place) = self.window.answered(id) else {
            return Ok(());
        };
        if is_error {
            let why = format!("the broker refuses it with {}", event.complaint());
            self.report.refused(&place, &why, 1);
        } else {
            self.report.published(event.offset);
        }
        Ok(())
    }
}

/// The next message, once it is due.
async fn next(pieces: &mut Option<Pieces>, due: Instant) -> Option<Result<Piece, Failure>> {
    let Some(pieces) = pieces else {
        return std::future::pending().await;
    };
    sleep_until(due).await;
    pieces.recv().await
}

async fn until(paused: Option<Instant>) {
    match paused {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}
