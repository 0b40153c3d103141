//! Chance that can be repeated.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What is drawn for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Draw {
    Decline,
    Error,
    Unknown,
    Undecided,
    Lie,
    LostWebhook,
}

/// Whether it happens to an order, the `number`th time that it might, at this rate. Who raises a rate makes it happen to
/// further orders, and to none fewer.
pub(super) fn happens(draw: Draw, rate: f64, seed: u64, order: &str, number: u64) -> bool {
    let drawn = xxh3_64_with_seed(format!("{order} {draw:?} {number}").as_bytes(), seed);
    // 53 bits are what a float holds: the share is below 1, so that a rate of 1 is certain.
    let share = (drawn >> 11) as f64 / (1_u64 << 53) as f64;
    share < rate
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happening(draw: Draw, rate: f64, seed: u64) -> Vec<usize> {
        (0..1_000).filter(|n| happens(draw, rate, seed, &n.to_string(), 0)).collect()
    }

    #[test]
    fn it_happens_as_often_as_is_said_and_the_same_way_again() {
        assert_eq!(happening(Draw::Lie, 0.0, 1).len(), 0);
        assert_eq!(happening(Draw::Lie, 1.0, 1).len(), 1_000);
        let some = happening(Draw::Lie, 0.3, 1);
        assert!((250..350).contains(&some.len()), "{}", some.len());
        assert_eq!(some, happening(Draw::Lie, 0.3, 1));
        assert_ne!(some, happening(Draw::Lie, 0.3, 2));
        assert_ne!(some, happening(Draw::Decline, 0.3, 1), "one misfortune does not bring the other");
        let more = happening(Draw::Lie, 0.5, 1);
        assert!(some.iter().all(|order| more.contains(order)));
    }

    /// A client that tries again must not meet the same thing again because it is the same order.
    #[test]
    fn each_request_about_an_order_is_drawn_for_anew() {
        let all_ten = |order: &u64| {
            let order = format!("01HF7YAT0000000000{order:04}000A");
            (1..=10).all(|n| happens(Draw::Unknown, 0.5, 0, &order, n))
        };
        let unlucky = (0..4_096).filter(all_ten).count();
        assert!((1..=12).contains(&unlucky), "{unlucky} of 4096 where 4 are to be expected");
    }
}
