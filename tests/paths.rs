//! The paths that the configuration moves, and what stays where they were.

use crate::support::{Client, Edit, Server, base, config};

#[test]
fn the_websocket_is_where_the_configuration_puts_it() {
    let server = Server::start(config().with(|c| c.websocket.path = "/socket".into()));
    let mut client = Client::open(server.address, "/socket?topic=a");
    client.publish("a", 1).await_ok();
    assert_eq!(client.expect_message("a")["data"], 1);
    assert_eq!(
        base(server.address, "/ws", &[]).unwrap_err().status(),
        404,
        "where it was is nothing"
    );
    // Who asks without an upgrade is told to ask for one, at its path alone.
    let plain = server.get("/socket");
    assert_eq!(plain.expect_problem(426), "bad_request");
    assert_eq!(plain.header("upgrade"), Some("websocket"));
    assert_eq!(server.get("/ws").expect_problem(404), "not_found");
}
