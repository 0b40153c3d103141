//! One command to one Redis or Sentinel, on a connection of its own.

use std::net::SocketAddr;
use std::time::Duration;

use fred::prelude::*;
use fred::types::{ClusterHash, CustomCommand};

use super::InstrumentError;

/// Bound on connecting and on the answer. A server that is cut off or frozen gives none.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Sends one command, once, and returns its reply.
///
/// # Errors
/// [`InstrumentError::Redis`]: no connection or no reply within 2 s each, or an error reply.
pub async fn redis_command(server: SocketAddr, words: &[&str]) -> Result<Value, InstrumentError> {
    let wrong = |source| InstrumentError::Redis { server, source };
    let (name, args) = words
        .split_first()
        .ok_or_else(|| wrong(Error::new(ErrorKind::InvalidArgument, "a command has at least one word")))?;
    let config = Config::from_url(&format!("redis://{server}")).map_err(wrong)?;
    let client = Builder::from_config(config)
        .with_connection_config(|connection| {
            connection.connection_timeout = TIMEOUT;
            connection.internal_command_timeout = TIMEOUT;
            connection.max_command_attempts = 1;
            // Sentinel does not know the command.
            connection.auto_client_setname = false;
        })
        .with_performance_config(|performance| performance.default_command_timeout = TIMEOUT)
        .build()
        .map_err(wrong)?;
    let asked = async {
        client.init().await?;
        let command = CustomCommand::new((*name).to_owned(), ClusterHash::FirstKey, false);
        client.custom::<Value, String>(command, args.iter().map(|word| (*word).to_owned()).collect()).await
    };
    let timed_out = || Error::new(ErrorKind::Timeout, "no answer");
    let reply = tokio::time::timeout(TIMEOUT * 2, asked).await.unwrap_or_else(|_| Err(timed_out()));
    // Bounded: the farewell to a frozen server would wait for ever.
    let _ = tokio::time::timeout(TIMEOUT, client.quit()).await;
    reply.map_err(wrong)
}
