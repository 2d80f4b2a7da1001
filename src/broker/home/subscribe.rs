//! How subscriptions by name begin and end at their home.

use std::sync::Arc;
use std::time::Instant;

use super::parked::Asker;
use super::question::Question;
use super::retained::is_in;
use super::{Delivery, Home, recover};
use crate::broker::message::{ExactAsk, Span, Stand};
use crate::history::Answer;
use crate::model::{Member, Position, Timestamp, TopicName};
use crate::protocol::{Cursor, ErrorCode, Event, Published, Refusal};

impl Home {
    /// Fixes the end of a replay and adds the interest, in one step; the delivery tells others of
    /// the newcomer. `None`: something has to be looked up first, nothing stands yet, and it becomes
    /// a [`Found`](super::Found).
    ///
    /// # Errors
    /// `limit_exceeded` where there are too many topics.
    pub fn subscribe(
        &mut self,
        ask: Box<ExactAsk>,
        asker: Asker,
        now: Timestamp,
    ) -> Result<Option<(Stand, Option<Delivery>)>, Refusal> {
        let shard = asker.worker;
        if !self.topics.contains_key(&ask.topic) {
            self.create(&ask.topic)?;
        }
        let max_replay = self.common.max_replay();
        let Some(entry) = self.topics.get_mut(&ask.topic) else {
            return Err(Refusal::new(
                ErrorCode::Internal,
                "the topic could not be created",
            ));
        };
        let mut stand = Stand {
            time: now.max(entry.last_time),
            ..Stand::default()
        };
        stand.recovered = ask.since.map(|_| false);
        if let Some(history) = entry.kept.history_mut() {
            history.trim(now);
            let (epoch, until) = (history.epoch(), history.settled());
            stand.position = Some(Position {
                epoch,
                offset: until,
            });
            let mut span = None;
            if let Some(Cursor {
                epoch: Some(asked),
                offset,
            }) = ask.since
            {
                let cursor = Position {
                    epoch: asked,
                    offset,
                };
                let recovers =
                    history.recovers(cursor, now) && until.saturating_sub(offset) <= max_replay;
                stand.recovered = Some(recovers);
                if recovers {
                    span = Some(offset);
                }
            }
            if let (Some(_), None, Some(from)) = (ask.since, span, ask.from) {
                span = match recover::by_time(&mut **history, from, now) {
                    Answer::Now(after) => after,
                    Answer::Later(lookup) => {
                        self.wait_for(lookup, asker, Question::Subscribe(ask));
                        return Ok(None);
                    }
                };
                span = span.filter(|after| until.saturating_sub(*after) <= max_replay);
                stand.recovered = Some(span.is_some());
            }
            let after = span.or_else(|| {
                ask.last.map(|last| {
                    let oldest = history.oldest().saturating_sub(1);
                    until.saturating_sub(last.min(max_replay)).max(oldest)
                })
            });
            stand.span = after.map(|after| Span {
                epoch,
                after,
                until,
            });
        }
        // Not what the replay brings, nor what a client has that is brought up to date.
        stand.has_retained = stand.recovered != Some(true)
            && entry
                .kept
                .retained()
                .is_some_and(|retained| !stand.span.is_some_and(|span| is_in(&retained, span)));
        entry.interest.add(shard);
        entry.card.set_subscribers(entry.interest.total());
        let newcomer = Member {
            since: now,
            ..ask.member.clone()
        };
        // The rules may have changed and this topic not been held to them yet.
        if self.common.rules.now().of(&ask.topic).presence {
            let member = (shard, newcomer.clone());
            entry.members.insert(newcomer.session, member);
        }
        let told = entry.rule.join_leave.then(|| Delivery {
            published: Arc::new(Published::new(Event::Join {
                topic: ask.topic.clone(),
                member: newcomer,
            })),
            accepted: Instant::now(),
            to: entry.audience(&self.filters, &ask.topic),
        });
        Ok(Some((stand, told)))
    }

    /// Takes a subscription by name back; the delivery tells others.
    pub fn unsubscribe(
        &mut self,
        shard: usize,
        topic: &TopicName,
        gone: &Member,
        now: Timestamp,
    ) -> Option<Delivery> {
        let entry = self.topics.get_mut(topic)?;
        entry.interest.take(shard);
        entry.card.set_subscribers(entry.interest.total());
        let member = entry
            .members
            .remove(&gone.session)
            .map_or_else(|| gone.clone(), |(_, member)| member);
        let told = entry.rule.join_leave.then(|| Delivery {
            published: Arc::new(Published::new(Event::Leave {
                topic: topic.clone(),
                member,
            })),
            accepted: Instant::now(),
            to: entry.audience(&self.filters, topic),
        });
        self.forget_if_idle(topic, now);
        told
    }
}
