//! The actor of one WebSocket session: it owns its socket, carries out what its client says, and
//! takes everything with it when it ends.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix::{Actor, ActorContext, Context, StreamHandler};

use crate::auth::Secret;
use crate::broker::{Ending, HistoryAsk, Publication, ReplyTo, Subscriber, Worker, refuse};
use crate::history::Limit;
use crate::limits::{Entry, Meter};
use crate::metrics::{self, Held, Place};
use crate::model::{Member, Payload, TopicName};
use crate::protocol::{Answer, Close, CloseCode, ErrorCode, HistoryQuery, Refusal, ServerFrame};
use crate::session::{Session, Step};
use crate::websocket::{Event, close_bytes, pong_bytes};

use super::Gateway;
use super::inbound::Arrivals;
use super::measure::too_much;
use super::socket::Socket;

/// What one answer to `history` holds at most; the rest is asked for by `since`.
const HISTORY_PAGE: Limit = Limit {
    messages: 1000,
    bytes: 512 * 1024,
};

/// One WebSocket session.
pub struct Connection {
    pub(super) session: Session,
    pub(super) socket: Rc<Socket>,
    pub(super) subscriber: Rc<Subscriber>,
    pub(super) worker: Rc<Worker>,
    pub(super) gateway: Rc<Gateway>,
    /// What an endpoint publishes when the session ends.
    pub(super) on_leave: Option<Box<(TopicName, String)>>,
    /// The code of the peer's close frame.
    pub(super) peer_code: Option<u16>,
    /// Counts as a connection for as long as it is held.
    pub(super) counted: Option<Held>,
    /// Measures what the client sends.
    pub(super) meter: Meter,
    /// Where the client is.
    pub(super) client: Option<IpAddr>,
    /// Counts with its address and user for as long as it is held.
    pub(super) entry: Entry,
}

impl Actor for Connection {
    type Context = Context<Self>;
}

impl StreamHandler<Arrivals> for Connection {
    fn handle(&mut self, arrivals: Arrivals, _: &mut Context<Self>) {
        let Arrivals { mut events, fault } = arrivals;
        let mut left = events.drain(..);
        let is_measured = self.is_measured();
        // All of it came at once.
        let now = Instant::now();
        while let Some(event) = left.next() {
            if is_measured {
                self.on_measured_event(event, now);
            } else {
                self.on_event(event, now);
            }
            let is_held = !self.subscriber.is_ending() && self.subscriber.is_congested();
            if is_held && left.len() > 0 {
                // One read may ask for far more than the outbox is to hold.
                let events = left.collect();
                return self.socket.put_back(Arrivals { events, fault });
            }
        }
        drop(left);
        Arrivals::recycle(events);
        if let Some(fault) = fault {
            self.close(&fault.into());
        }
        if self.subscriber.closed_with().is_some() {
            self.settle();
        }
    }

    fn finished(&mut self, ctx: &mut Context<Self>) {
        // A peer may end its side right behind what it asks, or behind its close frame.
        self.subscriber.write_last(Instant::now());
        ctx.stop();
    }
}

impl Connection {
    /// Does what is to be done about what came then.
    pub(super) fn on_event(&mut self, event: Event, came: Instant) {
        if self.subscriber.is_ending() {
            // Data after a close is ignored; the answer to ours ends it.
            if let Event::Close(code) = event {
                self.peer_code.get_or_insert(told(code));
                self.socket.peer_closed();
            }
            return;
        }
        match event {
            Event::Message(message, _) => {
                let step = self.session.on_message(message);
                self.carry_out_if_admitted(step, came);
            }
            Event::Fragment(_) => {}
            Event::Ping(payload) => self.subscriber.send_urgent(pong_bytes(&payload)),
            Event::Pong(_) => self.socket.pong(),
            Event::Close(code) => self.on_close(code),
        }
    }

    /// The peer closes: its code is sent back and the connection ends (RFC 6455 §5.5.1).
    fn on_close(&mut self, code: Option<u16>) {
        self.peer_code = Some(told(code));
        self.socket.peer_closed();
        self.subscriber.answer_close(close_bytes(told(code), ""));
        self.settle();
    }

    pub(super) fn carry_out(&mut self, step: Step, came: Instant) {
        let subscriber = &self.subscriber;
        let reply = |id| ReplyTo::Session {
            to: Rc::clone(subscriber),
            id,
        };
        match step {
            Step::Publish(id, publication) => {
                self.worker.publish(publication, came, reply(id));
            }
            Step::Subscribe(id, ask) => {
                // What is said of a filter's past may be long, and homes work for it.
                let reply = if ask.is_long() {
                    let debt = subscriber.owe();
                    ReplyTo::Long { debt, id }
                } else {
                    reply(id)
                };
                self.worker.subscribe(subscriber, *ask, reply);
            }
            Step::Unsubscribe(id, filter) => {
                let member = self.session.member();
                self.worker
                    .unsubscribe(subscriber, filter.as_ref(), &member, reply(id));
            }
            Step::History(id, query) => self.history(id, query),
            Step::Presence(id, topic) => {
                let debt = subscriber.owe();
                self.worker.presence(topic, ReplyTo::Long { debt, id });
            }
            Step::Authenticate(id, token) => self.authenticate(id, &token),
            Step::Pong(Some(id)) => {
                subscriber.send_frame(&ServerFrame::Ok {
                    id,
                    answer: &Answer::Pong,
                });
            }
            Step::Pong(None) => subscriber.send_frame(&ServerFrame::Pong),
            Step::Refuse(id, refusal) => refuse(subscriber, id, &refusal),
            Step::RefusePublish(id, refusal) => {
                // Nothing behind the session hears of it, so it is counted here.
                let code = metrics::ErrorCode::named(refusal.code.as_str());
                self.gateway.metrics.publish_failed(code);
                refuse(subscriber, id, &refusal);
            }
            Step::RefuseAndClose(id, refusal, close) => {
                refuse(subscriber, id, &refusal);
                self.close(&close);
            }
            Step::Close(close) => self.close(&close),
        }
    }

