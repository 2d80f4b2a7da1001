//! What a frame of the broker's says, less the message it may carry.

use serde::Deserialize;
use serde_json::Value;

use super::lines::escape;

/// The fields that a command looks at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) id: Option<u64>,
    pub(super) topic: Option<String>,
    pub(super) epoch: Option<String>,
    pub(super) offset: Option<u64>,
    pub(super) time: Option<u64>,
    pub(super) replay: bool,
    pub(super) retain: bool,
    pub(super) recovered: Option<bool>,
    pub(super) replayed: Option<u64>,
    pub(super) gaps: Vec<String>,
    pub(super) count: Option<u64>,
    pub(super) reason: Option<String>,
    pub(super) reconnect: bool,
    pub(super) after_ms: Option<u64>,
    pub(super) retry_after_ms: Option<u64>,
    pub(super) heartbeat: Option<f64>,
    pub(super) max_message_bytes: Option<usize>,
    /// A word in an error, a number in `closing`.
    code: Option<Value>,
    message: Option<String>,
}

impl Event {
    /// An error's code.
    pub(super) fn code(&self) -> &str {
        self.code.as_ref().and_then(Value::as_str).unwrap_or("?")
    }

    /// An error's code and sentence.
    pub(super) fn complaint(&self) -> String {
        let message = self.message.as_deref().unwrap_or_default();
        escape(&format!("{}: {message}", self.code())).into_owned()
    }
}
