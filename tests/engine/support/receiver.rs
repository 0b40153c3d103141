//! A server of somebody else, which webhooks are sent to.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use doorbuster::http::{Body, HttpLimits, json, read_body, serve};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Request, Response, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// What came, and what is answered: the scripted answers first, then always 200.
pub struct Receiver {
    pub address: SocketAddr,
    inbox: Arc<Mutex<Inbox>>,
    _server: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Inbox {
    received: Vec<Received>,
    answers: VecDeque<Answer>,
}

#[derive(Clone, Debug)]
pub struct Received {
    pub headers: HeaderMap,
    pub body: String,
}

#[derive(Clone, Copy, Debug)]
pub enum Answer {
    Status(u16),
    /// To another address, which must not be gone to.
    Redirect(SocketAddr),
    Slow(Duration),
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub fn event(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Receiver {
    pub async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answers = answers.into_iter().collect();
        let inbox = Arc::new(Mutex::new(Inbox { received: Vec::new(), answers }));
        let handler = {
            let inbox = inbox.clone();
            move |request| receive(inbox.clone(), request)
        };
        let server = serve(listener, HttpLimits::default(), handler, std::future::pending());
        let server = AbortOnDropHandle::new(tokio::spawn(async move {
            server.await;
        }));
        Self { address, inbox, _server: server }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn received(&self) -> Vec<Received> {
        self.inbox.lock().unwrap().received.clone()
    }

    /// Types of what came, in the order of arrival.
    pub fn types(&self) -> Vec<String> {
        self.received().iter().map(|one| one.event()["type"].as_str().unwrap().to_owned()).collect()
    }
}

async fn receive(inbox: Arc<Mutex<Inbox>>, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = read_body(body, 1 << 20, Duration::from_secs(10)).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let answer = {
        let mut inbox = inbox.lock().unwrap();
        inbox.received.push(Received { headers: head.headers, body });
        inbox.answers.pop_front().unwrap_or(Answer::Status(200))
    };
    match answer {
        Answer::Status(code) => json(StatusCode::from_u16(code).unwrap(), "\"no\""),
        Answer::Redirect(to) => {
            let mut response = json(StatusCode::TEMPORARY_REDIRECT, "");
            response.headers_mut().insert("location", format!("http://{to}/").parse().unwrap());
            response
        }
        Answer::Slow(time) => {
            tokio::time::sleep(time).await;
            json(StatusCode::OK, "")
        }
    }
}
