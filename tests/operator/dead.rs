//! Dead letters are ended once, and their units are where they belong before, meanwhile and afterwards.

use std::time::Duration;

use doorbuster::catalogue::SaleId;
use doorbuster::dead_letters::{
    DeadLetterError, Dropped, LetterQuery, Operator, Outcome, Retried, drop_letter, find, list, retry,
};
use doorbuster::log::{EntryAddress, RawEntry};
use doorbuster::order_id::OrderId;
use doorbuster::persist::{Applied, Fence, KnownItems, persist};
use doorbuster::postgres::{PgPool, connect_pool};
use doorbuster::redis::Redis;

use crate::support::{Block, World};

const LIMIT: Duration = Duration::from_secs(20);

/// An operator's hands.
pub struct Desk {
    pub pool: PgPool,
    pub redis: Redis,
}

impl Desk {
    pub async fn of(world: &World) -> Self {
        let pool = connect_pool(&world.postgres_url, 4, LIMIT).unwrap();
        Self { pool, redis: world.redis_client().await }
    }

    pub async fn retry(&self, letter: EntryAddress) -> Result<Retried, DeadLetterError> {
        retry(&self.pool, &self.redis, letter, &Operator::new("olga").unwrap(), LIMIT).await
    }

    pub async fn drop(&self, letter: EntryAddress) -> Result<Dropped, DeadLetterError> {
        let by = Operator::new("olga").unwrap();
        drop_letter(&self.pool, &self.redis, letter, &by, "cannot be sold", LIMIT).await
    }

    pub async fn open(&self) -> Vec<EntryAddress> {
        let letters = list(&self.pool, LetterQuery::default()).await.unwrap();
        letters.iter().map(|letter| letter.address).collect()
    }

    /// Persists the entry of a letter as a worker, a drain or a replay does.
    async fn replay(&self, world: &World, letter: EntryAddress) -> Applied {
        let raw: RawEntry = find(&self.pool, letter).await.unwrap().raw;
        let epoch = world.count("SELECT epoch FROM partitions").await;
        persist(&self.pool, Fence::new(letter.partition, epoch), &KnownItems::default(), &[raw], LIMIT)
            .await
            .unwrap()
    }
}

/// A sale of ten shirts, two for each buyer, in which mallory's order of two is a dead letter.
async fn with_dead_letter() -> (World, SaleId, Desk, OrderId) {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 10, Some(2))]).await;
    refuse_mallory(&world).await;
    let client = world.client();
    assert_eq!(client.claim(&sale, "alice", "k", &[("TEE", 1)]).await.status, 202);
    let dead = client.claim(&sale, "mallory", "k", &[("TEE", 2)]).await;
    assert_eq!(dead.status, 202);
    world
        .until("the order is a dead letter", || async {
            world.count("SELECT count(*) FROM dead_letters").await == 1
        })
        .await;
    world.drained().await;
    let desk = Desk::of(&world).await;
    (world, sale, desk, dead.id().parse().unwrap())
}

/// Postgres takes no order of mallory but a cancelled one.
async fn refuse_mallory(world: &World) {
    let check = "ALTER TABLE orders ADD CONSTRAINT mallory CHECK (buyer <> 'mallory' OR state = 'cancelled')";
    world.db.batch_execute(check).await.unwrap();
}

async fn admit_mallory(world: &World) {
    world.db.batch_execute("ALTER TABLE orders DROP CONSTRAINT mallory").await.unwrap();
}

/// Two who do the same: neither is done before the other is at it.
async fn at_once<T, F>(world: &World, work: impl Fn() -> F) -> [T; 2]
where
    F: Future<Output = Result<T, DeadLetterError>>,
{
    let block = Block::persisting(world).await;
    let release = async {
        let waiting = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
             WHERE NOT l.granted AND a.datname = current_database()";
        world.until("both are at it", || async { world.count(waiting).await >= 2 }).await;
        block.release().await;
    };
    let (one, other, ()) = tokio::join!(work(), work(), release);
    [one.unwrap(), other.unwrap()]
}

/// Redis empty, and a node that builds it anew.
async fn rebuild(world: &mut World) {
    world.stop_node().await;
    world.redis_says(&["FLUSHALL"]).await;
    world.start_node().await;
    world.no_intents_open().await;
    world.drained().await;
}

