//! One call, as the description has it.

use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::problem::Problem;
use crate::auth::Scope;
use crate::protocol::{PROBLEM_TYPE, title};

/// The media type of any bytes.
pub const BYTES: &str = "application/octet-stream";

/// A call: one method of one path.
pub struct Operation {
    /// The path, with its parts in braces.
    pub pattern: &'static str,
    /// The method.
    pub method: &'static str,
    /// What programs made from the description call it.
    pub name: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// Who may.
    pub needs: Needs,
    /// What stands in path, query and headers.
    pub parameters: &'static [Parameter],
    /// What the body may be, by media type; none where there is none.
    pub bodies: &'static [Media],
    /// What is answered where it is done, by media type.
    pub answers: &'static [Media],
    /// The statuses of the problems that it may be answered by, beside those that its needs and
    /// bodies bring.
    pub problems: &'static [u16],
}

/// Who may make a call.
#[derive(Clone, Copy)]
pub enum Needs {
    /// Anyone.
    Nothing,
    /// Who has a key with that scope.
    Key(Scope),
    /// As for [`Needs::Key`], and whoever asks from the broker's machine or at the operators'
    /// address.
    KeyOrPlace(Scope),
}

/// A part of the path, a field of the query, or a header.
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Where it stands: `path`, `query` or `header`.
    pub place: &'static str,
    /// What it means.
    pub description: &'static str,
    /// What it may be.
    pub schema: fn() -> Value,
}

/// A body of some type.
pub struct Media {
    /// The media type.
    pub kind: &'static str,
    /// What it holds.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
}

impl Operation {
    /// As OpenAPI has it.
    pub fn describe(&self, generator: &mut SchemaGenerator) -> Value {
        let mut described = json!({
            "operationId": self.name,
            "summary": self.summary,
            "responses": self.responses(generator),
        });
        let Value::Object(fields) = &mut described else {
            return described;
        };
        if !self.parameters.is_empty() {
            let parameters = self.parameters.iter().map(Parameter::describe);
            fields.insert("parameters".to_owned(), parameters.collect());
        }
        if !self.bodies.is_empty() {
            let content = contents(self.bodies, generator);
            // No bytes are a message of bytes.
            let required = self.bodies.iter().all(|body| body.kind != BYTES);
            let body = json!({"required": required, "content": content});
            fields.insert("requestBody".to_owned(), body);
        }
        let security = match self.needs {
            Needs::Nothing => None,
            Needs::Key(scope) => Some(json!([{"key": [scope.as_str()]}])),
            Needs::KeyOrPlace(scope) => Some(json!([{}, {"key": [scope.as_str()]}])),
        };
        if let Some(security) = security {
            fields.insert("security".to_owned(), security);
        }
        described
    }

    /// The statuses of all problems that it may be answered by.
    pub fn statuses(&self) -> Vec<u16> {
        let mut statuses = vec![500];
        if !matches!(self.needs, Needs::Nothing) {
            // 429: too many wrong keys came from that address.
            statuses.extend([401, 403, 429]);
        }
        if !self.parameters.is_empty() {
            statuses.push(400);
        }
        if !self.bodies.is_empty() {
            statuses.extend([400, 408, 413, 415]);
        }
        statuses.extend(self.problems);
        statuses.sort_unstable();
        statuses.dedup();
        statuses
    }

    fn responses(&self, generator: &mut SchemaGenerator) -> Value {
        let mut responses = Map::new();
        let done = json!({"description": "Done.", "content": contents(self.answers, generator)});
        responses.insert("200".to_owned(), done);
        for status in self.statuses() {
            let schema = generator.subschema_for::<Problem>();
            let response = json!({
                "description": title(status),
                "content": {PROBLEM_TYPE: {"schema": schema}},
                "headers": headers(status),
            });
            responses.insert(status.to_string(), response);
        }
        Value::Object(responses)
    }
}

impl Parameter {
    fn describe(&self) -> Value {
        json!({
            "name": self.name,
            "in": self.place,
            "required": self.place == "path",
            "description": self.description,
            "schema": (self.schema)(),
        })
    }
}

fn contents(media: &[Media], generator: &mut SchemaGenerator) -> Value {
    let content = media.iter().map(|media| {
        let schema = (media.schema)(generator);
        (media.kind.to_owned(), json!({ "schema": schema }))
    });
    Value::Object(content.collect())
}

/// What comes with a problem of that status.
fn headers(status: u16) -> Value {
    match status {
        401 => json!({
            "WWW-Authenticate": {"required": true, "schema": {"type": "string", "const": "Bearer"}},
        }),
        429 | 503 => json!({
            "Retry-After": {
                // Waiting does not help who has as many of something as there may be.
                "required": status == 503,
                "description": "Seconds to wait.",
                "schema": {"type": "integer", "minimum": 1},
            },
        }),
        _ => json!({}),
    }
}
