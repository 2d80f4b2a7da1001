//! What the process may take of memory.

use std::fmt;

use config::{Value, ValueKind};

use super::kinds;
use super::reader::Check;
use super::units::format_size;

/// The smallest limit that makes sense: an idle broker takes a tenth of it.
const LEAST: usize = 64 << 20;

/// What the process may take of memory before it refuses new sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemoryLimit {
    /// Whatever there is.
    #[default]
    Off,
    /// So many bytes.
    Bytes(usize),
    /// What the control group of the process allows.
    ControlGroup,
}

impl MemoryLimit {
    /// The word for [`MemoryLimit::ControlGroup`].
    const CONTROL_GROUP: &'static str = "cgroup";

    pub(super) fn check(value: &Value) -> Check<Self> {
        match &value.kind {
            ValueKind::String(text) if text == Self::CONTROL_GROUP => Ok(Self::ControlGroup),
            ValueKind::I64(0) => Ok(Self::Off),
            ValueKind::String(text) if text == "0" => Ok(Self::Off),
            _ => kinds::size(LEAST..=isize::MAX.unsigned_abs())(value)
                .map(Self::Bytes)
                .map_err(|why| {
                    format!(
                        "{why}; 0 is no limit, {:?} that of the control group",
                        Self::CONTROL_GROUP
                    )
                }),
        }
    }
}

impl fmt::Display for MemoryLimit {
    /// As it is written in a file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("0"),
            Self::Bytes(bytes) => write!(f, "{:?}", format_size(*bytes)),
            Self::ControlGroup => write!(f, "{:?}", Self::CONTROL_GROUP),
        }
    }
}
