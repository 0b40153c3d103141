//! An address that leads to one server, and later to another: what a failover looks like from outside.

use std::sync::{Arc, Mutex};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// Forwards TCP connections. Dropping it ends them.
pub struct Forwarder {
    pub port: u16,
    state: Arc<Mutex<State>>,
    accepting: AbortHandle,
}

struct State {
    /// `None`: connections are refused by being closed.
    target: Option<u16>,
    connections: JoinSet<()>,
}

impl Forwarder {
    /// Stands before the server of a URL: the URL that leads to it now.
    pub fn before(url: &str) -> (String, Self) {
        let parsed = url::Url::parse(url).unwrap();
        let port = parsed.port().unwrap();
        let forwarder = Self::to(port);
        (url.replacen(&format!(":{port}"), &format!(":{}", forwarder.port), 1), forwarder)
    }

    fn to(target: u16) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State { target: Some(target), connections: JoinSet::new() }));
        let accepting = tokio::spawn(accept(listener, state.clone())).abort_handle();
        Self { port, state, accepting }
    }

    /// Cuts every connection; new ones lead to `target`, or nowhere.
    pub fn switch(&self, target: Option<u16>) {
        let mut state = self.state.lock().unwrap();
        state.target = target;
        state.connections = JoinSet::new();
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    while let Ok((mut inner, _)) = listener.accept().await {
        let mut state = state.lock().unwrap();
        let Some(target) = state.target else { continue };
        state.connections.spawn(async move {
            let Ok(mut outer) = TcpStream::connect(("127.0.0.1", target)).await else { return };
            let _ = copy_bidirectional(&mut inner, &mut outer).await;
        });
    }
}
