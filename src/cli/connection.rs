//! A WebSocket to a broker, as a client.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tungstenite::handshake::HandshakeError;
use tungstenite::http::Response;
use tungstenite::http::header::{AUTHORIZATION, HeaderValue};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::protocol::frame::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{ClientRequestBuilder, Error, Message, Utf8Bytes, WebSocket};

use super::exit::Failure;
use super::lines::escape;
use super::target::Target;
use crate::auth::Secret;

const PROTOCOL: &str = "fanfare.v1.json";

/// How long the broker may take to connect, to answer and to take what is sent.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How often a wait ends with nothing, so that the caller can see to other things.
const TICK: Duration = Duration::from_millis(250);

/// How long the close handshake may take.
const PARTING: Duration = Duration::from_secs(1);

/// The longest frame that is taken: what the largest message a broker may allow comes to.
const LONGEST: usize = 2 << 30;

/// A session with a broker.
pub(super) struct Connection {
    socket: WebSocket<TcpStream>,
    authority: String,
    last_heard: Instant,
    /// How long a silence is a lost connection; `None` where the broker sends no pings.
    silence: Option<Duration>,
    /// The most a message's data may amount to, in bytes.
    pub(super) max_message: Option<usize>,
}

/// What a frame of the broker's says, less the message it may carry.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) id: Option<u64>,
    pub(super) topic: Option<String>,
    pub(super) offset: Option<u64>,
    pub(super) count: Option<u64>,
    pub(super) reason: Option<String>,
    /// A word in an error, a number in `closing`.
    code: Option<Value>,
    message: Option<String>,
    heartbeat: Option<f64>,
    max_message_bytes: Option<usize>,
}

impl Event {
    /// An error's code and sentence.
    pub(super) fn complaint(&self) -> String {
        let code = self.code.as_ref().and_then(Value::as_str).unwrap_or("?");
        let message = self.message.as_deref().unwrap_or_default();
        escape(&format!("{code}: {message}")).into_owned()
    }
}

impl Connection {
    /// Connects, and waits for the welcome.
    pub(super) fn open(url: &str, token: Option<&Secret>) -> Result<Self, Failure> {
        let target = Target::parse(url)?.or_path("/ws");
        let authority = target.authority();
        let unreachable = |error: &dyn std::fmt::Display| {
            Failure::failed(format!("{authority} cannot be reached: {error}"))
        };
        let request = request(&target, token)?;
        let stream = target
            .connect(PATIENCE)
            .and_then(|stream| {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(stream)
            })
            .map_err(|error| unreachable(&error))?;
        let limits = WebSocketConfig::default()
            .max_message_size(Some(LONGEST))
            .max_frame_size(Some(LONGEST));
        let (socket, _) = tungstenite::client::client_with_config(request, stream, Some(limits))
            .map_err(|error| match error {
                HandshakeError::Failure(Error::Http(answer)) => refusal(&authority, &answer),
                HandshakeError::Failure(error) => unreachable(&error),
                HandshakeError::Interrupted(_) => unreachable(&"it does not answer"),
            })?;
        socket
            .get_ref()
            .set_read_timeout(Some(TICK))
            .map_err(|error| unreachable(&error))?;
        let mut connection = Self {
            socket,
            authority,
            last_heard: Instant::now(),
            silence: None,
            max_message: None,
        };
        connection.expect_welcome()?;
        Ok(connection)
    }

    fn expect_welcome(&mut self) -> Result<(), Failure> {
        let (welcome, _) = self.receive_until(Instant::now() + PATIENCE)?;
        if welcome.kind != "welcome" {
            return Err(Failure::failed(format!(
                "{} speaks, but not {PROTOCOL}: is this URL a broker's WebSocket?",
                self.authority
            )));
        }
        self.max_message = welcome.max_message_bytes;
        self.silence = welcome
            .heartbeat
            .filter(|seconds| *seconds > 0.0)
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .map(|interval| interval.saturating_mul(2).saturating_add(PATIENCE));
        Ok(())
    }

    /// Sends a frame.
    pub(super) fn send(&mut self, frame: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(frame).map_err(Failure::failed)?;
        let sent = self.socket.send(Message::text(text));
        sent.map_err(|error| self.lost(&error))
    }