    fn history(&self, id: Option<u64>, query: HistoryQuery) {
        // Without an id there is no answer to fill, but a refusal is still told.
        let asked = match (id, query.limit) {
            (None, _) => 0,
            (_, None) => HISTORY_PAGE.messages,
            (_, Some(limit)) => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        let limit = Limit {
            messages: asked.min(HISTORY_PAGE.messages),
            ..HISTORY_PAGE
        };
        let reply = ReplyTo::Long {
            debt: self.subscriber.owe(),
            id,
        };
        let ask = HistoryAsk {
            topic: query.topic,
            since: query.since,
            last: query.last,
            limit,
        };
        self.worker.history(Box::new(ask), reply);
    }

    fn authenticate(&mut self, id: Option<u64>, token: &Secret) {
        let throttle = Arc::clone(&self.gateway.entrance.throttle);
        let now = Instant::now();
        if let Err(excess) = throttle.may_authenticate(self.client, now) {
            return refuse(&self.subscriber, id, &excess.refusal());
        }
        if let Some(caller) = self.gateway.entrance.door.now().token(token) {
            if let Some(user) = &caller.user
                && let Err(excess) = self.entry.identify(&throttle, user)
            {
                refuse(&self.subscriber, id, &excess.refusal());
                return self.close(&too_much(&excess));
            }
            let before = self.subscriber.rights().user();
            self.session.authenticated(&caller);
            self.worker.identify(&self.subscriber, before.as_deref());
            self.worker.recheck(&self.subscriber);
            self.socket.authenticated();
            if let Some(id) = id {
                let answer = Answer::Authenticated {
                    user: caller.user,
                    expires_at: None,
                };
                self.subscriber.send_frame(&ServerFrame::Ok {
                    id,
                    answer: &answer,
                });
            }
        } else {
            throttle.failed_to_authenticate(self.client, now);
            self.gateway
                .metrics
                .auth_failed(metrics::AuthFailure::Unknown);
            let refusal = Refusal::new(ErrorCode::Unauthorized, "the token is not known here");
            refuse(&self.subscriber, id, &refusal);
            self.close(&Close::new(
                CloseCode::CREDENTIALS_REFUSED,
                "the credentials were refused",
            ));
        }
    }

    pub(super) fn close(&mut self, close: &Close) {
        self.subscriber
            .close(close, Ending::Orderly, Instant::now());
        self.settle();
    }

    /// The session has ended, though its socket may stay for the peer to read why: it is in no topic
    /// any more and does not count as connected. Done once, before the close frame is written where
    /// this turn writes it.
    fn settle(&mut self) {
        let Some(counted) = self.counted.take() else {
            return;
        };
        let member = self.member();
        self.worker
            .unsubscribe(&self.subscriber, None, &member, ReplyTo::Nobody);
        if let Some(on_leave) = self.on_leave.take() {
            let (topic, text) = *on_leave;
            let publication = Publication::new(topic, Payload::text(text));
            self.worker
                .publish(publication, Instant::now(), ReplyTo::Nobody);
        }
        let by_server = self.subscriber.closed_with().map(|(code, _)| code.0);
        let code = by_server
            .or(self.peer_code)
            .unwrap_or(CloseCode::ABNORMAL.0);
        drop(counted);
        self.gateway.ended(&self.subscriber, code);
        tracing::debug!(session = %self.subscriber.id(), code, "session ended");
    }

    fn member(&self) -> Member {
        self.session.member()
    }
}

impl Drop for Connection {
    /// Whatever ended the session: what it held is released here, a panic included.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.gateway.metrics.panicked(Place::Session);
            let close = Close::new(CloseCode::INTERNAL, "the session failed; connect again");
            let now = Instant::now();
            self.subscriber.close(&close, Ending::Orderly, now);
            // Nobody is left to write it later.
            self.subscriber.write_last(now);
        }
        self.subscriber.kill();
        // One that never opened was counted as refused, and has nothing to settle.
        self.settle();
        self.worker.detach(&self.subscriber, &self.member());
        // What it leaves uncounted is handed in at the end of a turn, which may be none otherwise.
        self.worker.turn().wake();
    }
}

/// The code of a close frame; that for none, where it has none.
fn told(code: Option<u16>) -> u16 {
    code.unwrap_or(CloseCode::NO_STATUS.0)
}

#[cfg(test)]
mod tests {
    use actix::dev::ContextFut;

    use super::*;

    #[test]
    fn an_idle_session_stays_small() {
        // There are as many as sessions. The first of these lies in a task, whose size grows by 128 bytes at a time.
        for (what, size, most) in [
            (
                "task",
                size_of::<ContextFut<Connection, Context<Connection>>>(),
                528,
            ),
            ("socket", size_of::<Socket>(), 176),
            ("subscriber", size_of::<Subscriber>(), 304),
            ("frames", size_of::<crate::gateway::inbound::Frames>(), 112),
        ] {
            assert!(size <= most, "{what}: {size} bytes, at most {most}");
        }
    }
}
