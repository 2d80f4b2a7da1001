//! Sessions that come and go among others that stay.

use std::io;

use super::Course;
use crate::bench::measured::Latency;

/// In how many slices of time every one of those that go has gone once.
const SLICES: usize = 20;

/// Half of the sessions stay and must get everything. The others are cut off without a word once they have
/// what was published so far, and come as somebody new, who must get everything from then on.
pub(super) fn run(course: &mut Course<'_>) -> io::Result<()> {
    let all = course.load.subscribers();
    // Those of all topics, in turn: neighbours are of different topics.
    let staying = all.div_ceil(2);
    for number in staying..all {
        course.load.loosen(number);
    }
    let going = all - staying;
    let each = going.div_ceil(SLICES);
    let (mut next, mut gone) = (0, 0_u64);
    course.count(|course| {
        course.each_slice(course.settings.time, |course| {
            for _ in 0..each.min(going) {
                let number = staying + next % going;
                next += 1;
                if course.load.is_open(number) && course.load.is_through(number) {
                    course.load.cut(number);
                    course.load.come_anew(number);
                    gone += 1;
                }
            }
            Ok(())
        })
    })?;
    course.measured.opening_us = Latency::of(&course.load.take_openings());
    let rate = gone as f64 / course.run.as_secs_f64().max(1e-6);
    course.note(format!(
        "{staying} sessions stayed, {going} came and went: {gone} times, {rate:.0} a second"
    ));
    Ok(())
}
