//! What publishers are told.

use schemars::JsonSchema;
use serde::Serialize;

use crate::api::{Problem, openapi};
use crate::broker::Receipt;
use crate::model::TopicName;
use crate::protocol::{self, Refusal};

/// A message was published.
#[derive(Serialize, JsonSchema)]
pub struct Published {
    /// The topic.
    topic: String,
    /// This life of the topic's history, where it keeps one.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
    /// The message's place in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    /// Subscriptions that matched at that moment.
    subscribers: u64,
}

/// What came of one item.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Outcome {
    /// Its message was published.
    Published(Published),
    /// It was not.
    #[schemars(with = "openapi::Problem")]
    Problem(protocol::Problem),
    /// It went to several topics.
    Several {
        /// What came of each, in their order.
        results: Vec<Outcome>,
    },
}

impl Published {
    /// What the topic's home says.
    pub fn new(topic: &TopicName, receipt: &Receipt) -> Self {
        Self {
            topic: topic.as_str().to_owned(),
            epoch: receipt.position.map(|at| at.epoch.to_string()),
            offset: receipt.position.map(|at| at.offset),
            subscribers: receipt.subscribers,
        }
    }
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        Problem::from(refusal).into()
    }
}

impl From<Problem> for Outcome {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem.body())
    }
}

impl From<Result<Published, Refusal>> for Outcome {
    fn from(result: Result<Published, Refusal>) -> Self {
        result.map_or_else(Self::from, Self::Published)
    }
}
