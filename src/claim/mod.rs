//! A buyer's request for units, and what becomes of it.

mod batch;
mod buyers;
mod decider;
mod decision;
mod digest;
mod idempotency_key;
mod intake;
mod queue;
mod request;
mod survey;

pub use batch::{BATCH_LINES_MAX, Batch, Decisions};
pub use buyers::BuyersWithOrders;
pub use decider::{Decider, ReplicaAck};
pub use decision::{ClaimError, Decision};
pub use digest::{digest_text, fingerprint, key_digest};
pub use idempotency_key::{IdempotencyKey, IdempotencyKeyError};
pub use intake::{Intake, IntakeLimits};
pub(crate) use request::record_head;
pub use request::{Claim, LINES_MAX, LineError, QUANTITY_MAX, sorted_lines};
pub use survey::Survey;
