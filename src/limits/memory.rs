//! How much memory the process takes, of what it may.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::config::MemoryLimit;
use crate::metrics::Metrics;

/// From so many hundredths of the limit on, memory is short.
const SHORT: u64 = 80;

/// From so many hundredths of the limit on, it is very short.
const VERY_SHORT: u64 = 90;

/// It is short no longer once it is so many hundredths below: what is freed is soon taken again.
const SLACK: u64 = 5;

/// What the older kind of control group has where there is no limit is more than this.
const UNLIMITED: u64 = 1 << 60;

/// Where control groups are found, of both kinds.
const CONTROL_GROUPS: &str = "/sys/fs/cgroup";

/// Watches the process's memory.
pub struct Memory {
    limit: AtomicU64,
    pressure: AtomicU8,
    metrics: Metrics,
}

/// How short memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// There is enough.
    None,
    /// It is short: no new sessions.
    Short,
    /// It is very short: sessions hold less, too.
    VeryShort,
}

impl Memory {
    /// That of the process, bounded as configured.
    pub fn of_process(limit: MemoryLimit, metrics: Metrics) -> Arc<Self> {
        let memory = Arc::new(Self {
            limit: AtomicU64::new(0),
            pressure: AtomicU8::new(0),
            metrics,
        });
        memory.bound(limit);
        memory
    }

    /// Puts another bound in force.
    pub fn bound(&self, limit: MemoryLimit) {
        let bytes = match limit {
            MemoryLimit::Off => 0,
            MemoryLimit::Bytes(bytes) => bytes as u64,
            MemoryLimit::ControlGroup => allowed(Path::new(CONTROL_GROUPS)).unwrap_or_else(|| {
                tracing::warn!(
                    "limits.memory = \"cgroup\": the control group of this process sets no limit, or none that \
                     can be read; memory is not watched"
                );
                0
            }),
        };
        self.limit.store(bytes, Ordering::Relaxed);
        self.metrics.memory_limit(bytes);
    }

    /// How short it is.
    pub fn pressure(&self) -> Pressure {
        match self.pressure.load(Ordering::Relaxed) {
            0 => Pressure::None,
            1 => Pressure::Short,
            _ => Pressure::VeryShort,
        }
    }

    /// Looks how much the process takes. To be called several times a second.
    pub fn probe(&self) {
        let is_bounded = self.limit.load(Ordering::Relaxed) > 0;
        if let Some(taken) = is_bounded.then(resident).unwrap_or(Some(0)) {
            self.judge(taken);
        }
    }

    fn judge(&self, taken: u64) {
        let limit = self.limit.load(Ordering::Relaxed);
        let before = self.pressure();
        let now = match limit {
            0 => Pressure::None,
            limit => before.after(hundredths(taken, limit)),
        };
        if now == before {
            return;
        }
        self.pressure.store(now as u8, Ordering::Relaxed);
        self.metrics.memory_pressure(now as u8);
        match now {
            Pressure::None => tracing::info!(taken, limit, "memory is no longer short"),
            Pressure::Short => {
                tracing::warn!(taken, limit, "memory is short: new sessions are refused");
            }
            Pressure::VeryShort => tracing::error!(
                taken,
                limit,
                "memory is very short: outbound queues hold a quarter of session.queue"
            ),
        }
    }
}

impl Pressure {
    /// What follows where so many hundredths are taken.
    fn after(self, taken: u64) -> Self {
        let held = |from| from - SLACK;
        match self {
            _ if taken >= VERY_SHORT => Self::VeryShort,
            Self::VeryShort if taken >= held(VERY_SHORT) => Self::VeryShort,
            _ if taken >= SHORT => Self::Short,
            Self::Short | Self::VeryShort if taken >= held(SHORT) => Self::Short,
            _ => Self::None,
        }
    }
}

fn hundredths(taken: u64, limit: u64) -> u64 {
    u64::try_from(u128::from(taken) * 100 / u128::from(limit.max(1))).unwrap_or(u64::MAX)
}

/// The memory in bytes that this process has resident (`proc_pid_statm(5)`).
fn resident() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// What the control group of this process, and those around it, allow.
fn allowed(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    limits_of(&groups, root).min()
}

/// The limits of a process that is in those groups (`cgroups(7)`): a line is `hierarchy:controllers:path`.
fn limits_of(groups: &str, root: &Path) -> impl Iterator<Item = u64> {
    let found = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (hierarchy, controllers) = (fields.next()?, fields.next()?);
        let path = fields.next()?.trim_start_matches('/');
        if hierarchy == "0" && controllers.is_empty() {
            return Some((root.to_owned(), path, "memory.max"));
        }
        let is_memory = controllers.split(',').any(|name| name == "memory");
        is_memory.then(|| (root.join("memory"), path, "memory.limit_in_bytes"))
    });
    found.flat_map(|(root, path, file)| {
        let group = root.join(path);
        let around = group.ancestors().take_while(|path| path.starts_with(&root));
        let limits = around.filter_map(|path| {
            let limit = fs::read_to_string(path.join(file)).ok()?;
            limit.trim().parse().ok().filter(|limit| *limit < UNLIMITED)
        });
        limits.collect::<Vec<u64>>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_short_before_it_is_gone_and_for_a_little_longer() {
        let mut pressure = Pressure::None;
        for (taken, expected) in [
            (79, Pressure::None),
            (80, Pressure::Short),
            (76, Pressure::Short),
            (89, Pressure::Short),
            (90, Pressure::VeryShort),
            (85, Pressure::VeryShort),
            (84, Pressure::Short),
            (75, Pressure::Short),
            (74, Pressure::None),
            (150, Pressure::VeryShort),
            (10, Pressure::None),
        ] {
            pressure = pressure.after(taken);
            assert_eq!(pressure, expected, "{taken}");
        }
    }

    #[test]
    fn without_a_limit_it_is_never_short() {
        let metrics = Metrics::new("0", "test").unwrap();
        let memory = Memory::of_process(MemoryLimit::Off, metrics);
        memory.judge(u64::MAX);
        assert_eq!(memory.pressure(), Pressure::None);
        memory.bound(MemoryLimit::Bytes(100));
        memory.judge(85);
        assert_eq!(memory.pressure(), Pressure::Short);
        memory.bound(MemoryLimit::Off);
        memory.judge(85);
        assert_eq!(memory.pressure(), Pressure::None);
    }

    #[test]
    fn this_process_takes_something() {
        let resident = resident().unwrap();
        assert!(resident > 1 << 20, "{resident}");
        assert_eq!(hundredths(resident, resident * 2), 50);
    }

    #[test]
    fn a_group_is_bound_by_those_around_it() {
        let root = tempfile::tempdir().unwrap();
        let write = |file: &str, limit: &str| {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, limit).unwrap();
        };
        let allowed = |groups: &str| limits_of(groups, root.path()).min();
        let (newer, older) = ("0::/a/b\n", "7:pids:/a\n4:cpu,memory:/a/b\n0::/\n");
        assert_eq!(
            (allowed(newer), allowed(older)),
            (None, None),
            "none is set"
        );
        write("a/b/memory.max", "max\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!((allowed(newer), allowed(older)), (None, None));
        write("a/memory.max", "300\n");
        write("memory/a/b/memory.limit_in_bytes", "200\n");
        assert_eq!((allowed(newer), allowed(older)), (Some(300), Some(200)));
        write("a/b/memory.max", "100\n");
        write("memory/a/memory.limit_in_bytes", "50\n");
        assert_eq!((allowed(newer), allowed(older)), (Some(100), Some(50)));
        assert_eq!(allowed("rubbish\n0:x\n"), None);
    }
}
