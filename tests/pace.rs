//! `websocket.flush_interval`: what comes within it is written together.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Edit, Server, config};

const INTERVAL: Duration = Duration::from_millis(400);

#[test]
fn messages_wait_for_those_that_follow_and_answers_do_not() {
    let server = Server::start(config().with(|c| c.websocket.flush_interval = INTERVAL));
    let mut reader = server.connect();
    reader.subscribe("a").await_ok();
    let mut writer = server.connect();
    for round in 0..3 {
        // After a pause the first is written at once.
        std::thread::sleep(INTERVAL);
        let begun = Instant::now();
        writer.publish("a", json!([round, 0])).await_ok();
        assert_eq!(reader.expect_data(1), [json!([round, 0])]);
        let first = begun.elapsed();
        assert!(first < INTERVAL / 2, "{first:?}");
        for n in 1..=100 {
            writer.publish("a", json!([round, n])).await_ok();
        }
        let answered = begun.elapsed();
        let expected: Vec<_> = (1..=100).map(|n| json!([round, n])).collect();
        assert_eq!(reader.expect_data(100), expected);
        let together = begun.elapsed();
        // The hundred answers did not wait; the messages did.
        assert!(answered < INTERVAL * 10, "{answered:?}");
        assert!(
            together + Duration::from_millis(5) >= INTERVAL,
            "{together:?}"
        );
    }
    let delivered = server.metric("fanfare_messages_delivered_total");
    assert_eq!(delivered, 3 * 101);
}
