//! Sessions that are only there, and what each takes of the broker's memory.

use std::io;
use std::time::Duration;

use super::{Course, SLICE};

/// Holds the sessions for the time that was asked for. In the end every one of them gets a message: whoever was dropped
/// in silence does not.
pub(super) fn run(course: &mut Course<'_>, before: Option<f64>) -> io::Result<()> {
    course.count(|course| {
        while course.run < course.settings.time {
            course.load.listen_for(SLICE)?;
            course.run += SLICE;
            course.watch.is_at(course.run, 0.0);
        }
        Ok(())
    })?;
    let grown = course.settings.memory().zip(before);
    let each = grown.map(|(after, before)| (after - before) / course.measured.sessions as f64);
    course.measured.memory_per_session = each;
    if each.is_none() {
        course.note("the broker's memory is not known: --pid names a process of this machine, or else /metrics must be open to the token".to_owned());
    }
    course.load.publish_now(course.shape.topics)?;
    let is_whole = course.load.drain()?;
    let tally = course.load.run_for(Duration::ZERO)?;
    drop(tally);
    if is_whole {
        course.note("every session was there to the end, and got a message".to_owned());
    }
    Ok(())
}
