//! A stand-in payment gateway, to run on one machine: it serves the protocol of docs/PAYMENTS.md, and misbehaves as much
//! as it is told to. No money moves.
//!
//! What it does to an order follows from the seed and the order's id, so that a run can be repeated.

mod chance;
mod charges;
mod desk;
mod rates;
mod routes;
mod server;
mod webhooks;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use hyper::Uri;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::charges::Charges;
use self::desk::Desk;
use self::webhooks::Post;
use crate::config::Secret;
use crate::http::{self, BearerToken, BearerTokenError};
use crate::webhooks::WebhookSecret;

pub use self::charges::SandboxCharge;
pub use self::rates::{Rates, RatesError};

/// How a sandbox is set up.
#[derive(Clone, Debug)]
pub struct SandboxOptions {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The bearer token that callers must show; without one it listens on loopback alone.
    pub token: Option<Secret>,
    /// How it misbehaves, to begin with.
    pub rates: Rates,
    /// What it draws from.
    pub seed: u64,
    /// Whom it tells what became of a charge.
    pub webhook: Option<SandboxWebhook>,
    /// Where it writes down each change before it answers, to find it again when it comes back; in memory without it.
    pub state: Option<PathBuf>,
}

/// Where outcomes are told.
#[derive(Clone, Debug)]
pub struct SandboxWebhook {
    /// For example `http://127.0.0.1:8080/v1/payments/webhook`.
    pub url: Uri,
    /// What signs them.
    pub secret: WebhookSecret,
}

impl Default for SandboxOptions {
    /// Well-behaved, in memory, on a free port of this machine.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            token: None,
            rates: Rates::default(),
            seed: 0,
            webhook: None,
            state: None,
        }
    }
}

/// The sandbox cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Others could reach it and charge.
    #[error("{0} can be reached by other machines: give --token, or listen on 127.0.0.1")]
    TokenNeeded(SocketAddr),
    /// The token.
    #[error(transparent)]
    Token(#[from] BearerTokenError),
    /// The rates.
    #[error(transparent)]
    Rates(#[from] RatesError),
    /// The address.
    #[error("cannot listen on {address}: {source}; choose another with --listen")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The file.
    #[error("{path}: {source}")]
    State {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// TLS for the webhook.
    #[error("TLS for the webhook: {0}")]
    Tls(#[from] rustls::Error),
}

/// A running stand-in gateway; dropped, it ends.
pub struct Sandbox {
    /// Where it listens.
    pub address: SocketAddr,
    desk: Arc<Desk>,
    tasks: TaskTracker,
    _stop: DropGuard,
}

impl Sandbox {
    /// Starts it.
    ///
    /// # Errors
    /// [`SandboxError`].
    pub async fn start(options: SandboxOptions) -> Result<Self, SandboxError> {
        let SandboxOptions { listen, token, rates, seed, webhook, state } = options;
        if token.is_none() && !listen.ip().is_loopback() {
            return Err(SandboxError::TokenNeeded(listen));
        }
        let token = token.map(|token| BearerToken::new(token.expose())).transpose()?;
        rates.check()?;
        let charges = match state {
            None => Charges::default(),
            Some(path) => Charges::open(&path)
                .map_err(|source| SandboxError::State { path: path.display().to_string(), source })?,
        };
        let failed = |source| SandboxError::Listen { address: listen, source };
        let listener = http::listen(listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let desk = Arc::new(Desk::new(charges, rates, seed, token, (tasks.clone(), stop.clone())));
        if let Some(webhook) = webhook {
            desk.tell_by(Post::new(webhook)?);
        }
        desk.resume();
        server::start(listener, desk.clone(), &tasks, &stop);
        Ok(Self { address, desk, tasks, _stop: stop.drop_guard() })
    }

    /// Tells outcomes there from now on, and those that nobody was told of; the first that is named is told.
    ///
    /// # Errors
    /// [`SandboxError::Tls`].
    pub fn tell(&self, webhook: SandboxWebhook) -> Result<(), SandboxError> {
        self.desk.tell_by(Post::new(webhook)?);
        self.desk.tell_rest();
        Ok(())
    }

    /// What `gateway_url` is to be.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How it misbehaves now.
    pub fn rates(&self) -> Rates {
        self.desk.rates()
    }

    /// Changes that, from the next request on.
    ///
    /// # Errors
    /// [`RatesError`]; then nothing changes.
    pub fn set_rates(&self, rates: Rates) -> Result<(), RatesError> {
        self.desk.set_rates(rates)
    }

    /// Every charge, by order.
    pub fn charges(&self) -> Vec<SandboxCharge> {
        self.desk.charges()
    }

    /// Requests about charges that arrived, whatever became of them.
    pub fn requests(&self) -> u64 {
        self.desk.requests()
    }

    /// Ends it as a kill would: connections are cut, outcomes that were not told yet are told by the next one that finds them
    /// in its state file. Returns when nothing of it is left.
    pub async fn stop(self) {
        let Self { tasks, _stop, .. } = self;
        drop(_stop);
        tasks.close();
        tasks.wait().await;
    }
}
