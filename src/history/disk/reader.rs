//! A thread that answers what histories ask of the disk.

use rusqlite::Connection;

use super::lookup::{Ask, Question, Since};
use super::seen::{Seen, tail};
use super::state::Mark;
use super::{Shared, schema};
use crate::history::{Finding, HistoryError};

/// As many marks are found at once.
pub(super) const MARKS: usize = 256;

/// Answers until there are no more questions.
pub(super) fn run(shared: &Shared) {
    let mut opened: Option<Connection> = None;
    while let Some(ask) = shared.lookups.next() {
        let conn = match opened.take() {
            Some(conn) => Ok(conn),
            None => schema::to_read(&shared.file),
        };
        let found = conn.and_then(|conn| {
            answer(shared, &conn, &ask)?;
            opened = Some(conn);
            Ok(())
        });
        if let Err(error) = found {
            tracing::error!(topic = %ask.entry.topic, %error, "history cannot be read");
            let reason = "the disk cannot be read".to_owned();
            ask.answer(Err(HistoryError::Unavailable(reason)));
        }
        shared.lookups.done();
    }
}

fn answer(shared: &Shared, conn: &Connection, ask: &Ask) -> rusqlite::Result<()> {
    if let Question::Read { limit, from } = ask.what {
        // Mostly that is enough, and what has not been placed may be much.
        let most = limit.messages.saturating_add(2);
        let tail = tail(ask, most);
        let _moment = conn.unchecked_transaction()?;
        let mut seen = Seen::new(conn, ask, tail);
        seen.bound()?;
        let messages = seen.read(limit, from)?;
        if !messages.is_empty() && seen.damaged.is_none() {
            ask.answer(Ok(Finding::Messages(messages)));
            return Ok(());
        }
    }
    // Before the moment begins: what is placed in between is found twice, not missed.
    let tail = tail(ask, usize::MAX);
    // One moment, whatever is written and dropped meanwhile.
    let _moment = conn.unchecked_transaction()?;
    let mut seen = Seen::new(conn, ask, tail);
    seen.bound()?;
    let finding = match ask.what {
        Question::Read { limit, from } => Finding::Messages(seen.read(limit, from)?),
        Question::Since(from) => Finding::Since(Since {
            id: ask.id,
            from,
            offset: seen.search(|mark| mark.time >= from)?,
        }),
        Question::Edge { from, before } => {
            // The newest stays whatever it weighs.
            let newest = seen.last;
            let fits = |mark: Mark| mark.before >= before || mark.offset == newest;
            Finding::Edge(seen.edge(|mark| mark.time >= from && fits(mark))?)
        }
    };
    if let Some(damaged) = seen.damaged {
        let told = Some((ask.id, damaged));
        let (is_told, first) = {
            let mut kept = ask.entry.lock();
            let before = kept.damaged;
            kept.damaged = told.max(before);
            // All that is held before it goes with it, asked about or not, but what was told of.
            let held = Some(kept.committed.start.offset).filter(|_| kept.committed.id == ask.id);
            let known = before
                .filter(|(id, _)| *id == ask.id)
                .map(|(_, last)| last + 1);
            let first = held.max(known).unwrap_or(ask.first);
            (before >= told, first.min(damaged))
        };
        if !is_told {
            let what = "a record is damaged (`fanfare store export --aside` writes out what is whole \
                        of those before it)";
            shared.damage(&ask.entry.topic, first, damaged, what);
        }
        if !matches!(finding, Finding::Edge(_)) {
            let edge = seen.edge(|mark| mark.offset > damaged)?;
            ask.answer(Ok(Finding::Edge(edge)));
        }
    }
    ask.answer(Ok(finding));
    Ok(())
}
/// Whether a page of the file is not what it should be: it cannot be read, or says of a column what was never
/// written there.
pub(super) fn is_corrupt(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{
        FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error,
    };
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    let is_of_another_type = matches!(
        error,
        FromSqlConversionFailure(..)
            | IntegralValueOutOfRange(..)
            | InvalidColumnType(..)
            | Utf8Error(..)
    );
    let code = error.sqlite_error_code();
    is_of_another_type || matches!(code, Some(DatabaseCorrupt | NotADatabase))
}
