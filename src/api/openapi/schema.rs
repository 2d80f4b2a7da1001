//! What requests hold, as the description has it.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::operation::{BYTES, Media, Parameter};

/// A media type whose bodies are JSON.
pub const JSON: &str = "application/json";

/// A topic's name, in a path.
pub const TOPIC: Parameter = Parameter {
    name: "topic",
    place: "path",
    description: "The topic. Its slashes may stand as they are or as %2F; a last segment \
        'messages' or 'presence' is the verb. At most 255 bytes of UTF-8.",
    schema: topic,
};

/// Where a page goes on.
pub const AFTER: Parameter = Parameter {
    name: "after",
    place: "query",
    description: "The 'next' of the page before.",
    schema: || json!({"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}),
};

/// A name by which a message is published once only.
pub const IDEMPOTENCY_KEY: Parameter = Parameter {
    name: "Idempotency-Key",
    place: "header",
    description: "Within api.idempotency_window the same key for the same topic is answered as \
        the first time, and publishes nothing new.",
    schema: idempotency_key,
};

/// A topic's name.
pub fn topic() -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": 255,
        // Neither wildcards nor control characters.
        "pattern": "^[^+#\\u0000-\\u001f\\u007f-\\u009f]+$",
    })
}

/// A topic filter.
pub fn filter() -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": 255,
        "pattern": "^(([^+#/\\u0000-\\u001f\\u007f-\\u009f]*|\\+)/)*\
            ([^+#/\\u0000-\\u001f\\u007f-\\u009f]*|\\+|#)$",
    })
}

fn idempotency_key() -> Value {
    json!({"type": "string", "pattern": "^[!-~]{1,255}$"})
}

/// An integer in those bounds.
pub fn integer(least: u64, most: u64) -> Value {
    json!({"type": "integer", "minimum": least, "maximum": most})
}

/// What `POST /v1/publish` takes for one message.
pub fn envelope(_: &mut SchemaGenerator) -> Schema {
    let fields = |name: &str, topics: &Value| {
        json!({
            "type": "object",
            "required": [name, "data"],
            "properties": {
                name: topics,
                "data": {"description": "The message: any JSON value."},
                "encoding": {
                    "enum": ["base64", "text"],
                    "description": "data is a string: the bytes of a binary message in base64, \
                        or a text message.",
                },
                "retain": {"type": "boolean"},
                "key": {"type": "string", "description": "The conflation key."},
                "idempotency_key": idempotency_key(),
            },
        })
    };
    let several = json!({
        "type": "array",
        "minItems": 1,
        "items": {"type": "string"},
        "description": "Topics; a name that is none is answered by a problem in its place.",
    });
    json_schema!({
        "oneOf": [
            fields("topic", &topic()),
            fields("topics", &several),
        ],
        // An encoding makes data a string.
        "if": {"required": ["encoding"]},
        "then": {"properties": {"data": {"type": "string"}}},
    })
}

/// A message as histories have it.
pub fn message() -> Value {
    json!({
        "type": "object",
        "required": ["type", "topic", "data", "time", "epoch", "offset"],
        "properties": {
            "type": {"const": "message"},
            "topic": topic(),
            "data": {"description": "The message: a string where there is an encoding."},
            "encoding": {"enum": ["base64", "text"]},
            "time": {"type": "integer", "minimum": 0, "description": "Milliseconds since 1970."},
            "epoch": {"type": "string", "maxLength": 8},
            "offset": {"type": "integer", "minimum": 1},
            "user": {"type": "string"},
            "key": {"type": "string"},
        },
        "additionalProperties": false,
    })
}

/// Any JSON value.
pub fn anything(_: &mut SchemaGenerator) -> Schema {
    Schema::from(true)
}

/// Text.
pub fn text(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string"})
}

/// The bodies of one message: what they are says of which kind it is.
pub const MESSAGE: &[Media] = &[
    json_of(anything),
    Media {
        kind: "text/plain",
        schema: text,
    },
    Media {
        kind: BYTES,
        schema: anything,
    },
];

/// JSON of that schema.
pub const fn json_of(schema: fn(&mut SchemaGenerator) -> Schema) -> Media {
    Media { kind: JSON, schema }
}
