//! A claim, validated and ready to be decided.

use crate::buyer::BuyerId;
use crate::catalogue::{SaleId, Sku};
use crate::claim::{IdempotencyKey, digest_text, fingerprint, key_digest};
use crate::log::{Lines, OrderEntry};
use crate::order_id::Mark;

/// Lines in one claim, at most.
pub const LINES_MAX: usize = 20;
/// Units in one line, at most.
pub const QUANTITY_MAX: u32 = 10_000;
/// Of two digests and a mark, in bytes. The scripts cut it out by this length.
const RECORD_HEAD_LENGTH: usize = 30;

/// The lines of a claim were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// None, or too many.
    #[error("items must hold 1 to {LINES_MAX} lines, not {0}")]
    Count(usize),
    /// Zero or too many units.
    #[error("items[{index}].quantity must be 1 to {QUANTITY_MAX}, not {quantity}")]
    Quantity {
        /// Which line, from 0.
        index: usize,
        /// What was asked.
        quantity: u64,
    },
    /// One SKU in two lines.
    #[error("items lists {0} twice: give each SKU once, with its whole quantity")]
    Twice(Sku),
}

/// Checks lines and sorts them by SKU, so that the same request has the same fingerprint.
///
/// # Errors
/// [`LineError`] that names the line.
pub fn sorted_lines(asked: Vec<(Sku, u64)>) -> Result<Lines, LineError> {
    if asked.is_empty() || asked.len() > LINES_MAX {
        return Err(LineError::Count(asked.len()));
    }
    let allowed = |(index, (sku, quantity)): (usize, (Sku, u64))| {
        let allowed = u32::try_from(quantity).ok().filter(|n| (1..=QUANTITY_MAX).contains(n));
        Ok((sku, allowed.ok_or(LineError::Quantity { index, quantity })?))
    };
    let mut lines = asked.into_iter().enumerate().map(allowed).collect::<Result<Lines, _>>()?;
    lines.sort_unstable();
    match lines.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(LineError::Twice(pair[0].0.clone())),
        None => Ok(lines),
    }
}

/// A buyer's request for units: all lines succeed or none does.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Who asks.
    pub buyer: BuyerId,
    /// The random part that the order's id will have.
    pub mark: Mark,
    /// What is asked, sorted by SKU.
    pub lines: Lines,
    /// The buyer tries too often: only an order that exists may be found.
    pub over_rate: bool,
    sale: SaleId,
    key: IdempotencyKey,
    fingerprint: u64,
}

impl Claim {
    /// A claim of `lines` (sorted by SKU, see [`sorted_lines`]).
    pub fn new(sale: SaleId, buyer: BuyerId, key: IdempotencyKey, lines: Lines) -> Self {
        let fingerprint = fingerprint(&lines);
        Self { buyer, mark: Mark::random(), lines, over_rate: false, sale, key, fingerprint }
    }

    /// What it is for.
    pub fn sale(&self) -> &SaleId {
        &self.sale
    }

    /// What tells a retry of it from another purchase.
    pub fn key(&self) -> &IdempotencyKey {
        &self.key
    }

    /// For `claim.lua`: digest of the key, fingerprint, mark.
    pub(super) fn write_head(&self, text: &mut String) {
        write_record_head(text, &self.key, self.fingerprint, self.mark);
    }

    /// For `claim.lua`: what the log will hold.
    pub(super) fn write_entry(&self, text: &mut String) {
        OrderEntry::write(text, self.mark, self.fingerprint, &self.sale, &self.buyer, &self.key, &self.lines);
    }
}

/// The head of the record that Redis keeps for an order: what a retry is recognised by.
pub(crate) fn record_head(key: &IdempotencyKey, fingerprint: u64, mark: Mark) -> String {
    let mut head = String::with_capacity(RECORD_HEAD_LENGTH);
    write_record_head(&mut head, key, fingerprint, mark);
    head
}

fn write_record_head(text: &mut String, key: &IdempotencyKey, fingerprint: u64, mark: Mark) {
    for part in [&digest_text(key_digest(key))[..], &digest_text(fingerprint), &mark.text()] {
        text.push_str(str::from_utf8(part).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(lines: &[(&str, u64)]) -> Vec<(Sku, u64)> {
        lines.iter().map(|(sku, n)| (sku.parse().unwrap(), *n)).collect()
    }

    #[test]
    fn lines_are_sorted_and_bounded() {
        let lines = sorted_lines(asked(&[("B", 1), ("A", 2)])).unwrap();
        assert_eq!(lines.iter().map(|(sku, n)| (sku.as_str(), *n)).collect::<Vec<_>>(), [("A", 2), ("B", 1)]);
        assert_eq!(sorted_lines(vec![]), Err(LineError::Count(0)));
        assert_eq!(
            sorted_lines(asked(&[("A", 1), ("B", 0)])),
            Err(LineError::Quantity { index: 1, quantity: 0 })
        );
        assert_eq!(
            sorted_lines(asked(&[("A", 10_001)])),
            Err(LineError::Quantity { index: 0, quantity: 10_001 })
        );
        assert_eq!(
            sorted_lines(asked(&[("A", 1), ("B", 1), ("A", 1)])),
            Err(LineError::Twice("A".parse().unwrap()))
        );
    }

    #[test]
    fn the_head_has_the_length_that_the_script_expects() {
        let head = record_head(&IdempotencyKey::parse(b"k").unwrap(), 1, Mark::random());
        assert_eq!(head.len(), RECORD_HEAD_LENGTH);
    }
}
