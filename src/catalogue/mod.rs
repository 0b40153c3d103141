//! What is sold: products, sales and their items.

mod ids;

pub use ids::{IdError, SaleId, Sku};
