use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::connection::Door;
use super::limits::HttpLimits;
use super::response::Body;

/// First and longest pause after `accept` failed for want of descriptors or memory. A loop
/// without it would spin on EMFILE and starve the very connections that would free a slot.
const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(10);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Connections cut themselves at the deadline; this is the grace for their tasks to be scheduled.
const CUT_GRACE: Duration = Duration::from_secs(1);

/// What a listener did in its life, told when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Connections accepted.
    pub connections: u64,
    /// Requests that their handler answered.
    pub requests: u64,
    /// What the shutdown met.
    pub drained: Drained,
}

/// How the connections ended that were open when the shutdown began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drained {
    /// Requests in flight that were answered before the deadline.
    pub requests_finished: u64,
    /// Requests in flight whose client got no whole answer: cut at the deadline, left by the
    /// client, or ended by a panic. Such a request is indeterminate for its client.
    pub requests_cut: u64,
    /// Connections that closed by themselves.
    pub connections_finished: u64,
    /// Connections that were cut at the deadline.
    pub connections_cut: u64,
}

/// How many connections of a listener are open now; shared by its clones.
#[derive(Debug, Clone, Default)]
pub struct OpenConnections(Arc<AtomicI64>);

impl OpenConnections {
    /// Their number.
    pub fn count(&self) -> i64 {
        self.0.load(Relaxed)
    }

    fn opened(&self) -> OpenConnection {
        self.0.fetch_add(1, Relaxed);
        OpenConnection(self.clone())
    }
}

struct OpenConnection(OpenConnections);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// As [`serve_counted`], where nobody counts.
pub async fn serve<H, F>(
    listener: TcpListener,
    limits: HttpLimits,
    handler: H,
    shutdown: impl Future<Output = ()>,
) -> Served
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    serve_counted(listener, limits, handler, shutdown, OpenConnections::default()).await
}

/// Serves HTTP/1.1 on `listener` until `shutdown` resolves, then stops accepting, lets requests
/// in flight finish, and cuts what is left after `limits.shutdown_deadline`.
///
/// Dropping the returned future stops accepting and nothing else; only `shutdown` drains.
/// `handler` runs inside the connection's task: it is dropped at any await when its client goes
/// or the deadline passes, so work that must not be cut in half belongs into a task of its own.
pub async fn serve_counted<H, F>(
    listener: TcpListener,
    limits: HttpLimits,
    handler: H,
    shutdown: impl Future<Output = ()>,
    open: OpenConnections,
) -> Served
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let connections_max = limits.connections_max.get();
    let deadline = limits.shutdown_deadline;
    let slots = Arc::new(Semaphore::new(connections_max as usize));
    let (closing, closing_seen) = watch::channel(false);
    let door = Arc::new(Door::new(limits, handler));

    let mut connections = 0;
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        // The semaphore is never closed, so this arm is only for the compiler.
        let Some((slot, stream, peer)) = accepted else { break };
        connections += 1;
        let door = Arc::clone(&door);
        let closing = closing_seen.clone();
        let open = open.opened();
        tokio::spawn(async move {
            door.serve_connection(stream, peer, closing).await;
            // After the connection has been tallied: the drain below waits for slots.
            drop((slot, open));
        });
    }

    drop(listener);
    closing.send_replace(true);
    let all_ended = slots.acquire_many(connections_max);
    if tokio::time::timeout(deadline.saturating_add(CUT_GRACE), all_ended).await.is_err() {
        tracing::error!(
            "HTTP connections did not end after the shutdown deadline: a handler blocks its thread"
        );
    }
    Served { connections, requests: door.requests_answered(), drained: door.drained() }
}

/// Waits for a free slot, then for a connection.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(OwnedSemaphorePermit, TcpStream, SocketAddr)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    let mut pause = ACCEPT_PAUSE_MIN;
    // Bounded by time, not by count: it ends with the first good accept or with the caller's
    // shutdown, and a failing accept is tried at most once per pause.
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return Some((slot, stream, peer)),
            Err(error) if peer_left(&error) => {}
            Err(error) => {
                tracing::warn!(
                    %error,
                    pause_ms = pause.as_millis(),
                    "accepting failed: raise the limit of open files or lower the connection cap"
                );
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
            }
        }
    }
}

/// Errors of accept(2) that concern one connection, which is already gone.
fn peer_left(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
