//! `pub`: one message, and the broker's answer to it.

use std::io::Read;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::Process;
use super::args::{KindArgs, PubArgs};
use super::connection::{Connection, PATIENCE};
use super::exit::{Exit, Failure, print};

/// More than any broker takes.
const LONGEST: u64 = 1 << 30;

/// The only request of the session.
const ID: u64 = 1;

#[derive(Serialize)]
struct Publish<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: u64,
    topic: &'a str,
    data: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

/// Publishes, and waits until the broker has stored the message as its topic asks.
pub(super) fn run(args: &PubArgs, process: &mut Process<'_>) -> Result<Exit, Failure> {
    let bytes = read(args, process)?;
    let len = bytes.len();
    let (data, encoding) = encode(&args.kind, bytes)?;
    let frame = Publish {
        kind: "publish",
        id: ID,
        topic: &args.topic,
        data,
        encoding,
        key: args.key.as_deref(),
    };
    let token = process.token(args.broker.token.as_ref());
    let url = process.url(args.broker.url.as_deref());
    let mut connection = Connection::open(url, token.as_ref())?;
    if let Some(most) = connection.max_message.filter(|most| len > *most) {
        connection.leave();
        return Err(Failure::failed(format!(
            "the data is {len} bytes long, and the broker takes {most} at most"
        )));
    }
    connection.send(&frame)?;
    let offset = answer(&mut connection)?;
    connection.leave();
    match offset {
        Some(offset) if !args.broker.quiet => print(process.stdout, &format!("offset {offset}\n")),
        _ => Ok(Exit::Done),
    }
}

/// The offset that the message got, where its topic keeps history.
fn answer(connection: &mut Connection) -> Result<Option<u64>, Failure> {
    let end = Instant::now() + PATIENCE;
    loop {
        let (event, _) = connection.receive_until(end)?;
        match event.kind.as_str() {
            "ok" if event.id == Some(ID) => return Ok(event.offset),
            "error" => {
                return Err(Failure::failed(format!(
                    "the broker refuses the message with {}",
                    event.complaint()
                )));
            }
            _ => {}
        }
    }
}

fn read(args: &PubArgs, process: &mut Process<'_>) -> Result<Vec<u8>, Failure> {
    if let Some(data) = args.data.as_ref().filter(|data| *data != "-") {
        return Ok(data.clone().into_encoded_bytes());
    }
    let mut bytes = Vec::new();
    let mut input = (&mut *process.stdin).take(LONGEST + 1);
    let read = input.read_to_end(&mut bytes);
    read.map_err(|error| Failure::failed(format!("standard input cannot be read: {error}")))?;
    if bytes.len() as u64 > LONGEST {
        return Err(Failure::failed("standard input is longer than any message"));
    }
    Ok(bytes)
}

/// The bytes as a frame's `data` and `encoding`.
fn encode(
    kind: &KindArgs,
    bytes: Vec<u8>,
) -> Result<(Box<RawValue>, Option<&'static str>), Failure> {
    if kind.binary {
        let data = to_raw_value(&STANDARD.encode(bytes)).map_err(Failure::failed)?;
        return Ok((data, Some("base64")));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::failed("the data is not UTF-8; --binary publishes any bytes"))?;
    if kind.json {
        let data = serde_json::from_str(&text).map_err(|error| {
            Failure::failed(format!(
                "the data is not JSON ({error}); --text publishes it as text"
            ))
        })?;
        return Ok((data, None));
    }
    let data = to_raw_value(&text).map_err(Failure::failed)?;
    Ok((data, Some("text")))
}
