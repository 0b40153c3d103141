//! Tools that break what lies between and below the processes: network, storage, clock, replication.
//!
//! Each counts or shows what it did, and `tests/instruments` proves each on real servers: a tool that silently
//! does nothing would make every result after it a lie. What a machine does not permit is
//! [`InstrumentError::Unavailable`], with the reason, so that a run can say "not run" and mean it.

mod error;
pub mod shim;

pub use error::InstrumentError;
pub use shim::{PowerLoss, Shim, ShimCounts};