/// A node that opens a Redis which is as it should be; tells whether it believed so.
async fn reopen_is_quiet(world: &mut World) -> bool {
    world.stop_node().await;
    world.redis_says(&["HSET", "{p0}:sale:demo", "untouched", "yes"]).await;
    world.start_node().await;
    world.redis_says(&["HGET", "{p0}:sale:demo", "untouched"]).await == "yes"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_persisted_once_by_two_who_retry_it() {
    let (mut world, sale, desk, order) = with_dead_letter().await;
    let letter: EntryAddress = order.into();
    let Ok(Retried::StillDead(error)) = desk.retry(letter).await else { panic!("it cannot be persisted") };
    assert!(error.contains("mallory"), "{error}");
    let found = find(&desk.pool, letter).await.unwrap();
    assert_eq!((found.retries, found.ended, found.error), (1, None, error));
    assert_eq!(world.count("SELECT count(*) FROM orders").await, 1, "half of an attempt stayed");

    admit_mallory(&world).await;
    let both = at_once(&world, || desk.retry(letter)).await;
    let persisted = both.iter().filter(|retried| **retried == Retried::Persisted).count();
    assert_eq!(persisted, 1, "{both:?}");
    assert!(matches!(desk.drop(letter).await, Ok(Dropped::AlreadyEnded(ended)) if ended.by == "olga"));
    world.assert_balanced(&sale, "TEE").await;
    assert_eq!(desk.replay(&world, letter).await, Applied { known_dead_letters: 1, ..Applied::default() });
    assert!(reopen_is_quiet(&mut world).await, "a healthy redis was rebuilt");
    rebuild(&mut world).await;
    world.assert_balanced(&sale, "TEE").await;
    assert_eq!(world.stock(&sale, "TEE").await, 7);
    let again = world.client().claim(&sale, "mallory", "k", &[("TEE", 2)]).await;
    assert_eq!((again.status.as_u16(), again.id()), (200, order.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_dropped_once_and_its_units_are_for_sale_again() {
    let (mut world, sale, desk, order) = with_dead_letter().await;
    let letter: EntryAddress = order.into();
    assert_eq!(world.stock(&sale, "TEE").await, 7, "kept while it is open");
    let both = at_once(&world, || desk.drop(letter)).await;
    let units = serde_json::json!({ "TEE": 2 });
    let cancelled = Dropped::Cancelled { order, returned: Some(units) };
    assert_eq!(both.iter().filter(|dropped| **dropped == cancelled).count(), 1, "{both:?}");
    assert!(matches!(desk.retry(letter).await, Ok(Retried::AlreadyEnded(_))));
    let ended = find(&desk.pool, letter).await.unwrap().ended.unwrap();
    assert_eq!((ended.by.as_str(), ended.outcome), ("olga", Outcome::Dropped));
    assert_eq!(ended.reason.as_deref(), Some("cannot be sold"));

    world.until("the units are back", || async { world.stock(&sale, "TEE").await == 9 }).await;
    world.no_intents_open().await;
    world.drained().await;
    world.assert_balanced(&sale, "TEE").await;
    // A replay finds the order cancelled, or a letter that was ended.
    desk.replay(&world, letter).await;
    admit_mallory(&world).await;
    assert_eq!(desk.replay(&world, letter).await, Applied { known_dead_letters: 1, ..Applied::default() });
    assert_eq!((desk.open().await.len(), world.count("SELECT count(*) FROM orders").await), (0, 2));
    world.assert_balanced(&sale, "TEE").await;
    assert!(reopen_is_quiet(&mut world).await, "a healthy redis was rebuilt");
    rebuild(&mut world).await;
    world.assert_balanced(&sale, "TEE").await;

    let client = world.client();
    let again = client.claim(&sale, "mallory", "k", &[("TEE", 2)]).await;
    assert_eq!((again.status.as_u16(), again.id()), (200, order.to_string()));
    let seen = client.get(again.location(), "mallory").await;
    assert_eq!((&seen.body["state"], &seen.body["cancel_reason"]), (&"cancelled".into(), &"operator".into()));
    // Units that went back do not count against the limit.
    assert_eq!(client.claim(&sale, "mallory", "k2", &[("TEE", 2)]).await.status, 202);
    world.drained().await;
    world.assert_balanced(&sale, "TEE").await;
}

/// Dropped, and everything dies before the units are back: with Redis as it was, or emptied.
#[tokio::test(flavor = "multi_thread")]
async fn units_on_their_way_back_survive_a_crash_and_a_rebuild() {
    for emptied in [false, true] {
        let (mut world, sale, desk, order) = with_dead_letter().await;
        world.crash_node();
        let dropped = desk.drop(order.into()).await.unwrap();
        assert!(matches!(dropped, Dropped::Cancelled { returned: Some(_), .. }), "{dropped:?}");
        if emptied {
            world.redis_says(&["FLUSHALL"]).await;
        } else {
            world.redis_says(&["HSET", "{p0}:sale:demo", "untouched", "yes"]).await;
        }
        world.start_node().await;
        world.no_intents_open().await;
        world.drained().await;
        assert_eq!(world.stock(&sale, "TEE").await, 9, "emptied: {emptied}");
        world.assert_balanced(&sale, "TEE").await;
        let untouched = world.redis_says(&["HGET", "{p0}:sale:demo", "untouched"]).await == "yes";
        assert_eq!(untouched, !emptied, "a healthy redis was rebuilt");
    }
}

/// A Postgres from before the drop, into which the log was replayed: it has the return, and the letter open again.
#[tokio::test(flavor = "multi_thread")]
async fn units_that_went_back_before_do_not_go_back_again() {
    for drops in [true, false] {
        let (mut world, sale, desk, order) = with_dead_letter().await;
        desk.drop(order.into()).await.unwrap();
        world.no_intents_open().await;
        world.drained().await;
        admit_mallory(&world).await;
        world.stop_node().await;
        let forget = "DELETE FROM orders WHERE buyer = 'mallory';
             DELETE FROM stock_intents WHERE kind = 'return';
             UPDATE dead_letters SET ended_at = NULL, ended_by = NULL, outcome = NULL, reason = NULL";
        world.db.batch_execute(forget).await.unwrap();
        // With Redis its memory of causes is gone, too.
        world.redis_says(&["FLUSHALL"]).await;
        world.start_node().await;
        if drops {
            let dropped = desk.drop(order.into()).await.unwrap();
            assert_eq!(dropped, Dropped::Cancelled { order, returned: None });
        } else {
            assert_eq!(desk.retry(order.into()).await.unwrap(), Retried::Returned);
        }
        assert_eq!(world.count("SELECT count(*) FROM orders WHERE state = 'confirmed'").await, 1);
        world.no_intents_open().await;
        world.assert_balanced(&sale, "TEE").await;
        assert!(reopen_is_quiet(&mut world).await, "a healthy redis was rebuilt");
        rebuild(&mut world).await;
        world.assert_balanced(&sale, "TEE").await;
    }
}

/// A keeper counts orders first and letters later: what is ended in between would be remembered by neither.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_ended_while_a_keeper_opens_the_partition() {
    let (mut world, _, desk, order) = with_dead_letter().await;
    admit_mallory(&world).await;
    world.stop_node().await;
    // A keeper that stands behind its first step: Redis does not know of it yet.
    world.db.batch_execute("UPDATE partitions SET epoch = epoch + 1").await.unwrap();
    let (retried, dropped) = tokio::join!(desk.retry(order.into()), desk.drop(order.into()));
    assert!(matches!(retried, Err(DeadLetterError::NotOpen(_))), "{retried:?}");
    assert!(matches!(dropped, Err(DeadLetterError::NotOpen(_))), "{dropped:?}");
    // And behind its second: Redis names the very epoch that Postgres holds.
    world.redis_says(&["HSET", "{p0}:meta", "state", "opening"]).await;
    let epoch = world.count("SELECT epoch FROM partitions").await.to_string();
    world.redis_says(&["HSET", "{p0}:meta", "epoch", &epoch]).await;
    let retried = desk.retry(order.into()).await;
    assert!(matches!(retried, Err(DeadLetterError::NotOpen(_))), "{retried:?}");
    assert_eq!(desk.open().await.len(), 1);
    assert_eq!(world.count("SELECT count(*) FROM orders").await, 1);
}
