//! Orders that someone waits for, on this node.
//!
//! One task serves them all. It listens to the channels of those partitions that have watched orders, and asks Postgres
//! for many orders at once: those that are new here, those of which it heard, and every second all of them, since a
//! message may be lost. While a query is under way further ones gather, so that their number does not grow with the
//! number of those who wait. A node on which nobody waits listens to nothing and asks nothing.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::order_changes::read_positions;
use super::order_status::OrderStatus;
use crate::order_id::OrderId;
use crate::partition::{Partition, Partitions};
use crate::postgres::{PgError, PgPool, within};
use crate::redis::{Heard, Keys, RedisError, RedisOptions, Subscriber};

const ORDER_STATES: &str = include_str!("../../sql/api/order_states.sql");
/// How often every watched order is looked at, whatever was heard.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Orders in one query.
const QUERY_ORDERS_MAX: usize = 5_000;
/// For one query, also where Postgres hangs.
const QUERY_MAX: Duration = Duration::from_secs(2);
/// Before Postgres is asked again after it failed.
const FAILED_PAUSE: Duration = Duration::from_millis(250);
/// How long a partition is listened to although nobody waits.
const LISTEN_IDLE: Duration = Duration::from_secs(10);

/// The orders that are watched. Dropping it ends the task; its watches then hear nothing more.
pub struct OrderWatches {
    book: Arc<Book>,
    _task: AbortOnDropHandle<()>,
}

/// One order, watched until this is dropped.
pub struct OrderWatch {
    id: OrderId,
    status: watch::Receiver<OrderStatus>,
    book: Arc<Book>,
}

#[derive(Default)]
struct Book {
    entries: Mutex<Entries>,
    wake: Notify,
}

#[derive(Default)]
struct Entries {
    watched: BTreeMap<OrderId, Watched>,
    /// How many of them are in each partition.
    count_of: HashMap<Partition, usize>,
    /// To be looked up.
    due: BTreeSet<OrderId>,
}

struct Watched {
    status: watch::Sender<OrderStatus>,
    watchers: usize,
}

impl OrderWatches {
    /// Begins with none.
    ///
    /// # Errors
    /// [`RedisError::Config`] where the URL cannot be used.
    pub fn start(options: &RedisOptions, partitions: Partitions, pool: PgPool) -> Result<Self, RedisError> {
        let book = Arc::new(Book::default());
        let task = Task {
            book: book.clone(),
            ears: partitions.all().map(Ear::new).collect(),
            subscriber: Subscriber::connect(options)?,
            pool,
        };
        Ok(Self { book, _task: AbortOnDropHandle::new(tokio::spawn(task.run())) })
    }

    /// Watches an order that is known to stand at least at `status`.
    pub fn watch(&self, id: OrderId, status: OrderStatus) -> OrderWatch {
        let receiver = self.book.entries().watch(id, status);
        self.book.wake.notify_one();
        OrderWatch { id, status: receiver, book: self.book.clone() }
    }
}

impl OrderWatch {
    /// As far as it is known.
    pub fn status(&mut self) -> OrderStatus {
        self.status.borrow_and_update().clone()
    }

    /// Waits for a status that was not seen yet. Cancel-safe.
    pub async fn changed(&mut self) -> OrderStatus {
        if self.status.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.status()
    }

    /// Waits for the outcome. Cancel-safe.
    pub async fn outcome(&mut self) -> OrderStatus {
        let mut status = self.status();
        while !status.state.is_final() {
            status = self.changed().await;
        }
        status
    }
}

impl Drop for OrderWatch {
    fn drop(&mut self) {
        self.book.entries().unwatch(self.id);
    }
}

impl Watched {
    /// Never back: a Postgres that was restored, or a look-up that was overtaken, knows less than was told.
    fn advance(&self, newer: OrderStatus) {
        self.status.send_if_modified(|status| {
            let is_newer = newer.state > status.state;
            if is_newer {
                *status = newer;
            }
            is_newer
        });
    }
}

impl Book {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_due(&self) -> Vec<OrderId> {
        let mut entries = self.entries();
        let taken: Vec<OrderId> = entries.due.iter().take(QUERY_ORDERS_MAX).copied().collect();
        for id in &taken {
            entries.due.remove(id);
        }
        taken
    }
}

