use std::any::Any;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::activity::Activity;
use super::head_watch::HeadWatch;
use super::limits::HttpLimits;
use super::response::Body;
use super::server::Drained;
use super::watched_stream::WatchedStream;

/// Everything that the connections of one listener share.
pub(super) struct Door<H> {
    http: http1::Builder,
    handler: H,
    header_timeout: Duration,
    write_timeout: Duration,
    shutdown_deadline: Duration,
    tally: Tally,
}

#[derive(Default)]
struct Tally {
    requests_answered: AtomicU64,
    requests_finished: AtomicU64,
    requests_cut: AtomicU64,
    connections_finished: AtomicU64,
    connections_cut: AtomicU64,
}

enum End {
    /// The connection closed with every answer written.
    Finished,
    /// The client broke off, was too slow with a body or with reading, or sent what is not HTTP.
    Broken(hyper::Error),
    /// The client was too slow with the head of a request, or sent none.
    Idle,
    /// The shutdown deadline passed.
    Cut,
}

/// The connection's place in a shutdown.
enum Phase {
    Serving,
    /// Shutting down; `answered` counts the requests answered before that.
    Draining {
        answered: u64,
    },
}

impl<H, F> Door<H>
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    pub(super) fn new(limits: HttpLimits, handler: H) -> Self {
        let header_bytes = limits.header_max_bytes.max(HttpLimits::HEADER_MIN_BYTES);
        let mut http = http1::Builder::new();
        http.max_headers(limits.headers_max)
            .max_buf_size(header_bytes)
            .keep_alive(true)
            // It need not look whether the client has left, nor how long a head takes: the stream and the watch do.
            .half_close(true)
            .header_read_timeout(None)
            // Responses are small: copying one behind its head is cheaper than a vectored write.
            .writev(false);
        Self {
            http,
            handler,
            header_timeout: limits.header_timeout,
            write_timeout: limits.write_timeout,
            shutdown_deadline: limits.shutdown_deadline,
            tally: Tally::default(),
        }
    }

    /// Serves one connection to its end. A panic in the handler ends this connection only.
    pub(super) async fn serve_connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        closing: watch::Receiver<bool>,
    ) {
        set_socket_options(&stream, self.write_timeout);
        let activity = Arc::new(Activity::new());
        let stream = TokioIo::new(WatchedStream::new(stream, Arc::clone(&activity)));
        let service = service_fn(|request| {
            activity.request_started();
            let answer = (self.handler)(request);
            let activity = Arc::clone(&activity);
            async move {
                let response = answer.await;
                activity.request_answered();
                Ok::<_, Infallible>(response)
            }
        });
        let mut phase = Phase::Serving;
        let connection = pin!(self.http.serve_connection(stream, service));
        let driven = self.drive(connection, closing, &activity, &mut phase);
        // Unwind-safe: the connection is dropped unused after a panic, and counts are atomic.
        match AssertUnwindSafe(driven).catch_unwind().await {
            Ok(end) => {
                match &end {
                    End::Broken(error) => {
                        tracing::debug!(%peer, error = error as &dyn std::error::Error, "connection ended early");
                    }
                    End::Idle => tracing::debug!(%peer, "no request came in time"),
                    End::Finished | End::Cut => {}
                }
                self.tally.connection_ended(&end, &phase, &activity);
            }
            Err(panic) => {
                let panic = panic_text(panic.as_ref());
                tracing::error!(%peer, panic, "a request handler panicked; its connection was closed");
                self.tally.connection_panicked(&phase, &activity);
            }
        }
    }

    /// Polls the connection until it ends by itself or has waited too long for a request, or until the shutdown's deadline after
    /// `closing` turned true.
    async fn drive<S>(
        &self,
        mut connection: Pin<&mut http1::Connection<TokioIo<WatchedStream>, S>>,
        mut closing: watch::Receiver<bool>,
        activity: &Arc<Activity>,
        phase: &mut Phase,
    ) -> End
    where
        S: hyper::service::HttpService<Incoming, ResBody = Body>,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut head = HeadWatch::new(self.header_timeout);
        // An error means that the server is gone, which asks for the same.
        let shutdown = async { drop(closing.wait_for(|closing| *closing).await) };
        let mut shutdown = pin!(shutdown.fuse());
        let mut poll = |connection: Pin<&mut http1::Connection<_, S>>, context: &mut Context<'_>| {
            // The connection first: it is nearly always why the task woke.
            if let Poll::Ready(ended) = connection.poll(context) {
                return Poll::Ready(Some(End::from(ended)));
            }
            if !activity.has_alarm() {
                return Poll::Pending;
            }
            let alarm = activity.alarm(context.waker());
            let context = &mut Context::from_waker(&alarm);
            if head.poll(activity, context).is_ready() {
                return Poll::Ready(Some(End::Idle));
            }
            shutdown.as_mut().poll(context).map(|()| None)
        };
        if let Some(end) = poll_fn(|context| poll(connection.as_mut(), context)).await {
            return end;
        }
        *phase = Phase::Draining { answered: activity.answered() };
        connection.as_mut().graceful_shutdown();
        let ended = poll_fn(|context| poll(connection.as_mut(), context));
        tokio::time::timeout(self.shutdown_deadline, ended).await.ok().flatten().unwrap_or(End::Cut)
    }

    pub(super) fn requests_answered(&self) -> u64 {
        self.tally.requests_answered.load(Relaxed)
    }

    pub(super) fn drained(&self) -> Drained {
        Drained {
            requests_finished: self.tally.requests_finished.load(Relaxed),
            requests_cut: self.tally.requests_cut.load(Relaxed),
            connections_finished: self.tally.connections_finished.load(Relaxed),
            connections_cut: self.tally.connections_cut.load(Relaxed),
        }
    }
}

