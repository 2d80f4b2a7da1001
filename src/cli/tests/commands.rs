use std::fs;

use super::broker::{http, nowhere};
use super::*;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn help_and_version_are_done_and_misuse_is_told_on_standard_error() {
    for arguments in [&["--help"][..], &["-h"], &["help"], &["sub", "--help"]] {
        let ran = ran(arguments);
        assert_eq!(ran.exit, Exit::Done, "{arguments:?}");
        assert!(ran.stdout().contains("Usage:"), "{arguments:?}");
        assert!(ran.stdout().contains("Examples:"), "{arguments:?}");
    }
    assert_eq!(
        ran(&["--version"]).stdout(),
        format!("fanfare {}\n", env!("CARGO_PKG_VERSION"))
    );
    for arguments in [
        &["sreve"][..],
        &["--nonsense"],
        &["config"],
        &["pub"],
        &["pub", "a/#", "x"],
        &["pub", "a", "x", "--json", "--binary"],
        &["sub"],
        &["sub", "a/#/b"],
        &["sub", "a", "--count", "0"],
        &["sub", "a", "--json", "--raw"],
        &["--set", "listen", "serve"],
        &["--set", "server..listen=1", "serve"],
        &["--listen", "127.0.0.1:1", "pub", "a", "x"],
        &["--config", "x.toml", "health"],
        &["sub", "a", "--url", "wss://h/ws"],
        &["health", "https://h"],
    ] {
        let ran = ran(arguments);
        assert_eq!(ran.exit, Exit::Misused, "{arguments:?}");
        assert_eq!(ran.stdout(), "", "{arguments:?}");
        assert!(!ran.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn options_count_on_either_side_of_the_command_and_the_inner_one_wins() {
    let shown = ran(&[
        "--listen",
        "127.0.0.1:1",
        "--set",
        "session.subscriptions=7",
        "config",
        "show",
        "--listen",
        "127.0.0.1:2",
        "--set",
        "limits.batch=9",
        "--log-level",
        "debug",
    ]);
    assert_eq!(shown.exit, Exit::Done, "{}", shown.stderr);
    for line in [
        "listen = \"127.0.0.1:2\"\n",
        "subscriptions = 7\n",
        "batch = 9\n",
        "level = \"debug\"\n",
    ] {
        assert!(shown.stdout().contains(line), "{line}");
    }
}

#[test]
fn the_check_names_the_files_that_were_read() {
    let checked = ran(&["config", "check"]);
    assert_eq!(checked.exit, Exit::Done);
    assert_eq!(
        checked.stdout(),
        "configuration is good (files read: none)\n\
         note: no [auth]: anyone on this machine may subscribe and publish (development)\n"
    );

    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("config")).unwrap();
    fs::write(dir.path().join("config/local.toml"), "").unwrap();
    fs::write(
        dir.path().join("my.toml"),
        "[[topic]]\nfilter = \"#\"\n[[topic]]\nfilter = \"a\"\n",
    )
    .unwrap();
    for (arguments, environment) in [
        (&["config", "check", "--config", "my.toml"][..], &[][..]),
        (&["config", "check"], &[("FANFARE_CONFIG", "my.toml")]),
    ] {
        let line = Line::new(arguments).environment(environment);
        let checked = line.dir(dir.path()).run();
        let text = checked.stdout();
        assert!(
            text.starts_with("configuration is good (files read: my.toml, config/local.toml)\n"),
            "{text}"
        );
        assert!(text.contains("never applies"), "{text}");
    }
}

#[test]
fn every_fault_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("bad.toml"),
        "[server]\nlistn = 1\n[session]\nqueue = \"much\"\n",
    )
    .unwrap();
    for command in [&["config", "check"][..], &["config", "show"], &["serve"]] {
        let arguments = [command, &["--config", "bad.toml"]].concat();
        let checked = Line::new(&arguments).dir(dir.path()).run();
        assert_eq!(checked.exit, Exit::Failed, "{command:?}");
        assert_eq!(checked.stdout(), "");
        for part in ["2 faults", "bad.toml:2", "listn", "bad.toml:4", "much"] {
            assert!(checked.stderr.contains(part), "{part}: {}", checked.stderr);
        }
    }
    let missing = ran(&["config", "check", "--config", "missing.toml"]);
    assert_eq!(missing.exit, Exit::Failed);
    assert!(missing.stderr.contains("missing.toml"));
}

#[test]
fn faults_in_options_alone_are_misuse() {
    for arguments in [
        &["config", "check", "--listen", "nowhere"][..],
        &["serve", "--log-level", "loud"],
        &["--set", "no.such=1"],
    ] {
        let ran = ran(arguments);
        assert_eq!(ran.exit, Exit::Misused, "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn a_broker_that_does_not_start_has_failed() {
    let served = ran(&["--log-level", "off"]);
    assert_eq!(served.exit, Exit::Failed);
    assert_eq!(served.stderr, "fanfare: no broker in tests\n");
}

#[test]
fn health_is_the_status_of_the_answer() {
    for (answer, exit) in [
        ("HTTP/1.1 200 OK\r\n\r\n", Exit::Done),
        ("HTTP/1.0 200\r\n\r\n", Exit::Done),
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n", Exit::Failed),
        ("SSH-2.0 200\r\n", Exit::Failed),
        ("", Exit::Failed),
    ] {
        let ran = ran(&["health", &http(answer)]);
        assert_eq!(ran.exit, exit, "{answer:?}: {}", ran.stderr);
        assert_eq!(ran.stderr.is_empty(), exit == Exit::Done, "{answer:?}");
    }
    let url = format!("http://{}", nowhere());
    let ran = ran(&["health", &url]);
    assert_eq!(ran.exit, Exit::Failed);
    assert!(ran.stderr.contains("does not answer"), "{}", ran.stderr);
}

#[test]
fn variables_that_are_no_text_are_kept_only_where_they_are_ours() {
    use std::os::unix::ffi::OsStringExt;

    let broken = || OsString::from_vec(vec![b'x', 0xff]);
    let read = environment(
        [
            ("PATH".into(), broken()),
            ("FANFARE_URL".into(), broken()),
            ("HOME".into(), "/root".into()),
        ]
        .into_iter(),
    );
    let names: Vec<&str> = read.keys().map(String::as_str).collect();
    assert_eq!(names, ["FANFARE_URL", "HOME"]);
    assert_eq!(read["FANFARE_URL"], "x\u{fffd}");
}
