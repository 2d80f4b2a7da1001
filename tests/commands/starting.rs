//! `fanfare init` and `fanfare completions`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Http, Running, command, eventually, ran, ran_in};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn init_writes_what_runs_at_once_and_keeps_its_key_to_itself() {
    let home = tempfile::tempdir().unwrap();
    let written = ran_in(home.path(), &["init", "my chat/here"]);
    assert_eq!(written.code, Some(0), "{}", written.stderr);
    let told = written.stdout.join("\n");
    assert!(
        told.contains("fanfare serve --config 'my chat/here/fanfare.toml'"),
        "{told}"
    );
    let dir = home.path().join("my chat/here");
    let environment = fs::read_to_string(dir.join(".env")).unwrap();
    let key = environment.trim().strip_prefix("FANFARE_TOKEN=").unwrap();
    assert_eq!(key.len(), 64);
    assert_eq!(mode(&dir.join(".env")), 0o600);
    assert_eq!(mode(&dir.join("backend/publish.py")) & 0o100, 0o100);
    for file in ["fanfare.toml", "README.md", "public/chat.js", ".gitignore"] {
        let text = fs::read_to_string(dir.join(file)).unwrap();
        assert!(!text.contains(key) && !text.contains("@SHA256@"), "{file}");
    }
    assert!(!told.contains(key));

    // From elsewhere, and as it stands but for the port.
    let config = dir.join("fanfare.toml");
    let checked = ran(&["config", "check", "--config", config.to_str().unwrap()]);
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    assert!(!checked.stdout.join("\n").contains("note:"), "{checked:?}");
    let broker = Running::start(&[
        "serve",
        "--config",
        config.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
    ]);
    let line = broker.await_lines(1).remove(0);
    let address = line.strip_prefix("Fanfare is at http://").unwrap();
    let address = address.trim_end_matches('/').parse().unwrap();
    let get = |path: &str| Http::new(address, "GET", path);
    eventually("it is ready", || get("/readyz").send().status == 200);
    assert!(get("/").send().text().contains("<title>Chat</title>"));
    assert_eq!(get("/chat.js").send().status, 200);
    assert_eq!(get("/.env").send().status, 404);
    assert_eq!(get("/../.env").send().status, 404);

    let post = |topic: &str| {
        Http::new(address, "POST", &format!("/v1/topics/{topic}/messages")).json(&1.into())
    };
    for topic in ["live/load", "chat/lobby"] {
        post(topic).send().expect_problem(401);
        assert_eq!(post(topic).key(key).send().status, 200, "{topic}");
    }
    assert_eq!(post("other").key(key).send().status, 403);
    let mut visitor = crate::support::Client::open(address, "/ws");
    visitor.subscribe("live/#").await_ok();
    visitor.subscribe("chat/lobby").await_ok();
    visitor.publish("chat/lobby", "hello").await_ok();
    visitor.publish("live/load", 1).await_error("forbidden");
    visitor.subscribe("#").await_error("forbidden");
}

#[test]
fn both_backends_of_init_publish() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(ran_in(home.path(), &["init", "."]).code, Some(0));
    let broker = Running::spawn(
        command(&["--config", "fanfare.toml", "--listen", "127.0.0.1:0"]).current_dir(home.path()),
    );
    let line = broker.await_lines(1).remove(0);
    let base = line
        .strip_prefix("Fanfare is at ")
        .unwrap()
        .trim_end_matches('/')
        .to_owned();
    let mut tried = 0;
    for (program, file) in [("python3", "publish.py"), ("node", "publish.mjs")] {
        let is_there = Command::new(program)
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        if is_there.is_err() {
            continue;
        }
        tried += 1;
        let mut backend = Command::new(program)
            .arg(home.path().join("backend").join(file))
            .env("FANFARE_HTTP", &base)
            .env_remove("FANFARE_TOKEN")
            .current_dir("/")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(backend.stdout.take().unwrap()).lines();
        for _ in 0..2 {
            let line = lines.next().unwrap().unwrap();
            assert!(line.contains(" is message "), "{program}: {line}");
        }
        backend.kill().unwrap();
        backend.wait().unwrap();
    }
    assert!(tried > 0, "neither Python nor Node.js is here");
}

#[test]
fn init_overwrites_nothing_and_names_what_is_in_its_way() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    fs::create_dir(dir.join("public")).unwrap();
    fs::write(dir.join("public/chat.js"), "mine").unwrap();
    fs::write(dir.join("README.md"), "mine").unwrap();
    let refused = ran_in(dir, &["init", "."]);
    assert_eq!(refused.code, Some(1));
    for name in ["README.md", "public/chat.js"] {
        assert!(refused.stderr.contains(name), "{}", refused.stderr);
        assert_eq!(fs::read_to_string(dir.join(name)).unwrap(), "mine");
    }
    assert!(
        !refused.stderr.contains("fanfare.toml"),
        "{}",
        refused.stderr
    );
    assert!(!dir.join("fanfare.toml").exists() && !dir.join(".env").exists());
    fs::write(dir.join("file"), "").unwrap();
    let refused = ran_in(dir, &["init", "file"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("file"), "{}", refused.stderr);
    assert_eq!(ran_in(dir, &["init"]).code, Some(2));
    // What is in nobody's way may be there.
    assert_eq!(ran_in(dir, &["init", "new"]).code, Some(0));
}

#[test]
fn every_shell_gets_its_script_and_that_of_bash_completes() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = ran(&["completions", shell]);
        assert_eq!(script.code, Some(0), "{}", script.stderr);
        let text = script.stdout.join("\n");
        for word in ["completions", "--no-reconnect", "--token-file"] {
            let word = if shell == "fish" {
                word.trim_start_matches("--")
            } else {
                word
            };
            assert!(text.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(ran(&["completions", "tcsh"]).code, Some(2));
    let script = ran(&["completions", "bash"]).stdout.join("\n");
    for (words, expected) in [
        ("fanfare su", "sub"),
        ("fanfare sub --no-re", "--no-reconnect"),
    ] {
        let last = words.split(' ').count() - 1;
        let ask = format!(
            "{script}\nCOMP_WORDS=({words}); COMP_CWORD={last}; \
             _fanfare fanfare \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{last}-1]}}\"; \
             echo \"${{COMPREPLY[@]}}\""
        );
        let answer = Command::new("bash").args(["-c", &ask]).output().unwrap();
        let answer = String::from_utf8(answer.stdout).unwrap();
        assert_eq!(answer.trim(), expected, "{words}");
    }
}
