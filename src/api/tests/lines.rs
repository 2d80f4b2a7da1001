//! Publishing lines, answered by lines.

use serde_json::json;

use super::*;

const PUBLISH: &str = "/v1/publish";
const NDJSON: &str = "application/x-ndjson";

/// The lines that were answered.
fn answered(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("content-type"), NDJSON);
    assert!(answer.body.is_empty() || answer.body.ends_with('\n'));
    let lines = answer.body.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn each_line_is_answered_in_its_order_and_a_bad_one_loses_nothing() {
    run(usual(), async |api| {
        let body = [
            r#"{"topic":"chat/a","data":1}"#,
            "nonsense",
            "",
            r##"{"topic":"#","data":1}"##,
            r#" {"topic":"live","data":"x","encoding":"text"} "#,
            "  \r",
            r#"[{"topic":"chat/a","data":1}]"#,
            r#"{"topics":["chat/a","$sys/x"],"data":2}"#,
            r#"{"topic":"chat/a","data":3}"#,
        ];
        let answer = api.post(PUBLISH, NDJSON, body.join("\n")).await;
        let lines = answered(&answer);
        assert_eq!(lines.len(), 7, "{}", answer.body);
        assert_eq!(lines[0]["offset"], 1);
        assert_eq!(
            (&lines[1]["code"], &lines[1]["status"]),
            (&json!("bad_request"), &json!(400))
        );
        assert_eq!(lines[2]["code"], "invalid_topic");
        assert_eq!(lines[3], json!({"topic": "live", "subscribers": 0}));
        assert!(lines[4]["detail"].as_str().unwrap().contains("array"));
        let results = &lines[5]["results"];
        assert_eq!(
            (&results[0]["offset"], &results[1]["code"]),
            (&json!(2), &json!("forbidden"))
        );
        assert_eq!(lines[6]["offset"], 3);
        assert_eq!(answered(&api.post(PUBLISH, NDJSON, "").await).len(), 0);
    });
}

#[test]
fn a_line_that_is_too_long_or_no_text_is_answered_by_a_problem() {
    run(usual(), async |api| {
        let mut body = Vec::new();
        for line in [
            &b"{\"topic\":\"chat/a\",\"data\":1}"[..],
            &[b' '; 10_000],
            b"\xff",
            b"{\"topic\":\"chat/a\",\"data\":2}",
            &[b'x'; 5_000],
        ] {
            body.extend_from_slice(line);
            body.push(b'\n');
        }
        body.extend_from_slice(b"{\"topic\":\"chat/a\",\"data\":3}");
        let lines = answered(&api.post(PUBLISH, NDJSON, body).await);
        let told: Vec<_> = lines.iter().map(|line| line["code"].as_str()).collect();
        let (long, bad) = (Some("too_large"), Some("bad_request"));
        assert_eq!(told, [None, long, bad, None, long, None]);
        assert_eq!(lines[5]["offset"], 3);
    });
}

#[test]
fn thousands_of_lines_keep_their_order() {
    run(usual(), async |api| {
        let body: String = (0..5000)
            .map(|n| format!("{{\"topic\":\"chat/{}\",\"data\":{n}}}\n", n % 3))
            .collect();
        let lines = answered(&api.post(PUBLISH, NDJSON, body).await);
        assert_eq!(lines.len(), 5000);
        for (n, line) in lines.iter().enumerate() {
            assert_eq!(line["topic"], format!("chat/{}", n % 3));
            assert_eq!(line["offset"], n / 3 + 1);
        }
    });
}

#[test]
fn lines_are_not_taken_while_draining_or_compressed() {
    run(usual(), async |api| {
        let zipped = local(TestRequest::post().uri(PUBLISH))
            .insert_header(("Content-Type", NDJSON))
            .insert_header(("Content-Encoding", "gzip"));
        api.send(zipped).await.problem(415, "bad_request");
        api.trigger.fire();
        let refused = api.post(PUBLISH, NDJSON, "{}").await;
        refused.problem(503, "unavailable");
    });
}
