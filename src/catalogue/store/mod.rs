//! The catalogue in Postgres, the only place that writes it.

mod adjust;
mod control;
mod create;
mod error;
mod products;
mod publication;
mod read;
mod rows;

use std::time::Duration;

use deadpool_postgres::Object;

use crate::postgres::{PgError, PgPool};

pub use adjust::Adjusted;
pub use control::{ControlChange, SaleEvent};
pub use create::Created;
pub use error::StoreError;
pub use publication::Publication;

/// Most rows of one page.
pub const PAGE_MAX: u16 = 1000;

/// One page of a list ordered by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<Row, Key> {
    /// The rows of this page.
    pub rows: Vec<Row>,
    /// Where the next page begins after; `None` on the last.
    pub next: Option<Key>,
}

impl<Row, Key> Page<Row, Key> {
    /// Cuts the one row that was fetched beyond `limit` to learn whether there is a next page.
    fn cut(mut rows: Vec<Row>, limit: u16, key: impl Fn(&Row) -> Key) -> Self {
        let more = rows.len() > usize::from(limit);
        rows.truncate(usize::from(limit));
        let next = rows.last().filter(|_| more).map(key);
        Self { rows, next }
    }
}

/// Products and sales in Postgres. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CatalogueStore {
    pool: PgPool,
    limit: Duration,
}

impl CatalogueStore {
    /// A store over a pool that was made with `timeout`; each operation, of a few statements, is given
    /// twice of it.
    pub fn new(pool: PgPool, timeout: Duration) -> Self {
        Self { pool, limit: timeout * 2 }
    }

    async fn connection(&self) -> Result<Object, PgError> {
        Ok(self.pool.get().await?)
    }
}
