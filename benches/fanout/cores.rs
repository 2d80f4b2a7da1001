//! Who has which core.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Core {
    /// The first one.
    Server,
    /// The second one.
    Load,
    /// Both: for a server that is to have as many as there are.
    #[allow(dead_code, reason = "the comparison with peers gives no server two")]
    Both,
}

/// Keeps this thread to a core. False: there are not two cores to part.
pub fn pin(core: Core) -> bool {
    // What was allowed when the program began, however this thread was pinned since.
    static ALLOWED: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();
    let allowed = ALLOWED.get_or_init(|| {
        let set = sched_getaffinity(None).unwrap_or_default();
        (0..CpuSet::MAX_CPU)
            .filter(|core| set.is_set(*core))
            .collect()
    });
    let &[server, load, ..] = allowed.as_slice() else {
        return false;
    };
    let mut set = CpuSet::new();
    if core != Core::Load {
        set.set(server);
    }
    if core != Core::Server {
        set.set(load);
    }
    sched_setaffinity(None, &set).is_ok()
}

/// Does something on a core; a process that is started there stays there.
pub fn on_core<T>(core: Core, act: impl FnOnce() -> T) -> T {
    pin(core);
    let result = act();
    pin(Core::Load);
    result
}
