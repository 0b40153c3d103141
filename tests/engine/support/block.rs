//! Holds Postgres back.

use super::World;

/// Keeps rows from being written, until it is released.
pub struct Block {
    db: tokio_postgres::Client,
}

impl Block {
    /// No order is persisted.
    pub async fn persisting(world: &World) -> Self {
        Self::writing(world, "orders").await
    }

    pub async fn writing(world: &World, table: &str) -> Self {
        let db = world.reconnect().await;
        db.batch_execute(&format!("BEGIN; LOCK TABLE {table} IN SHARE MODE")).await.unwrap();
        Self { db }
    }

    pub async fn release(self) {
        self.db.batch_execute("ROLLBACK").await.unwrap();
    }
}
