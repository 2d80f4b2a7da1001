//! The files of `server.public`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::{Answer, Edit, Server, config};

fn site() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let public = dir.path().join("public");
    fs::create_dir_all(public.join("docs/deep")).unwrap();
    fs::create_dir_all(public.join(".git")).unwrap();
    for (name, text) in [
        ("index.html", "<!doctype html>home"),
        ("a b.txt", "blank"),
        ("app.js", "1;"),
        ("app.mjs", "2;"),
        ("app.css", "p{}"),
        ("data.json", "{}"),
        ("pic.svg", "<svg/>"),
        ("code.wasm", "\0asm"),
        ("noext", "bytes"),
        ("docs/index.html", "docs"),
        (".env", "SECRET=1"),
        (".git/config", "secret"),
        ("../outside.txt", "secret"),
    ] {
        fs::write(public.join(name), text).unwrap();
    }
    symlink(dir.path().join("outside.txt"), public.join("leak.txt")).unwrap();
    symlink(dir.path(), public.join("up")).unwrap();
    symlink(public.join("app.js"), public.join("same.js")).unwrap();
    dir
}

fn serving(public: &Path) -> Server {
    let public = public.to_owned();
    Server::start(config().with(|c| c.server.public = Some(public)))
}

#[track_caller]
fn expect(answer: &Answer, kind: &str, body: &str) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some(kind));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    assert_eq!(answer.text(), body);
}

#[test]
fn files_are_served_in_place_of_the_demo_each_with_its_type() {
    let site = site();
    let server = serving(&site.path().join("public"));
    for (path, kind, body) in [
        ("/", "text/html; charset=utf-8", "<!doctype html>home"),
        (
            "/index.html",
            "text/html; charset=utf-8",
            "<!doctype html>home",
        ),
        (
            "/?query=1",
            "text/html; charset=utf-8",
            "<!doctype html>home",
        ),
        ("/a%20b.txt", "text/plain; charset=utf-8", "blank"),
        ("/app.js", "text/javascript", "1;"),
        ("/app.mjs", "application/javascript; charset=utf-8", "2;"),
        ("/app.css", "text/css; charset=utf-8", "p{}"),
        ("/data.json", "application/json", "{}"),
        ("/pic.svg", "image/svg+xml", "<svg/>"),
        ("/code.wasm", "application/wasm", "\0asm"),
        ("/noext", "application/octet-stream", "bytes"),
        ("/docs/", "text/html; charset=utf-8", "docs"),
        ("/same.js", "text/javascript", "1;"),
    ] {
        expect(&server.get(path), kind, body);
    }
    server.get("/demo/main.js").expect_problem(404);
    assert_eq!(server.get("/healthz").status, 200);
    server.get("/v1/nothing").expect_problem(404);
    let moved = server.get("/docs?a=b");
    assert_eq!(moved.status, 301);
    assert_eq!(moved.header("location"), Some("./docs/?a=b"));
    let counted = r#"fanfare_http_requests_total{route="public",status="200"}"#;
    assert_eq!(server.metric(counted), 13);
}

#[test]
fn what_is_hidden_or_outside_is_not_there() {
    let site = site();
    let server = serving(&site.path().join("public"));
    for path in [
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/docs/../.env",
        "/../outside.txt",
        "/%2e%2e/outside.txt",
        "/..%2foutside.txt",
        "/docs/%2e%2e/%2e%2e/outside.txt",
        "//etc/passwd",
        "/etc/passwd",
        "/leak.txt",
        "/up/",
        "/up/outside.txt",
        "/docs/deep",
        "/docs/deep/",
        "/app.js/",
        "/nothing",
        "/%00",
        "/app.js%00.txt",
        "/%ff",
    ] {
        let answer = server.get(path);
        assert_eq!(answer.expect_problem(404), "not_found", "{path}");
        assert!(!answer.text().contains("secret"), "{path}");
    }
    let posted = server.http("POST", "/app.js").send();
    assert_eq!(posted.expect_problem(405), "bad_request");
}

#[test]
fn what_a_browser_has_is_not_sent_again_and_parts_are_sent_alone() {
    let site = site();
    let server = serving(&site.path().join("public"));
    let first = server.get("/app.css");
    let tag = first.header("etag").unwrap();
    let again = server.http("GET", "/app.css").header("If-None-Match", tag);
    assert_eq!(again.send().status, 304);
    let part = server.http("GET", "/app.css").header("Range", "bytes=1-2");
    let part = part.send();
    assert_eq!((part.status, part.text().as_str()), (206, "{}"));
    fs::write(site.path().join("public/app.css"), "p{color:red}").unwrap();
    let changed = server.http("GET", "/app.css").header("If-None-Match", tag);
    expect(&changed.send(), "text/css; charset=utf-8", "p{color:red}");
}

#[test]
fn a_named_pipe_holds_nobody_up() {
    let site = site();
    let public = site.path().join("public");
    let pipe = public.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let server = serving(&public);
    server.get("/pipe").expect_problem(404);
}
