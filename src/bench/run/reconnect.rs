//! All sessions are cut off at once, come back at once, and get what they missed.

use std::io;
use std::time::{Duration, Instant};

use super::Course;
use crate::bench::histogram::Histogram;
use crate::bench::measured::Latency;

/// How long the sessions are there before they are cut off.
const THERE: Duration = Duration::from_millis(1000);
/// How long they stay away.
const AWAY: Duration = Duration::from_millis(500);
/// How long coming back may take.
const LONGEST: Duration = Duration::from_secs(30);

/// Cuts them off and has them come back, as often as there is time for, while messages are published without a pause. Each must get every
/// message once and in order.
pub(super) fn run(course: &mut Course<'_>) -> io::Result<()> {
    if !course.load.keeps_history() {
        return Err(io::Error::other(
            "coming back without a loss needs topics that keep a history, and these keep none: name others with \
             --topic, or give the broker a [[topic]] rule with 'history' for them",
        ));
    }
    let all = course.load.subscribers();
    course.load.set_at_once(all);
    let mut returns = Histogram::default();
    let mut storms = 0;
    let mut longest = Duration::ZERO;
    course.count(|course| {
        while course.run < course.settings.time || storms == 0 {
            course.run_for(THERE)?;
            for number in 0..all {
                course.load.cut(number);
            }
            course.run_for(AWAY)?;
            let begin = Instant::now();
            for number in 0..all {
                course.load.come_back(number);
            }
            while course.load.coming() > 0 && begin.elapsed() < LONGEST {
                course.run_for(Duration::from_millis(20))?;
            }
            longest = longest.max(begin.elapsed());
            if course.load.coming() > 0 {
                return Err(io::Error::other(format!(
                    "{} of {all} sessions did not come back within {} s",
                    course.load.coming(),
                    LONGEST.as_secs()
                )));
            }
            returns.add(&course.load.take_openings());
            storms += 1;
        }
        Ok(())
    })?;
    course.measured.return_us = Latency::of(&returns);
    course.note(format!(
        "{storms} times {all} sessions were cut off and came back: all were there again after {} ms at most",
        longest.as_millis()
    ));
    Ok(())
}
