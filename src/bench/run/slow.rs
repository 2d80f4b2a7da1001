//! A few sessions that read nothing, among others that do.

use std::io;
use std::time::{Duration, Instant};

use super::{Course, PATIENCE, WARM_UP};

/// How long one who reads again may take to get what is there for it.
const CATCH_UP: Duration = Duration::from_secs(15);

/// For half of the time all read; then one of a hundred stops. In the end it reads on: what it gets must go on where it
/// was until it was ended, or tell what is missing.
pub(super) fn run(course: &mut Course<'_>) -> io::Result<()> {
    let all = course.load.subscribers();
    let slow = all.div_ceil(100);
    for number in 0..slow {
        course.load.loosen(number);
    }
    course.load.run_for(WARM_UP)?;
    let half = course.settings.time / 2;
    let (mut with, mut without) = (0, 0);
    course.count(|course| {
        course.run_for(half)?;
        with = course.total.deliveries;
        for number in 0..slow {
            course.load.pause(number)?;
        }
        course.run_for(half)?;
        without = course.total.deliveries - with;
        Ok(())
    })?;
    for number in 0..slow {
        course.load.resume(number)?;
    }
    let end = Instant::now() + CATCH_UP;
    course.load.drain()?;
    while (0..slow).any(|number| !course.load.is_through(number)) && Instant::now() < end {
        course.load.listen_for(PATIENCE / 30)?;
    }
    let others = (all - slow) as f64 / all as f64;
    let kept = without as f64 / (with as f64 * others).max(1.0);
    course.note(format!(
        "while {slow} of {all} sessions read nothing, the others kept {kept:.3} of their deliveries"
    ));
    Ok(())
}