impl Entries {
    fn watch(&mut self, id: OrderId, status: OrderStatus) -> watch::Receiver<OrderStatus> {
        let watched = match self.watched.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => {
                *self.count_of.entry(id.partition()).or_default() += 1;
                vacant.insert(Watched { status: watch::Sender::new(status.clone()), watchers: 0 })
            }
        };
        watched.watchers += 1;
        watched.advance(status);
        self.due.insert(id);
        watched.status.subscribe()
    }

    fn unwatch(&mut self, id: OrderId) {
        let Some(watched) = self.watched.get_mut(&id) else { return };
        watched.watchers -= 1;
        if watched.watchers == 0 {
            self.watched.remove(&id);
            self.due.remove(&id);
            if let Some(count) = self.count_of.get_mut(&id.partition()) {
                *count -= 1;
            }
        }
    }

    fn watches_any_of(&self, partition: Partition) -> bool {
        self.count_of.get(&partition).is_some_and(|count| *count > 0)
    }

    fn all_due(&mut self, of: impl Fn(OrderId) -> bool) {
        self.due.extend(self.watched.keys().copied().filter(|id| of(*id)));
    }
}

/// What is listened to of one partition.
struct Ear {
    keys: Keys,
    partition: Partition,
    listens: bool,
    wanted_at: Instant,
}

impl Ear {
    fn new(partition: Partition) -> Self {
        Self { keys: Keys::new(partition), partition, listens: false, wanted_at: Instant::now() }
    }
}

struct Task {
    book: Arc<Book>,
    ears: Vec<Ear>,
    subscriber: Subscriber,
    pool: PgPool,
}

impl Task {
    async fn run(mut self) {
        let mut look_again = tokio::time::interval(LOOK_AGAIN);
        look_again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                heard = self.subscriber.hear() => self.note(&heard),
                () = self.book.wake.notified() => {}
                _ = look_again.tick() => self.book.entries().all_due(|_| true),
            }
            self.listen().await;
            while self.look_up().await {}
        }
    }

    fn note(&self, heard: &Heard) {
        let mut entries = self.book.entries();
        let Heard::Message { channel, text } = heard else { return entries.all_due(|_| true) };
        let is_of = |ear: &&Ear| ear.keys.order_changes.as_str() == Some(channel);
        let Some(ear) = self.ears.iter().find(is_of) else { return };
        for at in read_positions(text) {
            let ids = OrderId::lowest_of(*at.start(), ear.partition)
                ..=OrderId::highest_of(*at.end(), ear.partition);
            let ids: Vec<OrderId> = entries.watched.range(ids).map(|(id, _)| *id).collect();
            entries.due.extend(ids);
        }
    }

    /// Begins and ends to listen, as there are watched orders. What happened before it listened is looked up.
    async fn listen(&mut self) {
        for ear in &mut self.ears {
            let wanted = self.book.entries().watches_any_of(ear.partition);
            if wanted {
                ear.wanted_at = Instant::now();
            }
            let result = if wanted && !ear.listens {
                let begun = self.subscriber.subscribe(&ear.keys.order_changes).await;
                ear.listens = begun.is_ok();
                self.book.entries().all_due(|id| id.partition() == ear.partition);
                begun
            } else if ear.listens && ear.wanted_at.elapsed() > LISTEN_IDLE {
                ear.listens = false;
                self.subscriber.unsubscribe(&ear.keys.order_changes).await
            } else {
                Ok(())
            };
            if let Err(error) = result {
                tracing::debug!(partition = %ear.partition, %error, "not listened to: postgres is asked each second");
            }
        }
    }

    /// Asks once for what is due; `false` where nothing is, or Postgres does not answer.
    async fn look_up(&self) -> bool {
        let due = self.book.take_due();
        if due.is_empty() {
            return false;
        }
        match self.states(&due).await {
            Ok(states) => {
                let entries = self.book.entries();
                for (id, status) in states {
                    if let Some(watched) = entries.watched.get(&id) {
                        watched.advance(status);
                    }
                }
                true
            }
            Err(error) => {
                tracing::debug!(%error, orders = due.len(), "watched orders cannot be looked up");
                tokio::time::sleep(FAILED_PAUSE).await;
                false
            }
        }
    }

    async fn states(&self, ids: &[OrderId]) -> Result<Vec<(OrderId, OrderStatus)>, PgError> {
        let uuids: Vec<Uuid> = ids.iter().map(|id| id.to_uuid()).collect();
        let query = async {
            let db = self.pool.get().await?;
            let statement = db.prepare_cached(ORDER_STATES).await?;
            let rows = db.query(&statement, &[&uuids]).await?;
            // A state that this version does not know is no step that it could tell.
            let status = |row: &tokio_postgres::Row| {
                let state = row.get::<_, &str>(1).parse().ok()?;
                let status = OrderStatus { state, cancel_reason: row.get(2), was_pending: row.get(3) };
                Some((OrderId::from_uuid(row.get(0)), status))
            };
            Ok(rows.iter().filter_map(status).collect())
        };
        within(QUERY_MAX, query).await
    }
}
