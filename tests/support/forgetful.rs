//! A disk that forgets what was not synced, and fails when it is told to: the broker runs with
//! `forgetful.c` before its C library, which says what it keeps and how.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::Dice;

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All of it is gone.
    Forget,
    /// The first of it is there, up to the middle of a write.
    Tear,
    /// Of each file some sectors are there and others are not, and some directories.
    Mix,
}

impl Cut {
    pub const ALL: [Self; 3] = [Self::Forget, Self::Tear, Self::Mix];
}

/// What a disk writes whole.
const SECTOR: usize = 512;

/// One of those disks.
pub struct Forgetful {
    data: PathBuf,
    shadow: PathBuf,
    control: PathBuf,
    boot: PathBuf,
}

impl Forgetful {
    /// For the directory `data` of this one, which is empty.
    pub fn new(home: &Path) -> Self {
        let disk = Self {
            data: home.join("data"),
            shadow: home.join("shadow"),
            control: home.join("control"),
            boot: home.join("boot"),
        };
        fs::create_dir(&disk.shadow).unwrap();
        disk.orders("");
        disk.boots(1);
        disk
    }

    /// What a broker is to run under.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        vec![
            ("LD_PRELOAD", text(library())),
            ("FORGETFUL_DIR", text(&self.data)),
            ("FORGETFUL_SHADOW", text(&self.shadow)),
            ("FORGETFUL_CONTROL", text(&self.control)),
            ("FORGETFUL_BOOT", text(&self.boot)),
        ]
    }

    /// From now on this goes wrong: words of `forgetful.c`, or nothing.
    pub fn orders(&self, words: &str) {
        let next = self.control.with_extension("next");
        fs::write(&next, words).unwrap();
        fs::rename(next, &self.control).unwrap();
    }

    /// The machine has another boot id.
    fn boots(&self, number: u64) {
        let id = format!("{number:08x}-0000-4000-8000-000000000000\n");
        fs::write(&self.boot, id).unwrap();
    }

    /// Puts what is kept for good in the place of the files, and boots the machine again. Nobody may be
    /// running on it.
    pub fn lose_power(&mut self, cut: Cut, dice: &mut Dice) {
        let mut files = BTreeMap::new();
        self.survivors(&self.data, Path::new(""), cut, dice, &mut files);
        for dir in [&self.data, &self.shadow] {
            fs::remove_dir_all(dir).unwrap();
            fs::create_dir(dir).unwrap();
        }
        for (path, bytes) in &files {
            let path = self.data.join(path);
            match bytes {
                Some(bytes) => fs::write(&path, bytes).unwrap(),
                None => fs::create_dir(&path).unwrap(),
            }
        }
        self.keep_all(&self.data);
        self.boots(dice.next());
    }

    /// What is there after the cut, by its path; a directory has no bytes.
    fn survivors(
        &self,
        dir: &Path,
        below: &Path,
        cut: Cut,
        dice: &mut Dice,
        files: &mut BTreeMap<PathBuf, Option<Vec<u8>>>,
    ) {
        let ino = fs::metadata(dir).unwrap().ino();
        let names = if cut == Cut::Mix && dice.one_in(2) {
            listed(dir)
        } else {
            let kept = fs::read_to_string(self.shadow.join(format!("{ino}.names")));
            kept.unwrap_or_default()
        };
        for line in names.lines() {
            let mut words = line.splitn(3, ' ');
            let [ino, kind, name] = [(); 3].map(|()| words.next().expect("three words"));
            let path = below.join(name);
            if kind == "d" {
                files.insert(path.clone(), None);
                // A directory that was renamed is looked for by the name it has now.
                let found = dir.join(name);
                if found.is_dir() {
                    self.survivors(&found, &path, cut, dice, files);
                }
                continue;
            }
            let synced = fs::read(self.shadow.join(format!("{ino}.synced"))).unwrap_or_default();
            let live = fs::read(self.shadow.join(format!("{ino}.live")))
                .or_else(|_| fs::read(dir.join(name)))
                .unwrap_or_else(|_| synced.clone());
            files.insert(path, Some(after(cut, &synced, &live, dice)));
        }
    }

    /// What is there now is there for good.
    fn keep_all(&self, dir: &Path) {
        let ino = fs::metadata(dir).unwrap().ino();
        fs::write(self.shadow.join(format!("{ino}.names")), listed(dir)).unwrap();
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                self.keep_all(&entry.path());
            } else {
                let kept = format!("{}.synced", entry.metadata().unwrap().ino());
                fs::copy(entry.path(), self.shadow.join(kept)).unwrap();
            }
        }
    }
}

/// A directory as `forgetful.c` writes it down.
fn listed(dir: &Path) -> String {
    let entry = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let found = entry.metadata().unwrap();
        let kind = if found.is_dir() { 'd' } else { 'f' };
        let name = entry.file_name().into_string().unwrap();
        format!("{} {kind} {name}\n", found.ino())
    };
    fs::read_dir(dir).unwrap().map(entry).collect()
}

/// A file after the cut.
fn after(cut: Cut, synced: &[u8], live: &[u8], dice: &mut Dice) -> Vec<u8> {
    let sector = |of: &[u8], n: usize| -> Vec<u8> {
        let from = (n * SECTOR).min(of.len());
        of[from..(from + SECTOR).min(of.len())].to_vec()
    };
    let count = synced.len().max(live.len()).div_ceil(SECTOR);
    let differing: Vec<usize> = (0..count)
        .filter(|n| sector(synced, *n) != sector(live, *n))
        .collect();
    if cut == Cut::Forget || differing.is_empty() {
        return synced.to_vec();
    }
    let torn_at = differing[dice.below(differing.len())];
    // The length is told apart from what is written: a file may have grown without it.
    let length = match cut {
        Cut::Tear => synced.len().max(live.len().min(torn_at * SECTOR)),
        _ if dice.one_in(2) => live.len(),
        _ => synced.len(),
    };
    let mut found = synced.to_vec();
    found.resize(length, 0);
    for n in differing {
        let is_there = match cut {
            Cut::Tear => n < torn_at,
            _ => dice.one_in(2),
        };
        let from = n * SECTOR;
        if is_there && from < length {
            let bytes = sector(live, n);
            let end = (from + bytes.len()).min(length);
            found[from..end].copy_from_slice(&bytes[..end - from]);
        }
    }
    found
}

/// `forgetful.c`, translated once for all tests that run at the time.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let made = tempfile::Builder::new()
            .prefix("forgetful-")
            .suffix(".so")
            .tempfile_in(env!("CARGO_TARGET_TMPDIR"))
            .unwrap()
            .into_temp_path();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/forgetful.c");
        let compiler = std::env::var_os("CC").unwrap_or_else(|| OsString::from("cc"));
        let done = Command::new(compiler)
            .args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"])
            .args([made.as_os_str(), source.as_ref()])
            .args(["-ldl", "-lpthread"])
            .output()
            .expect("a C compiler");
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        // Renamed, so that nobody sees half of one; whoever comes later puts the same in its place.
        let whole = Path::new(env!("CARGO_TARGET_TMPDIR")).join("forgetful.so");
        fs::rename(&made, &whole).unwrap();
        std::mem::forget(made);
        whole
    })
}
