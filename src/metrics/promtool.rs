//! What Prometheus's own linter says of an exposition. It leans on nothing else of the crate, so
//! integration tests may include it by its path.

use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};

/// Runs `promtool check metrics` over an exposition.
///
/// # Errors
/// Everything it says, or what to install where it is not there.
pub fn check(exposition: &str) -> Result<(), String> {
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err("promtool is not on PATH; install the Debian package prometheus".into());
        }
        Err(error) => return Err(format!("promtool does not start: {error}")),
    };
    // It reads all of its input before it says anything. The pipe is closed by dropping it.
    let sent = child
        .stdin
        .take()
        .map(|mut input| input.write_all(exposition.as_bytes()));
    let output = child
        .wait_with_output()
        .map_err(|error| format!("promtool: {error}"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    match sent {
        Some(Ok(())) if output.status.success() && said.trim().is_empty() => Ok(()),
        _ => Err(format!("promtool ({}): {said}", output.status)),
    }
}
