//! The broker inside another program: the one of `examples/embed.rs`.

#[allow(dead_code, reason = "its `main` runs in tests/node")]
#[path = "../examples/embed.rs"]
mod embed;

use serde_json::json;

use crate::support::{Edit, Server};

fn shop() -> Server {
    let config = embed::config().unwrap().with(|c| {
        c.server.listen.set_port(0);
        c.server.workers = 2;
    });
    Server::start_with(config, embed::shop)
}

#[test]
fn the_programs_routes_come_first_and_the_brokers_are_still_there() {
    let server = shop();
    assert!(server.get("/").text().contains("<title>Shop</title>"));
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/v1/stats").status, 200);
    server.get("/nothing").expect_problem(404);
}

#[test]
fn what_the_program_publishes_gets_to_every_subscriber_of_every_worker() {
    let server = shop();
    let mut clients: Vec<_> = (0..6).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.subscribe("orders/#").await_ok();
    }
    for number in 1..=4 {
        let order = server.http("POST", "/orders").json(&json!({"item": "tea"}));
        let answer = order.send();
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!(answer.json(), json!({"number": number, "told": 6}));
        for client in &mut clients {
            let message = client.expect_message("orders/new");
            assert_eq!(message["data"], json!({"number": number, "item": "tea"}));
            assert_eq!(message["offset"], number);
        }
    }
    let malformed = server.http("POST", "/orders").json(&json!({"no": "item"}));
    assert_eq!(malformed.send().status, 400);
    // It says itself who may what.
    clients[0]
        .publish("orders/new", "mine")
        .await_error("forbidden");
    clients[0].subscribe("#").await_error("forbidden");
}
