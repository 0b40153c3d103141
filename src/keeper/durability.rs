//! What `ack` promises is only as good as the servers' settings: looked at by every opening.

use crate::postgres::{PgError, PgPool};
use crate::redis::{Keys, Redis, RedisError};

/// How strictly the servers' settings are held against `ack`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurabilityCheck {
    /// Before a 202: whether the log must be on storage (`ack = "fsync"`), or may be in memory alone.
    pub fsync: bool,
    /// Whether a setting that breaks the promise keeps the partition closed, or is only reported.
    pub enforce: bool,
}

/// Redis settings that an acknowledgement after the fsync needs.
/// <https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/>
const REDIS_FSYNC: [(&str, &str); 3] =
    [("appendonly", "yes"), ("appendfsync", "always"), ("no-appendfsync-on-rewrite", "no")];
/// Needed in any case: an evicted key would be stock that nobody sold.
const REDIS_ALWAYS: [(&str, &str); 1] = [("maxmemory-policy", "noeviction")];
/// <https://www.postgresql.org/docs/current/runtime-config-wal.html>; `synchronous_commit` may also be stronger.
const POSTGRES: [(&str, &[&str]); 3] = [
    ("fsync", &["on"]),
    ("full_page_writes", &["on"]),
    ("synchronous_commit", &["on", "local", "remote_write", "remote_apply"]),
];

/// The settings that break the promise, each as a sentence; empty where all is well.
pub(super) async fn complaints(
    redis: &Redis,
    keys: &Keys,
    pool: &PgPool,
    check: DurabilityCheck,
) -> Result<Vec<String>, DurabilityError> {
    let mut complaints = Vec::new();
    let wanted = REDIS_ALWAYS.iter().chain(if check.fsync { &REDIS_FSYNC[..] } else { &[] });
    for (name, value) in wanted {
        match redis_setting(redis, keys, name).await {
            Ok(found) if found == *value => {}
            Ok(found) => complaints.push(format!("redis: {name} is {found:?}, must be {value:?}")),
            Err(RedisError::Refused(why)) => complaints.push(format!("redis: {name} cannot be read ({why})")),
            Err(error) => return Err(error.into()),
        }
    }
    let db = pool.get().await.map_err(PgError::from)?;
    for (name, values) in POSTGRES {
        let row = db.query_one("SELECT current_setting($1)", &[&name]).await.map_err(PgError::from)?;
        let found: String = row.get(0);
        if !values.contains(&found.as_str()) {
            complaints.push(format!("postgres: {name} is {found:?}, must be {:?}", values[0]));
        }
    }
    Ok(complaints)
}

async fn redis_setting(redis: &Redis, keys: &Keys, name: &'static str) -> Result<String, RedisError> {
    let reply = redis.command("CONFIG", &keys.meta, vec!["GET".into(), name.into()]).await?;
    let pair: Vec<String> = reply.convert()?;
    pair.into_iter().nth(1).ok_or_else(|| RedisError::Refused("no such setting".into()))
}

/// The settings could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DurabilityError {
    /// Redis.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// Postgres.
    #[error(transparent)]
    Postgres(#[from] PgError),
}
