//! The broker's own topics: for those whom a grant names them, and for nobody else.

use fanfare::config::{Anonymous, Auth, Config};
use fanfare::model::Filter;
use serde_json::json;

use crate::support::{Edit, Server, config};

fn granting(subscribe: &[&str]) -> Config {
    let subscribe = subscribe.iter().map(|f| Filter::new(f).unwrap()).collect();
    config().with(|config| {
        config.auth = Some(Auth {
            anonymous: Some(Anonymous {
                subscribe,
                publish: vec![Filter::new("#").unwrap()],
            }),
            ..Auth::default()
        });
    })
}

#[test]
fn sessions_that_come_and_go_are_told_to_who_is_granted_that() {
    let server = Server::start(granting(&["#", "$sys/#"]));
    let mut operator = server.connect();
    let mut other = server.connect();
    other.subscribe("#").await_ok();
    operator.subscribe("$sys/sessions").await_ok();
    let guest = server.connect();
    let id = guest.session();
    let opened = operator.expect_message("$sys/sessions");
    assert_eq!(opened["data"]["event"], "opened", "{opened}");
    assert_eq!(opened["data"]["session"], id);
    assert_eq!(opened["data"]["protocol"], "fanfare.v1.json");
    guest.close(1000);
    let closed = operator.expect_message("$sys/sessions");
    assert_eq!(closed["data"]["event"], "closed", "{closed}");
    assert_eq!(
        (&closed["data"]["session"], &closed["data"]["code"]),
        (&id, &json!(1000))
    );
    // A wildcard in front covers none of them.
    other.expect_nothing();
}

#[test]
fn figures_and_changes_are_told() {
    let server = Server::start(granting(&["$sys/#"]));
    let mut operator = server.connect();
    operator.subscribe("$sys/stats").await_ok();
    let told = operator.expect_message("$sys/stats");
    assert_eq!(told["data"]["connections"], 1, "{told}");
    operator.unsubscribe("$sys/stats").await_ok();
    operator.subscribe("$sys/config").await_ok();
    operator.subscribe("$sys/node").await_ok();
    server.reconfigure(|config| config.limits.batch = 7);
    operator.expect_message("$sys/config");
    server.stop();
    assert_eq!(
        operator.expect_message("$sys/node")["data"]["state"],
        "draining"
    );
}

#[test]
fn nobody_else_hears_them_and_nobody_publishes_there() {
    let server = Server::start(granting(&["#"]));
    let mut session = server.connect();
    for topic in ["$sys/#", "$sys/stats", "$sys/+"] {
        session.subscribe(topic).await_error("forbidden");
    }
    session.publish("$sys/stats", 1).await_error("forbidden");
}
