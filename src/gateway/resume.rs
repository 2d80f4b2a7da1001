//! Where an event stream goes on: what its last event says, what is asked of the broker for it, and
//! what the stream opens with.

use bytes::{BufMut, Bytes, BytesMut};

use crate::model::{Filter, Position, Timestamp};
use crate::protocol::{
    Cursor, EventId, GapReason, ServerFrame, Since, SubscribeOk, WireFormat, control_bytes,
};

/// Gaps that are told one by one; of more, the filter is told.
const MAX_GAPS: usize = 100;

/// What a client says of the last event that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastEvent {
    /// Nothing: it comes for the first time.
    Unsaid,
    /// Its id.
    Id(EventId),
    /// Something that no broker ever gave as an id.
    Foreign,
}

/// Where one event stream goes on.
#[derive(Clone, Copy, Debug)]
pub struct Resume {
    last: LastEvent,
    /// It is of one plain name: then the last event says exactly what is missing.
    alone: bool,
    now: Timestamp,
}

impl LastEvent {
    /// Reads the header, which a browser keeps up to date, else the query, which it repeats.
    pub fn read<'a>(mut headers: impl Iterator<Item = &'a [u8]>, query: Option<&'a str>) -> Self {
        let text = match (headers.next(), headers.next()) {
            (None, _) => query.unwrap_or_default().as_bytes(),
            (Some(only), None) => only,
            (Some(_), Some(_)) => return Self::Foreign,
        };
        if text.is_empty() {
            return Self::Unsaid;
        }
        EventId::parse(text).map_or(Self::Foreign, Self::Id)
    }

    /// Whether it is that of a stream that was ended for good.
    pub fn is_closed(self) -> bool {
        matches!(self, Self::Id(EventId::Closed(_)))
    }
}

impl Resume {
    /// Where a stream of these filters goes on.
    pub fn new(last: LastEvent, filters: &[Filter], now: Timestamp) -> Self {
        let alone = matches!(filters, [only] if !only.has_wildcard());
        Self { last, alone, now }
    }

    /// From where a subscription is to recover: by position, and where that is of no use, by time.
    pub fn since(&self, filter: &Filter) -> (Option<Since>, Option<Timestamp>) {
        let LastEvent::Id(EventId::At { cursor, time }) = self.last else {
            return (None, None);
        };
        // A time that is still to come is of another clock: nothing can be told by it.
        let from = (time <= self.now).then_some(time);
        if filter.has_wildcard() {
            let positions = Vec::new();
            return (Some(Since::Positions { positions, from }), None);
        }
        let nowhere = Cursor {
            epoch: None,
            offset: 0,
        };
        let since = Some(Since::Position(cursor.unwrap_or(nowhere)));
        // The event is of one topic, which its epoch tells: of several that the stream names, or of one
        // that was lent to it. All others go by time.
        (since, from)
    }

    /// The moment from which a stream of several topics that comes again catches up.
    pub fn catches_up_from(&self) -> Option<Timestamp> {
        match self.last {
            LastEvent::Id(EventId::At { time, .. }) if !self.alone => Some(time.min(self.now)),
            _ => None,
        }
    }

    /// What the stream opens with: how long to wait before coming back, what is missing, and an id, so that
    /// whatever comes before the first message can be recovered too. The id stands last: who
    /// does not get so far is told again.
    ///
    /// `catches_up_from` is what a stream had that is to be replayed more; `keeps_all` says whether every topic of a filter keeps history.
    pub fn opening(
        &self,
        retry_ms: u64,
        stands: &[SubscribeOk],
        catches_up_from: Option<Timestamp>,
        keeps_all: impl Fn(&Filter) -> bool,
    ) -> Bytes {
        let mut first = BytesMut::new();
        first.put(format!("retry: {retry_ms}\n\n").as_bytes());
        for stand in stands {
            self.put_gaps(&mut first, stand, &keeps_all);
        }
        first.put(format!("id: {}\n\n", self.begins(stands, catches_up_from)).as_bytes());
        first.freeze()
    }

    /// The id of the moment from which the stream has everything. For one of several topics that is
    /// what it had before, until it has caught up.
    fn begins(&self, stands: &[SubscribeOk], catches_up_from: Option<Timestamp>) -> EventId {
        if let (true, [only]) = (self.alone, stands) {
            let before = only.position.map(|mut newest| {
                newest.offset = newest.offset.saturating_sub(only.replayed.unwrap_or(0));
                newest
            });
            return EventId::at(before, only.time);
        }
        let opened = stands.iter().map(|stand| stand.time).min();
        let begins = catches_up_from.or(opened).unwrap_or(self.now);
        EventId::at(None, begins)
    }

    /// Tells a stream that could not be brought up to date what it must load anew.
    fn put_gaps(
        &self,
        first: &mut BytesMut,
        stand: &SubscribeOk,
        keeps_all: &impl Fn(&Filter) -> bool,
    ) {
        let is_back = self.last != LastEvent::Unsaid;
        let failed = is_back && stand.recovered != Some(true);
        if stand.topic.has_wildcard() {
            if !is_back || (!failed && keeps_all(&stand.topic)) {
                return;
            }
            let are_named = (1..=MAX_GAPS).contains(&stand.gaps.len());
            if !are_named || !keeps_all(&stand.topic) {
                put_gap(first, stand.topic.as_str(), None);
            }
            for topic in stand.gaps.iter().filter(|_| are_named) {
                put_gap(first, topic.as_str(), None);
            }
        } else if failed {
            put_gap(first, stand.topic.as_str(), self.missing(stand).as_ref());
        }
    }

    /// Of a name with history, what is missing is all that it has not had: from the event that it
    /// names, where that is of this history, else from the first.
    fn missing(&self, stand: &SubscribeOk) -> Option<Missing> {
        let newest = stand.position?;
        let had = match self.last {
            LastEvent::Id(EventId::At {
                cursor: Some(cursor),
                ..
            }) if cursor.epoch == Some(newest.epoch) && cursor.offset <= newest.offset => {
                cursor.offset
            }
            _ => 0,
        };
        // What `last` replays is not missing. Of an epoch that is gone nothing is known: then this names no
        // message of the one that there is, only where it goes on.
        let to = newest.offset.saturating_sub(stand.replayed.unwrap_or(0));
        Some(Missing {
            newest,
            from: had + 1,
            to: to.max(had),
        })
    }
}

/// The messages that a gap is known to span; none where `to` is before `from`.
struct Missing {
    newest: Position,
    from: u64,
    to: u64,
}

fn put_gap(first: &mut BytesMut, topic: &str, known: Option<&Missing>) {
    let gap = ServerFrame::Gap {
        topic,
        reason: GapReason::Trimmed,
        // 0: nobody knows how many.
        count: known.map_or(0, |missing| missing.to + 1 - missing.from),
        epoch: known.map(|missing| missing.newest.epoch),
        from: known.map_or(0, |missing| missing.from),
        to: known.map_or(0, |missing| missing.to),
    };
    if let Some(bytes) = control_bytes(WireFormat::Sse, &gap) {
        first.put(bytes);
    }
}

#[cfg(test)]
mod tests;
