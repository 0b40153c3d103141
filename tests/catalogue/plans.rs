//! Statements about many items, on tables of which the planner knows nothing yet, as soon after a sale's opening or after a
//! restore, and once it knows: no item is held against every other.

use serde_json::Value;
use uuid::Uuid;

use crate::Catalogue;

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

const PAYMENTS: &str = "
    UPDATE orders SET state = 'pending', expires_at = now();
    INSERT INTO payments (order_id, state, next_at) SELECT id, 'due', now() FROM orders";

/// Rows that the nodes of a plan took in hand, those included that they threw away.
fn rows_touched(plan: &Value) -> f64 {
    let number = |key: &str| plan[key].as_f64().unwrap_or(0.0);
    let removed = number("Rows Removed by Join Filter") + number("Rows Removed by Filter");
    let of_node = (number("Actual Rows") + removed) * number("Actual Loops");
    of_node + plan["Plans"].as_array().into_iter().flatten().map(rows_touched).sum::<f64>()
}

/// A statement: its parameters' types and values, and at most how many rows it may touch for each item.
struct Asked {
    name: &'static str,
    text: &'static str,
    types: &'static str,
    values: String,
    rows_of_an_item_max: f64,
}

fn statements() -> [Asked; 6] {
    let of_each = |kind: &str, value: &dyn Fn(u128) -> String| {
        let values: Vec<_> = (1..=500).map(|number| format!("'{}'", value(number))).collect();
        format!("ARRAY[{}]::{kind}[]", values.join(", "))
    };
    let id = |ms: u128, number: u128| Uuid::from_u128(ms << 80 | number).to_string();
    let snapshots =
        format!("0, '{{demo}}', '{{2000}}', '{{250}}', '{{{}}}', '{{{}}}'", id(2000, 250), id(2000, 100));
    [
        Asked {
            name: "accounts",
            text: include_str!("../../sql/reconcile/accounts.sql"),
            types: "int2, text[], int8[], int8[], uuid[], uuid[], uuid, int8",
            values: format!("{snapshots}, '{}', 2000", id(2000, 100)),
            rows_of_an_item_max: 250.0,
        },
        Asked {
            name: "full_accounts",
            text: include_str!("../../sql/reconcile/full_accounts.sql"),
            types: "int2, text[], int8[], int8[], uuid[], uuid[]",
            values: snapshots,
            rows_of_an_item_max: 250.0,
        },
        Asked {
            name: "expected_stock",
            text: include_str!("../../sql/keeper/expected_stock.sql"),
            types: "int2",
            values: "0".to_owned(),
            rows_of_an_item_max: 120.0,
        },
        Asked {
            name: "rebuilt_stock",
            text: include_str!("../../sql/keeper/rebuilt_stock.sql"),
            types: "int2",
            values: "0".to_owned(),
            rows_of_an_item_max: 120.0,
        },
        Asked {
            name: "orders",
            text: include_str!("../../sql/persist/orders.sql"),
            types: "int2, uuid[], text[], text[], text[], int8[], jsonb[]",
            values: [
                "0".to_owned(),
                of_each("uuid", &|n| id(2001, n)),
                of_each("text", &|_| "demo".to_owned()),
                of_each("text", &|n| format!("c{n}")),
                of_each("text", &|_| "k".to_owned()),
                of_each("int8", &|_| "0".to_owned()),
                of_each("jsonb", &|n| format!(r#"{{"S{n}": 1}}"#)),
            ]
            .join(", "),
            rows_of_an_item_max: 30.0,
        },
        Asked {
            name: "facts",
            text: include_str!("../../sql/payment/facts.sql"),
            types: "uuid[], float8",
            values: format!("{}, 1", of_each("uuid", &|n| id(2000, n))),
            rows_of_an_item_max: 30.0,
        },
    ]
}

#[tokio::test]
async fn items_are_not_held_against_each_other() {
    let catalogue = Catalogue::new(1).await;
    catalogue.execute(MANY_ITEMS).await;
    catalogue.execute(PAYMENTS).await;
    let mut db = catalogue.pool.get().await.unwrap();
    for knows in ["", "ANALYZE"] {
        db.batch_execute(knows).await.unwrap();
        for mode in ["force_custom_plan", "force_generic_plan"] {
            for asked in statements() {
                let Asked { name, text, types, values, rows_of_an_item_max } = asked;
                // What it writes is not to stay.
                let tx = db.transaction().await.unwrap();
                let prepare =
                    format!("SET LOCAL plan_cache_mode = {mode}; PREPARE {name} ({types}) AS {text}");
                tx.batch_execute(&prepare).await.unwrap();
                let explain = format!("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE {name} ({values})");
                let plan: Value = tx.query_one(&explain, &[]).await.unwrap().get(0);
                tx.batch_execute(&format!("DEALLOCATE {name}")).await.unwrap();
                tx.rollback().await.unwrap();
                let plan = &plan[0]["Plan"];
                assert_eq!(plan["Actual Rows"].as_f64(), Some(500.0), "{name}");
                let rows = rows_touched(plan) / 500.0;
                assert!(
                    rows < rows_of_an_item_max,
                    "{name} by a {mode} {knows}: {rows} rows of an item in {plan:#}"
                );
            }
        }
    }
}
