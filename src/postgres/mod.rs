//! The door to Postgres: connections, their errors, the schema, and what is fixed at the first start.

mod error;
mod locks;
mod migrate;
mod partitions;
mod pool;
mod tls;

pub use error::{PgError, PgFault, error_chain};
pub use locks::{AdvisoryLock, PartitionLock, lock_gates};
pub use migrate::{MigrateError, Migrated, migrate};
pub use partitions::{PartitionsError, ensure_partitions};
pub use pool::{PgPool, connect, connect_pool, within};
