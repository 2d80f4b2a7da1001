//! Small file systems of a test's own, where it may make them.

use std::path::Path;
use std::process::Command;

/// A file system in memory. Dropped, it is gone.
pub struct Mount {
    dir: tempfile::TempDir,
}

impl Mount {
    /// One with these options of `mount`; `None` where this user may not.
    pub fn with(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(dir.path())
            .output();
        let is_done = mount.is_ok_and(|mount| mount.status.success());
        is_done.then_some(Self { dir })
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: whoever was killed may still be going.
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.dir.path())
            .status();
    }
}