impl From<hyper::Result<()>> for End {
    fn from(ended: hyper::Result<()>) -> Self {
        match ended {
            Ok(()) => Self::Finished,
            Err(error) => Self::Broken(error),
        }
    }
}

impl Tally {
    fn connection_ended(&self, end: &End, phase: &Phase, activity: &Activity) {
        self.requests_answered.fetch_add(activity.answered(), Relaxed);
        let Phase::Draining { answered } = *phase else { return };
        // A draining connection is closed by hyper as soon as it is between two requests, so
        // at most one request remains, and one that is open at the deadline holds one request,
        // running or not yet written out, unless it never sent a whole head.
        let in_flight = u64::from(activity.started() > answered);
        match end {
            End::Finished => {
                self.requests_finished.fetch_add(in_flight, Relaxed);
                self.connections_finished.fetch_add(1, Relaxed);
            }
            End::Broken(_) | End::Idle => {
                self.requests_cut.fetch_add(in_flight, Relaxed);
                self.connections_finished.fetch_add(1, Relaxed);
            }
            End::Cut => {
                self.requests_cut.fetch_add(u64::from(activity.started() > 0), Relaxed);
                self.connections_cut.fetch_add(1, Relaxed);
            }
        }
    }

    fn connection_panicked(&self, phase: &Phase, activity: &Activity) {
        self.requests_answered.fetch_add(activity.answered(), Relaxed);
        if matches!(phase, Phase::Draining { .. }) {
            self.requests_cut.fetch_add(1, Relaxed);
            self.connections_finished.fetch_add(1, Relaxed);
        }
    }
}

/// Best effort: a socket whose options cannot be set is about to fail by itself.
fn set_socket_options(stream: &TcpStream, write_timeout: Duration) {
    // An answer is one small write; Nagle would hold the next one for the client's ACK.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY was refused");
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(write_timeout)) {
        tracing::debug!(%error, "TCP_USER_TIMEOUT was refused");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = write_timeout;
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
}
