use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;

use super::broker::{Broker, Session};
use super::*;
use crate::cli::args::SubArgs;

const TEXT: &str = r#"{"type":"message","topic":"a/b","data":"hi","encoding":"text","offset":1}"#;
const JSON: &str = r#"{"type":"message","topic":"a/c","data":[1.0]}"#;

/// A writer of what is kept, or of nothing once its reader has gone.
#[derive(Default)]
struct Output {
    kept: Vec<u8>,
    flushes: usize,
    closed: bool,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.kept.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushes += 1;
        Ok(())
    }
}

fn subscribed(
    url: &str,
    arguments: &[&str],
    stdout: &mut Output,
    stop: &AtomicBool,
) -> (Exit, String) {
    let arguments = [&["fanfare", "sub", "--url", url], arguments].concat();
    let Some(Command::Sub(args)) = Cli::try_parse_from(arguments).ok().unwrap().command else {
        panic!("not `sub`");
    };
    let args: SubArgs = args;
    let mut stderr = Vec::new();
    let mut process = Process {
        environment: BTreeMap::new(),
        working_dir: PathBuf::new(),
        stdin: &mut io::empty(),
        stdout,
        stderr: &mut stderr,
    };
    let ended = crate::cli::subscribe::run(&args, &mut process, stop);
    let exit = ended.unwrap_or_else(|failure| failure.tell(&mut stderr));
    (exit, String::from_utf8(stderr).unwrap())
}

fn welcome_two(session: &mut Session) -> Option<u16> {
    for (id, topic) in [(1, "a/#"), (2, "b")] {
        let frame = session.receive();
        assert_eq!(frame["type"], "subscribe");
        assert_eq!(frame["id"], id);
        assert_eq!(frame["topic"], topic);
        assert_eq!(frame["last"], 5);
        session.send(&format!(
            r#"{{"type":"ok","id":{id},"topic":"{topic}","time":1}}"#
        ));
    }
    session.send(r#"{"type":"join","topic":"a/b","session":"s"}"#);
    session.send(TEXT);
    session.send(r#"{"type":"gap","topic":"a/b","reason":"slow","count":3}"#);
    session.send(JSON);
    session.send(TEXT);
    session.parting()
}

#[test]
fn each_message_is_a_line_until_the_count_is_reached() {
    for (form, expected) in [
        (&[][..], "a/b hi\na/c [1.0]\n".to_owned()),
        (&["--raw"], "hi\n[1.0]\n".to_owned()),
        (&["--json"], format!("{TEXT}\n{JSON}\n")),
    ] {
        let broker = Broker::start(welcome_two);
        let arguments = [&["a/#", "b", "a/#", "--last", "5", "--count", "2"], form].concat();
        let mut stdout = Output::default();
        let never = AtomicBool::new(false);
        let (exit, stderr) = subscribed(&broker.url, &arguments, &mut stdout, &never);
        assert_eq!(exit, Exit::Done, "{stderr}");
        assert_eq!(stdout.kept, expected.as_bytes());
        assert_eq!(stdout.flushes, 2, "one a line");
        assert_eq!(
            stderr,
            "fanfare: subscribed to a/#\nfanfare: subscribed to b\n\
             fanfare: a/b: 3 messages are missing (slow)\n"
        );
        assert_eq!(broker.end(), Some(1000));
    }
}

#[test]
fn being_told_to_stop_and_a_closed_output_are_no_failures() {
    let broker = Broker::start(Session::parting);
    let stop = AtomicBool::new(true);
    let mut stdout = Output::default();
    let (exit, _) = subscribed(&broker.url, &["a"], &mut stdout, &stop);
    assert_eq!(exit, Exit::Done);
    assert_eq!(broker.end(), Some(1000));

    let broker = Broker::start(|session| {
        session.send(TEXT);
        session.parting()
    });
    stop.store(false, Ordering::SeqCst);
    stdout.closed = true;
    let (exit, stderr) = subscribed(&broker.url, &["a"], &mut stdout, &stop);
    assert_eq!((exit, stderr.as_str()), (Exit::Done, ""));
    assert_eq!(broker.end(), Some(1000));
}

#[test]
fn a_lost_connection_is_a_failure_that_says_why() {
    fn failure<T: Send + 'static>(
        script: impl FnOnce(&mut Session) -> T + Send + 'static,
    ) -> String {
        let broker = Broker::start(script);
        let never = AtomicBool::new(false);
        let mut stdout = Output::default();
        let (exit, stderr) = subscribed(&broker.url, &["a", "-q"], &mut stdout, &never);
        assert_eq!(exit, Exit::Failed, "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        broker.end();
        stderr
    }
    let closed = failure(|session| session.close(4008, "slow consumer\u{1b}[2J"));
    assert!(closed.contains("4008 slow consumer\\u{1b}[2J"), "{closed}");
    let refused = failure(|session| {
        session.receive();
        session.send(r#"{"type":"error","id":1,"code":"forbidden","message":"No."}"#);
    });
    assert!(
        refused.contains("subscription to a with forbidden: No."),
        "{refused}"
    );
    let ended = failure(|session| {
        session.receive();
        session.send(r#"{"type":"ok","id":1,"topic":"a","time":1}"#);
        session.send(r#"{"type":"unsubscribed","topic":"a","code":"forbidden","message":"No."}"#);
    });
    assert!(ended.contains("ended the subscription to a"), "{ended}");
    let broken = failure(|_| ());
    assert!(broken.contains("is lost"), "{broken}");
    let strange = failure(|session| session.send("no JSON"));
    assert!(strange.contains("fanfare.v1.json"), "{strange}");
}

#[test]
fn what_does_not_welcome_is_no_broker() {
    let broker = Broker::with_welcome(r#"{"type":"hello"}"#, |_| ());
    let never = AtomicBool::new(false);
    let (exit, stderr) = subscribed(&broker.url, &["a"], &mut Output::default(), &never);
    assert_eq!(exit, Exit::Failed);
    assert!(stderr.contains("is this URL a broker's"), "{stderr}");
    broker.end();
}
