//! The body of a request, never read further than it may go.

use std::future::Future;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::{StatusCode, header};
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use super::Problem;
use crate::protocol::{ErrorCode, Refusal};

/// How long a body may take that is of no length.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many bytes of a body earn it a second more.
const BYTES_PER_SECOND: usize = 16 * 1024;

/// Reads a body of at most `most` bytes.
///
/// # Errors
/// 413 as soon as it is known to be longer, 415 for one that is compressed, 408 for one that comes
/// too slowly.
pub(super) async fn read(
    request: &HttpRequest,
    mut payload: Payload,
    most: usize,
) -> Result<Bytes, Problem> {
    refuse_encoding(request)?;
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > most as u64) {
        return Err(too_large(most));
    }
    let start = Instant::now();
    let mut body = BytesMut::new();
    loop {
        let next = in_time(start + patience(body.len()), payload.next()).await?;
        let Some(piece) = next else {
            return Ok(body.freeze());
        };
        let piece = piece.map_err(|_| Problem::bad_request("the body broke off"))?;
        if body.len() + piece.len() > most {
            return Err(too_large(most));
        }
        body.extend_from_slice(&piece);
    }
}

/// Refuses a body that is compressed.
///
/// # Errors
/// 415.
pub(super) fn refuse_encoding(request: &HttpRequest) -> Result<(), Problem> {
    let mut encodings = request.headers().get_all(header::CONTENT_ENCODING);
    if encodings.any(|encoding| encoding != "identity") {
        return Err(Problem::with_status(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must be sent without a Content-Encoding",
        ));
    }
    Ok(())
}

/// How long a body may take of which so many bytes have come.
pub(super) fn patience(bytes: usize) -> Duration {
    PATIENCE + Duration::from_secs((bytes / BYTES_PER_SECOND) as u64)
}

async fn in_time<T>(deadline: Instant, next: impl Future<Output = T>) -> Result<T, Problem> {
    timeout_at(deadline, next).await.map_err(|_| {
        Problem::with_status(
            StatusCode::REQUEST_TIMEOUT,
            "the body came too slowly; send it faster or in smaller requests",
        )
    })
}

fn too_large(most: usize) -> Problem {
    let message = format!("the body is longer than the {most} bytes it may have");
    Refusal::new(ErrorCode::TooLarge, message).into()
}
