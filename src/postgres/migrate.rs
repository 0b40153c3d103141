//! The schema: brought up to date by whichever node starts first.

use std::time::Duration;

use refinery::error::Kind;
use tokio_postgres::Client;

use super::error::{PgError, error_chain};
use super::locks::AdvisoryLock;
use super::pool::connect;

mod embedded {
    refinery::embed_migrations!("sql/migrations");
}

/// How long a node waits for another one's migration, and a migration for a table.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(300);

/// Oldest server that is supported, as in `server_version_num`.
const SERVER_VERSION_MIN: i32 = 15_00_00;

/// The schema could not be brought to what this binary needs.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The way to Postgres, or the lock.
    #[error(transparent)]
    Postgres(#[from] PgError),
    /// The server is too old.
    #[error("PostgreSQL {found} is too old: Doorbuster needs PostgreSQL 15 or newer")]
    ServerTooOld {
        /// The server's own version text.
        found: String,
    },
    /// A newer binary was here. Going on could write what the newer one does not expect.
    #[error("the database has migration V{database}, this binary knows V{binary}: upgrade the binary")]
    SchemaNewer {
        /// Highest migration in the database.
        database: i64,
        /// Highest migration of this binary.
        binary: i64,
    },
    /// An applied migration is not the one that this binary carries.
    #[error(
        "the database's schema has diverged ({0}): it was migrated by another build; use that build, \
         or an empty database"
    )]
    Diverged(String),
    /// A migration failed and was rolled back.
    #[error("a migration failed and was rolled back ({0}): correct the cause and start again")]
    Failed(String),
}

/// What [`migrate`] found to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The migrations that this call applied, oldest first; empty where the schema was current.
    pub applied: Vec<String>,
    /// The schema's version now.
    pub version: i64,
}

/// Brings the schema up to date. Safe to call from any number of nodes at once: one migrates under a
/// session lock, the others wait and find nothing to do. `timeout` bounds connecting.
///
/// # Errors
/// [`MigrateError`]; nothing was changed where it says so.
pub async fn migrate(url: &str, timeout: Duration) -> Result<Migrated, MigrateError> {
    let (mut client, connection) = connect(url, timeout, LOCK_WAIT_MAX).await?;
    let outcome = migrate_locked(&mut client).await;
    // The lock belongs to the session: closing it is what lets the next node in, on every path.
    drop(client);
    if tokio::time::timeout(timeout, connection).await.is_err() {
        tracing::warn!("the migration's connection did not close in time; its lock goes with it");
    }
    outcome
}

async fn migrate_locked(client: &mut Client) -> Result<Migrated, MigrateError> {
    check_server(client).await?;
    let lock = AdvisoryLock::Migrations;
    client
        .execute("SELECT pg_advisory_lock($1, $2)", &[&AdvisoryLock::CLASS, &lock.key()])
        .await
        .map_err(PgError::from)?;

    let runner = embedded::migrations::runner();
    let known = runner.get_migrations().iter().map(|migration| i64::from(migration.version())).max();
    let binary = known.unwrap_or(0);
    let database = schema_version(client).await?;
    if database > binary {
        return Err(MigrateError::SchemaNewer { database, binary });
    }
    let report = runner.run_async(client).await.map_err(explain)?;
    let applied: Vec<String> = report.applied_migrations().iter().map(ToString::to_string).collect();
    for migration in &applied {
        tracing::info!(%migration, "applied a migration");
    }
    Ok(Migrated { applied, version: binary })
}

async fn check_server(client: &Client) -> Result<(), MigrateError> {
    let row = client
        .query_one(
            "SELECT current_setting('server_version_num')::int, current_setting('server_version')",
            &[],
        )
        .await
        .map_err(PgError::from)?;
    if row.get::<_, i32>(0) < SERVER_VERSION_MIN {
        return Err(MigrateError::ServerTooOld { found: row.get(1) });
    }
    Ok(())
}

/// Highest applied migration; 0 for a new database.
async fn schema_version(client: &Client) -> Result<i64, PgError> {
    let known: bool =
        client.query_one("SELECT to_regclass('refinery_schema_history') IS NOT NULL", &[]).await?.get(0);
    if !known {
        return Ok(0);
    }
    let row =
        client.query_one("SELECT coalesce(max(version), 0)::int8 FROM refinery_schema_history", &[]).await?;
    Ok(row.get(0))
}

fn explain(error: refinery::Error) -> MigrateError {
    match error.kind() {
        Kind::DivergentVersion(..) | Kind::MissingVersion(_) => MigrateError::Diverged(error.to_string()),
        _ => MigrateError::Failed(error_chain(&error)),
    }
}
