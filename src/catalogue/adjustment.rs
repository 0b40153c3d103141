//! An operator's change of an allotment: always by a delta, never to an absolute value. Pure rules.

use std::fmt;
use std::str::FromStr;

use super::{STOCK_MAX, SaleId, Sku};

/// What makes an adjustment happen once: 1 to 64 of `A-Z a-z 0-9 . _ -`. It becomes a word of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdjustmentKey(String);

/// The key was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a key is 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-', not {0:?}")]
pub struct AdjustmentKeyError(String);

impl AdjustmentKey {
    /// Longest allowed, in bytes.
    const LENGTH_MAX: usize = 64;

    /// One that nobody had before.
    pub fn random() -> Self {
        Self(format!("{:016x}", fastrand::u64(..)))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The cause under which the stock of a partition changes, once.
    pub fn cause(&self, sale: &SaleId, partition: i16) -> String {
        format!("adjust:{sale}:{partition}:{}", self.0)
    }
}

impl FromStr for AdjustmentKey {
    type Err = AdjustmentKeyError;
    fn from_str(text: &str) -> Result<Self, AdjustmentKeyError> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
        if (1..=Self::LENGTH_MAX).contains(&text.len()) && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(AdjustmentKeyError(text.chars().take(80).collect()))
    }
}

impl fmt::Display for AdjustmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjustment {
    /// In which sale.
    pub sale: SaleId,
    /// Of which item.
    pub sku: Sku,
    /// Units: above 0 more, below 0 fewer; not 0.
    pub delta: i64,
    /// The same for each repetition.
    pub key: AdjustmentKey,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// A change that is one: not 0, and not more than an item can have.
///
/// # Errors
/// What is wrong with it.
pub fn adjustment_delta(delta: i64) -> Result<i64, &'static str> {
    match delta {
        0 => Err("must not be 0"),
        _ if delta.unsigned_abs() > STOCK_MAX.unsigned_abs() => Err("is more than an item can have"),
        _ => Ok(delta),
    }
}

/// Takes `units` from partitions that have so many to give, in proportion to that, what is left over from the first that
/// still have some. `None` where all together have fewer.
pub fn split_by_free(units: i64, free: &[i64]) -> Option<Vec<i64>> {
    let total: i64 = free.iter().sum();
    if units > total {
        return None;
    }
    let share = |free: i64| i64::try_from(i128::from(units) * i128::from(free) / i128::from(total.max(1)));
    let mut shares: Vec<i64> = free.iter().map(|&free| share(free).unwrap_or(0)).collect();
    let mut left = units - shares.iter().sum::<i64>();
    for (share, free) in shares.iter_mut().zip(free) {
        let more = left.min(free - *share);
        *share += more;
        left -= more;
    }
    Some(shares)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_goes_is_taken_where_there_is_most() {
        assert_eq!(split_by_free(10, &[20, 0, 20]), Some(vec![5, 0, 5]));
        assert_eq!(split_by_free(3, &[1, 1, 1]), Some(vec![1, 1, 1]));
        assert_eq!(split_by_free(5, &[9, 9]), Some(vec![3, 2]));
        assert_eq!(split_by_free(4, &[1, 2]), None);
        assert_eq!(split_by_free(0, &[0]), Some(vec![0]));
    }

    #[test]
    fn a_key_is_a_word_of_the_log() {
        for good in ["a", "K-1_2.3", &"k".repeat(64)] {
            assert_eq!(good.parse::<AdjustmentKey>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a:b", "ä", &"k".repeat(65)] {
            assert!(bad.parse::<AdjustmentKey>().is_err(), "{bad}");
        }
        assert!(AdjustmentKey::random().as_str().parse::<AdjustmentKey>().is_ok());
    }

    proptest! {
        #[test]
        fn nobody_gives_what_he_has_not(free in prop::collection::vec(0..=1_000_000_000_000i64, 1..64), part in 0.0..1.2f64) {
            let total: i64 = free.iter().sum();
            let units = (total as f64 * part) as i64;
            match split_by_free(units, &free) {
                None => prop_assert!(units > total),
                Some(shares) => {
                    prop_assert_eq!(shares.iter().sum::<i64>(), units);
                    prop_assert!(shares.iter().zip(&free).all(|(share, free)| (0..=*free).contains(share)));
                }
            }
        }
    }
}
