//! The faults of the matrix.

mod cancels_restored;
mod clock;
mod crash_point;
mod delivery;
mod disk;
mod failover;
mod gateway;
mod memory;
mod network;
mod panic;
mod payments;
mod persisting;
mod poison;
mod power;
mod process;
mod redis_data;
mod replay_crash;
mod restore;
mod server;
mod storm;
mod within;

use crate::fault::Fault;

pub use clock::{ClockStepped, Step};
pub use crash_point::{CrashPoint, POINTS};
pub use delivery::DeliveredTwice;
pub use disk::DiskFull;
pub use failover::Failover;
pub use gateway::{Ailment, GatewayFault};
pub use memory::MemoryFull;
pub use network::{NetworkFault, Trouble};
pub use panic::{Task, TaskPanicked};
pub use payments::Payments;
pub use persisting::{KilledWithBacklog, PersistingHeldBack};
pub use poison::{DuplicateOrder, Poison};
pub use power::PowerLost;
pub use process::{EverythingKilled, NodeFrozen, NodeKilled, WhichNode};
pub use redis_data::{DataLoss, Loss, OlderDump};
pub use replay_crash::{REPLAY_POINTS, ReplayCrashed};
pub use restore::{PostgresRestored, ReplayedTwice};
pub use server::{Server, ServerFault, Treatment};
pub use storm::Storm;

/// Makes a fault of one kind.
pub type Make = fn() -> Box<dyn Fault>;

/// Every kind, in the order of the table; those that need servers of their own come last.
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
    faults.push(Box::new(PersistingHeldBack::shortly()));
    faults.push(Box::new(PersistingHeldBack::until_allotments_are_sent_again()));
    faults.push(Box::new(KilledWithBacklog));
    faults.push(Box::new(MemoryFull::default()));
    faults.extend(POINTS.iter().map(|point| Box::new(CrashPoint::new(*point)) as Box<dyn Fault>));
    faults.push(Box::new(TaskPanicked::new(Task::PersistWorker)));
    faults.push(Box::new(TaskPanicked::new(Task::Keeper)));
    faults.push(Box::new(PostgresRestored::default()));
    faults.push(Box::new(ReplayedTwice));
    faults.extend(REPLAY_POINTS.map(|point| Box::new(ReplayCrashed::new(point)) as Box<dyn Fault>));
    for server in [S::Redis, S::Postgres] {
        faults.extend(
            Trouble::ALL.map(|trouble| Box::new(NetworkFault::new(server, trouble)) as Box<dyn Fault>),
        );
    }
    faults.extend(storm::storms());
    faults.extend(payments::payments());
    faults.extend(of_other_layouts());
    faults
}

/// Those that need other servers, in an order in which few deployments are made.
fn of_other_layouts() -> Vec<Box<dyn Fault>> {
    let mut faults: Vec<Box<dyn Fault>> = Vec::new();
    for server in [Server::Redis, Server::Postgres] {
        faults.push(Box::new(PowerLost::new(server)));
        faults.push(Box::new(DiskFull::new(server)));
        faults.push(Box::new(ClockStepped::new(server, Step::Forward)));
        faults.push(Box::new(ClockStepped::new(server, Step::Back)));
    }
    for loss in [failover::Loss::Killed, failover::Loss::CutOff] {
        faults.push(Box::new(Failover::new(loss, true)));
        faults.push(Box::new(Failover::new(loss, false)));
    }
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
