//! A handshake that is refused: one whole HTTP answer on the raw connection, then its end.

use std::fmt::Write as _;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::protocol::{PROBLEM_TYPE, Problem, title};

use super::handshake::Refused;
use super::io::Io;
use super::watch::LINGER;

/// Answers and ends the connection.
pub async fn send(mut io: Io, earlier: &[u8], refused: &Refused) {
    let answer = [earlier, answer(refused).as_bytes()].concat();
    let told = async {
        io.write_all(&answer).await?;
        io.shutdown().await?;
        // Dropping the socket with input unread would reset it and destroy the answer.
        let mut rest = [0; 4096];
        while io.read(&mut rest).await? > 0 {}
        Ok::<(), std::io::Error>(())
    };
    match actix_rt::time::timeout(LINGER, told).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a refused peer went before it was told why"),
    }
}

/// The whole HTTP answer.
pub fn answer(refused: &Refused) -> String {
    let status = refused.status;
    let problem = Problem::with_status(&refused.refusal, status);
    let body = problem.to_json();
    let mut head = format!("HTTP/1.1 {status} {}\r\n", title(status));
    // Writing to a String does not fail.
    let mut header = |name: &str, value: &str| {
        let _infallible = write!(head, "{name}: {value}\r\n");
    };
    header("Content-Type", PROBLEM_TYPE);
    header("Content-Length", &body.len().to_string());
    header("Connection", "close");
    header("Cache-Control", "no-store");
    if let Some(seconds) = problem.retry_after_seconds() {
        header("Retry-After", &seconds.to_string());
    }
    if status == 401 {
        header("WWW-Authenticate", "Bearer");
    }
    for (name, value) in &refused.headers {
        header(name, value);
    }
    head.push_str("\r\n");
    head.push_str(&body);
    head
}
