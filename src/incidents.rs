//! What went wrong although the engine went on, and how an operator says that it was looked at.

use deadpool_postgres::GenericClient;
use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::Row;

use crate::dead_letters::Operator;
use crate::partition::Partition;
use crate::postgres::{PgError, PgPool};

const LIST: &str = include_str!("../sql/incidents/list.sql");
const RAISE: &str = include_str!("../sql/incidents/raise.sql");
const ACKNOWLEDGE: &str = include_str!("../sql/incidents/acknowledge.sql");

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Incident {
    /// Its number.
    pub id: i64,
    /// What happened, as docs/RUNBOOK.md lists it.
    pub kind: String,
    /// Where.
    pub partition: u8,
    /// To what: an order, a log entry, an item.
    pub subject: String,
    /// In words.
    pub detail: String,
    /// When it was noticed.
    pub happened_at: Timestamp,
    /// By whom it was looked at; `None` while it is open.
    pub acknowledged: Option<Acknowledged>,
}

/// That somebody has looked at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Acknowledged {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// What came of it.
    pub reason: String,
}

/// What became of an acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is acknowledged now.
    Done,
    /// Somebody was faster; that stays.
    Already(Acknowledged),
    /// There is no such incident.
    NotFound,
}

/// Raises an incident, once for each kind and subject, and says so in the log.
///
/// # Errors
/// Those of any statement.
pub(crate) async fn raise(
    db: &impl GenericClient,
    kind: &'static str,
    partition: Partition,
    subject: &str,
    detail: &str,
) -> Result<(), tokio_postgres::Error> {
    tracing::error!(kind, %partition, subject, detail, "incident");
    write(db, kind, partition, subject, detail).await
}

/// As [`raise`], for whoever has said so in the log himself.
///
/// # Errors
/// Those of any statement.
pub(crate) async fn write(
    db: &impl GenericClient,
    kind: &'static str,
    partition: Partition,
    subject: &str,
    detail: &str,
) -> Result<(), tokio_postgres::Error> {
    db.execute(RAISE, &[&kind, &partition.to_sql(), &subject, &detail]).await?;
    Ok(())
}

/// Incidents, the newest first, at most `limit`: the open ones, or all.
///
/// # Errors
/// [`PgError`].
pub async fn list(
    pool: &PgPool,
    partition: Option<Partition>,
    all: bool,
    limit: u32,
) -> Result<Vec<Incident>, PgError> {
    let db = pool.get().await?;
    let rows = db.query(LIST, &[&partition.map(Partition::to_sql), &all, &i64::from(limit)]).await?;
    Ok(rows.iter().map(read).collect())
}

/// Says that an incident was looked at, once. Doing it again changes nothing.
///
/// # Errors
/// [`PgError`]; whether it took effect may be unknown: do it again.
pub async fn acknowledge(pool: &PgPool, id: i64, by: &Operator, reason: &str) -> Result<Answer, PgError> {
    let db = pool.get().await?;
    let mut row = db.query_opt(ACKNOWLEDGE, &[&id, &by.as_str(), &reason]).await?;
    if row.is_none() {
        // Acknowledged by another hand between the two halves of that statement: this one sees it.
        row = db.query_opt(ACKNOWLEDGE, &[&id, &by.as_str(), &reason]).await?;
    }
    Ok(match row {
        Some(row) if row.get(0) => Answer::Done,
        Some(row) => acknowledged(&row, 1).map_or(Answer::NotFound, Answer::Already),
        None => Answer::NotFound,
    })
}

fn read(row: &Row) -> Incident {
    Incident {
        id: row.get(0),
        kind: row.get(1),
        partition: u8::try_from(row.get::<_, i16>(2)).unwrap_or(u8::MAX),
        subject: row.get(3),
        detail: row.get(4),
        happened_at: row.get(5),
        acknowledged: acknowledged(row, 6),
    }
}

fn acknowledged(row: &Row, first: usize) -> Option<Acknowledged> {
    Some(Acknowledged {
        at: row.get::<_, Option<Timestamp>>(first)?,
        by: row.get::<_, Option<String>>(first + 1)?,
        reason: row.get::<_, Option<String>>(first + 2)?,
    })
}
