//! Tools that break what lies between and below the processes: network, storage, clock, replication.
//!
//! Each counts or shows what it did, and `tests/instruments` proves each on real servers: a tool that silently
//! does nothing would make every result after it a lie. What a machine does not permit is
//! [`InstrumentError::Unavailable`], with the reason, so that a run can say "not run" and mean it.

mod backup;
mod disk;
mod error;
mod leftovers;
mod netns;
pub mod proxy;
mod redis_command;
mod replica_set;
pub mod shim;

pub use backup::BaseBackup;
pub use disk::SmallDisk;
pub use error::InstrumentError;
pub use netns::Island;
pub use proxy::{Behaviour, Proxy, ProxyCounts};
pub use redis_command::redis_command;
pub use replica_set::{ReplicaSet, ReplicaSetOptions};
pub use shim::{PowerLoss, Shim, ShimCounts};
