//! What can stand in the way of an operation on the catalogue.

use crate::catalogue::control::{ControlError, UnknownWord};
use crate::catalogue::{AdjustmentKey, FieldError, IdError, SaleId, Sku};
use crate::postgres::PgError;

/// An operation on the catalogue failed; nothing was changed, except where [`PgError`] says that it is
/// unknown: every operation may be repeated.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The way to Postgres.
    #[error(transparent)]
    Postgres(#[from] PgError),
    /// No such sale.
    #[error("there is no sale {0}: list the sales to see their ids")]
    NoSuchSale(SaleId),
    /// No such product.
    #[error("there is no product {0}: list the products to see their SKUs")]
    NoSuchProduct(Sku),
    /// The definition does not fit what is stored.
    #[error("the definition is not valid ({}): correct it", list(.0))]
    Invalid(Vec<FieldError>),
    /// The id is taken by another definition.
    #[error(
        "the sale {sale} exists with another definition (different: {}): choose another id", different.join(", ")
    )]
    SaleDiffers {
        /// The sale that exists.
        sale: SaleId,
        /// The fields that differ.
        different: Vec<String>,
    },
    /// The sale's state forbids it.
    #[error(transparent)]
    Refused(#[from] ControlError),
    /// Nothing of it can change any more.
    #[error("the sale {0} is long over: its stock is no longer in redis, and cannot be adjusted")]
    Retired(SaleId),
    /// No such item.
    #[error("the sale {0} has no item {1}: show the sale to see its items")]
    NoSuchItem(SaleId, Sku),
    /// What is sold cannot be taken away.
    #[error("only {free} units of {sku} are not sold: take at most so many away")]
    TooFewUnits {
        /// Of what.
        sku: Sku,
        /// Units that are not sold.
        free: i64,
    },
    /// More than an item can have.
    #[error("{0} would have more units than an item may have")]
    TooManyUnits(Sku),
    /// The key made another change.
    #[error("the key {0} belongs to another adjustment of this sale: give a new one for a new change")]
    KeyReused(AdjustmentKey),
    /// Others changed the same sale each time we tried.
    #[error("the sale {0} is being changed by others: try again")]
    Contended(SaleId),
    /// A sale's stock cannot be split yet.
    #[error("the database has no partitions yet: start a node once, which makes them, then try again")]
    NoPartitions,
    /// A row that this binary cannot read.
    #[error("a row of the catalogue cannot be read ({0}): was it written by a newer version, or by hand?")]
    Unreadable(String),
}

fn list(errors: &[FieldError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error.into())
    }
}

impl From<IdError> for StoreError {
    fn from(error: IdError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl From<UnknownWord> for StoreError {
    fn from(error: UnknownWord) -> Self {
        Self::Unreadable(error.to_string())
    }
}
