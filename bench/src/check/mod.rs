//! Whether a run did what it claims: a run that fails here reports no figure.

mod engine;
mod peer;

pub use engine::{check_engine, sold_of_sales};
pub use peer::{check_peer, orders_of_peer};

use std::fmt::Write as _;

use crate::load::{KEY_NUMBER_FROM, Tally};

/// What Postgres holds of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Orders.
    pub rows: u64,
    /// Orders whose (buyer, sale, key) no other has.
    pub distinct: u64,
    /// Sum of the numbers in their keys.
    pub sum: u128,
    /// Exclusive or of these.
    pub xor: u64,
    /// Units in their lines.
    pub units: u64,
    /// Units counted as sold.
    pub sold: u64,
    /// Units that were for sale.
    pub allotted: u64,
}

/// `$1` are the sales; `active` says which orders count.
fn orders_sql(sale_column: &str, active: &str) -> String {
    let mut sql = String::from("SELECT count(*), count(DISTINCT (buyer, idem_key)), ");
    let number = format!("substr(idem_key, {KEY_NUMBER_FROM})::bigint");
    // Infallible: a String grows.
    let _ = write!(
        sql,
        "coalesce(sum({number}), 0)::text, coalesce(bit_xor({number}), 0) \
         FROM orders WHERE {sale_column} = ANY($1) AND {active}"
    );
    sql
}

/// Compares what the load generator saw with what is stored. `promised` says whether each 202 is an order, or only a
/// claim that is queued.
fn compare(seen: &Tally, stored: &Stored, promised: bool) -> Vec<String> {
    let mut faults = seen.contradictions.clone();
    let mut demand = |holds: bool, fault: String| {
        if !holds {
            faults.push(fault);
        }
    };
    let accepted = seen.accepted;
    demand(
        stored.distinct == stored.rows,
        format!("{} orders for {} keys: duplicates", stored.rows, stored.distinct),
    );
    demand(
        stored.units == stored.sold && stored.sold <= stored.allotted,
        format!(
            "{} units in orders, {} counted as sold, {} allotted",
            stored.units, stored.sold, stored.allotted
        ),
    );
    if promised && seen.open == 0 {
        let same = (stored.rows, stored.sum, stored.xor) == (accepted.count, accepted.sum, accepted.xor);
        demand(
            same,
            format!("{} orders accepted, {} stored, or not the same ones", accepted.count, stored.rows),
        );
    } else if promised {
        let possible = accepted.count..=accepted.count + seen.open;
        demand(
            possible.contains(&stored.rows),
            format!("{} orders accepted and {} open, {} stored", accepted.count, seen.open, stored.rows),
        );
    } else {
        let expected = accepted.count.min(stored.allotted);
        demand(
            (expected..=accepted.count + seen.open).contains(&stored.rows),
            format!(
                "{} claims queued for {} units, {} orders stored",
                accepted.count, stored.allotted, stored.rows
            ),
        );
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::tally_of;

    fn stored(rows: u64) -> Stored {
        let numbers: Vec<u64> = (1..=rows).collect();
        Stored {
            rows,
            distinct: rows,
            sum: numbers.iter().map(|n| u128::from(*n)).sum(),
            xor: numbers.iter().fold(0, |xor, n| xor ^ n),
            units: rows,
            sold: rows,
            allotted: 10,
        }
    }

    #[test]
    fn each_fault_is_found() {
        let seen = tally_of(&[1, 2, 3]);
        assert!(compare(&seen, &stored(3), true).is_empty());
        for (fault, wrong) in [
            ("lost", stored(2)),
            ("ghost", stored(4)),
            ("another order", Stored { sum: 7, xor: 2, ..stored(3) }),
            ("duplicate", Stored { distinct: 2, ..stored(3) }),
            ("stock", Stored { sold: 2, ..stored(3) }),
            ("oversold", Stored { allotted: 2, ..stored(3) }),
        ] {
            assert_eq!(compare(&seen, &wrong, true).len(), 1, "{fault}");
        }
        let mut contradicted = tally_of(&[1, 2, 3]);
        contradicted.contradictions.push("x".into());
        assert_eq!(compare(&contradicted, &stored(3), true), ["x"]);
    }

    #[test]
    fn an_open_claim_may_be_an_order_or_not() {
        let mut seen = tally_of(&[1, 2, 3]);
        seen.open = 1;
        assert!(compare(&seen, &stored(3), true).is_empty());
        assert!(compare(&seen, &stored(4), true).is_empty());
        assert_eq!(compare(&seen, &stored(5), true).len(), 1);
        assert_eq!(compare(&seen, &stored(2), true).len(), 1);
    }

    #[test]
    fn what_was_only_queued_may_be_refused_when_the_stock_is_gone() {
        let seen = tally_of(&(1..=20).collect::<Vec<_>>());
        assert!(compare(&seen, &stored(10), false).is_empty());
        assert_eq!(compare(&seen, &stored(9), false).len(), 1, "units were left");
    }
}
