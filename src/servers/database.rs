//! The few SQL statements that a private PostgreSQL itself needs.

use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

use super::ServersError;
use super::pg_cluster::ROLE;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// PostgreSQL's NAMEDATALEN − 1, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// Why a probe for readiness found the server not ready.
pub(super) enum NotYet {
    /// It says that it is starting, usually replaying its log.
    Starting,
    /// Anything else.
    Other(String),
}

/// The URL of a database for clients.
pub(super) fn url(port: u16, password: &str, database: &str) -> String {
    format!("postgres://{ROLE}:{password}@127.0.0.1:{port}/{database}")
}

/// Whether the server accepts sessions. Only ours knows the random password, so a server that
/// took the port before ours does not pass.
pub(super) async fn probe(port: u16, password: &str) -> Result<(), NotYet> {
    match connect(port, password).await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some(&SqlState::CANNOT_CONNECT_NOW) => Err(NotYet::Starting),
        Err(error) => Err(NotYet::Other(with_cause(&error))),
    }
}

/// Creates a database; does nothing where it exists.
pub(super) async fn create(port: u16, password: &str, name: &str) -> Result<(), ServersError> {
    check_name(name)?;
    // template0: nobody can be connected to it, so that parallel creations do not disturb
    // each other as they do with template1.
    let sql = format!("CREATE DATABASE {name} TEMPLATE template0");
    match run(port, password, &sql).await {
        Err(error) if error.code() == Some(&SqlState::DUPLICATE_DATABASE) => Ok(()),
        outcome => outcome.map_err(refused(format!("create the database {name}"))),
    }
}

/// Drops a database and the sessions in it; does nothing where it does not exist.
pub(super) async fn drop(port: u16, password: &str, name: &str) -> Result<(), ServersError> {
    check_name(name)?;
    let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
    run(port, password, &sql).await.map_err(refused(format!("drop the database {name}")))
}

async fn run(port: u16, password: &str, sql: &str) -> Result<(), tokio_postgres::Error> {
    connect(port, password).await?.batch_execute(sql).await
}

async fn connect(port: u16, password: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::Config::new()
        .host("127.0.0.1")
        .port(port)
        .user(ROLE)
        .password(password)
        .dbname("postgres")
        .connect_timeout(CONNECT_TIMEOUT)
        .connect(NoTls)
        .await?;
    // Ends when the client is dropped; an error of the connection reaches the client as well.
    tokio::spawn(connection);
    Ok(client)
}

fn refused(doing: String) -> impl FnOnce(tokio_postgres::Error) -> ServersError {
    move |source| ServersError::Postgres { doing, source }
}

/// The driver's Display leaves the cause out.
fn with_cause(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Names that need no quoting, so that none can smuggle SQL in. Key words are refused by the
/// server.
fn check_name(name: &str) -> Result<(), ServersError> {
    let fits = name.len() <= NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    if fits { Ok(()) } else { Err(ServersError::DatabaseName { name: name.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_need_quoting_are_refused() {
        assert!(check_name("shop_2").is_ok());
        for name in ["", "2shop", "Shop", "a-b", "a; drop database b", &"a".repeat(64)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
