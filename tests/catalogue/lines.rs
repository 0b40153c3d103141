//! Lines of orders, which were rows of a table of their own until V12: what becomes of those, and of nodes that still write them.

use std::pin::pin;

use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls, Statement};
use uuid::Uuid;

use crate::support;

const LINES_MOVE: u32 = 12;

/// A session at a database as it was before.
async fn before() -> Client {
    let url = support::new_database().await;
    let (db, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    for number in 1..LINES_MOVE {
        // A number was left out.
        if let Some(text) = migration(number) {
            db.batch_execute(&text).await.unwrap();
        }
    }
    db.batch_execute(
        "INSERT INTO products (sku, name, price, currency) VALUES ('TEE', 'Tee', 1999, 'EUR'), ('MUG', 'Mug', 450, 'EUR');
         INSERT INTO sales (id, name, opens_at, closes_at) VALUES ('demo', 'Demo', now(), now() + interval '1 hour');
         INSERT INTO sale_items (sale_id, sku, position, price, currency)
         VALUES ('demo', 'TEE', 1, 1999, 'EUR'), ('demo', 'MUG', 2, 450, 'EUR')",
    )
    .await
    .unwrap();
    db
}

fn migration(number: u32) -> Option<String> {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/sql/migrations")).unwrap();
    let named = |name: &str| name.starts_with(&format!("V{number}__"));
    let path = files
        .map(|file| file.unwrap().path())
        .find(|path| named(&path.file_name().unwrap().to_string_lossy()))?;
    Some(std::fs::read_to_string(path).unwrap())
}

async fn move_lines(db: &Client) {
    let text = migration(LINES_MOVE).unwrap();
    db.batch_execute(&format!("BEGIN; {text} COMMIT")).await.unwrap();
}

/// Each order's columns and its rows of the view, as text.
async fn orders(db: &Client) -> Vec<String> {
    let query = "SELECT concat_ws(' ', buyer, state, skus, quantities, unit_prices, coalesce(refused::text, '-'), '|',
                        (SELECT string_agg(concat_ws(' ', sku, quantity, unit_price, refused), ', ' ORDER BY sku)
                         FROM order_lines WHERE order_id = o.id))
                 FROM orders o ORDER BY buyer";
    db.query(query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn lines_that_were_rows_move_into_their_orders() {
    let db = before().await;
    db.batch_execute(
        "INSERT INTO orders (id, sale_id, partition, buyer, idem_key, fingerprint, state, cancel_reason)
         VALUES ('00000000-0000-0000-0000-000000000001', 'demo', 0, 'alice', 'k', 1, 'confirmed', NULL),
                ('00000000-0000-0000-0000-000000000002', 'demo', 0, 'bob', 'k', 1, 'cancelled', 'over_allotment');
         INSERT INTO order_lines (order_id, sku, quantity, unit_price, refused)
         VALUES ('00000000-0000-0000-0000-000000000001', 'TEE', 2, 1999, false),
                ('00000000-0000-0000-0000-000000000002', 'TEE', 1, 1999, true),
                ('00000000-0000-0000-0000-000000000001', 'MUG', 1, 450, false),
                ('00000000-0000-0000-0000-000000000002', 'MUG', 3, 450, false);
         INSERT INTO webhook_endpoints (id, url, event_types, secret)
         VALUES ('all', 'http://127.0.0.1/', ARRAY['order.confirmed', 'order.cancelled'], 'whsec_x')",
    )
    .await
    .unwrap();
    move_lines(&db).await;
    assert_eq!(
        orders(&db).await,
        [
            "alice confirmed {MUG,TEE} {1,2} {450,1999} - | MUG 1 450 f, TEE 2 1999 f",
            "bob cancelled {MUG,TEE} {3,1} {450,1999} {f,t} | MUG 3 450 f, TEE 1 1999 t",
        ]
    );
    let told = db.query_one("SELECT count(*) FROM webhook_events", &[]).await.unwrap();
    assert_eq!(told.get::<_, i64>(0), 0, "no order has moved to another state");
    let active = "UPDATE orders SET state = 'cancelled', cancel_reason = 'buyer' WHERE buyer = 'alice'";
    db.execute(active, &[]).await.unwrap();
    let told = db.query_one("SELECT count(*) FROM webhook_events", &[]).await.unwrap();
    assert_eq!(told.get::<_, i64>(0), 1, "and those that do are told again");
}

/// The statements of such a node, prepared before.
struct Older {
    copy_orders: Statement,
    copy_lines: Statement,
    insert: Statement,
}

impl Older {
    async fn of(db: &Client) -> Self {
        let orders =
            "COPY orders (id, sale_id, partition, buyer, idem_key, fingerprint, state) FROM STDIN BINARY";
        let lines = "COPY order_lines (order_id, sku, quantity, unit_price) FROM STDIN BINARY";
        // As it was, without what concerns payments.
        let insert = "
            WITH incoming AS (
                SELECT * FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[])
                    AS t (id, sale_id, buyer, idem_key, fingerprint)
            ), new_orders AS (
                INSERT INTO orders (id, sale_id, partition, buyer, idem_key, fingerprint, state)
                SELECT i.id, i.sale_id, $1, i.buyer, i.idem_key, i.fingerprint, 'confirmed'
                FROM incoming i LEFT JOIN sales s ON s.id = i.sale_id ORDER BY i.id
                ON CONFLICT DO NOTHING
                RETURNING id, sale_id, idem_key, state, expires_at
            ), new_lines AS (
                INSERT INTO order_lines (order_id, sku, quantity, unit_price)
                SELECT l.order_id, l.sku, l.quantity, i.price
                FROM unnest($7::uuid[], $8::text[], $9::text[], $10::integer[])
                     AS l (order_id, sale_id, sku, quantity)
                JOIN sale_items i ON i.sale_id = l.sale_id AND i.sku = l.sku
                WHERE (l.order_id IN (SELECT id FROM new_orders)) IS TRUE
                ORDER BY l.order_id, l.sku
                RETURNING order_id
            )
            SELECT o.id, (SELECT count(*) FROM new_lines) AS lines_written FROM new_orders o";
        Self {
            copy_orders: db.prepare(orders).await.unwrap(),
            copy_lines: db.prepare(lines).await.unwrap(),
            insert: db.prepare(insert).await.unwrap(),
        }
    }

    /// Two lines of one order.
    async fn copy(&self, db: &Client, id: Uuid, buyer: &str) {
        let types = [Type::UUID, Type::TEXT, Type::INT2, Type::TEXT, Type::TEXT, Type::INT8, Type::TEXT];
        let mut rows = pin!(BinaryCopyInWriter::new(db.copy_in(&self.copy_orders).await.unwrap(), &types));
        rows.as_mut().write(&[&id, &"demo", &0_i16, &buyer, &"k", &1_i64, &"confirmed"]).await.unwrap();
        rows.finish().await.unwrap();
        let types = [Type::UUID, Type::TEXT, Type::INT4, Type::INT8];
        let mut rows = pin!(BinaryCopyInWriter::new(db.copy_in(&self.copy_lines).await.unwrap(), &types));
        for (sku, quantity, price) in [("MUG", 1_i32, 450_i64), ("TEE", 2, 1999)] {
            rows.as_mut().write(&[&id, &sku, &quantity, &price]).await.unwrap();
        }
        rows.finish().await.unwrap();
    }

    /// One line of one order; tells how many orders are new, and how many lines are said to be written.
    async fn insert(&self, db: &Client, id: Uuid, buyer: &str) -> (usize, i64) {
        let rows = db
            .query(
                &self.insert,
                &[
                    &0_i16,
                    &vec![id],
                    &vec!["demo"],
                    &vec![buyer],
                    &vec!["k"],
                    &vec![1_i64],
                    &vec![id],
                    &vec!["demo"],
                    &vec!["TEE"],
                    &vec![2_i32],
                ],
            )
            .await
            .unwrap();
        (rows.len(), rows.first().map_or(0, |row| row.get(1)))
    }
}

#[tokio::test]
async fn nodes_that_write_lines_as_rows_go_on_beside_newer_ones() {
    let db = before().await;
    let older = Older::of(&db).await;
    older.copy(&db, Uuid::from_u128(1), "alice").await;
    assert_eq!(older.insert(&db, Uuid::from_u128(2), "bob").await, (1, 1));
    move_lines(&db).await;
    older.copy(&db, Uuid::from_u128(3), "carol").await;
    assert_eq!(older.insert(&db, Uuid::from_u128(4), "dave").await, (1, 1));
    assert_eq!(older.insert(&db, Uuid::from_u128(4), "dave").await, (0, 0), "a replay");
    db.batch_execute(
        "INSERT INTO orders (id, sale_id, partition, buyer, idem_key, fingerprint, state, cancel_reason)
         VALUES ('00000000-0000-0000-0000-000000000005', 'demo', 0, 'erin', 'k', 1, 'cancelled', 'over_allotment');
         INSERT INTO order_lines (order_id, sku, quantity, unit_price, refused)
         VALUES ('00000000-0000-0000-0000-000000000005', 'MUG', 3, 450, false),
                ('00000000-0000-0000-0000-000000000005', 'TEE', 1, 1999, true)",
    )
    .await
    .unwrap();
    let of_both = |buyer| format!("{buyer} confirmed {{MUG,TEE}} {{1,2}} {{450,1999}}");
    let of_one = |buyer| format!("{buyer} confirmed {{TEE}} {{2}} {{1999}}");
    assert_eq!(
        orders(&db).await,
        [
            of_both("alice") + " - | MUG 1 450 f, TEE 2 1999 f",
            of_one("bob") + " - | TEE 2 1999 f",
            of_both("carol") + " - | MUG 1 450 f, TEE 2 1999 f",
            of_one("dave") + " - | TEE 2 1999 f",
            "erin cancelled {MUG,TEE} {3,1} {450,1999} {f,t} | MUG 3 450 f, TEE 1 1999 t".to_owned(),
        ]
    );
    for (what, line) in [("twice", "000000000001', 'TEE'"), ("of no order", "0000000000ff', 'TEE'")] {
        let line = format!(
            "INSERT INTO order_lines (order_id, sku, quantity, unit_price) VALUES ('00000000-0000-0000-0000-{line}, 1, 1)"
        );
        let error = db.batch_execute(&line).await.expect_err(what);
        assert!(
            error.as_db_error().unwrap().message().contains("is not there, or has a line of TEE"),
            "{what}"
        );
    }
}
