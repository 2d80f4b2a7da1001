use std::io;

use clap::Parser;

use super::broker::{Broker, Session};
use super::*;
use crate::cli::args::SubArgs;
use crate::cli::interrupt::Stop;

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

fn subscribed(url: &str, arguments: &[&str], stdout: &mut Output, stop: Stop) -> (Exit, String) {
    let arguments = [&["fanfare", "sub", "--url", url], arguments].concat();
    let Some(Command::Sub(args)) = Cli::try_parse_from(arguments).ok().unwrap().command else {
        panic!("not `sub`");
    };
    let args: SubArgs = args;
    let mut stderr = Vec::new();
    let mut process = Process {
        environment: BTreeMap::new(),
        working_dir: PathBuf::new(),
        stdin: Box::new(io::empty()),
        stdout,
        stderr: &mut stderr,
        terminal: Terminal::default(),
        has_hung_up: || false,
    };
    let ended = crate::cli::subscribe::run(&args, &mut process, stop);
    let exit = ended.unwrap_or_else(|failure| failure.tell(&mut stderr));
    (exit, String::from_utf8(stderr).unwrap())
}

/// Nobody wishes it to end.
fn never() -> Stop {
    Stop::new().1
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
        (&[][..], "TIME a/b hi\nTIME a/c [1.0]\n".to_owned()),
        (&["--raw"], "hi\n[1.0]\n".to_owned()),
        (&["--json"], format!("{TEXT}\n{JSON}\n")),
    ] {
        let broker = Broker::start(welcome_two);
        let arguments = [&["a/#", "b", "a/#", "--last", "5", "--count", "2"], form].concat();
        let mut stdout = Output::default();
        let (exit, stderr) = subscribed(&broker.url, &arguments, &mut stdout, never());
        assert_eq!(exit, Exit::Done, "{stderr}");
        let printed = String::from_utf8(stdout.kept).unwrap();
        // The clock of this machine shows another time than that of the next.
        let printed = if form.is_empty() {
            let lines = printed.lines().map(|line| line.split_once(' ').unwrap().1);
            format!("TIME {}\n", lines.collect::<Vec<_>>().join("\nTIME "))
        } else {
            printed
        };
        assert_eq!(printed, expected);
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
    let (teller, stop) = Stop::new();
    let broker = Broker::start(move |session| {
        session.receive();
        teller.send_replace(true);
        session.parting()
    });
    let mut stdout = Output::default();
    let (exit, _) = subscribed(&broker.url, &["a"], &mut stdout, stop);
    assert_eq!(exit, Exit::Done);
    assert_eq!(broker.end(), Some(1000));

    let broker = Broker::start(|session| {
        session.send(TEXT);
        session.parting()
    });
    stdout.closed = true;
    let (exit, stderr) = subscribed(&broker.url, &["a"], &mut stdout, never());
    assert_eq!((exit, stderr.as_str()), (Exit::Done, ""));
    assert_eq!(broker.end(), Some(1000));
}

#[test]
fn the_time_is_over_with_0_unless_messages_were_asked_for_that_did_not_come() {
    for (arguments, exit, told) in [
        (&["a", "--timeout", "20ms"][..], Exit::Done, ""),
        (
            &["a", "--timeout", "20ms", "--count", "3"],
            Exit::Failed,
            "3 of the messages",
        ),
    ] {
        let broker = Broker::start(Session::parting);
        let ended = subscribed(&broker.url, arguments, &mut Output::default(), never());
        assert_eq!(ended.0, exit);
        assert!(ended.1.contains(told), "{}", ended.1);
        assert_eq!(broker.end(), Some(1000));
    }
}

#[test]
fn a_place_goes_with_one_topic_only() {
    for filters in [&["a", "b"][..], &["a/#"]] {
        let arguments = [&["sub", "--since", "e:1"], filters].concat();
        let ran = ran(&arguments);
        assert_eq!(ran.exit, Exit::Misused);
        assert!(ran.stderr.contains("--since"), "{}", ran.stderr);
    }
    let broker = Broker::start(|session| {
        let frame = session.receive();
        session.send(r#"{"type":"ok","id":1,"topic":"a","time":1,"epoch":"x","offset":9,"recovered":false,"replayed":4}"#);
        session.parting();
        frame
    });
    let arguments = ["a", "--since", "e:1", "--timeout", "100ms"];
    let (exit, stderr) = subscribed(&broker.url, &arguments, &mut Output::default(), never());
    assert_eq!(exit, Exit::Done);
    assert!(stderr.contains("a: the history has begun anew"), "{stderr}");
    let since = serde_json::json!({"epoch": "e", "offset": 1});
    assert_eq!(broker.end()["since"], since);
}

#[test]
fn a_lost_connection_is_a_failure_that_says_why() {
    fn failure<T: Send + 'static>(
        script: impl FnOnce(&mut Session) -> T + Send + 'static,
    ) -> String {
        let broker = Broker::start(script);
        let mut stdout = Output::default();
        let arguments = ["a", "-q", "--no-reconnect"];
        let (exit, stderr) = subscribed(&broker.url, &arguments, &mut stdout, never());
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
    let (exit, stderr) = subscribed(&broker.url, &["a"], &mut Output::default(), never());
    assert_eq!(exit, Exit::Failed);
    assert!(stderr.contains("is this URL a broker's"), "{stderr}");
    broker.end();
}
