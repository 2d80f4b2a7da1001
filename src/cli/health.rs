//! `health`: whether a broker answers, for where there is no curl.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use super::Process;
use super::args::HealthArgs;
use super::exit::{Exit, Failure, print};
use super::lines::escape;
use super::target::Target;

/// How long each step may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// A status line is shorter.
const LONGEST_LINE: usize = 1024;

/// Asks the broker at the URL.
pub(super) fn run(args: &HealthArgs, process: &mut Process<'_>) -> Result<Exit, Failure> {
    let target = Target::parse(&args.url)?.below("/healthz");
    let authority = target.authority();
    let line = ask(&target)
        .map_err(|error| Failure::failed(format!("{authority} does not answer: {error}")))?;
    if line.starts_with("HTTP/1.") && line.split_whitespace().nth(1) == Some("200") {
        return print(process.stdout, "ok\n");
    }
    let line = escape(&line);
    Err(Failure::failed(format!(
        "{authority} is not well: it answered {line:?}"
    )))
}

/// The first line of what is answered to `GET`.
fn ask(target: &Target) -> io::Result<String> {
    let mut stream = target.connect(TIMEOUT)?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: fanfare/{}\r\nConnection: close\r\n\r\n",
        target.path_and_query(),
        target.authority(),
        env!("CARGO_PKG_VERSION"),
    )?;
    read_line(&mut stream, Instant::now() + TIMEOUT)
}

fn read_line(stream: &mut impl Read, end: Instant) -> io::Result<String> {
    let mut line = Vec::new();
    let mut piece = [0; 256];
    while !line.contains(&b'\n') && line.len() < LONGEST_LINE {
        if Instant::now() > end {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => line.extend(piece.iter().take(count)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    let line = String::from_utf8_lossy(&line);
    Ok(line.lines().next().unwrap_or_default().trim().to_owned())
}
