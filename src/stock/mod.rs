//! Changes that Postgres has decided, on their way to Redis.

mod intents;
mod publications;
mod publisher;

pub use intents::IntentSender;
pub(crate) use publications::ITEMS;
pub use publications::publish_sales;
pub use publisher::Publisher;

use crate::postgres::PgError;
use crate::redis::RedisError;

/// A change did not get through; it will be tried again.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Redis.
    #[error("redis: {0}")]
    Redis(#[from] RedisError),
    /// Postgres.
    #[error("postgres: {0}")]
    Postgres(#[from] PgError),
}
