//! The effective values as TOML, without secrets.

use super::Config;

/// The effective values as TOML that loads back to the same configuration. Secrets are not in it.
pub fn show(_config: &Config) -> String {
    String::new()
}
