//! The HTTP shell over real sockets: limits hold, shutdown drains, one bad client hurts nobody.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod http_client;

use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use doorbuster::http::{Body, Events, HttpLimits, Problem, Served, event_stream, json, read_body, serve};
use http_client::{Client, PATIENCE};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A server on a free port, and what its test handler shares with the test.
struct Server {
    address: std::net::SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Served>,
    handler: Arc<Handler>,
}

#[derive(Default)]
struct Handler {
    limits: HttpLimits,
    waiting: AtomicUsize,
    events: AtomicUsize,
    release: Notify,
}

impl Handler {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        match request.uri().path() {
            "/panic" => panic!("as the test asked"),
            "/wait" => {
                self.wait_for_release().await;
                json(StatusCode::OK, "\"released\"")
            }
            "/wait-and-panic" => {
                self.wait_for_release().await;
                panic!("as the test asked")
            }
            "/events" => event_stream(Flood(self), PATIENCE, CancellationToken::new()),
            "/silence" => event_stream(Silence, PATIENCE * 2, CancellationToken::new()),
            "/large" => json(StatusCode::OK, vec![b' '; 1 << 20]),
            "/echo" => {
                let limits = &self.limits;
                match read_body(request.into_body(), limits.body_max_bytes, limits.body_timeout).await {
                    Ok(body) => json(StatusCode::OK, body),
                    Err(error) => Problem::from(error).into_response(),
                }
            }
            path => json(StatusCode::OK, path.to_owned()),
        }
    }

    async fn wait_for_release(&self) {
        // Waits from here on, so a release right after the count is not missed.
        let mut released = pin!(self.release.notified());
        released.as_mut().enable();
        self.waiting.fetch_add(1, SeqCst);
        released.await;
    }
}

impl Server {
    async fn start(limits: HttpLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let handler = Arc::new(Handler { limits: limits.clone(), ..Handler::default() });
        let answering = Arc::clone(&handler);
        let served = tokio::spawn(serve(
            listener,
            limits,
            move |request| Arc::clone(&answering).answer(request),
            async move { drop(stopped.await) },
        ));
        Self { address, stop: Some(stop), served, handler }
    }

