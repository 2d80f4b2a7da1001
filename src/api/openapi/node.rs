//! The calls about the node itself.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::METRICS;
use super::operation::{Media, Needs, Operation};
use super::schema::{json_of, text};
use crate::api::node::Stats;
use crate::auth::Scope;
use crate::metrics::Metrics;

pub const OPERATIONS: &[Operation] = &[
    Operation {
        pattern: "/v1/stats",
        method: "GET",
        name: "getStats",
        summary: "The node in numbers.",
        needs: Needs::Key(Scope::Read),
        parameters: &[],
        bodies: &[],
        answers: &[json_of(SchemaGenerator::subschema_for::<Stats>)],
        problems: &[],
    },
    Operation {
        pattern: METRICS,
        method: "GET",
        name: "getMetrics",
        summary: "The metrics, for Prometheus.",
        needs: Needs::KeyOrPlace(Scope::Read),
        parameters: &[],
        bodies: &[],
        answers: &[Media {
            kind: Metrics::CONTENT_TYPE,
            schema: text,
        }],
        problems: &[],
    },
    Operation {
        pattern: "/healthz",
        method: "GET",
        name: "getHealth",
        summary: "Whether the process can answer.",
        needs: Needs::Nothing,
        parameters: &[],
        bodies: &[],
        answers: &[json_of(|_| status("alive"))],
        problems: &[],
    },
    Operation {
        pattern: "/readyz",
        method: "GET",
        name: "getReadiness",
        summary: "Whether the broker takes sessions and messages.",
        needs: Needs::Nothing,
        parameters: &[],
        bodies: &[],
        answers: &[json_of(|_| status("ready"))],
        problems: &[503],
    },
    Operation {
        pattern: "/openapi.json",
        method: "GET",
        name: "getDescription",
        summary: "This description.",
        needs: Needs::Nothing,
        parameters: &[],
        bodies: &[],
        answers: &[json_of(description)],
        problems: &[],
    },
];

fn status(is: &str) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["status"],
        "properties": {"status": {"const": is}},
        "additionalProperties": false,
    })
}

fn description(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["openapi", "info", "paths", "components"],
    })
}
