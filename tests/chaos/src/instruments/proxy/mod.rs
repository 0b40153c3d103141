//! A TCP proxy on loopback that delays, holds, refuses, cuts and loses, for any protocol.

mod behaviour;
mod connection;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use doorbuster::servers::free_port;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub use behaviour::{Behaviour, ProxyCounts};

use super::InstrumentError;
use behaviour::{Counters, Losses};

/// Ports tried before giving up.
const PORT_ATTEMPTS: u32 = 5;
/// How often a port that was given up by [`Behaviour::Refuse`] is tried again.
const REBIND_INTERVAL: Duration = Duration::from_millis(5);

/// A proxy before one server. Dropping it closes its port and all its connections.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
}

/// What the proxy and its connections share.
struct Shared {
    upstream: SocketAddr,
    behaviour: watch::Sender<Behaviour>,
    /// Whether the port is open at present.
    listening: watch::Sender<bool>,
    /// Raised to end every connection.
    cuts: watch::Sender<u64>,
    losses: Mutex<Losses>,
    counters: Counters,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and passes everything on to `upstream`, which need not be there yet.
    ///
    /// # Errors
    /// [`InstrumentError::Servers`] where no port is free.
    pub async fn start(upstream: SocketAddr) -> Result<Self, InstrumentError> {
        let (address, listener) = bind_free().await?;
        let shared = Arc::new(Shared {
            upstream,
            behaviour: watch::Sender::new(Behaviour::Pass),
            listening: watch::Sender::new(true),
            cuts: watch::Sender::new(0),
            losses: Mutex::new(Losses::default()),
            counters: Counters::default(),
        });
        let acceptor = tokio::spawn(accept(Arc::clone(&shared), address, listener));
        Ok(Self { address, shared, acceptor })
    }

    /// A proxy before a server on 127.0.0.1.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn before_port(port: u16) -> Result<Self, InstrumentError> {
        Self::start((Ipv4Addr::LOCALHOST, port).into()).await
    }

    /// Port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The URL of the server behind, changed to lead through this proxy.
    #[must_use]
    pub fn url_through(&self, url: &str) -> String {
        url.replacen(&self.shared.upstream.to_string(), &self.address.to_string(), 1)
    }

    /// Behaves so from now on, existing connections included. Returns once the port is open or closed as the
    /// behaviour says.
    pub async fn set(&self, behaviour: Behaviour) {
        if let Behaviour::Unreliable { seed, .. } = behaviour {
            self.shared.losses().seed(seed);
        }
        let refuses = behaviour == Behaviour::Refuse;
        self.shared.behaviour.send_replace(behaviour);
        // Fails only when the acceptor is gone, and with it the port.
        let _ = self.shared.listening.subscribe().wait_for(|listening| *listening != refuses).await;
    }

    /// Ends every connection that is open now.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// For each of the next `requests`: the server gets it, nobody gets the reply, and the connection closes.
    ///
    /// Counts only requests that hold `containing` (such as `COMMIT`), where that is not empty. A request is
    /// whatever a client sends while its connection is not yet chosen; what it had under way on the same
    /// connection loses its replies too. 0 requests call off what is left.
    pub fn lose_replies(&self, requests: u32, containing: &[u8]) {
        self.shared.losses().arm(requests, containing);
    }

    /// What the proxy has done since it was started.
    #[must_use]
    pub fn counts(&self) -> ProxyCounts {
        self.shared.counters.read()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Shared {
    fn losses(&self) -> MutexGuard<'_, Losses> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn bind_free() -> Result<(SocketAddr, TcpListener), InstrumentError> {
    let mut last = None;
    for _ in 0..PORT_ATTEMPTS {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok((address, listener)),
            Err(error) => last = Some(error),
        }
    }
    Err(InstrumentError::io("listen on 127.0.0.1")(
        last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into()),
    ))
}

/// Accepts while the behaviour allows it. The connections end with this task.
async fn accept(shared: Arc<Shared>, address: SocketAddr, listener: TcpListener) {
    let mut behaviour = shared.behaviour.subscribe();
    let mut connections = JoinSet::new();
    let mut listener = Some(listener);
    loop {
        let refuses = *behaviour.borrow_and_update() == Behaviour::Refuse;
        if refuses {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
        }
        shared.listening.send_replace(listener.is_some());
        tokio::select! {
            changed = behaviour.changed() => if changed.is_err() { return },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = next(listener.as_ref()), if listener.is_some() => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(connection::serve(Arc::clone(&shared), client));
                }
            }
            () = tokio::time::sleep(REBIND_INTERVAL), if listener.is_none() && !refuses => {}
        }
    }
}

async fn next(listener: Option<&TcpListener>) -> std::io::Result<(tokio::net::TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}
