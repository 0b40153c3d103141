//! How an item's units are split over the partitions.

/// Most units of one item.
pub const STOCK_MAX: i64 = 1_000_000_000_000;

/// Splits `units` evenly over `partitions`; the remainder goes one by one to the first of them. The sum is
/// always `units`.
pub fn split_evenly(units: i64, partitions: u16) -> Vec<i64> {
    let count = i64::from(partitions.max(1));
    let (share, remainder) = (units / count, units % count);
    (0..count).map(|partition| share + i64::from(partition < remainder)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remainder_goes_to_the_first() {
        assert_eq!(split_evenly(10, 4), [3, 3, 2, 2]);
        assert_eq!(split_evenly(3, 4), [1, 1, 1, 0]);
        assert_eq!(split_evenly(100, 1), [100]);
    }

    proptest::proptest! {
        #[test]
        fn no_unit_is_made_or_lost(units in 0..=STOCK_MAX, partitions in 1u16..=256) {
            let split = split_evenly(units, partitions);
            proptest::prop_assert_eq!(split.len(), usize::from(partitions));
            proptest::prop_assert_eq!(split.iter().sum::<i64>(), units);
            proptest::prop_assert!(split.iter().all(|share| (units / i64::from(partitions)..).contains(share)));
        }
    }
}
