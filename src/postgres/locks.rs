//! The one home of Postgres advisory locks, so that no two uses share a key by accident.

/// What an advisory lock guards. Locks use the two-integer form `(CLASS, key)`; the class keeps
/// them apart from any other program in the same database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdvisoryLock {
    /// One node migrates the schema; the others wait and find it done.
    Migrations,
    /// The number of partitions: exclusive to set it, shared to create a sale that is split by it.
    PartitionCount,
}

impl AdvisoryLock {
    /// ASCII `door`: first argument of `pg_advisory_lock(int, int)`.
    pub const CLASS: i32 = 0x646f_6f72;

    /// Second argument of `pg_advisory_lock(int, int)`.
    pub fn key(self) -> i32 {
        match self {
            Self::Migrations => 1,
            Self::PartitionCount => 2,
        }
    }
}

/// What an advisory lock of one partition guards: `(class, partition)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionLock {
    /// Who is keeper; held by a session.
    Keeper,
    /// Shared by persisting transactions, exclusive to a keeper that raises the epoch. A row lock
    /// `FOR SHARE` instead would starve the keeper: new readers pass it while it waits.
    Persist,
    /// Exclusive to a transaction that counts units as sold. Whoever waited for it sees the items as the one before left
    /// them; whoever waits for their rows has to look each of them up again that the other has changed.
    Gate,
}

impl PartitionLock {
    /// ASCII `dooK`, `dooP` and `dooG`: first argument of `pg_advisory_lock(int, int)`; the partition is the second.
    pub fn class(self) -> i32 {
        match self {
            Self::Keeper => 0x646f_6f4b,
            Self::Persist => 0x646f_6f50,
            Self::Gate => 0x646f_6f47,
        }
    }
}
