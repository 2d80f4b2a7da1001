//! The calls that deal with sessions and users.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::operation::{Media, Needs, Operation, Parameter};
use super::schema::{AFTER, anything, filter, integer, json_of, text, topic};
use crate::api::sessions::{self, List, Outcome, Outcomes, Reached, Shown};
use crate::auth::Scope;

const ADMIN: Needs = Needs::Key(Scope::Admin);

const SESSION: Parameter = Parameter {
    name: "session",
    place: "path",
    description: "The session's name, as its welcome has it.",
    schema: || json!({"type": "string", "pattern": "^[0-9a-f]{16}$"}),
};

const USER: Parameter = Parameter {
    name: "user",
    place: "path",
    description: "The user, its slashes as %2F.",
    schema: || json!({"type": "string", "minLength": 1}),
};

const CODE: Parameter = Parameter {
    name: "code",
    place: "query",
    description: "The close code: 4500 for good, 4100 to connect again, or the application's own. \
        4500 where it is not given.",
    schema: code,
};

const REASON: Parameter = Parameter {
    name: "reason",
    place: "query",
    description: "A few words for the close frame: at most 123 bytes of UTF-8.",
    schema: || json!({"type": "string", "maxLength": 123}),
};

const SUBSCRIPTION: Parameter = Parameter {
    name: "topic",
    place: "query",
    description: "Only the subscription to this very name or filter.",
    schema: filter,
};

/// The body as a message, of the kind that its Content-Type says.
const MESSAGE: &[Media] = &[
    json_of(anything),
    Media {
        kind: "text/plain",
        schema: text,
    },
    Media {
        kind: "application/octet-stream",
        schema: anything,
    },
];

const REACHED: &[Media] = &[json_of(SchemaGenerator::subschema_for::<Reached>)];
const OUTCOME: &[Media] = &[json_of(SchemaGenerator::subschema_for::<Outcome>)];
const OUTCOMES: &[Media] = &[json_of(SchemaGenerator::subschema_for::<Outcomes>)];

pub const OPERATIONS: &[Operation] = &[
    Operation {
        pattern: "/v1/sessions",
        method: "GET",
        name: "listSessions",
        summary: "The sessions that are open, by name; those of a user, or in a topic.",
        needs: ADMIN,
        parameters: &[
            Parameter {
                name: "user",
                place: "query",
                description: "Only sessions of this user.",
                schema: || json!({"type": "string"}),
            },
            Parameter {
                name: "topic",
                place: "query",
                description: "For a name: only sessions that get what is published there. For a \
                    filter: only those that subscribed to that very text.",
                schema: filter,
            },
            Parameter {
                name: "limit",
                place: "query",
                description: "Sessions of a page at most.",
                schema: || integer(1, sessions::MOST),
            },
            Parameter {
                schema: || json!({"type": "string", "pattern": "^[0-9a-f]{16}$"}),
                ..AFTER
            },
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
        needs: ADMIN,
        parameters: &[SESSION],
        bodies: &[],
        answers: &[json_of(SchemaGenerator::subschema_for::<Shown>)],
        problems: &[404],
    },
    Operation {
        pattern: "/v1/sessions/{session}",
        method: "DELETE",
        name: "disconnectSession",
        summary: "Ends a session, with a close code and a reason.",
        needs: ADMIN,
        parameters: &[SESSION, CODE, REASON],
        bodies: &[],
        answers: REACHED,
        problems: &[404],
    },
    Operation {
        pattern: "/v1/users/{user}",
        method: "DELETE",
        name: "disconnectUser",
        summary: "Ends all sessions of a user, with a close code and a reason.",
        needs: ADMIN,
        parameters: &[USER, CODE, REASON],
        bodies: &[],
        answers: REACHED,
        problems: &[404],
    },
    Operation {
        pattern: "/v1/sessions/{session}/messages",
        method: "POST",
        name: "sendToSession",
        summary: "Sends the body as one message to a session, outside any topic.",
        needs: ADMIN,
        parameters: &[SESSION],
        bodies: MESSAGE,
        answers: REACHED,
        problems: &[404, 503],
    },
    Operation {
        pattern: "/v1/users/{user}/messages",
        method: "POST",
        name: "sendToUser",
        summary: "Sends the body as one message to all sessions of a user, outside any topic.",
        needs: ADMIN,
        parameters: &[USER],
        bodies: MESSAGE,
        answers: REACHED,
        problems: &[404, 503],
    },
    Operation {
        pattern: "/v1/broadcast",
        method: "POST",
        name: "broadcast",
        summary: "Sends the body as one message to every session, outside any topic.",
        needs: ADMIN,
        parameters: &[],
        bodies: MESSAGE,
        answers: REACHED,
        problems: &[503],
    },
    Operation {
        pattern: "/v1/sessions/{session}/subscriptions",
        method: "POST",
        name: "subscribeSession",
        summary: "Subscribes a session, whatever it is granted; answered once that stands.",
        needs: ADMIN,
        parameters: &[SESSION],
        bodies: &[json_of(subscription)],
        answers: OUTCOME,
        problems: &[404, 409, 429, 503],
    },
    Operation {
        pattern: "/v1/sessions/{session}/subscriptions",
        method: "DELETE",
        name: "unsubscribeSession",
        summary: "Ends a subscription of a session, or all.",
        needs: ADMIN,
        parameters: &[SESSION, SUBSCRIPTION],
        bodies: &[],
        answers: OUTCOME,
        problems: &[404],
    },
    Operation {
        pattern: "/v1/users/{user}/subscriptions",
        method: "POST",
        name: "subscribeUser",
        summary: "Subscribes all sessions of a user, each with its own outcome.",
        needs: ADMIN,
        parameters: &[USER],
        bodies: &[json_of(subscription)],
        answers: OUTCOMES,
        problems: &[404],
    },
    Operation {
        pattern: "/v1/users/{user}/subscriptions",
        method: "DELETE",
        name: "unsubscribeUser",
        summary: "Ends a subscription of all sessions of a user, or all of theirs.",
        needs: ADMIN,
        parameters: &[USER, SUBSCRIPTION],
        bodies: &[],
        answers: OUTCOMES,
        problems: &[404],
    },
];

fn code() -> Value {
    json!({
        "type": "integer",
        "anyOf": [
            {"enum": [4100, 4500]},
            {"minimum": 4200, "maximum": 4399},
            {"minimum": 4700, "maximum": 4899},
        ],
    })
}

/// The fields of a `subscribe` frame.
fn subscription(_: &mut SchemaGenerator) -> Schema {
    let count = || json!({"type": "integer", "minimum": 0});
    let position = json!({
        "type": "object",
        "required": ["epoch", "offset"],
        "properties": {"epoch": {"type": "string"}, "offset": count()},
    });
    let of_name = json!({"properties": {"topic": topic(), "since": position}});
    let of_filter = json!({
        "properties": {
            "topic": {"type": "string", "pattern": "[+#]"},
            "since": {
                "type": "object",
                "minProperties": 1,
                "properties": {
                    "positions": {"type": "object", "additionalProperties": position},
                    "from": count(),
                },
                "additionalProperties": false,
            },
        },
    });
    json_schema!({
        "type": "object",
        "required": ["topic"],
        "properties": {
            "topic": filter(),
            "last": count(),
            "echo": {"type": "boolean"},
            "since": {"description": "Where to go on, as in a subscribe frame."},
        },
        "oneOf": [of_name, of_filter],
    })
}
