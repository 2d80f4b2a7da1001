//! Problems, as the description has them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::protocol::ErrorCode;

/// Stands for [`protocol::Problem`](crate::protocol::Problem).
pub struct Problem;

impl JsonSchema for Problem {
    fn schema_name() -> Cow<'static, str> {
        "Problem".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Why something was not done: RFC 9457.",
            "type": "object",
            "required": ["type", "title", "status", "detail", "code"],
            "properties": {
                "type": {"const": "about:blank"},
                "title": {"type": "string", "description": "The status in words."},
                "status": {"type": "integer", "minimum": 400, "maximum": 599},
                "detail": {
                    "type": "string",
                    "description": "A sentence that says what is wrong and what would do.",
                },
                "code": {"enum": ErrorCode::ALL.map(ErrorCode::as_str), "description": "For programs."},
                "retry_after_ms": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "How long to wait, where waiting helps.",
                },
            },
            "additionalProperties": false,
        })
    }
}
