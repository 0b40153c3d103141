//! Statements that add up what is known of many items, on tables of which the planner knows nothing yet: so they are soon after
//! a sale's opening, and after a restore.

use serde_json::Value;
use uuid::Uuid;

use crate::Catalogue;

const ITEMS: f64 = 500.0;
/// Of each item: 26 rows of seven tables, each in a scan and in a few sums and sorts above it.
const ROWS_OF_AN_ITEM_MAX: f64 = 300.0;

const MANY_ITEMS: &str = "
    INSERT INTO products (sku, name, price, currency) SELECT 'S' || i, 'S', 1, 'EUR' FROM generate_series(1, 500) i;
    INSERT INTO sales (id, name, opens_at, closes_at) VALUES ('demo', 'Demo', now(), now() + interval '1 hour');
    INSERT INTO sale_items (sale_id, sku, position, price, currency)
    SELECT 'demo', 'S' || i, i, 1, 'EUR' FROM generate_series(1, 500) i;
    INSERT INTO sale_stock (sale_id, sku, partition, allotted, sold)
    SELECT 'demo', 'S' || i, 0, 100, 1 FROM generate_series(1, 500) i;
    INSERT INTO stock_ledger (partition, entry_ms, entry_seq, sku, sale_id, delta, cause)
    SELECT 0, 1, 0, 'S' || i, 'demo', 100, 'allotment:demo:0' FROM generate_series(1, 500) i;
    INSERT INTO stock_ledger (partition, entry_ms, entry_seq, sku, sale_id, delta, cause)
    SELECT 0, 3000, i, 'S' || i, 'demo', 1, 'return:' || i FROM generate_series(1, 500) i;
    INSERT INTO orders (id, sale_id, partition, buyer, idem_key, fingerprint, state, skus, quantities, unit_prices)
    SELECT (lpad(to_hex(2000), 12, '0') || lpad(to_hex(i), 20, '0'))::uuid, 'demo', 0, 'b' || i, 'k', 0, 'confirmed',
           ARRAY['S' || i], '{1}', '{1}' FROM generate_series(1, 500) i;
    INSERT INTO stock_intents (cause, kind, sale_id, partition, order_id, lines, reason, actor)
    SELECT 'return:x' || i, 'return', 'demo', 0, gen_random_uuid(), jsonb_build_object('S' || 1 + i % 500, 1), 'operator',
           'test'
    FROM generate_series(1, 5000) i;
    INSERT INTO dead_letters (partition, entry_ms, entry_seq, fields, sale_id, lines, error)
    SELECT 0, 1000, i, '{}', 'demo', jsonb_build_object('S' || 1 + i % 500, 1), 'test' FROM generate_series(1, 5000) i";

/// Rows that the nodes of a plan took in hand, those included that a join threw away.
fn rows_touched(plan: &Value) -> f64 {
    let number = |key: &str| plan[key].as_f64().unwrap_or(0.0);
    let of_node = (number("Actual Rows") + number("Rows Removed by Join Filter")) * number("Actual Loops");
    of_node + plan["Plans"].as_array().into_iter().flatten().map(rows_touched).sum::<f64>()
}

#[tokio::test]
async fn items_are_not_held_against_each_other() {
    let catalogue = Catalogue::new(1).await;
    catalogue.execute(MANY_ITEMS).await;
    let db = catalogue.pool.get().await.unwrap();
    let order = |number: u128| format!("'{}'", Uuid::from_u128(2000 << 80 | number));
    let snapshots = format!(
        "'{{demo}}', '{{2000}}', '{{250}}', ARRAY[{}]::uuid[], ARRAY[{}]::uuid[]",
        order(250),
        order(100)
    );
    let least = format!("{snapshots}, {}, 2000", order(100));
    for (name, types, values, text) in [
        (
            "accounts",
            "int2, text[], int8[], int8[], uuid[], uuid[], uuid, int8",
            format!("0, {least}"),
            include_str!("../../sql/reconcile/accounts.sql"),
        ),
        (
            "full_accounts",
            "int2, text[], int8[], int8[], uuid[], uuid[]",
            format!("0, {snapshots}"),
            include_str!("../../sql/reconcile/full_accounts.sql"),
        ),
        ("expected_stock", "int2", "0".to_owned(), include_str!("../../sql/keeper/expected_stock.sql")),
        ("rebuilt_stock", "int2", "0".to_owned(), include_str!("../../sql/keeper/rebuilt_stock.sql")),
    ] {
        db.batch_execute(&format!("PREPARE {name} ({types}) AS {text}")).await.unwrap();
        let explain = format!("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE {name} ({values})");
        let plan: Value = db.query_one(&explain, &[]).await.unwrap().get(0);
        let plan = &plan[0]["Plan"];
        assert_eq!(plan["Actual Rows"].as_f64(), Some(ITEMS), "{name}");
        assert!(
            rows_touched(plan) < ROWS_OF_AN_ITEM_MAX * ITEMS,
            "{name}: {} rows in {plan:#}",
            rows_touched(plan)
        );
    }
}
