//! The API's description: OpenAPI 3.1, made of the table by which requests are let through.
//!
//! [`allow`] knows the methods of a path from [`OPERATIONS`] and from nowhere else, so a call that
//! is not described is not served. What is answered is described by the types that are written.

mod node;
mod operation;
mod problem;
mod publishing;
mod schema;
mod sessions;
mod topics;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use actix_web::HttpResponse;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use self::operation::Operation;
use super::serve::json_text;
use super::{ApiState, Problem as ApiProblem};
use crate::config::Config;

pub(super) use problem::Problem;

/// Every call there is.
pub(super) const OPERATIONS: &[&[Operation]] = &[
    publishing::OPERATIONS,
    topics::OPERATIONS,
    sessions::OPERATIONS,
    node::OPERATIONS,
];

/// The path that stands for wherever the configuration puts the metrics.
const METRICS: &str = "/metrics";

/// `GET /openapi.json`.
#[allow(clippy::unnecessary_wraps, reason = "a call like the others")]
pub(super) fn get(state: &ApiState) -> Result<HttpResponse, ApiProblem> {
    Ok(json_text(state.openapi.to_string()))
}

/// The methods of the path with that pattern, as the header `Allow` has them; none where nothing is
/// described.
pub(super) fn allow(pattern: &str) -> Option<&'static str> {
    static ALLOWED: LazyLock<BTreeMap<&'static str, String>> = LazyLock::new(|| {
        let mut allowed = BTreeMap::<_, Vec<&str>>::new();
        for operation in OPERATIONS.iter().copied().flatten() {
            let methods = allowed.entry(operation.pattern).or_default();
            methods.push(operation.method);
            if operation.method == "GET" {
                methods.push("HEAD");
            }
        }
        allowed
            .into_iter()
            .map(|(pattern, mut methods)| {
                methods.sort_unstable();
                (pattern, methods.join(", "))
            })
            .collect()
    });
    ALLOWED.get(pattern).map(String::as_str)
}

/// The description of the API of a broker with that configuration.
pub(super) fn document(config: &Config) -> String {
    let settings = SchemaSettings::draft2020_12()
        .for_serialize()
        .with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for operation in OPERATIONS.iter().copied().flatten() {
        let path = match operation.pattern {
            METRICS => config.metrics.path.as_str(),
            pattern => pattern,
        };
        let described = operation.describe(&mut generator);
        let methods = paths
            .entry(path)
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(methods) = methods {
            methods.insert(operation.method.to_ascii_lowercase(), described);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Fanfare HTTP API",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Publish, look at topics and sessions, watch the broker.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas(&mut generator),
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, as [[api.key]] names it. While none is configured, \
                        requests of the broker's own machine need none.",
                },
            },
        },
    })
    .to_string()
}

fn schemas(generator: &mut SchemaGenerator) -> Map<String, Value> {
    generator.subschema_for::<Problem>();
    generator.take_definitions(true)
}
