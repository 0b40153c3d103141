//! What is watched while it changes: the stock and state of sales, and the steps of orders.

mod order_changes;
mod order_status;
mod order_watches;
mod sale_sample;
mod sale_watches;

pub use order_changes::publish_order_changes;
pub use order_status::OrderStatus;
pub use order_watches::{OrderWatch, OrderWatches};
pub use sale_sample::SaleSample;
pub use sale_watches::{SaleEvent, SaleWatches};
