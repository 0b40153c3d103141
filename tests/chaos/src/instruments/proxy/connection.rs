//! One connection through a proxy: two directions, each a reader and a writer with a queue between them.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::Shared;
use super::behaviour::{Behaviour, Fate, count};

const PIECE_BYTES: usize = 16 * 1024;
/// Pieces that wait in one direction; then the sender's own buffers fill, as on a real network.
const QUEUE_PIECES: usize = 64;
/// A reply is over when nothing of it came for so long; then the connection closes.
const REPLY_QUIET: Duration = Duration::from_millis(20);
/// Bound on the swallowing of replies, while the client goes on sending.
const REPLY_MAX: Duration = Duration::from_millis(200);

/// A piece of the stream and the moment before which it is not delivered.
struct Piece {
    bytes: Vec<u8>,
    read_at: Instant,
    due: Instant,
}

/// What both directions of one connection know.
#[derive(Default)]
struct Link {
    /// Replies are dropped from now on.
    loses_replies: AtomicBool,
    reply_dropped: Notify,
}

#[derive(Clone, Copy)]
enum Direction {
    Requests,
    Replies,
}

/// Passes a connection on until one side is done with it, or the proxy is. A server that cannot be reached
/// closes it.
pub(super) async fn serve(shared: Arc<Shared>, client: TcpStream) {
    count(&shared.counters.accepted);
    let mut cuts = shared.cuts.subscribe();
    let passed = async {
        let Ok(server) = TcpStream::connect(shared.upstream).await else { return };
        // Where it fails the connection is gone, which reading will tell.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        let link = Link::default();
        tokio::select! {
            () = pass_requests(&shared, &link, from_client, to_server) => {}
            () = pass_replies(&shared, &link, from_server, to_client) => {}
            () = reply_lost(&link) => count(&shared.counters.replies_lost),
        }
    };
    tokio::select! {
        () = passed => {}
        _ = cuts.changed() => count(&shared.counters.cut),
    }
}

/// Ends where the connection must close at once. After the client's own end it waits for the server's.
async fn pass_requests(shared: &Shared, link: &Link, from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let (sender, mut queue) = mpsc::channel(QUEUE_PIECES);
    let deliver = async {
        let mut tail = Vec::new();
        while let Some(piece) = queue.recv().await {
            wait_until_due(shared, &piece).await;
            match fate(shared, link, &piece.bytes, &mut tail) {
                Fate::Passes => {}
                Fate::RequestLost => return count(&shared.counters.requests_lost),
                // Before the server has the request, so that no byte of the reply can slip through.
                Fate::ReplyLost => link.loses_replies.store(true, Ordering::SeqCst),
            }
            if send(&mut to, &piece.bytes, &shared.counters.bytes_in).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
        pending().await
    };
    tokio::select! {
        () = deliver => {}
        () = read(shared, Direction::Requests, from, sender) => {}
    }
}

/// Ends with the server's side of the connection, once everything is delivered.
async fn pass_replies(shared: &Shared, link: &Link, from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let (sender, mut queue) = mpsc::channel::<Piece>(QUEUE_PIECES);
    let deliver = async {
        while let Some(piece) = queue.recv().await {
            if link.loses_replies.load(Ordering::SeqCst) {
                link.reply_dropped.notify_one();
                continue;
            }
            wait_until_due(shared, &piece).await;
            if send(&mut to, &piece.bytes, &shared.counters.bytes_out).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::select! {
        () = deliver => {}
        () = read(shared, Direction::Replies, from, sender) => {}
    }
}

/// Reads ahead, so that a delay holds back each piece and not the rate. Never ends: the deliverer does.
async fn read(shared: &Shared, direction: Direction, mut from: OwnedReadHalf, sender: mpsc::Sender<Piece>) {
    let mut buffer = vec![0; PIECE_BYTES];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let read_at = Instant::now();
        let due = read_at + delay(shared, direction);
        let piece = Piece { bytes: buffer[..length].to_vec(), read_at, due };
        if sender.send(piece).await.is_err() {
            break;
        }
    }
    drop(sender);
    pending().await
}

fn delay(shared: &Shared, direction: Direction) -> Duration {
    match (*shared.behaviour.borrow(), direction) {
        (Behaviour::Delay { requests, .. }, Direction::Requests) => requests,
        (Behaviour::Delay { replies, .. }, Direction::Replies) => replies,
        _ => Duration::ZERO,
    }
}

async fn wait_until_due(shared: &Shared, piece: &Piece) {
    tokio::time::sleep_until(piece.due).await;
    let mut behaviour = shared.behaviour.subscribe();
    let mut late = piece.due > piece.read_at;
    loop {
        let now = *behaviour.borrow_and_update();
        match now {
            Behaviour::Blackhole => {
                late = true;
                // The proxy is gone, and this connection with it.
                if behaviour.changed().await.is_err() {
                    return pending().await;
                }
            }
            Behaviour::Throttle { bytes_per_s } => {
                late = true;
                let s = piece.bytes.len() as f64 / f64::from(bytes_per_s.max(1));
                tokio::time::sleep(Duration::from_secs_f64(s)).await;
                break;
            }
            _ => break,
        }
    }
    if late {
        count(&shared.counters.late);
    }
}

fn fate(shared: &Shared, link: &Link, bytes: &[u8], tail: &mut Vec<u8>) -> Fate {
    if link.loses_replies.load(Ordering::SeqCst) {
        return Fate::Passes;
    }
    let behaviour = *shared.behaviour.borrow();
    shared.losses().decide(behaviour, bytes, tail)
}

async fn send(to: &mut OwnedWriteHalf, bytes: &[u8], counter: &AtomicU64) -> std::io::Result<()> {
    to.write_all(bytes).await?;
    counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    Ok(())
}

/// Ends once a reply has been dropped whole. Until then requests pass: the one that was chosen may be longer than
/// what the client has sent so far.
async fn reply_lost(link: &Link) {
    link.reply_dropped.notified().await;
    let deadline = Instant::now() + REPLY_MAX;
    while Instant::now() < deadline {
        if tokio::time::timeout(REPLY_QUIET, link.reply_dropped.notified()).await.is_err() {
            return;
        }
    }
}
