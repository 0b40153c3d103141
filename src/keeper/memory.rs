//! What a keeper remembers from one opening to the next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::old_lease::GivenLease;
use super::server_clock::Lateness;
use super::server_identity::ServerIdentity;

/// Of one process. Another one, or this one after a panic, begins with nothing and relies on the database.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Remembered>>);

#[derive(Default)]
struct Remembered {
    given: Option<GivenLease>,
    server: Option<(ServerIdentity, Instant)>,
    epoch: i64,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server answers as this one: since when.
    pub fn sees(&self, server: &ServerIdentity) -> Instant {
        let mut remembered = self.lock();
        match &remembered.server {
            Some((known, since)) if known == server => *since,
            _ => {
                let now = Instant::now();
                remembered.server = Some((server.clone(), now));
                now
            }
        }
    }

    /// A lease is about to be given or renewed by a command sent at `sent`; said before it is sent.
    pub fn gives(&self, run_id: &str, epoch: i64, sent: Instant, late: Lateness, lease: Duration) {
        let given = GivenLease { run_id: run_id.to_owned(), epoch, ends: sent + late.allowed() + lease };
        self.lock().given = Some(given);
    }

    /// It was neither given nor renewed: the one before holds.
    pub fn keeps(&self, before: GivenLease) {
        self.lock().given = Some(before);
    }

    /// The last lease.
    pub fn given(&self) -> Option<GivenLease> {
        self.lock().given.clone()
    }

    /// An epoch that this process has used: it uses none twice, also where Redis and Postgres have both gone back.
    pub fn used_epoch(&self, epoch: i64) {
        let mut remembered = self.lock();
        remembered.epoch = remembered.epoch.max(epoch);
    }

    /// The highest one.
    pub fn highest_epoch(&self) -> i64 {
        self.lock().epoch
    }
}
