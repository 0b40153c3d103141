//! Server-sent events: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.
//!
//! A client holds no queue: what it is sent next is asked for when the last event has left, so one that reads slowly skips
//! what it has missed. One that does not read at all loses its connection (`HttpLimits::write_timeout`).

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Either, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use tokio_util::sync::CancellationToken;

use super::response::{Body, NO_STORE};

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
/// nginx hands on what it is sent instead of gathering it:
/// <https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering>
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// A comment: it keeps proxies from closing a silent connection, and finds clients that are gone.
const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");
/// When clients come back from a node that stops: spread, so that they do not come at once.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_SPREAD_MS: u64 = 3_000;

/// What a stream tells.
pub trait Events: Send + 'static {
    /// The next event; `None` at the end. Must be cancel-safe: it is given up for a heartbeat, and asked again.
    fn next(&mut self) -> impl Future<Output = Option<Bytes>> + Send;
}

/// One event, as it is written.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// What a client that comes back says it had last; no line break in it.
    pub id: &'a str,
    /// What kind it is; no line break in it.
    pub name: &'a str,
    /// JSON of one line.
    pub data: &'a str,
}

impl Event<'_> {
    /// The bytes of it.
    pub fn encode(&self) -> Bytes {
        debug_assert!(![self.id, self.name, self.data].iter().any(|field| field.contains(['\n', '\r'])));
        Bytes::from(format!("id: {}\nevent: {}\ndata: {}\n\n", self.id, self.name, self.data))
    }
}

/// Answers with a stream of `events`, kept alive by a comment each `heartbeat`. When `stop` is cancelled it ends, and the
/// client is told when to come back.
pub fn event_stream<E: Events>(events: E, heartbeat: Duration, stop: CancellationToken) -> Response<Body> {
    let writer = Some(Writer { events, heartbeat, stop });
    let frames = stream::unfold(writer, async |writer| {
        let mut writer = writer?;
        let (bytes, goes_on) = writer.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(bytes)), goes_on.then_some(writer)))
    });
    let mut response = Response::new(Either::Right(StreamBody::new(frames).boxed_unsync()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, EVENT_STREAM);
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

struct Writer<E> {
    events: E,
    heartbeat: Duration,
    stop: CancellationToken,
}

impl<E: Events> Writer<E> {
    /// What is written next, and whether more may follow.
    async fn next(&mut self) -> Option<(Bytes, bool)> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Some((come_back(), false)),
            event = self.events.next() => event.map(|event| (event, true)),
            () = tokio::time::sleep(self.heartbeat) => Some((HEARTBEAT, true)),
        }
    }
}

fn come_back() -> Bytes {
    let retry = RETRY_MIN + Duration::from_millis(fastrand::u64(..RETRY_SPREAD_MS));
    Bytes::from(format!("retry: {}\n\n", retry.as_millis()))
}
