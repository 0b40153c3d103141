//! Endpoints and dead deliveries in Postgres, as operators handle them.

use std::time::Duration;

use deadpool_postgres::Object;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::endpoint::{Endpoint, EndpointError, NewEndpoint};
use super::event_type::EventType;
use super::secret::WebhookSecret;
use crate::postgres::{PgError, PgPool, within};

const ENDPOINTS: &str = include_str!("../../sql/webhooks/endpoints.sql");
const DEAD: &str = include_str!("../../sql/webhooks/dead.sql");
const REDRIVE: &str = include_str!("../../sql/webhooks/redrive.sql");
const TEST: &str = include_str!("../../sql/webhooks/test.sql");
/// Endpoints that may be registered: each event is written once for each that wants it.
const ENDPOINTS_MAX: i64 = 100;

/// Something was not done.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The endpoint cannot be registered.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Its id is taken.
    #[error("there is an endpoint {0} already: remove it first, or choose another id")]
    Exists(String),
    /// There are enough.
    #[error("there are {ENDPOINTS_MAX} endpoints already: remove one first")]
    TooMany,
    /// There is none of this id.
    #[error("there is no endpoint {0}")]
    NoSuchEndpoint(String),
    /// The database.
    #[error(transparent)]
    Postgres(#[from] PgError),
}

impl From<tokio_postgres::Error> for WebhookError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error.into())
    }
}

/// A delivery that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadDelivery {
    /// To whom.
    pub endpoint: String,
    /// Of what: the `webhook-id`.
    pub event: String,
    /// Its type.
    pub event_type: String,
    /// When it happened.
    pub at: Timestamp,
    /// How often it was tried.
    pub attempts: i32,
    /// What went wrong at last.
    pub error: String,
    /// When it was given up.
    pub ended_at: Timestamp,
}

/// The endpoints. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WebhookStore {
    pool: PgPool,
    limit: Duration,
}

impl WebhookStore {
    /// Over a pool that was made with `timeout`.
    pub fn new(pool: PgPool, timeout: Duration) -> Self {
        Self { pool, limit: timeout * 2 }
    }

    async fn connection(&self) -> Result<Object, PgError> {
        Ok(self.pool.get().await?)
    }

    /// Registers an endpoint; what happens from now on is told to it. The secret is shown here and nowhere else.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub async fn add(&self, new: NewEndpoint) -> Result<(Endpoint, WebhookSecret), WebhookError> {
        let new = new.check()?;
        within(self.limit, async {
            let db = self.connection().await?;
            let row = db
                .query_opt(
                    "INSERT INTO webhook_endpoints (id, url, event_types, secret) \
                     SELECT $1, $2, $3, $4 WHERE (SELECT count(*) FROM webhook_endpoints) < $5 \
                     ON CONFLICT DO NOTHING RETURNING created_at",
                    &[&new.id, &new.url, &new.event_types, &new.secret.expose(), &ENDPOINTS_MAX],
                )
                .await?;
            let Some(row) = row else {
                let known = db.query_opt("SELECT FROM webhook_endpoints WHERE id = $1", &[&new.id]).await?;
                return Err(known.map_or(WebhookError::TooMany, |_| WebhookError::Exists(new.id)));
            };
            let endpoint = Endpoint {
                id: new.id,
                url: new.url,
                event_types: new.event_types,
                created_at: row.get(0),
                disabled_at: None,
                waiting: 0,
                dead: 0,
            };
            Ok((endpoint, new.secret))
        })
        .await
    }

    /// All of them, by id.
    ///
    /// # Errors
    /// [`WebhookError::Postgres`].
    pub async fn list(&self) -> Result<Vec<Endpoint>, WebhookError> {
        within(self.limit, async {
            let db = self.connection().await?;
            let rows = db.query(ENDPOINTS, &[]).await?;
            let endpoint = |row: &tokio_postgres::Row| Endpoint {
                id: row.get(0),
                url: row.get(1),
                event_types: row.get(2),
                created_at: row.get(3),
                disabled_at: row.get(4),
                waiting: row.get(5),
                dead: row.get(6),
            };
            Ok(rows.iter().map(endpoint).collect())
        })
        .await
    }

    /// Removes an endpoint with all its deliveries.
    ///
    /// # Errors
    /// [`WebhookError::NoSuchEndpoint`], [`WebhookError::Postgres`].
    pub async fn remove(&self, id: &str) -> Result<(), WebhookError> {
        within(self.limit, async {
            let mut db = self.connection().await?;
            let tx = db.transaction().await?;
            let removed = tx.execute("DELETE FROM webhook_endpoints WHERE id = $1", &[&id]).await?;
            tx.execute("DELETE FROM webhook_deliveries WHERE endpoint_id = $1", &[&id]).await?;
            tx.commit().await?;
            if removed == 0 { Err(WebhookError::NoSuchEndpoint(id.to_owned())) } else { Ok(()) }
        })
        .await
    }

    /// Sends an event of its own to one endpoint, whatever it wants to know; the event's id.
    ///
    /// # Errors
    /// [`WebhookError::NoSuchEndpoint`], [`WebhookError::Postgres`].
    pub async fn test(&self, id: &str) -> Result<String, WebhookError> {
        let event = format!("evt_{:032x}", fastrand::u128(..));
        let detail = json!({ "message": "An operator asked for this." });
        within(self.limit, async {
            let db = self.connection().await?;
            let sent = db.execute(TEST, &[&id, &event, &EventType::TEST.as_str(), &detail]).await?;
            if sent == 0 { Err(WebhookError::NoSuchEndpoint(id.to_owned())) } else { Ok(event) }
        })
        .await
    }

    /// Deliveries that were given up, of one endpoint or of all; the oldest first.
    ///
    /// # Errors
    /// [`WebhookError::Postgres`].
    pub async fn dead(&self, id: Option<&str>, limit: u32) -> Result<Vec<DeadDelivery>, WebhookError> {
        within(self.limit, async {
            let db = self.connection().await?;
            let rows = db.query(DEAD, &[&id, &i64::from(limit)]).await?;
            let delivery = |row: &tokio_postgres::Row| DeadDelivery {
                endpoint: row.get(0),
                event: row.get(1),
                event_type: row.get(2),
                at: row.get(3),
                attempts: row.get(4),
                error: row.get(5),
                ended_at: row.get(6),
            };
            Ok(rows.iter().map(delivery).collect())
        })
        .await
    }

    /// Tries dead deliveries of an endpoint again, one event or all; and sends to it again where it was disabled. How many
    /// they are.
    ///
    /// # Errors
    /// [`WebhookError::NoSuchEndpoint`], [`WebhookError::Postgres`].
    pub async fn redrive(&self, id: &str, event: Option<&str>) -> Result<u64, WebhookError> {
        within(self.limit, async {
            let mut db = self.connection().await?;
            let tx = db.transaction().await?;
            let enable = "UPDATE webhook_endpoints SET disabled_at = NULL WHERE id = $1";
            if tx.execute(enable, &[&id]).await? == 0 {
                return Err(WebhookError::NoSuchEndpoint(id.to_owned()));
            }
            let redriven = tx.execute(REDRIVE, &[&id, &event]).await?;
            tx.commit().await?;
            Ok(redriven)
        })
        .await
    }
}
