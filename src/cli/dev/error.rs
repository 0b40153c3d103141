//! What can keep `doorbuster dev` from running.

use std::net::SocketAddr;

use crate::catalogue::{FieldError, StoreError};
use crate::payment::SandboxError;
use crate::postgres::PgError;
use crate::servers::ServersError;
use crate::webhooks::SecretError;

/// `doorbuster dev` cannot start, or not go on.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// Nobody said where the data should be.
    #[error("no home directory is known to keep data in: name a directory with --data-dir")]
    NoHome,
    /// A private server.
    #[error(transparent)]
    Servers(#[from] ServersError),
    /// A private server's address does not pass as a setting.
    #[error(
        "the private server's address {0} cannot be used: this is a mistake in doorbuster, please report it"
    )]
    Address(&'static str),
    /// The well-known token of `dev` would guard an address that others can reach.
    #[error(
        "admin_listen is {0}, which other machines may reach: set admin_token to a secret of your own, or \
         listen on 127.0.0.1"
    )]
    TokenNeeded(SocketAddr),
    /// The way to Postgres.
    #[error(transparent)]
    Postgres(#[from] PgError),
    /// The stand-in for a payment gateway.
    #[error("the stand-in payment gateway cannot start: {0}")]
    Sandbox(#[from] SandboxError),
    /// What signs its webhooks.
    #[error("payment_webhook_secret: {0}")]
    WebhookSecret(#[from] SecretError),
    /// The demo sale cannot be made.
    #[error("the demo sale cannot be made: {0}")]
    Store(#[from] StoreError),
    /// The definition of the demo sale that is built in.
    #[error("the demo sale's definition is wrong ({0:?}): this is a mistake in doorbuster, please report it")]
    Definition(Vec<FieldError>),
    /// No keeper could open the partitions.
    #[error(
        "not every partition was open after {waited_s} s: the log above says why; --log-filter info says more"
    )]
    NotOpen {
        /// How long was waited, in seconds.
        waited_s: u64,
    },
}
