//! A WebSocket to a broker, as a client.

use std::fmt::Display;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde::Serialize;
use tokio::net::{TcpStream, lookup_host};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::client_async_with_config;
use tungstenite::http::header::{AUTHORIZATION, HeaderValue};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::protocol::frame::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{ClientRequestBuilder, Error, Message, Utf8Bytes};

use super::event::Event;
use super::exit::Failure;
use super::lost::Lost;
use super::target::Target;
use crate::auth::Secret;

const PROTOCOL: &str = "fanfare.v1.json";

/// How long the broker may take to connect, to answer and to take what is sent.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How long the close handshake may take.
const PARTING: Duration = Duration::from_secs(1);

/// The longest frame that is taken: what the largest message a broker may allow comes to.
const LONGEST: usize = 2 << 30;

/// A session with a broker.
pub(super) struct Connection {
    socket: WebSocketStream<TcpStream>,
    authority: String,
    last_heard: Instant,
    /// How long a silence is a lost connection; `None` where the broker sends no pings.
    silence: Option<Duration>,
    /// What the broker said of the end that is near.
    closing: Option<Event>,
    /// The most a message's data may amount to, in bytes.
    pub(super) max_message: Option<usize>,
}

/// What a command's work runs on.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::failed(format!("no event loop can be had: {error}")))
}

impl Connection {
    /// Connects, and waits for the welcome.
    pub(super) async fn open(target: &Target, token: Option<&Secret>) -> Result<Self, Lost> {
        let authority = target.authority();
        let request = request(target, token).map_err(Lost::for_good)?;
        let unreachable = |error: &dyn Display| {
            Lost::for_now(Failure::failed(format!(
                "{authority} cannot be reached: {error}"
            )))
        };
        let stream = connect(target).await.map_err(|error| unreachable(&error))?;
        let limits = WebSocketConfig::default()
            .max_message_size(Some(LONGEST))
            .max_frame_size(Some(LONGEST));
        let shaken = client_async_with_config(request, stream, Some(limits));
        let (socket, _) = match timeout(PATIENCE, shaken).await {
            Ok(Ok(shaken)) => shaken,
            Ok(Err(Error::Http(answer))) => return Err(Lost::refused(&authority, &answer)),
            Ok(Err(error)) => return Err(unreachable(&error)),
            Err(_) => return Err(unreachable(&"it does not answer")),
        };
        let mut connection = Self {
            socket,
            authority,
            last_heard: Instant::now(),
            silence: None,
            closing: None,
            max_message: None,
        };
        connection.expect_welcome().await?;
        Ok(connection)
    }

    async fn expect_welcome(&mut self) -> Result<(), Lost> {
        let received = timeout(PATIENCE, self.receive()).await;
        let Ok(received) = received else {
            return Err(self.lost(&"it does not answer"));
        };
        let (welcome, _) = received?;
        if welcome.kind != "welcome" {
            return Err(Lost::for_good(Failure::failed(format!(
                "{} speaks, but not {PROTOCOL}: is this URL a broker's WebSocket?",
                self.authority
            ))));
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
    pub(super) async fn send(&mut self, frame: &impl Serialize) -> Result<(), Lost> {
        let text =
            serde_json::to_string(frame).map_err(|error| Lost::for_good(Failure::failed(error)))?;
        self.feed(text.into()).await?;
        self.flush().await
    }

    /// Adds a frame to those that the next flush sends.
    pub(super) async fn feed(&mut self, text: Utf8Bytes) -> Result<(), Lost> {
        let fed = timeout(PATIENCE, self.socket.feed(Message::Text(text))).await;
        self.taken(fed)
    }

    /// Sends what was fed.
    pub(super) async fn flush(&mut self) -> Result<(), Lost> {
        let flushed = timeout(PATIENCE, self.socket.flush()).await;
        self.taken(flushed)
    }

    fn taken<E>(&self, sent: Result<Result<(), Error>, E>) -> Result<(), Lost> {
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.lost(&error)),
            Err(_) => Err(self.lost(&"it takes nothing any more")),
        }
    }

    /// The next frame and its text. A call that is given up loses nothing.
    pub(super) async fn receive(&mut self) -> Result<(Event, Utf8Bytes), Lost> {
        loop {
            let message = match self.silence {
                None => self.socket.next().await,
                Some(silence) => {
                    let end = self.last_heard + silence;
                    let Ok(message) = timeout_at(end, self.socket.next()).await else {
                        let seconds = silence.as_secs();
                        return Err(self.lost(&format!("nothing was heard for {seconds} s")));
                    };
                    message
                }
            };
            self.last_heard = Instant::now();
            match message {
                None => return Err(self.lost(&"it ended without a word")),
                Some(Err(error)) => return Err(self.lost(&error)),
                Some(Ok(message)) => {
                    if message.is_close() {
                        // Our part of the close; whether it arrives changes nothing here.
                        let _ = timeout(PARTING, self.socket.flush()).await;
                    }
                    if let Some(received) = self.understand(message)? {
                        return Ok(received);
                    }
                }
            }
        }
    }

    fn understand(&mut self, message: Message) -> Result<Option<(Event, Utf8Bytes)>, Lost> {
        match message {
            Message::Text(text) => match serde_json::from_str::<Event>(&text) {
                Ok(event) if event.kind == "closing" => {
                    self.closing = Some(event);
                    Ok(None)
                }
                Ok(event) => Ok(Some((event, text))),
                Err(_) => Err(self.stranger()),
            },
            Message::Binary(_) => Err(self.stranger()),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
            Message::Close(frame) => Err(Lost::closed(
                &self.authority,
                frame.as_ref(),
                self.closing.as_ref(),
            )),
        }
    }

    /// Says goodbye, and waits a moment for the answer.
    pub(super) async fn leave(mut self) {
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: Utf8Bytes::default(),
        };
        let _ = timeout(PARTING, async {
            if self.socket.close(Some(frame)).await.is_ok() {
                while let Some(Ok(_)) = self.socket.next().await {}
            }
        })
        .await;
    }

    /// It does not answer what it was asked.
    pub(super) fn silent(&self) -> Lost {
        self.lost(&"it does not answer")
    }

    fn lost(&self, why: &dyn Display) -> Lost {
        Lost::for_now(Failure::failed(format!(
            "the connection to {} is lost: {why}",
            self.authority
        )))
    }

    fn stranger(&self) -> Lost {
        let Lost { why, .. } = self.lost(&format!("a frame is not {PROTOCOL}"));
        Lost::for_good(why)
    }
}

/// A connection to the first of the host's addresses that takes one.
async fn connect(target: &Target) -> std::io::Result<TcpStream> {
    use std::io::{Error, ErrorKind};

    let mut failure = Error::new(ErrorKind::NotFound, "the name has no address");
    for address in lookup_host(target.host_and_port()).await? {
        match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => failure = error,
            Err(_) => failure = ErrorKind::TimedOut.into(),
        }
    }
    Err(failure)
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
