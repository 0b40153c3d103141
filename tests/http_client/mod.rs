//! A client that does exactly what a test says, also what no good client would do.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a test waits for what must happen; long, because the machine may be loaded.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    head: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

impl Client {
    pub async fn try_connect(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { stream: TcpStream::connect(address).await?, unread: Vec::new() })
    }

    pub async fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).await.expect("the server accepts connections")
    }

    pub async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("the connection is open");
    }

    /// Sends what the server may refuse before it has read all of it.
    pub async fn send_if_open(&mut self, text: &str) {
        let _ = self.stream.write_all(text.as_bytes()).await;
    }

    /// Sends, and tells whether the server has closed by then.
    pub async fn is_closed_after(&mut self, text: &str) -> bool {
        let sent = self.stream.write_all(text.as_bytes()).await;
        sent.is_err() || matches!(self.stream.try_read(&mut [0]), Ok(0))
    }

    /// The next answer, whose body is as long as its Content-Length says.
    pub async fn answer(&mut self) -> Answer {
        let head_end = loop {
            if let Some(found) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break found + 4;
            }
            assert!(self.read_more().await, "closed within a head: {:?}", self.unread.escape_ascii());
        };
        let head = String::from_utf8(self.unread.drain(..head_end).collect()).unwrap();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let mut answer = Answer { status, body: String::new(), head };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.unread.len() < length {
            assert!(self.read_more().await, "closed within a body");
        }
        answer.body = String::from_utf8(self.unread.drain(..length).collect()).unwrap();
        answer
    }

    /// Waits for the server to close; anything else that arrives fails the test.
    pub async fn until_closed(&mut self) {
        assert!(!self.read_more().await, "not closed: {:?}", self.unread.escape_ascii());
    }

    pub async fn is_silent_for(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.stream.readable()).await.is_err()
    }

    /// False once the server has closed.
    async fn read_more(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.unread));
        match read.await.expect("the server does something in time") {
            Ok(bytes) => bytes > 0,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error}"),
        }
    }
}
