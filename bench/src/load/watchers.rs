//! Clients that watch a sale while others buy: a stream of server-sent events each.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const READ_BYTES: usize = 4096;
/// What each event has once.
const EVENT: &[u8] = b"data: ";

/// Open streams. They end when it is dropped.
pub struct Watchers {
    /// Events that each has seen, the first one included.
    events: Vec<Arc<AtomicU64>>,
    opened: Instant,
    _streams: JoinSet<()>,
}

/// What watchers have seen.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    /// Events of all of them, a second.
    pub events_per_s: f64,
    /// Watchers that saw no change.
    pub unaware: usize,
}

impl Watchers {
    /// Opens `count` streams of a sale, and waits until each has told the state.
    ///
    /// # Errors
    /// Where a stream is refused.
    pub async fn open(address: SocketAddr, sale: &str, count: usize) -> io::Result<Self> {
        let mut streams = JoinSet::new();
        let mut events = Vec::with_capacity(count);
        for _ in 0..count {
            let stream = first_event(address, sale).await?;
            let seen = Arc::new(AtomicU64::new(1));
            events.push(seen.clone());
            streams.spawn(read_on(stream, seen));
        }
        Ok(Self { events, opened: Instant::now(), _streams: streams })
    }

    /// What they have seen so far.
    pub fn watched(&self) -> Watched {
        let seen = |events: &Arc<AtomicU64>| events.load(Relaxed);
        let all: u64 = self.events.iter().map(seen).sum();
        let seconds = self.opened.elapsed().as_secs_f64().max(f64::EPSILON);
        let unaware = self.events.iter().filter(|events| seen(events) < 2).count();
        Watched { events_per_s: all as f64 / seconds, unaware }
    }
}

async fn first_event(address: SocketAddr, sale: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /v1/sales/{sale}/events HTTP/1.1\r\nHost: bench\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let (mut buffer, mut answer) = (vec![0; READ_BYTES], Vec::new());
    while count_events(&answer) == 0 {
        let read = stream.read(&mut buffer).await?;
        answer.extend_from_slice(&buffer[..read]);
        if read == 0 || !answer.starts_with(&b"HTTP/1.1 200"[..answer.len().min(12)]) {
            return Err(io::Error::other(format!("no stream: {}", String::from_utf8_lossy(&answer))));
        }
    }
    Ok(stream)
}

async fn read_on(mut stream: TcpStream, seen: Arc<AtomicU64>) {
    let mut buffer = vec![0; READ_BYTES];
    // An event is one write of the node, and rarely cut.
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        seen.fetch_add(count_events(&buffer[..read]), Relaxed);
    }
}

fn count_events(bytes: &[u8]) -> u64 {
    bytes.windows(EVENT.len()).filter(|window| *window == EVENT).count() as u64
}
