//! Who is keeper.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use deadpool_postgres::{ClientWrapper, Object};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::partition::Partition;
use crate::postgres::{PartitionLock, PgError, PgPool};

const END_HOLDER: &str = include_str!("../../sql/keeper/end_holder.sql");

/// Between tries while another process is keeper.
pub(super) const POLL: Duration = Duration::from_millis(250);
/// How often a keeper asks on the lock's own connection. A holder that is silent for much longer stands still.
const PING: Duration = Duration::from_millis(300);
/// How long an answer there proves the lock. Nobody else can have taken it before the question was asked, so whoever
/// takes it knows that the last keeper doubts after this time.
pub(super) const PROOF: Duration = Duration::from_secs(1);
/// Between looks at whether a take-over stands next in the queue.
const QUEUE_POLL: Duration = Duration::from_millis(20);

/// The session-level advisory lock of one partition's keeper, on a connection of its own.
/// <https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS>
pub(super) struct KeeperLock(Mutex<Arc<Session>>);

/// The connection, while it has the lock.
struct Session {
    client: Arc<ClientWrapper>,
    taken: Instant,
    proven: watch::Receiver<Instant>,
    _pings: AbortOnDropHandle<()>,
}

impl KeeperLock {
    /// Takes the lock from whoever holds it: stands in the queue, and ends the holder's session. For an operator.
    ///
    /// # Errors
    /// [`PgError::Contention`] where it is not given up in time.
    pub async fn take_over(pool: &PgPool, partition: Partition) -> Result<Self, PgError> {
        let candidate = Candidate::stand(pool, partition).await?;
        let asked = Instant::now();
        candidate.queue(&pool.get().await?).await?;
        Ok(candidate.elected(asked))
    }

    fn session(&self) -> Arc<Session> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When this process took the lock. Taking it again after a lost connection counts anew.
    pub fn taken(&self) -> Instant {
        self.session().taken
    }

    /// Whether the connection, and so the lock, still stands, as far as this process has noticed.
    pub fn is_held(&self) -> bool {
        !self.session().client.is_closed()
    }

    /// Whether nobody else can have had the lock for more than [`PROOF`] at `then`.
    pub fn is_proven(&self, then: Instant) -> bool {
        let session = self.session();
        !session.client.is_closed() && then < *session.proven.borrow() + PROOF
    }

    /// The Postgres that holds the lock, see `postgres_identity()`.
    pub async fn postgres(&self) -> Result<String, PgError> {
        Ok(self.session().client.query_one("SELECT postgres_identity()", &[]).await?.get(0))
    }

    /// Takes the lock again after its connection was lost. `false`: another process has it now.
    pub async fn retake(&self, pool: &PgPool, partition: Partition) -> Result<bool, PgError> {
        let again = Candidate::stand(pool, partition).await?;
        let Some(asked) = again.try_take().await? else { return Ok(false) };
        // Only now: a connection without the lock must not be taken for one with it.
        let Self(again) = again.elected(asked);
        let again = again.into_inner().unwrap_or_else(PoisonError::into_inner);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = again;
        Ok(true)
    }
}

/// A connection that may become the keeper's.
pub(super) struct Candidate {
    session: ClientWrapper,
    partition: Partition,
}

impl Candidate {
    pub async fn stand(pool: &PgPool, partition: Partition) -> Result<Self, PgError> {
        // Taken out of the pool: returning the connection would keep the lock.
        Ok(Self { session: Object::take(pool.get().await?), partition })
    }

    fn key(&self) -> (i32, i32) {
        (PartitionLock::Keeper.class(), i32::from(self.partition.to_sql()))
    }

    /// Postgres gives the lock up when the connection of its holder ends. Answers with the time of asking, where it was
    /// free.
    pub async fn try_take(&self) -> Result<Option<Instant>, PgError> {
        let (class, number) = self.key();
        let asked = Instant::now();
        let row = self.session.query_one("SELECT pg_try_advisory_lock($1, $2)", &[&class, &number]).await?;
        Ok(row.get::<_, bool>(0).then_some(asked))
    }

    /// Stands in the queue, and ends the session of whoever holds the lock.
    async fn queue(&self, onlooker: &Object) -> Result<(), PgError> {
        let pid: i32 = self.session.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
        let (class, number) = self.key();
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&class, &number];
        let mut queued = std::pin::pin!(self.session.execute("SELECT pg_advisory_lock($1, $2)", &params));
        loop {
            tokio::select! {
                taken = &mut queued => return taken.map(|_| ()).map_err(PgError::from),
                () = tokio::time::sleep(QUEUE_POLL) => {}
            };
            // First in the queue: a candidate that only tries finds it before it, and does not get the lock.
            let waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)";
            if onlooker.query_one(waits, &[&pid]).await?.get(0) {
                onlooker.query(END_HOLDER, &[&class, &number, &None::<f64>]).await?;
            }
        }
    }

    /// Ends the holder's session where it has been silent for so long; a keeper that is alive pings.
    pub async fn end_silent_holder(&self, silent: Duration) -> Result<bool, PgError> {
        let (class, number) = self.key();
        let ended = self.session.query(END_HOLDER, &[&class, &number, &Some(silent.as_secs_f64())]).await?;
        Ok(!ended.is_empty())
    }

    /// The lock is ours since some time after `asked`.
    pub fn elected(self, asked: Instant) -> KeeperLock {
        let client = Arc::new(self.session);
        let (answered, proven) = watch::channel(asked);
        let _pings = AbortOnDropHandle::new(tokio::spawn(ping(client.clone(), answered)));
        KeeperLock(Mutex::new(Arc::new(Session { client, taken: Instant::now(), proven, _pings })))
    }
}

/// Asks again and again, until the connection is lost.
async fn ping(session: Arc<ClientWrapper>, answered: watch::Sender<Instant>) {
    let mut ticks = interval(PING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !session.is_closed() {
        ticks.tick().await;
        let asked = Instant::now();
        if let Ok(Ok(_)) = timeout(PROOF, session.simple_query("SELECT 1")).await {
            answered.send_replace(asked);
        }
    }
}
