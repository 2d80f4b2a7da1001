//! Runs a case under callgrind and reads what it wrote.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cases::Case;
use crate::counted;
use crate::figures::Figure;

/// The functions of the C library that give memory.
const GIVE_MEMORY: [&str; 6] = [
    "malloc",
    "calloc",
    "realloc",
    "posix_memalign",
    "aligned_alloc",
    "memalign",
];

/// What was counted in one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Instructions of the program itself, with all that it is linked from.
    pub program: u64,
    /// Instructions of shared libraries: of the C library's.
    pub library: u64,
    /// How often the program asked for memory.
    pub allocations: u64,
}

/// Counts a case, in a process of its own.
pub fn count(case: &Case) -> io::Result<Figure> {
    let program = std::env::current_exe()?;
    let out = folder().join(case.name);
    fs::create_dir_all(folder())?;
    let done = Command::new("valgrind")
        .arg("--tool=callgrind")
        .args(counted::NAMES.map(|name| format!("--dump-before={name}")))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(&program)
        .args(["count", case.name])
        // What the environment says is on the stack, and moves it.
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| io::Error::other(format!("valgrind: {error}")))?;
    let failed = |what: &str| {
        let said = String::from_utf8_lossy(&done.stderr);
        io::Error::other(format!("{}: {what}\n{said}", case.name))
    };
    if !done.status.success() {
        return Err(failed(&format!("ended with {}", done.status)));
    }
    let times: u64 = String::from_utf8_lossy(&done.stdout)
        .trim()
        .parse()
        .map_err(|_| failed("did not say how often it did what was counted"))?;
    let profile = fs::read_to_string(profile_path(case.name))?;
    let counts = read(&profile, &program.to_string_lossy());
    if counts.program == 0 || times == 0 {
        return Err(failed("nothing was counted: is the symbol still there?"));
    }
    let each = |count: u64| count as f64 / times as f64;
    Ok(Figure {
        instructions: each(counts.program),
        allocations: each(counts.allocations),
        library: each(counts.library),
    })
}

/// Where the profile of what is counted of a case is kept, for whoever wants to know more.
pub fn profile_path(case: &str) -> PathBuf {
    folder().join(format!("{case}.{}", counted::PART))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("instructions")
}

/// Sums up a profile, in callgrind's own format ("Callgrind Format Specification" in valgrind's manual).
/// `program` is the path of what was run.
pub fn read(profile: &str, program: &str) -> Counts {
    let mut counts = Counts::default();
    // The first mention of a name gives it a number, by which it goes afterwards.
    let (mut objects, mut functions) = (HashMap::new(), HashMap::new());
    let mut is_program = false;
    let mut called = "";
    let mut is_inclusive = false;
    for line in profile.lines() {
        if let Some(object) = line.strip_prefix("ob=") {
            is_program = resolve(&mut objects, object) == program;
        } else if let Some(object) = line.strip_prefix("cob=") {
            resolve(&mut objects, object);
        } else if let Some(function) = line.strip_prefix("fn=") {
            resolve(&mut functions, function);
        } else if let Some(function) = line.strip_prefix("cfn=") {
            called = resolve(&mut functions, function);
        } else if let Some(calls) = line.strip_prefix("calls=") {
            let times = calls.split(' ').next().and_then(|n| n.parse::<u64>().ok());
            if is_program && gives_memory(called) {
                counts.allocations += times.unwrap_or(0);
            }
            // The next line says what was spent below the call, which is counted where it was spent.
            is_inclusive = true;
        } else if line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)) {
            let spent = line.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok());
            let spent = spent.filter(|_| !std::mem::take(&mut is_inclusive));
            let place = if is_program {
                &mut counts.program
            } else {
                &mut counts.library
            };
            *place += spent.unwrap_or(0);
        }
    }
    counts
}

/// Whether a function gives memory: by whichever of its names the C library's symbols tell it.
fn gives_memory(function: &str) -> bool {
    let name = function.split(['@', '\'']).next().unwrap_or(function);
    GIVE_MEMORY.contains(&name.strip_prefix("__libc_").unwrap_or(name))
}

/// The name that `(7) name` gives, or `(7)` was given before.
fn resolve<'a>(names: &mut HashMap<&'a str, &'a str>, text: &'a str) -> &'a str {
    match text.split_once(' ') {
        Some((number, name)) => {
            names.insert(number, name);
            name
        }
        None => names.get(text).copied().unwrap_or(text),
    }
}
