//! The calls that publish.

use schemars::{SchemaGenerator, json_schema};

use super::operation::{Media, Needs, Operation, Parameter};
use super::schema::{IDEMPOTENCY_KEY, JSON, MESSAGE, TOPIC, anything, envelope, json_of, text};
use crate::api::publish::{NDJSON, Outcome, Published};
use crate::auth::Scope;

/// What publishing may be answered beside what its body may: not twice, too many topics, no more.
const REFUSED: &[u16] = &[409, 429, 503];

pub const OPERATIONS: &[Operation] = &[
    Operation {
        pattern: "/v1/topics/{topic}/messages",
        method: "POST",
        name: "publishMessage",
        summary: "Publishes the body as one message, of the kind that its Content-Type says.",
        needs: Needs::Key(Scope::Publish),
        parameters: &[
            TOPIC,
            Parameter {
                name: "key",
                place: "query",
                description: "The conflation key.",
                schema: || serde_json::json!({"type": "string"}),
            },
            Parameter {
                name: "retain",
                place: "query",
                description: "Whether the topic keeps it for who comes later.",
                schema: || serde_json::json!({"type": "boolean"}),
            },
            IDEMPOTENCY_KEY,
        ],
        bodies: MESSAGE,
        answers: &[json_of(SchemaGenerator::subschema_for::<Published>)],
        problems: REFUSED,
    },
    Operation {
        pattern: "/v1/publish",
        method: "POST",
        name: "publish",
        summary: "Publishes a message, one to several topics, an array of them, or a line each.",
        needs: Needs::Key(Scope::Publish),
        parameters: &[IDEMPOTENCY_KEY],
        bodies: &[
            Media {
                kind: JSON,
                schema: |generator| {
                    let one = envelope(generator);
                    json_schema!({
                        "anyOf": [one, {
                            "type": "array",
                            "description": "Such objects, at most limits.batch messages; what is \
                                none is answered by a problem in its place.",
                        }],
                    })
                },
            },
            Media {
                kind: NDJSON,
                // Lines of any kind: each has an answer of its own.
                schema: anything,
            },
        ],
        answers: &[
            json_of(|generator| {
                let one = generator.subschema_for::<Outcome>();
                json_schema!({"anyOf": [one, {"type": "array", "items": one}]})
            }),
            Media {
                kind: NDJSON,
                schema: text,
            },
        ],
        problems: REFUSED,
    },
];
