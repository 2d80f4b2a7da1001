//! `GET /v1/topics`: the topics there are, page by page.

use actix_web::{HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::Serialize;

use super::Problem;
use super::serve::{Call, json};
use crate::auth::{Grant, Scope};
use crate::broker::{Broker, TopicView};
use crate::model::Filter;
use crate::protocol::Refusal;

/// Topics of a page, where the request does not say.
const USUAL: u64 = 100;
/// Topics of a page at most.
pub(super) const MOST: u64 = 1000;

/// A topic as lists have it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ListedTopic")]
pub(super) struct Listed {
    /// Its name.
    topic: String,
    /// Sessions that subscribed to its very name.
    subscribers: u64,
    /// Messages that its history holds.
    messages: u64,
    /// This life of its history, where it keeps one.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
    /// The newest message's place in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    /// Whether it has a retained message; left out where it has none.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    retained: bool,
}

/// A page of topics.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TopicList")]
pub(super) struct List {
    /// In the order of their names.
    topics: Vec<Listed>,
    /// What 'after' of the next page is; null on the last.
    next: Option<String>,
}

/// Some of the topics, in the order of their names.
struct TopicPage {
    topics: Vec<TopicView>,
    /// The name after which the next page starts.
    next: Option<String>,
}

pub(super) async fn get(call: &Call<'_>) -> Result<HttpResponse, Problem> {
    let caller = call.admit(Scope::Read)?;
    let query = call.query()?;
    let filter = query
        .get("filter")?
        .map(Filter::new)
        .transpose()
        .map_err(|error| Refusal::invalid_topic("filter", &error))?;
    let limit = query.number_from("limit", 1, MOST)?;
    let limit = limit.unwrap_or(USUAL) as usize;
    let after = query.get("after")?.map(read_cursor).transpose()?;
    let broker = call.state.broker.clone();
    // It looks at every topic, of which there may be many.
    let looked = web::block(move || {
        page(
            &broker,
            &caller.access.subscribe,
            filter.as_ref(),
            after.as_deref(),
            limit,
        )
    });
    let page = looked.await.map_err(|_| Problem::internal())?;
    json(&List {
        topics: page.topics.into_iter().map(Listed::from).collect(),
        next: page.next.map(|name| URL_SAFE_NO_PAD.encode(name)),
    })
}

fn read_cursor(cursor: &str) -> Result<String, Problem> {
    let name = URL_SAFE_NO_PAD.decode(cursor).ok();
    name.and_then(|name| String::from_utf8(name).ok())
        .filter(|name| !name.is_empty())
        .ok_or_else(|| Problem::bad_request("'after' must be the 'next' of the page before"))
}

/// The topics after `after` that the grant allows and the filter matches.
///
/// Each granted filter is looked through as far as one page goes. Where that is not the end, the
/// answer goes no further than that either, so that no page leaves anything out; it may be shorter
/// than its limit then, and not the last.
fn page(
    broker: &Broker,
    grant: &Grant,
    filter: Option<&Filter>,
    after: Option<&str>,
    limit: usize,
) -> TopicPage {
    let sources: Vec<Option<&Filter>> = match grant {
        Grant::All => vec![filter],
        Grant::Filters(granted) => granted
            .iter()
            .map(|grant| {
                Some(
                    filter
                        .filter(|asked| grant.contains(asked))
                        .unwrap_or(grant),
                )
            })
            .collect(),
        Grant::None => Vec::new(),
    };
    let mut found = Vec::new();
    let mut end: Option<String> = None;
    for source in sources {
        let topics = broker.topics(source, after, limit + 1);
        if let Some(last) = topics.get(limit) {
            let last = last.topic.as_str();
            if end.as_deref().is_none_or(|end| last < end) {
                end = Some(last.to_owned());
            }
        }
        found.extend(topics.into_iter().filter(|view| {
            grant.allows_topic(&view.topic) && filter.is_none_or(|f| f.matches(&view.topic))
        }));
    }
    found.sort_by(|one, other| one.topic.cmp(&other.topic));
    found.dedup_by(|one, other| one.topic == other.topic);
    if let Some(end) = end.as_deref() {
        found.retain(|view| view.topic.as_str() <= end);
    }
    let next = if found.len() > limit {
        found.truncate(limit);
        found.last().map(|view| view.topic.as_str().to_owned())
    } else {
        end
    };
    TopicPage {
        topics: found,
        next,
    }
}

impl From<TopicView> for Listed {
    fn from(view: TopicView) -> Self {
        Self {
            topic: view.topic.as_str().to_owned(),
            subscribers: view.subscribers,
            messages: view.messages,
            epoch: view.position.map(|(epoch, _)| epoch.to_string()),
            offset: view.position.map(|(_, offset)| offset),
            retained: view.retained,
        }
    }
}
