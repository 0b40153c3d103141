//! An entry is in one place: among the orders, in the ledger, or among the dead letters, whoever meets it when.

use std::time::Duration;

use doorbuster::log::{EntryId, RawEntry, read_range};
use doorbuster::partition::Partition;
use doorbuster::persist::{Applied, Fence, Foreseen, KnownItems, persist, persist_again};
use doorbuster::postgres::{PgPool, connect_pool};
use doorbuster::redis::Keys;

use crate::support::World;

const PARTITION: Partition = Partition::new(0);
const LIMIT: Duration = Duration::from_secs(10);

/// A worker of another process, which has these entries in hand.
struct Late {
    pool: PgPool,
    fence: Fence,
}

impl Late {
    async fn new(world: &World) -> Self {
        let epoch = world.count("SELECT epoch FROM partitions WHERE partition = 0").await;
        let pool = connect_pool(&world.postgres_url, 2, LIMIT).unwrap();
        Self { pool, fence: Fence::new(PARTITION, epoch) }
    }

    async fn persists(&self, batch: &[RawEntry]) -> Applied {
        persist(&self.pool, self.fence, &KnownItems::default(), batch, LIMIT).await.unwrap()
    }

    async fn persists_again(&self, batch: &[RawEntry]) -> Applied {
        persist_again(&self.pool, self.fence, batch, &Foreseen::default(), LIMIT).await.unwrap()
    }
}

/// The whole log.
async fn log(world: &World) -> Vec<RawEntry> {
    let redis = world.redis_client().await;
    read_range(&redis, &Keys::new(PARTITION), EntryId::ZERO, 1000).await.unwrap()
}

fn of_kind(log: &[RawEntry], kind: &str) -> Vec<RawEntry> {
    log.iter().filter(|entry| &entry.fields[0].0[..] == kind.as_bytes()).cloned().collect()
}

/// Postgres refuses every row of a table as bad data, as after a migration that somebody rues.
async fn refuse_rows(world: &World, table: &str) {
    let trigger = format!(
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'no rows' USING ERRCODE = 'check_violation'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse();"
    );
    world.db.batch_execute(&trigger).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_comes_late_leaves_a_dead_letter_to_its_operator() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 100, None)]).await;
    let order = "00000000 0000000000000001 demo mallory k CUP:1";
    let over = "00000001 0000000000000002 demo mallory l CUP:9";
    for entry in [order, over] {
        world.append("order", entry).await;
    }
    world.drained().await;
    assert_eq!(world.count("SELECT count(*) FROM dead_letters WHERE ended_at IS NULL").await, 2);
    let mended = "INSERT INTO products (sku, name, price, currency) VALUES ('CUP', 'Cup', 1, 'EUR');
        INSERT INTO sale_items (sale_id, sku, position, price, currency) VALUES ('demo', 'CUP', 2, 1, 'EUR');
        INSERT INTO sale_stock (sale_id, sku, partition, allotted) VALUES ('demo', 'CUP', 0, 5);";
    world.db.batch_execute(mended).await.unwrap();
    // Delivered to it for the first time, before another worker took the entries over and set them apart.
    let late = Late::new(&world).await;
    let orders = of_kind(&log(&world).await, "order");
    let applied = late.persists(&orders).await;
    assert_eq!((applied.known_dead_letters, applied.new_orders, applied.over_allotment), (2, 0, 0));
    assert_eq!(world.count("SELECT count(*) FROM orders").await, 0, "its units would be counted twice");
    assert_eq!(world.count("SELECT sum(sold)::bigint FROM sale_stock").await, 0);
    world.assert_balanced(&sale, "TEE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_worker_has_persisted_is_no_dead_letter() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 100, None)]).await;
    for buyer in 0..5 {
        let reply = world.client().claim(&sale, &format!("b-{buyer}"), "k", &[("TEE", 1)]).await;
        assert_eq!(reply.status, 202);
    }
    world.drained().await;
    for table in ["orders", "stock_ledger"] {
        refuse_rows(&world, table).await;
    }
    let (late, log) = (Late::new(&world).await, log(&world).await);
    let orders = late.persists_again(&of_kind(&log, "order")).await;
    assert_eq!((orders.known_orders, orders.dead_letters), (5, 0));
    let changes = late.persists_again(&of_kind(&log, "allotment")).await;
    assert_eq!((changes.known_ledger_rows, changes.dead_letters), (1, 0));
    assert_eq!(world.count("SELECT count(*) FROM dead_letters").await, 0);
    // What nobody has persisted is set apart all the same, once.
    let reply = world.client().claim(&sale, "b-9", "k", &[("TEE", 1)]).await;
    assert_eq!(reply.status, 202);
    world.drained().await;
    assert_eq!(world.count("SELECT count(*) FROM dead_letters").await, 1);
}
