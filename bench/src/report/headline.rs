//! The eight numbers that everything else is there to explain.

use std::collections::BTreeMap;

use super::Results;

/// What is accepted against what is answered by the bare server, and so on: one key each, the median over the rounds.
/// Against peers the whole path counts: orders by the time until the last is persisted. Of the two ways to do it with
/// Postgres alone the faster one counts. A number that could not be measured is missing.
pub fn headline(results: &Results) -> BTreeMap<&'static str, f64> {
    let ratio = |case, figure, to: (&str, &str)| {
        results.ratio(case, ("engine", figure), to).map(|spread| spread.median)
    };
    let times = |peer: &str| ratio("accept", "persisted_per_s", (peer, "persisted_per_s"));
    let median = |figure| results.median("accept", "engine", figure).map(|spread| spread.median);
    let postgres = [times("postgres-update"), times("postgres-skip-locked")].into_iter().flatten();
    let numbers = [
        ("accept_share_of_bare", ratio("accept", "accepted_per_s", ("bare", "answers_per_s"))),
        ("sold_out_share_of_bare", ratio("sold-out", "answers_per_s", ("bare", "answers_per_s"))),
        ("times_peer_bullmq_lock", times("bullmq-lock")),
        ("times_peer_lua_bullmq", times("lua-bullmq")),
        ("times_peer_postgres", postgres.reduce(f64::min)),
        ("drain_share_of_copy", ratio("backlog", "drain_per_s", ("copy", "orders_per_s"))),
        ("cpu_us_per_order", median("cpu_us_per_order")),
        ("redis_bytes_per_order", median("redis_bytes_per_order")),
    ];
    numbers.into_iter().filter_map(|(name, number)| Some((name, rounded(number?)))).collect()
}

/// To four significant digits: the rest is noise.
fn rounded(number: f64) -> f64 {
    let scale = 10_f64.powi(3 - number.abs().max(1e-9).log10().floor() as i32);
    (number * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::super::results::results_of;
    use super::*;

    #[test]
    fn the_faster_of_the_two_postgres_peers_counts() {
        let results = results_of(&[
            ("accept", "engine", 1, &[("persisted_per_s", 1000.0), ("accepted_per_s", 1200.0)]),
            ("accept", "bare", 1, &[("answers_per_s", 3000.0)]),
            ("accept", "postgres-update", 1, &[("persisted_per_s", 50.0)]),
            ("accept", "postgres-skip-locked", 1, &[("persisted_per_s", 100.0)]),
        ]);
        let headline = headline(&results);
        assert_eq!(headline["times_peer_postgres"], 10.0);
        assert_eq!(headline["accept_share_of_bare"], 0.4);
        assert!(!headline.contains_key("drain_share_of_copy"), "what was not measured is missing");
    }

    #[test]
    fn numbers_keep_four_digits() {
        assert_eq!(rounded(0.123_456), 0.1235);
        assert_eq!(rounded(123_456.0), 123_500.0);
    }
}
