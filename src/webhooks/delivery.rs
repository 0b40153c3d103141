//! Deliveries to one endpoint: taken, attempted, written down.
//!
//! A process that dies in between leaves a delivery that counts as lost after a while, and is attempted again under the
//! same id. So an endpoint may be told twice, and tells by the id that it was.

use std::time::Duration;

use deadpool_postgres::Object;
use futures_util::future::join_all;
use hyper::Uri;
use tokio_postgres::Row;
use uuid::Uuid;

use super::client::{Answer, WebhookClient};
use super::cloud_event::CloudEvent;
use super::secret::WebhookSecret;
use crate::metrics::WebhookMetrics;
use crate::order_id::OrderId;
use crate::postgres::{PgError, PgPool, within};
use crate::retry::RetryPolicy;

const TAKE_DUE: &str = include_str!("../../sql/webhooks/take_due.sql");
/// Deliveries to one endpoint under way at once, in one process.
const TAKEN_MAX: i64 = 32;
/// For a statement, also where Postgres hangs.
const STATEMENT_MAX: Duration = Duration::from_secs(5);
/// Added to the time of an attempt before it counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(30);

const DELIVERED: &str =
    "UPDATE webhook_deliveries SET state = 'delivered', ended_at = now(), last_error = NULL
    WHERE endpoint_id = $1 AND event_id = ANY ($2) AND state = 'waiting'";
// Only of the newest attempt: another process may have taken one that counted as lost.
const FAILED: &str =
    "UPDATE webhook_deliveries SET next_at = now() + $4::bigint * interval '1 millisecond', last_error = $5
    WHERE endpoint_id = $1 AND event_id = $2 AND attempts = $3 AND state = 'waiting'";
const DEAD: &str = "UPDATE webhook_deliveries SET state = 'dead', ended_at = now(), last_error = $4
    WHERE endpoint_id = $1 AND event_id = $2 AND attempts = $3 AND state = 'waiting'";
const GONE: &str = "WITH disabled AS (UPDATE webhook_endpoints SET disabled_at = now() WHERE id = $1 AND disabled_at IS NULL)
    UPDATE webhook_deliveries SET state = 'dead', ended_at = now(), last_error = '410 Gone: the endpoint wants no more'
    WHERE endpoint_id = $1 AND state = 'waiting'";

/// One endpoint, and how it is told.
#[derive(Clone)]
pub(super) struct Target {
    pub id: String,
    pub url: Uri,
    pub secret: WebhookSecret,
    pub pool: PgPool,
    pub client: WebhookClient,
    pub timeout: Duration,
    pub retry: RetryPolicy,
    pub metrics: WebhookMetrics,
}

/// A delivery that was taken for one attempt.
struct Taken {
    event: CloudEvent,
    attempts: i32,
    age: Duration,
}

impl Target {
    /// Attempts what is due; how many that was.
    pub async fn deliver_due(&self) -> Result<usize, PgError> {
        let taken = within(STATEMENT_MAX, self.take()).await?;
        let count = taken.len();
        let answers = join_all(taken.iter().map(|delivery| self.attempt(delivery))).await;
        if count > 0 {
            within(STATEMENT_MAX, self.write_down(&taken, answers)).await?;
        }
        Ok(count)
    }

    async fn take(&self) -> Result<Vec<Taken>, PgError> {
        let db = self.pool.get().await?;
        let statement = db.prepare_cached(TAKE_DUE).await?;
        let lost_ms = i64::try_from((self.timeout + LOST_AFTER).as_millis()).unwrap_or(i64::MAX);
        let rows = db.query(&statement, &[&self.id, &TAKEN_MAX, &lost_ms]).await?;
        Ok(rows.iter().map(read).collect())
    }

    async fn attempt(&self, taken: &Taken) -> Answer {
        self.client.deliver(&self.url, &self.secret, &taken.event.id, taken.event.to_json()).await
    }

    async fn write_down(&self, taken: &[Taken], answers: Vec<Answer>) -> Result<(), PgError> {
        let db = self.pool.get().await?;
        let all = || taken.iter().zip(&answers);
        let delivered = all().filter(|(_, answer)| **answer == Answer::Delivered);
        let delivered: Vec<&str> = delivered.map(|(taken, _)| taken.event.id.as_str()).collect();
        self.metrics.delivered(delivered.len() as u64);
        db.execute(DELIVERED, &[&self.id, &delivered]).await?;
        for (taken, answer) in all() {
            if let Answer::Failed { error, retry_after } = answer {
                self.write_failure(&db, taken, error, *retry_after).await?;
            }
        }
        if answers.contains(&Answer::Gone) {
            tracing::warn!(endpoint = self.id, "410 Gone: nothing more is sent to it");
            self.metrics.died(db.execute(GONE, &[&self.id]).await?);
        }
        Ok(())
    }

    async fn write_failure(
        &self,
        db: &Object,
        taken: &Taken,
        error: &str,
        retry_after: Option<Duration>,
    ) -> Result<(), PgError> {
        let (event, attempts) = (&taken.event.id, taken.attempts);
        let made = u32::try_from(attempts).unwrap_or(u32::MAX);
        let pause = self.retry.pause(made, taken.age, retry_after, fastrand::f64());
        self.metrics.failed();
        tracing::debug!(endpoint = self.id, event, attempts, error, ?pause, "not delivered");
        match pause {
            Some(pause) => {
                let pause_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
                db.execute(FAILED, &[&self.id, event, &attempts, &pause_ms, &error]).await?;
            }
            None => {
                tracing::warn!(endpoint = self.id, event, attempts, error, "given up");
                self.metrics.died(db.execute(DEAD, &[&self.id, event, &attempts, &error]).await?);
            }
        }
        Ok(())
    }
}

fn read(row: &Row) -> Taken {
    Taken {
        event: CloudEvent {
            id: row.get(0),
            event_type: row.get(1),
            at: row.get(2),
            sale: row.get(3),
            order: row.get::<_, Option<Uuid>>(4).map(OrderId::from_uuid),
            detail: row.get(5),
            buyer: row.get(6),
            items: row.get(7),
        },
        attempts: row.get(8),
        age: Duration::from_millis(row.get::<_, i64>(9).max(0).unsigned_abs()),
    }
}