    /// The next frame and its text; an error where none comes by then.
    pub(super) fn receive_until(&mut self, end: Instant) -> Result<(Event, Utf8Bytes), Failure> {
        loop {
            if let Some(received) = self.receive()? {
                return Ok(received);
            }
            if Instant::now() >= end {
                return Err(Failure::failed(format!(
                    "{} does not answer",
                    self.authority
                )));
            }
        }
    }

    /// The next frame and its text; `None` where none came for a moment.
    pub(super) fn receive(&mut self) -> Result<Option<(Event, Utf8Bytes)>, Failure> {
        match self.socket.read() {
            Ok(message) => {
                self.last_heard = Instant::now();
                self.understand(message)
            }
            Err(Error::Io(error)) if is_pause(&error) => match self.silence {
                Some(silence) if self.last_heard.elapsed() > silence => {
                    let seconds = silence.as_secs();
                    Err(self.lost(&format!("nothing was heard for {seconds} s")))
                }
                _ => Ok(None),
            },
            Err(error) => Err(self.lost(&error)),
        }
    }

    fn understand(&mut self, message: Message) -> Result<Option<(Event, Utf8Bytes)>, Failure> {
        match message {
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(event) => Ok(Some((event, text))),
                Err(_) => Err(self.lost(&format!("a frame is not {PROTOCOL}"))),
            },
            Message::Binary(_) => Err(self.lost(&format!("a frame is not {PROTOCOL}"))),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
            Message::Close(frame) => {
                // The answer is queued already; whether it arrives changes nothing here.
                let _ = self.socket.flush();
                Err(Failure::failed(format!(
                    "{} closed the connection: {}",
                    self.authority,
                    frame.map_or_else(|| "it gave no reason".to_owned(), |frame| told(&frame)),
                )))
            }
        }
    }

    /// Says goodbye, and waits a moment for the answer.
    pub(super) fn leave(mut self) {
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: Utf8Bytes::default(),
        };
        let end = Instant::now() + PARTING;
        let mut parting = self.socket.close(Some(frame));
        while parting.is_ok() && Instant::now() < end {
            parting = match self.socket.read() {
                Err(Error::Io(error)) if is_pause(&error) => Ok(()),
                read => read.map(drop),
            };
        }
    }

    fn lost(&self, why: &dyn std::fmt::Display) -> Failure {
        Failure::failed(format!(
            "the connection to {} is lost: {why}",
            self.authority
        ))
    }
}

fn request(
    target: &Target,
    token: Option<&Secret>,
) -> Result<tungstenite::http::Request<()>, Failure> {
    use tungstenite::client::IntoClientRequest;

    let uri = format!("ws://{}{}", target.authority(), target.path_and_query());
    let malformed = |_| Failure::misused("the URL cannot be asked for as it is written");
    let uri = uri
        .parse()
        .map_err(|error: tungstenite::http::uri::InvalidUri| malformed(error.into()))?;
    let builder = ClientRequestBuilder::new(uri).with_sub_protocol(PROTOCOL);
    let mut request = builder.into_client_request().map_err(malformed)?;
    if let Some(token) = token {
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.reveal()))
            .map_err(|_| Failure::misused("the token holds characters that no header carries"))?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    Ok(request)
}

/// A read that ended because nothing came, not because nothing can.
fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

fn told(frame: &CloseFrame) -> String {
    let code = u16::from(frame.code);
    if frame.reason.is_empty() {
        return code.to_string();
    }
    format!("{code} {}", escape(&frame.reason))
}

/// What an HTTP answer other than 101 says: its problem's sentence, where it has one.
fn refusal(authority: &str, answer: &Response<Option<Vec<u8>>>) -> Failure {
    let detail = answer.body().as_deref().and_then(|body| {
        let problem: Value = serde_json::from_slice(body).ok()?;
        let detail = problem.get("detail").or_else(|| problem.get("title"))?;
        Some(escape(detail.as_str()?).into_owned())
    });
    let detail = detail.map(|detail| format!(": {detail}"));
    Failure::failed(format!(
        "{authority} refuses the connection with {}{}",
        answer.status(),
        detail.unwrap_or_default()
    ))
}
