//! A WebSocket server that sends back what it gets, on Fanfare's transport: what conformance is judged by
//! (`scripts/autobahn`), and how `fanfare::websocket` is used without the broker.
//!
//! ```sh
//! cargo run --release --example echo -- 127.0.0.1:9001
//! ```

use std::error::Error;
use std::io;
use std::time::Duration;

use actix_http::ws::hash_key;
use fanfare::websocket::{
    Allowed, Decoder, Deflater, Event, Incoming, Input, Limits, Negotiated, Opcode, close_bytes,
    negotiate, pong_bytes, put_deflated, put_frame,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const MIB: usize = 1024 * 1024;

/// What clients may send: large messages in very many fragments.
const LIMITS: Limits = Limits {
    frame: 16 * MIB,
    message: 16 * MIB,
    fragments: 1024 * 1024,
    overhead: 8 * MIB as u32,
};

/// Both sides may refer to their earlier messages, if the client does not mind.
const ALLOWED: Allowed = Allowed {
    max_window_bits: 15,
    server_takeover: true,
    client_takeover: true,
};

/// How hard to compress, of 1 to 9.
const LEVEL: u8 = 3;

/// The longest request for a handshake, in bytes.
const MAX_REQUEST: usize = 16 * 1024;

/// How long a client that was told of its fault may take to read that.
const LINGER: Duration = Duration::from_secs(1);

/// Answers are written once there are so many bytes of them.
const WRITE_AT: usize = MIB;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:9001")).await?;
    println!("The echo is at ws://{}/", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = serve(stream).await {
                eprintln!("{error}");
            }
        });
    }
}

/// Serves one connection to its end.
///
/// # Errors
/// The connection was lost.
async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let Some((agreed, rest)) = shake_hands(&mut stream).await? else {
        return Ok(());
    };
    let mut decoder = Decoder::new(LIMITS, agreed.as_ref());
    let mut echo = Echo {
        compressor: agreed.map(|agreed| {
            let deflater = Deflater::new(agreed.server_window, LEVEL);
            (deflater, agreed.server_takeover)
        }),
        out: Vec::new(),
    };
    let mut buffer = vec![0; 64 * 1024];
    let mut first = rest;
    let mut input = Input::new(&mut first);
    loop {
        loop {
            match decoder.next(&mut input) {
                Ok(Some(Event::Close(code))) => {
                    echo.out.extend(close_bytes(code.unwrap_or(1005), ""));
                    // Both close frames are done, and the server drops the connection (RFC 6455 §7.1.1).
                    return stream.write_all(&echo.out).await;
                }
                Ok(Some(event)) => echo.answer(event),
                Ok(None) => break,
                Err(fault) => {
                    echo.out.extend(close_bytes(fault.code, &fault.reason));
                    stream.write_all(&echo.out).await?;
                    return linger(stream, &mut buffer).await;
                }
            }
            if echo.out.len() >= WRITE_AT {
                stream.write_all(&echo.out).await?;
                echo.out.clear();
            }
        }
        stream.write_all(&echo.out).await?;
        echo.out = Vec::new();
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        input = Input::new(buffer.get_mut(..read).unwrap_or_default());
    }
}

/// Reads and throws away what still comes: a connection that is dropped with input unread is reset, and the
/// peer may never read why.
async fn linger(mut stream: TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    stream.shutdown().await?;
    let rest = async { while stream.read(buffer).await.is_ok_and(|read| read > 0) {} };
    // Who goes on sending is dropped all the same.
    timeout(LINGER, rest).await.unwrap_or_default();
    Ok(())
}

/// What is written to one client.
struct Echo {
    compressor: Option<(Deflater, bool)>,
    out: Vec<u8>,
}

impl Echo {
    fn answer(&mut self, event: Event) {
        let (opcode, data) = match event {
            Event::Message(Incoming::Text(text), _) => (Opcode::Text, text.into_bytes()),
            Event::Message(Incoming::Binary(data), _) => (Opcode::Binary, data),
            Event::Ping(payload) => return self.out.extend(pong_bytes(&payload)),
            Event::Fragment(_) | Event::Pong(_) | Event::Close(_) => return,
        };
        match &mut self.compressor {
            Some((deflater, takeover)) => {
                put_deflated(&mut self.out, opcode, &deflater.deflate(&data, *takeover));
            }
            None => put_frame(&mut self.out, opcode, &data),
        }
    }
}

/// Reads the request and answers it. Gives what was agreed on and what the client sent behind the request;
/// nothing where the request opens no WebSocket.
async fn shake_hands(stream: &mut TcpStream) -> io::Result<Option<(Option<Negotiated>, Vec<u8>)>> {
    const END: &[u8] = b"\r\n\r\n";
    let mut request = Vec::new();
    let end = loop {
        let end = request.windows(END.len()).position(|bytes| bytes == END);
        if let Some(end) = end {
            break end;
        }
        if request.len() > MAX_REQUEST || stream.read_buf(&mut request).await? == 0 {
            return Ok(None);
        }
    };
    let rest = request.split_off(end + END.len());
    let request = String::from_utf8_lossy(&request);
    let headers: Vec<_> = request
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
        .collect();
    let values = |wanted: &'static str| {
        let headers = headers.iter();
        headers.filter_map(move |(name, value)| name.eq_ignore_ascii_case(wanted).then_some(*value))
    };
    let Some(key) = values("Sec-WebSocket-Key").next() else {
        let refusal = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        stream.write_all(refusal.as_bytes()).await?;
        return Ok(None);
    };
    let accept = hash_key(key.as_bytes());
    let offers = values("Sec-WebSocket-Extensions").map(str::as_bytes);
    let agreed = negotiate(offers, ALLOWED);
    let extension = agreed.map_or(String::new(), |agreed| {
        format!("Sec-WebSocket-Extensions: {agreed}\r\n")
    });
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{extension}Sec-WebSocket-Accept: {}\r\n\r\n",
        String::from_utf8_lossy(&accept)
    );
    stream.write_all(answer.as_bytes()).await?;
    Ok(Some((agreed, rest)))
}
