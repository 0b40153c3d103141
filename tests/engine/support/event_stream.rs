//! A client of an event stream, as a browser's EventSource reads it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::PATIENCE;

pub struct EventStream {
    stream: TcpStream,
    unread: Vec<u8>,
    pub status: u16,
    pub head: String,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    Event { id: String, name: String, data: Value },
    Comment,
    Retry(u64),
}

impl EventStream {
    pub async fn open(address: SocketAddr, path: &str, buyer: &str, last: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nX-Buyer-Id: {buyer}\r\n{last}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut opened = Self { stream, unread: Vec::new(), status: 0, head: String::new() };
        let end = loop {
            if let Some(end) = opened.find(b"\r\n\r\n") {
                break end;
            }
            assert!(opened.read_more().await, "closed within the head");
        };
        opened.head = String::from_utf8(opened.unread.drain(..end + 4).collect()).unwrap().to_lowercase();
        opened.status = opened.head.split(' ').nth(1).unwrap().parse().unwrap();
        opened
    }

    /// The next line of the stream; `None` at its end.
    pub async fn next(&mut self) -> Option<Line> {
        let chunk = self.chunk().await?;
        Some(parse(&chunk))
    }

    /// The next event; comments are skipped.
    pub async fn event(&mut self) -> (String, String, Value) {
        // Signs of life are no reason to wait for ever.
        let end = Instant::now() + PATIENCE;
        loop {
            match self.next().await.expect("the stream goes on") {
                Line::Event { id, name, data } => return (id, name, data),
                Line::Comment => assert!(Instant::now() < end, "no event within {PATIENCE:?}"),
                Line::Retry(_) => panic!("the stream ends"),
            }
        }
    }

    /// Each frame of the body is a chunk of its own.
    async fn chunk(&mut self) -> Option<String> {
        let end = loop {
            if let Some(end) = self.find(b"\r\n") {
                break end;
            }
            if !self.read_more().await {
                return None;
            }
        };
        let size = String::from_utf8(self.unread.drain(..end + 2).collect()).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        while self.unread.len() < size + 2 {
            assert!(self.read_more().await, "closed within a chunk");
        }
        let chunk: Vec<u8> = self.unread.drain(..size + 2).collect();
        (size > 0).then(|| String::from_utf8(chunk[..size].to_vec()).unwrap())
    }

    fn find(&self, end: &[u8]) -> Option<usize> {
        self.unread.windows(end.len()).position(|window| window == end)
    }

    async fn read_more(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.unread)).await;
        read.expect("the stream says something in time").is_ok_and(|bytes| bytes > 0)
    }

    /// Whether nothing is sent for a time.
    pub async fn is_silent_for(&mut self, time: Duration) -> bool {
        self.unread.is_empty() && tokio::time::timeout(time, self.stream.readable()).await.is_err()
    }
}

fn parse(chunk: &str) -> Line {
    assert!(chunk.ends_with("\n\n"), "{chunk:?}");
    let field = |name: &str| {
        chunk.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
    };
    match (field("data"), field("retry")) {
        (Some(data), _) => Line::Event {
            id: field("id").unwrap(),
            name: field("event").unwrap(),
            data: serde_json::from_str(&data).unwrap(),
        },
        (None, Some(retry)) => Line::Retry(retry.parse().unwrap()),
        (None, None) => {
            assert_eq!(chunk, ":\n\n");
            Line::Comment
        }
    }
}
