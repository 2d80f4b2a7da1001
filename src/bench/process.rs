//! What the kernel tells about a process, and what this one may have of it.

use std::fs;
use std::io;
use std::num::NonZeroU64;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::set_current_timer_slack;

/// The kernel counts CPU time for user space in hundredths of a second on every machine.
const TICKS: f64 = 100.0;

/// The CPU time in seconds that this process took so far.
pub fn own_cpu() -> f64 {
    cpu_of("self").unwrap_or_default()
}

/// The CPU time in seconds that a process of this machine took so far.
pub fn cpu(pid: u32) -> Option<f64> {
    cpu_of(&pid.to_string())
}

/// The memory in bytes that a process of this machine has resident.
pub fn memory(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? * 1024.0)
}

fn cpu_of(process: &str) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the name, which may hold anything, utime and stime are the twelfth and thirteenth.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}

/// Has this thread's naps end when they are over, not when it suits the kernel.
///
/// # Errors
/// The kernel does not let it.
pub fn sharpen_naps() -> io::Result<()> {
    Ok(set_current_timer_slack(NonZeroU64::new(1))?)
}

/// Allows this process, and those that it starts, as many descriptors as the system lets it; returns how
/// many that is.
///
/// # Errors
/// The system does not allow what it said it would.
pub fn raise_descriptors() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}
