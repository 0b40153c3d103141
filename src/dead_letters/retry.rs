//! Persists an entry that could not be persisted before.

use std::time::Duration;

use deadpool_postgres::{Object, Transaction};

use crate::log::{EntryAddress, LogEntry};
use crate::persist::{Fence, WriteError, begin, write_in, write_over_allotment_in};
use crate::postgres::{PgError, PgPool, within};
use crate::redis::Redis;

use super::drop::{came_back, cancel};
use super::fence::while_open;
use super::letter::{DeadLetter, Ended, Outcome, end, lock};
use super::{DeadLetterError, Operator};

/// What became of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retried {
    /// What it says is in Postgres.
    Persisted,
    /// It is there as a cancelled order, since Postgres has no units for it.
    OverAllotment,
    /// It is there as a cancelled order, since its units went back before.
    Returned,
    /// It stays a dead letter, for this reason.
    StillDead(String),
    /// Someone has ended it before.
    AlreadyEnded(Ended),
}

/// Persists the entry of a letter as a worker would, and ends the letter, in one transaction; what still cannot be
/// persisted stays, with its new error. `limit` bounds a transaction.
///
/// # Errors
/// [`DeadLetterError`]; where it is about a server, whether the transaction took effect may be unknown: run it again.
pub async fn retry(
    pool: &PgPool,
    redis: &Redis,
    address: EntryAddress,
    by: &Operator,
    limit: Duration,
) -> Result<Retried, DeadLetterError> {
    while_open(redis, address.partition, async |fence| {
        let mut db = pool.get().await.map_err(PgError::from)?;
        within(limit, attempt(&mut db, fence, address, by)).await
    })
    .await
}

async fn attempt(
    db: &mut Object,
    fence: Fence,
    address: EntryAddress,
    by: &Operator,
) -> Result<Retried, DeadLetterError> {
    let mut tx = begin(db, fence).await?;
    let letter = lock(&tx, address).await?;
    if let Some(ended) = letter.ended {
        return Ok(Retried::AlreadyEnded(ended));
    }
    let retried = match letter.raw.decode() {
        Ok(entry) => persist(&mut tx, fence, &letter, &entry, by).await?,
        Err(error) => Retried::StillDead(error.to_string()),
    };
    match &retried {
        Retried::StillDead(error) => note_failure(&tx, &letter, error).await?,
        _ => end(&tx, &letter, Outcome::Retried, by, None).await?,
    }
    tx.commit().await?;
    tracing::info!(letter = %address, by = by.as_str(), ?retried, "dead letter tried again");
    Ok(retried)
}

/// Behind a savepoint: an error of Postgres undoes the attempt, not the lock on the letter.
async fn persist(
    tx: &mut Transaction<'_>,
    fence: Fence,
    letter: &DeadLetter,
    entry: &LogEntry,
    by: &Operator,
) -> Result<Retried, DeadLetterError> {
    let id = letter.raw.id;
    if let (LogEntry::Order(order), Some(order_id)) = (entry, letter.order())
        && came_back(tx, order_id).await?
    {
        // A database from before the order ended, into which the log was replayed: it must not rise again.
        cancel(tx, letter, order, false, by).await?;
        return Ok(Retried::Returned);
    }
    let attempt = tx.savepoint("attempt").await?;
    let error = match write_in(&attempt, fence, &[(id, entry.clone())]).await {
        Ok(_) => {
            attempt.commit().await?;
            return Ok(Retried::Persisted);
        }
        Err(error) if error.is_about_the_data() => error,
        Err(error) => return Err(error.into()),
    };
    attempt.rollback().await?;
    match (error, entry) {
        (WriteError::OverAllotment, LogEntry::Order(order)) => {
            write_over_allotment_in(tx, fence, id, order).await?;
            Ok(Retried::OverAllotment)
        }
        (error, _) => Ok(Retried::StillDead(error.to_string())),
    }
}

async fn note_failure(tx: &Transaction<'_>, letter: &DeadLetter, error: &str) -> Result<(), DeadLetterError> {
    let entry = letter.address.entry;
    tx.execute(
        "UPDATE dead_letters SET error = $4, retries = retries + 1, tried_at = now()
         WHERE partition = $1 AND entry_ms = $2 AND entry_seq = $3",
        &[&letter.address.partition.to_sql(), &entry.ms_sql(), &entry.seq_sql(), &error],
    )
    .await?;
    Ok(())
}
