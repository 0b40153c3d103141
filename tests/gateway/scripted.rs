//! A server that answers what a test says, byte by byte.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

pub enum Act {
    /// A status and a body.
    Say(u16, &'static str),
    /// The same, with another header.
    SayWith(u16, &'static str, &'static str),
    /// Reads the request, then closes.
    HangUp,
    /// Reads the request, then says nothing.
    Silence,
    /// The head of an answer, and half of its body.
    HalfAnswer,
}

pub struct Scripted {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    _server: AbortOnDropHandle<()>,
}

impl Scripted {
    /// One act for each request, each on a connection of its own; then it accepts nothing more.
    pub async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let mut acts: VecDeque<Act> = acts.into_iter().collect();
        let seen = requests.clone();
        let server = tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Some(act) = acts.pop_front() {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = read_request(&mut stream).await;
                seen.lock().unwrap().push(request);
                match act {
                    Act::Say(status, body) => say(&mut stream, status, "", body).await,
                    Act::SayWith(status, header, body) => say(&mut stream, status, header, body).await,
                    Act::HangUp => {}
                    Act::Silence => silent.push(stream),
                    Act::HalfAnswer => {
                        let head = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"status\":\"paid\",";
                        stream.write_all(head.as_bytes()).await.unwrap();
                    }
                }
            }
            drop(listener);
            tokio::time::sleep(Duration::from_secs(3_600)).await;
        });
        Self { address, requests, _server: AbortOnDropHandle::new(server) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn say(stream: &mut TcpStream, status: u16, header: &str, body: &str) {
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} Said\r\nconnection: close\r\ncontent-length: {length}\r\n{header}\r\n{body}"
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
}

/// Head and body.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return String::from_utf8(read).unwrap();
            }
        }
        if stream.read_buf(&mut read).await.unwrap() == 0 {
            return String::from_utf8(read).unwrap();
        }
    }
}
