//! When a message counts as kept.

/// What a message has to outlive once it is acknowledged. Ordered: each outlives what the one before it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// Nothing: it goes with the process.
    #[default]
    Memory,
    /// The process: the operating system has it.
    Written,
    /// The machine: it is on the disk.
    Synced,
}

impl Durability {
    /// All of them, by the names that people write.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("memory", Self::Memory),
        ("written", Self::Written),
        ("synced", Self::Synced),
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Written => "written",
            Self::Synced => "synced",
        }
    }
}
