//! The faults of the matrix.

mod crash_point;
mod delivery;
mod memory;
mod persisting;
mod poison;
mod process;
mod redis_data;
mod server;

use crate::fault::Fault;

pub use crash_point::{CrashPoint, POINTS};
pub use delivery::DeliveredTwice;
pub use memory::MemoryFull;
pub use persisting::{KilledWithBacklog, PersistingHeldBack};
pub use poison::{DuplicateOrder, Poison};
pub use process::{EverythingKilled, NodeFrozen, NodeKilled, WhichNode};
pub use redis_data::{DataLoss, Loss, OlderDump};
pub use server::{Server, ServerFault, Treatment};

/// Makes a fault of one kind.
pub type Make = fn() -> Box<dyn Fault>;

/// Every kind, in the order of the table; the crash points come last.
pub fn all() -> Vec<Box<dyn Fault>> {
    use {Loss as L, Server as S, Treatment as T, WhichNode as N};
    let mut faults: Vec<Box<dyn Fault>> = vec![
        Box::new(NodeKilled(N::Api)),
        Box::new(NodeKilled(N::Worker)),
        Box::new(NodeKilled(N::Keeper)),
        Box::new(ServerFault::new(S::Redis, T::Killed)),
        Box::new(ServerFault::new(S::Postgres, T::Killed)),
        Box::new(EverythingKilled),
        Box::new(ServerFault::new(S::Redis, T::Restarted)),
        Box::new(ServerFault::new(S::Postgres, T::Restarted)),
        Box::new(NodeFrozen::new(N::Api)),
        Box::new(NodeFrozen::new(N::Worker)),
        Box::new(NodeFrozen::new(N::Keeper)),
        Box::new(ServerFault::new(S::Redis, T::Frozen)),
        Box::new(ServerFault::new(S::Postgres, T::Frozen)),
    ];
    let losses = [
        L::FlushAll,
        L::ScriptFlush,
        L::LogDeleted,
        L::LogTrimmed,
        L::StockDeleted,
        L::BuyersDeleted,
        L::MetaDeleted,
        L::GroupDestroyed,
    ];
    faults.extend(losses.map(|loss| Box::new(DataLoss::new(loss)) as Box<dyn Fault>));
    faults.push(Box::new(OlderDump::new(false)));
    faults.push(Box::new(OlderDump::new(true)));
    faults.push(Box::new(Poison::default()));
    faults.push(Box::new(DuplicateOrder::default()));
    faults.push(Box::new(DeliveredTwice));
    faults.push(Box::new(PersistingHeldBack::default()));
    faults.push(Box::new(KilledWithBacklog));
    faults.push(Box::new(MemoryFull::default()));
    faults.extend(POINTS.iter().map(|point| Box::new(CrashPoint::new(*point)) as Box<dyn Fault>));
    faults
}

/// The names of all kinds.
pub fn kinds() -> Vec<&'static str> {
    all().iter().map(|fault| fault.kind()).collect()
}

/// A fault of this kind.
pub fn of_kind(kind: &str) -> Option<Box<dyn Fault>> {
    all().into_iter().find(|fault| fault.kind() == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_name_of_its_own() {
        let kinds = kinds();
        let distinct: std::collections::BTreeSet<_> = kinds.iter().collect();
        assert_eq!(distinct.len(), kinds.len());
        assert!(of_kind("redis_killed").is_some() && of_kind("other").is_none());
    }
}