    async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }

    fn begin_shutdown(&mut self) {
        drop(self.stop.take());
    }

    async fn stop(mut self) -> Served {
        self.begin_shutdown();
        tokio::time::timeout(PATIENCE, self.served).await.unwrap().unwrap()
    }

    async fn until_waiting(&self, requests: usize) {
        tokio::time::timeout(PATIENCE, async {
            while self.handler.waiting.load(SeqCst) < requests {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("the requests reach their handler");
    }
}

/// So patient that only what a test shortens can happen.
fn limits() -> HttpLimits {
    HttpLimits {
        header_timeout: PATIENCE * 2,
        body_timeout: PATIENCE * 2,
        write_timeout: PATIENCE * 2,
        shutdown_deadline: PATIENCE * 2,
        body_max_bytes: 1000,
        ..HttpLimits::default()
    }
}

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn keeps_connections_alive_and_answers_pipelined_requests_in_order() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    client.send("GET /one HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(client.answer().await.body, "/one");
    let pipelined: String = (0..20).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: x\r\n\r\n")).collect();
    client.send(&pipelined).await;
    for n in 0..20 {
        let answer = client.answer().await;
        assert_eq!(answer.body, format!("/{n}"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let served = server.stop().await;
    assert_eq!((served.connections, served.requests), (1, 21));
    assert_eq!(served.drained.requests_finished, 0);
}

#[tokio::test]
async fn a_client_that_is_slow_with_its_headers_is_closed() {
    let server = Server::start(HttpLimits { header_timeout: SHORT, ..limits() }).await;
    let mut silent = server.connect().await;
    let mut slow = server.connect().await;
    slow.send("GET / HTTP/1.1\r\nHost: x\r\n").await;
    let mut idle = server.connect().await;
    idle.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    idle.answer().await;
    let mut dripping = server.connect().await;
    let drips = tokio::spawn(async move {
        while !dripping.is_closed_after("x").await {
            tokio::time::sleep(SHORT / 10).await;
        }
    });
    for client in [&mut silent, &mut slow, &mut idle] {
        client.until_closed().await;
    }
    tokio::time::timeout(PATIENCE, drips).await.expect("a head without an end is closed").unwrap();
    assert_eq!(server.stop().await.connections, 4);
}

#[tokio::test]
async fn a_request_may_take_longer_than_its_head() {
    let server = Server::start(HttpLimits { header_timeout: SHORT, ..limits() }).await;
    let mut client = server.connect().await;
    client.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(client.is_silent_for(SHORT * 3).await, "closed, or answered");
    server.handler.release.notify_waiters();
    assert_eq!(client.answer().await.status, 200);
    client.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nh").await;
    assert!(client.is_silent_for(SHORT * 3).await, "closed, or answered");
    client.send("i").await;
    assert_eq!(client.answer().await.body, "hi");
    client.send("GET /silence HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    assert!(client.is_silent_for(SHORT * 3).await, "closed, or told something");
}

#[tokio::test]
async fn a_shutdown_waits_no_longer_for_a_head_than_anybody() {
    let mut server = Server::start(HttpLimits { header_timeout: SHORT, ..limits() }).await;
    let mut slow = server.connect().await;
    slow.send("GET / HTTP/1.1\r\nHost: x\r\n").await;
    // It is being served by then.
    let mut next = server.connect().await;
    next.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    next.answer().await;
    server.begin_shutdown();
    slow.until_closed().await;
    let served = server.stop().await;
    assert_eq!((served.drained.connections_finished, served.drained.connections_cut), (2, 0));
}

#[tokio::test]
async fn oversized_heads_are_refused() {
    let server = Server::start(HttpLimits { headers_max: 10, ..limits() }).await;
    let many: String = (0..20).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(100_000));
    for headers in [many, long] {
        let mut client = server.connect().await;
        client.send_if_open(&format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n")).await;
        assert_eq!(client.answer().await.status, 431);
    }
}

#[tokio::test]
async fn no_connection_is_served_above_the_cap() {
    let server = Server::start(HttpLimits { connections_max: NonZeroU32::new(2).unwrap(), ..limits() }).await;
    let first = server.connect().await;
    let mut second = server.connect().await;
    second.send("GET /second HTTP/1.1\r\nHost: x\r\n\r\n").await;
    second.answer().await;
    // The kernel completes this handshake; the server has not accepted it.
    let mut third = server.connect().await;
    third.send("GET /third HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(third.is_silent_for(SHORT).await, "answered above the cap");
    drop(first);
    assert_eq!(third.answer().await.body, "/third");
}

#[tokio::test]
async fn bodies_are_read_whole_in_one_piece_or_many() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    client.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd").await;
    assert_eq!(client.answer().await.body, "abcd");
    client.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab").await;
    assert!(client.is_silent_for(Duration::from_millis(50)).await);
    client.send("cd").await;
    assert_eq!(client.answer().await.body, "abcd");
    client
        .send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.body, "abcd");
    client.send("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 100);
    client.send("abcd").await;
    assert_eq!(client.answer().await.body, "abcd");
}

#[tokio::test]
async fn too_large_bodies_get_413() {
    let server = Server::start(limits()).await;
    // Declared: refused before the client is asked to send it.
    let mut client = server.connect().await;
    client
        .send("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n")
        .await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));
    assert!(answer.body.contains("/problems/body-too-large"), "{}", answer.body);
    client.until_closed().await;
    // Not declared: refused where the limit is passed.
    let mut client = server.connect().await;
    let chunk = format!("3e9\r\n{}\r\n", "x".repeat(1001));
    client
        .send(&format!("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"))
        .await;
    assert_eq!(client.answer().await.status, 413);
}

#[tokio::test]
async fn bodies_that_do_not_come_get_408() {
    let server = Server::start(HttpLimits { body_timeout: SHORT, ..limits() }).await;
    let mut client = server.connect().await;
    client.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    client.until_closed().await;
}

#[tokio::test]
async fn badly_framed_bodies_get_400() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    client.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("/problems/malformed-request"), "{}", answer.body);
}

#[tokio::test]
async fn a_panic_closes_its_connection_only() {
    let server = Server::start(limits()).await;
    let mut other = server.connect().await;
    other.send("GET /before HTTP/1.1\r\nHost: x\r\n\r\n").await;
    other.answer().await;
    let mut client = server.connect().await;
    client.send("GET /panic HTTP/1.1\r\nHost: x\r\n\r\n").await;
    client.until_closed().await;
    other.send("GET /after HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(other.answer().await.body, "/after");
    assert_eq!(server.stop().await.requests, 2);
}

#[tokio::test]
async fn a_client_that_never_reads_loses_its_connection() {
    let server = Server::start(HttpLimits {
        connections_max: NonZeroU32::MIN,
        write_timeout: Duration::from_secs(1),
        ..limits()
    })
    .await;
    let mut hoarder = server.connect().await;
    // More than the socket buffers of both sides hold.
    hoarder.send(&"GET /large HTTP/1.1\r\nHost: x\r\n\r\n".repeat(64)).await;
    let mut next = server.connect().await;
    next.send("GET /next HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(next.answer().await.body, "/next");
    drop(hoarder);
}

/// A stream that always has news.
struct Flood(Arc<Handler>);

const EVENT_BYTES: usize = 10_000;

impl Events for Flood {
    async fn next(&mut self) -> Option<Bytes> {
        self.0.events.fetch_add(1, SeqCst);
        Some(Bytes::from(vec![b' '; EVENT_BYTES]))
    }
}

/// What it does not read is not made: there is no queue that could grow. And its place is soon another's.
#[tokio::test]
async fn a_stream_that_nobody_reads_holds_no_events_and_is_closed() {
    let server = Server::start(HttpLimits {
        connections_max: NonZeroU32::MIN,
        write_timeout: Duration::from_secs(1),
        ..limits()
    })
    .await;
    let mut hoarder = server.connect().await;
    hoarder.send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut next = server.connect().await;
    next.send("GET /next HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(next.answer().await.body, "/next");
    // Those that the socket buffers of both sides hold, and one in hand.
    let made = server.handler.events.load(SeqCst);
    assert!(made * EVENT_BYTES < 32 << 20, "{made} events were made for a client that reads none");
    drop(hoarder);
}

/// A stream that never has any.
struct Silence;

impl Events for Silence {
    async fn next(&mut self) -> Option<Bytes> {
        std::future::pending().await
    }
}

/// Before anything is written to it: a place in a queue, or of an event stream, is not kept for nobody.
#[tokio::test]
async fn a_client_that_leaves_gives_its_place_back() {
    let server = Server::start(HttpLimits { connections_max: NonZeroU32::MIN, ..limits() }).await;
    let mut waiting = server.connect().await;
    waiting.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    server.until_waiting(1).await;
    drop(waiting);
    let mut watching = server.connect().await;
    // Not the first request of its connection, and with a body.
    watching.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi").await;
    assert_eq!(watching.answer().await.body, "hi");
    watching.send("GET /silence HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(watching.answer().await.status, 200);
    drop(watching);
    let mut next = server.connect().await;
    next.send("GET /next HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(next.answer().await.body, "/next");
}

#[tokio::test]
async fn shutdown_finishes_what_is_in_flight_and_counts_it() {
    let mut server = Server::start(limits()).await;
    let mut idle = server.connect().await;
    idle.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    idle.answer().await;
    let mut busy = [server.connect().await, server.connect().await];
    for client in &mut busy {
        client.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    }
    server.until_waiting(2).await;
    server.begin_shutdown();
    idle.until_closed().await;
    assert!(Client::try_connect(server.address).await.is_err(), "still accepting");
    server.handler.release.notify_waiters();
    for client in &mut busy {
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        client.until_closed().await;
    }
    let served = server.stop().await;
    assert_eq!((served.connections, served.requests), (3, 3));
    assert_eq!((served.drained.requests_finished, served.drained.requests_cut), (2, 0));
    assert_eq!((served.drained.connections_finished, served.drained.connections_cut), (3, 0));
}

#[tokio::test]
async fn a_panic_during_shutdown_counts_as_a_cut_request() {
    let mut server = Server::start(limits()).await;
    let mut client = server.connect().await;
    client.send("GET /wait-and-panic HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut witness = server.connect().await;
    witness.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    witness.answer().await;
    server.until_waiting(1).await;
    server.begin_shutdown();
    // Its end shows that the shutdown has reached the connections.
    witness.until_closed().await;
    let served = tokio::spawn(async move {
        tokio::time::sleep(SHORT).await;
        server.handler.release.notify_waiters();
        server.stop().await
    });
    client.until_closed().await;
    let drained = served.await.unwrap().drained;
    assert_eq!((drained.requests_finished, drained.requests_cut, drained.connections_cut), (0, 1, 0));
}

#[tokio::test]
async fn the_deadline_cuts_what_does_not_finish() {
    let server = Server::start(HttpLimits { shutdown_deadline: SHORT, ..limits() }).await;
    let mut stuck = server.connect().await;
    stuck.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut unfinished = server.connect().await;
    unfinished.send("GET / HTTP/1.1\r\nHost:").await;
    server.until_waiting(1).await;
    let served = server.stop().await;
    stuck.until_closed().await;
    assert_eq!(served.requests, 0);
    assert_eq!((served.drained.requests_finished, served.drained.requests_cut), (0, 1));
    // The unfinished head may or may not have been read by then; it is no request either way.
    assert!(served.drained.connections_cut >= 1, "{served:?}");
}
