//! The calls about sessions and users.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::operation::{Media, Needs, Operation, Parameter};
use super::schema::{AFTER, MESSAGE, filter, integer, json_of};
use crate::api::sessions::{List, MOST, Outcome, Outcomes, Reached, Shown};
use crate::auth::Scope;
use crate::model::Overflow;

const SESSION: Parameter = Parameter {
    name: "session",
    place: "path",
    description: "The session's name.",
    schema: || json!({"type": "string", "minLength": 1}),
};

const USER: Parameter = Parameter {
    name: "user",
    place: "path",
    description: "The user, slashes as %2F.",
    schema: || json!({"type": "string", "minLength": 1}),
};

const CODE: Parameter = Parameter {
    name: "code",
    place: "query",
    description: "The close code: for good (4500, 4700-4899), or to connect again.",
    schema: code,
};

const REASON: Parameter = Parameter {
    name: "reason",
    place: "query",
    description: "What the client is told; at most 123 bytes.",
    schema: || json!({"type": "string", "maxLength": 123}),
};

const ENDED: Parameter = Parameter {
    name: "topic",
    place: "query",
    description: "The subscription, by the text it was made with; all of them where it is missing.",
    schema: filter,
};

const REACHED: &[Media] = &[json_of(SchemaGenerator::subschema_for::<Reached>)];
const OUTCOME: &[Media] = &[json_of(SchemaGenerator::subschema_for::<Outcome>)];
const OUTCOMES: &[Media] = &[json_of(SchemaGenerator::subschema_for::<Outcomes>)];
const SUBSCRIPTION: &[Media] = &[json_of(subscription)];

pub const OPERATIONS: &[Operation] = &[
    Operation {
        pattern: "/v1/sessions",
        method: "GET",
        name: "listSessions",
        summary: "Sessions, in the order of their names.",
        needs: Needs::Key(Scope::Admin),
        parameters: &[
            Parameter {
                name: "user",
                place: "query",
                description: "Only those of that user.",
                schema: || json!({"type": "string"}),
            },
            Parameter {
                name: "topic",
                place: "query",
                description: "Only those that get what is published to that topic; for a filter, \
                    those that subscribed to it.",
                schema: filter,
            },
            Parameter {
                name: "limit",
                place: "query",
                description: "Sessions of a page at most.",
                schema: || integer(1, MOST),
            },
            AFTER,
        ],
        bodies: &[],
        answers: &[json_of(SchemaGenerator::subschema_for::<List>)],
        problems: &[],
    },
    Operation {
        pattern: "/v1/sessions/{session}",
        method: "GET",
        name: "getSession",
        summary: "One session.",
        needs: Needs::Key(Scope::Admin),
        parameters: &[SESSION],
        bodies: &[],
        answers: &[json_of(SchemaGenerator::subschema_for::<Shown>)],
        problems: &[404],
    },
    Operation {
        pattern: "/v1/sessions/{session}",
        method: "DELETE",
        name: "disconnectSession",
        summary: "Disconnects a session.",
        needs: Needs::Key(Scope::Admin),
        parameters: &[SESSION, CODE, REASON],
        bodies: &[],
        answers: REACHED,
        problems: &[404],
    },
    Operation {
        pattern: "/v1/users/{user}",
        method: "DELETE",
        name: "disconnectUser",
        summary: "Disconnects all sessions of a user.",
        needs: Needs::Key(Scope::Admin),
        parameters: &[USER, CODE, REASON],
        bodies: &[],
        answers: REACHED,
        problems: &[404],
    },
    to_sessions(
        "/v1/sessions/{session}/messages",
        "sendToSession",
        "Sends the body to a session, outside any topic.",
        &[SESSION],
        &[404, 503],
    ),
    to_sessions(
        "/v1/users/{user}/messages",
        "sendToUser",
        "Sends the body to all sessions of a user, outside any topic.",
        &[USER],
        &[404, 503],
    ),
    to_sessions(
        "/v1/broadcast",
        "broadcast",
        "Sends the body to every session, outside any topic.",
        &[],
        &[503],
    ),
    Operation {
        pattern: "/v1/sessions/{session}/subscriptions",
        method: "POST",
        name: "subscribeSession",
        summary: "Subscribes a session.",
        needs: Needs::Key(Scope::Admin),
        parameters: &[SESSION],
        bodies: SUBSCRIPTION,
        answers: OUTCOME,
        problems: &[404, 409, 429, 503],
    },
    Operation {
        pattern: "/v1/sessions/{session}/subscriptions",
        method: "DELETE",
        name: "unsubscribeSession",
        summary: "Ends one subscription of a session, or all.",
        needs: Needs::Key(Scope::Admin),
        parameters: &[SESSION, ENDED],
        bodies: &[],
        answers: OUTCOME,
        problems: &[404, 503],
    },
    Operation {
        pattern: "/v1/users/{user}/subscriptions",
        method: "POST",
        name: "subscribeUser",
        summary: "Subscribes all sessions of a user.",
        needs: Needs::Key(Scope::Admin),
        parameters: &[USER],
        bodies: SUBSCRIPTION,
        answers: OUTCOMES,
        problems: &[404, 503],
    },
    Operation {
        pattern: "/v1/users/{user}/subscriptions",
        method: "DELETE",
        name: "unsubscribeUser",
        summary: "Ends one subscription of all sessions of a user, or all.",
        needs: Needs::Key(Scope::Admin),
        parameters: &[USER, ENDED],
        bodies: &[],
        answers: OUTCOMES,
        problems: &[404, 503],
    },
];

/// A call that sends a message outside any topic.
const fn to_sessions(
    pattern: &'static str,
    name: &'static str,
    summary: &'static str,
    parameters: &'static [Parameter],
    problems: &'static [u16],
) -> Operation {
    Operation {
        pattern,
        method: "POST",
        name,
        summary,
        needs: Needs::Key(Scope::Admin),
        parameters,
        bodies: MESSAGE,
        answers: REACHED,
        problems,
    }
}

/// The codes that applications may end sessions with.
fn code() -> Value {
    json!({
        "type": "integer",
        "anyOf": [
            {"const": 4100},
            {"const": 4500},
            {"minimum": 4200, "maximum": 4399},
            {"minimum": 4700, "maximum": 4899},
        ],
    })
}

/// The fields of a `subscribe` frame.
fn subscription(_: &mut SchemaGenerator) -> Schema {
    let position = json!({
        "type": "object",
        "required": ["epoch", "offset"],
        "properties": {
            "epoch": {"type": "string"},
            "offset": integer(0, u64::MAX),
        },
    });
    json_schema!({
        "type": "object",
        "required": ["topic"],
        "properties": {
            "topic": filter(),
            "last": {
                "type": "integer",
                "minimum": 0,
                "description": "Replay at most so many messages.",
            },
            "since": {
                "description": "Recover what came after: a position for a name, for a filter the \
                    positions of its topics and the time since when all else is missing.",
                "anyOf": [position, {
                    "type": "object",
                    "properties": {
                        "positions": {"type": "object", "additionalProperties": position},
                        "from": integer(0, u64::MAX),
                    },
                }],
            },
            "echo": {
                "type": "boolean",
                "description": "Whether it gets what it publishes itself.",
            },
            "overflow": {
                "enum": Overflow::NAMES.iter().map(|(name, _)| name).collect::<Vec<_>>(),
                "description": "What becomes of messages that it does not take in time: one that \
                    the topic's rule allows.",
            },
            "min_interval_ms": {
                "type": "integer",
                "minimum": 0,
                "maximum": 86_400_000,
                "description": "With 'conflate': at most one message of a key in that time.",
            },
        },
    })
}
