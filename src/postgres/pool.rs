//! Connections with every timeout set: nothing here may wait for ever.

use std::future::Future;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config};

use super::error::{PgError, error_chain};
use super::tls::connector;

/// A bounded pool of connections; cheap to clone.
pub type PgPool = Pool;

/// What `pg_stat_activity` shows for our connections.
const APPLICATION_NAME: &str = "doorbuster";

/// Makes a pool; connects only when a connection is asked for.
///
/// `timeout` bounds each of: waiting for a free connection, connecting, and a statement. A lock is
/// given up after half of it, so that the error names the lock and not the statement; a transaction
/// left idle is ended by the server after twice of it.
///
/// The limits are sent as startup options; a connection pooler in between has to pass `options` on.
///
/// Encrypted where the URL says `sslmode=require`; the server's certificate is then verified.
///
/// # Errors
/// [`PgError::Url`], [`PgError::Tls`].
pub fn connect_pool(url: &str, connections_max: usize, timeout: Duration) -> Result<PgPool, PgError> {
    let config = configure(url, timeout, timeout, timeout / 2)?;
    // Fast: a dead connection is known by its closed socket; a round trip before each use would cost
    // more than the statement timeout saves.
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let tls = connector(config.get_ssl_mode())?;
    Pool::builder(Manager::from_config(config, tls, recycling))
        .max_size(connections_max.max(1))
        .wait_timeout(Some(timeout))
        .create_timeout(Some(timeout))
        .recycle_timeout(Some(timeout))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| PgError::Url(error_chain(&error)))
}

/// Opens one connection outside any pool, for session locks. Its statements are unbounded, but it
/// waits for a lock no longer than `lock_timeout`. The task carries the connection and ends with it.
///
/// # Errors
/// [`PgError`] by its kind.
pub async fn connect(
    url: &str,
    timeout: Duration,
    lock_timeout: Duration,
) -> Result<(Client, JoinHandle<()>), PgError> {
    let config = configure(url, timeout, Duration::ZERO, lock_timeout)?;
    let tls = connector(config.get_ssl_mode())?;
    let (client, connection) =
        within(timeout, async { config.connect(tls).await.map_err(PgError::from) }).await?;
    let carried = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(error = error_chain(&error), "a PostgreSQL connection broke");
        }
    });
    Ok((client, carried))
}

/// Runs work at Postgres for at most `limit`, also where the server has stopped answering and its own
/// timeouts therefore say nothing.
///
/// # Errors
/// [`PgError::Unreachable`] after `limit`: whether the work was done is then unknown.
pub async fn within<T, E>(limit: Duration, work: impl Future<Output = Result<T, E>>) -> Result<T, E>
where
    E: From<PgError>,
{
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(PgError::timed_out(limit).into()))
}

fn configure(
    url: &str,
    timeout: Duration,
    statement_timeout: Duration,
    lock_timeout: Duration,
) -> Result<Config, PgError> {
    let mut config: Config =
        url.parse().map_err(|error: tokio_postgres::Error| PgError::Url(error_chain(&error)))?;
    // The server's keepalives end the session of a keeper whose machine is gone, and with it the keeper's lock; by the
    // system's default that takes two hours. The operator's own options come last, so that they win.
    let options = format!(
        "-c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout={} \
         -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 -c jit=off {}",
        statement_timeout.as_millis(),
        lock_timeout.as_millis(),
        (timeout * 2).as_millis(),
        config.get_options().unwrap_or_default(),
    );
    // "prefer", which is also the default, would encrypt without a check, or not at all, as the server likes.
    if config.get_ssl_mode() != SslMode::Require {
        config.ssl_mode(SslMode::Disable);
    }
    if config.get_application_name().is_none() {
        config.application_name(APPLICATION_NAME);
    }
    config
        .options(options.trim_end())
        .connect_timeout(timeout)
        .tcp_user_timeout(timeout * 2)
        .keepalives_idle(Duration::from_secs(30));
    Ok(config)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_connection_carries_the_limits() {
        let url = "postgres://u@localhost/d?options=-c%20work_mem%3D1MB";
        let limit = Duration::from_secs(4);
        let config = configure(url, limit, limit, limit / 2).unwrap();
        assert_eq!(
            config.get_options(),
            Some(
                "-c statement_timeout=4000 -c lock_timeout=2000 \
                 -c idle_in_transaction_session_timeout=8000 \
                 -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 \
                 -c jit=off -c work_mem=1MB"
            )
        );
        assert_eq!(config.get_application_name(), Some("doorbuster"));
        let named = configure("postgres://u@localhost/d?application_name=n1", limit, limit, limit).unwrap();
        assert_eq!(named.get_application_name(), Some("n1"));
    }

    #[test]
    fn a_bad_url_says_what_a_good_one_looks_like() {
        let error = connect_pool("redis://localhost", 1, Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().contains("postgres://user:password@host"), "{error}");
    }
}
