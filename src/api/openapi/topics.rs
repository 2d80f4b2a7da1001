//! The calls that look at topics.

use schemars::{SchemaGenerator, json_schema};
use serde_json::json;

use super::operation::{Needs, Operation, Parameter};
use super::schema::{AFTER, TOPIC, filter, integer, json_of, message};
use crate::api::history::{self, Removed};
use crate::api::listing::{self, List};
use crate::api::topic::{Described, Present};
use crate::auth::Scope;

pub const OPERATIONS: &[Operation] = &[
    Operation {
        pattern: "/v1/topics",
        method: "GET",
        name: "listTopics",
        summary: "The topics that have sessions, history or a retained message, by name.",
        needs: Needs::Key(Scope::Read),
        parameters: &[
            Parameter {
                name: "filter",
                place: "query",
                description: "Only topics that this filter matches.",
                schema: filter,
            },
            Parameter {
                name: "limit",
                place: "query",
                description: "Topics of a page at most.",
                schema: || integer(1, listing::MOST),
            },
            AFTER,
        ],
        bodies: &[],
        answers: &[json_of(SchemaGenerator::subschema_for::<List>)],
        problems: &[],
    },
    Operation {
        pattern: "/v1/topics/{topic}",
        method: "GET",
        name: "getTopic",
        summary: "One topic, with the rule that applies to it.",
        needs: Needs::Key(Scope::Read),
        parameters: &[TOPIC],
        bodies: &[],
        answers: &[json_of(SchemaGenerator::subschema_for::<Described>)],
        problems: &[404],
    },
    Operation {
        pattern: "/v1/topics/{topic}/messages",
        method: "GET",
        name: "getHistory",
        summary: "The messages that the topic keeps, oldest first.",
        needs: Needs::Key(Scope::Read),
        parameters: &[
            TOPIC,
            Parameter {
                name: "last",
                place: "query",
                description: "Only the newest so many.",
                schema: || integer(0, u64::MAX),
            },
            Parameter {
                name: "since_epoch",
                place: "query",
                description: "Only what came after this position; goes with 'since_offset'.",
                schema: || json!({"type": "string"}),
            },
            Parameter {
                name: "since_offset",
                place: "query",
                description: "Only what came after this position; goes with 'since_epoch'.",
                schema: || integer(0, u64::MAX),
            },
            Parameter {
                name: "limit",
                place: "query",
                description: "Messages of an answer at most.",
                schema: || integer(0, history::MOST),
            },
        ],
        bodies: &[],
        answers: &[json_of(|_| {
            json_schema!({
                "type": "object",
                "required": ["epoch", "offset", "messages"],
                "properties": {
                    "epoch": {"type": "string", "maxLength": 8},
                    "offset": {
                        "type": "integer",
                        "minimum": 0,
                        "description": "That of the newest message, which is there or was.",
                    },
                    "messages": {"type": "array", "items": message()},
                },
                "additionalProperties": false,
            })
        })],
        problems: &[409, 503],
    },
    Operation {
        pattern: "/v1/topics/{topic}/messages",
        method: "DELETE",
        name: "removeMessages",
        summary: "Removes the history and the retained message, and begins another epoch.",
        needs: Needs::Key(Scope::Admin),
        parameters: &[TOPIC],
        bodies: &[],
        answers: &[json_of(SchemaGenerator::subschema_for::<Removed>)],
        problems: &[404, 503],
    },
    Operation {
        pattern: "/v1/topics/{topic}/presence",
        method: "GET",
        name: "getPresence",
        summary: "Who is in the topic, the earliest first.",
        needs: Needs::Key(Scope::Read),
        parameters: &[TOPIC],
        bodies: &[],
        answers: &[json_of(SchemaGenerator::subschema_for::<Present>)],
        problems: &[409, 503],
    },
];
