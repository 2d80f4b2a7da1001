//! `init`: a configuration, a page and a backend to begin with.

use std::fmt::Write as _;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::Process;
use super::args::InitArgs;
use super::exit::{Exit, Failure, print};

/// What stands in `starter/` for the SHA-256 of the backend's key.
const HASH: &str = "@SHA256@";

/// One file to be written.
struct File {
    path: &'static str,
    text: &'static str,
    mode: u32,
}

const fn file(path: &'static str, text: &'static str) -> File {
    let mode = 0o644;
    File { path, text, mode }
}

const fn program(path: &'static str, text: &'static str) -> File {
    let mode = 0o755;
    File { path, text, mode }
}

const FILES: [File; 8] = [
    file("fanfare.toml", include_str!("../../starter/fanfare.toml")),
    file("README.md", include_str!("../../starter/README.md")),
    file(".gitignore", include_str!("../../starter/gitignore")),
    file(
        "public/index.html",
        include_str!("../../starter/public/index.html"),
    ),
    file(
        "public/chat.js",
        include_str!("../../starter/public/chat.js"),
    ),
    file(
        "public/chat.css",
        include_str!("../../starter/public/chat.css"),
    ),
    program(
        "backend/publish.py",
        include_str!("../../starter/backend/publish.py"),
    ),
    program(
        "backend/publish.mjs",
        include_str!("../../starter/backend/publish.mjs"),
    ),
];

/// Where the key lies: for its owner alone.
const KEY_FILE: &str = ".env";

/// Writes the files, all of them or, where any is there already, none.
pub(super) fn run(args: &InitArgs, process: &mut Process<'_>) -> Result<Exit, Failure> {
    let dir = process.working_dir.join(&args.dir);
    let taken = taken(&dir);
    if !taken.is_empty() {
        let names: Vec<String> = taken.iter().map(|path| shown(&args.dir, path)).collect();
        return Err(Failure::failed(format!(
            "nothing was written, since these are there already: {}; name another directory, or move them away",
            names.join(", ")
        )));
    }
    let key = make_key()?;
    let hash: String = hexadecimal(&Sha256::digest(key.as_bytes()));
    write(
        &dir,
        Path::new(KEY_FILE),
        &format!("FANFARE_TOKEN={key}\n"),
        0o600,
    )?;
    for File { path, text, mode } in &FILES {
        write(&dir, Path::new(path), &text.replace(HASH, &hash), *mode)?;
    }
    print(process.stdout, &farewell(&args.dir))
}

/// Those of the files that are there already.
fn taken(dir: &Path) -> Vec<&'static str> {
    let paths = FILES.iter().map(|file| file.path);
    std::iter::once(KEY_FILE)
        .chain(paths)
        // A link that leads nowhere is there too.
        .filter(|path| dir.join(path).symlink_metadata().is_ok())
        .collect()
}

fn make_key() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::failed(format!("no key can be made: {error}")))?;
    Ok(hexadecimal(&bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn write(dir: &Path, path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let path = dir.join(path);
    let parent = path.parent().unwrap_or(dir);
    let written = DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(parent)
        .and_then(|()| create(&path, text, mode));
    written
        .map_err(|error| Failure::failed(format!("{} cannot be written: {error}", path.display())))
}

fn create(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(text.as_bytes())
}

fn farewell(dir: &Path) -> String {
    let config = shown(dir, "fanfare.toml");
    let (python, node) = (
        shown(dir, "backend/publish.py"),
        shown(dir, "backend/publish.mjs"),
    );
    let (readme, key) = (shown(dir, "README.md"), shown(dir, KEY_FILE));
    format!(
        "\
Start the broker, and open http://localhost:8080/:

  fanfare serve --config {config}

Then publish from a backend, in another terminal:

  python3 {python}
  node {node}

The backend's key is in {key}, which only you can read. {readme} says what is what.
"
    )
}

/// A file of that directory, as it can be typed into a shell.
fn shown(dir: &Path, path: &str) -> String {
    let path = dir.join(path);
    let path = path.strip_prefix("./").map(PathBuf::from).unwrap_or(path);
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%,~".contains(c);
    if text.chars().all(plain) && !text.starts_with(['~', '-']) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn paths_can_be_typed_into_a_shell() {
        for (dir, expected) in [
            ("chat", "chat/f"),
            (".", "f"),
            ("./chat", "chat/f"),
            ("/tmp/my chat", "'/tmp/my chat/f'"),
            ("it's", r"'it'\''s/f'"),
            ("~", "'~/f'"),
        ] {
            assert_eq!(shown(Path::new(dir), "f"), expected);
        }
    }

    #[test]
    fn every_file_of_the_starter_is_written() {
        let starter = Path::new(env!("CARGO_MANIFEST_DIR")).join("starter");
        let mut directories = vec![starter.clone()];
        let mut count = 0;
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                    continue;
                }
                count += 1;
                let text = fs::read_to_string(&path).unwrap();
                assert!(
                    FILES.iter().any(|file| file.text == text),
                    "{}",
                    path.display()
                );
            }
        }
        assert_eq!(count, FILES.len());
    }
}
