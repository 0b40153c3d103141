//! stub
pub use deadpool_postgres::Pool;
/// stub
#[derive(Debug, thiserror::Error)]
#[error("stub {0}")]
pub struct PgError(String);
impl From<tokio_postgres::Error> for PgError {
    fn from(e: tokio_postgres::Error) -> Self {
        Self(e.to_string())
    }
}
impl From<deadpool_postgres::PoolError> for PgError {
    fn from(e: deadpool_postgres::PoolError) -> Self {
        Self(e.to_string())
    }
}
impl PgError {
    /// stub
    pub fn is_transient(&self) -> bool {
        true
    }
}
