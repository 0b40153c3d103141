use std::error::Error;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;

/// Why a request's body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Answered with 413.
    #[error("the body is larger than {max_bytes} bytes; send less, or raise the body limit")]
    TooLarge {
        /// The limit, in bytes.
        max_bytes: usize,
    },
    /// Answered with 408.
    #[error("the body did not arrive within {} ms; the client or its network is slow, or raise the body timeout", .timeout.as_millis())]
    Timeout {
        /// The limit.
        timeout: Duration,
    },
    /// Answered with 400, if anybody is left to read it.
    #[error("the body ended early or is badly framed; look at the client or the proxy before us")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
}

/// Reads a whole body of at most `max_bytes` within `timeout`.
///
/// A declared Content-Length above the limit is refused before a byte is read, so a client that
/// sent `Expect: 100-continue` is never asked for the body. A body that arrives in one piece is
/// handed on without a copy.
///
/// # Errors
/// [`BodyError`], which converts to a [`Problem`](super::Problem).
pub async fn read_body<B>(body: B, max_bytes: usize, timeout: Duration) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    if body.size_hint().lower() > max_bytes as u64 {
        return Err(BodyError::TooLarge { max_bytes });
    }
    let mut collected = pin!(collect(body, max_bytes));
    // Nearly always it is there already: no clock is read for it.
    if let Poll::Ready(collected) = futures_util::poll!(collected.as_mut()) {
        return collected;
    }
    // Boxed: the usual request need not make room for a timer.
    match Box::pin(tokio::time::timeout(timeout, collected)).await {
        Ok(collected) => collected,
        Err(_) => Err(BodyError::Timeout { timeout }),
    }
}

/// Bounded by `max_bytes`, and by the caller's timeout for frames that carry no data.
async fn collect<B>(body: B, max_bytes: usize) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut body = pin!(body);
    let first = next_data(body.as_mut(), 0, max_bytes).await?.unwrap_or_default();
    if body.is_end_stream() {
        return Ok(first);
    }
    let mut whole = BytesMut::from(first);
    while let Some(data) = next_data(body.as_mut(), whole.len(), max_bytes).await? {
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// The next piece of data that still fits behind the first `read_bytes`; trailers are skipped.
async fn next_data<B>(
    mut body: Pin<&mut B>,
    read_bytes: usize,
    max_bytes: usize,
) -> Result<Option<Bytes>, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    while let Some(frame) = body.as_mut().frame().await {
        let frame = frame.map_err(|error| BodyError::Broken(error.into()))?;
        match frame.into_data() {
            Ok(data) if data.len() > max_bytes - read_bytes => {
                return Err(BodyError::TooLarge { max_bytes });
            }
            Ok(data) => return Ok(Some(data)),
            Err(_trailers) => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use futures_util::stream;
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;
    use std::convert::Infallible;

    const PLENTY: Duration = Duration::from_secs(30);

    fn pieces(parts: &'static [&'static str]) -> impl Body<Data = Bytes, Error = Infallible> {
        StreamBody::new(stream::iter(
            parts.iter().map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes())))),
        ))
    }

    #[tokio::test]
    async fn joins_pieces_up_to_the_limit() {
        assert_eq!(read_body(pieces(&["ab", "", "cd"]), 4, PLENTY).await.unwrap(), "abcd");
        assert_eq!(read_body(pieces(&[]), 0, PLENTY).await.unwrap(), "");
        assert_eq!(read_body(Full::new(Bytes::from("abcd")), 4, PLENTY).await.unwrap(), "abcd");
    }

    #[tokio::test]
    async fn names_the_whole_limit_when_a_later_piece_passes_it() {
        for parts in [&["abcde"][..], &["ab", "cde"]] {
            let error = read_body(pieces(parts), 4, PLENTY).await.unwrap_err();
            assert!(matches!(error, BodyError::TooLarge { max_bytes: 4 }), "{error:?}");
        }
    }

    #[tokio::test]
    async fn refuses_a_declared_length_without_reading() {
        let error = read_body(Full::new(Bytes::from("abcde")), 4, PLENTY).await.unwrap_err();
        assert!(matches!(error, BodyError::TooLarge { max_bytes: 4 }));
    }

    #[tokio::test]
    async fn gives_up_on_a_body_that_never_comes() {
        let silent = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let error = read_body(silent, 4, Duration::from_millis(10)).await.unwrap_err();
        assert!(matches!(error, BodyError::Timeout { .. }));
    }
}
