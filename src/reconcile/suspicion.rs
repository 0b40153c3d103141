//! Drift that is seen twice is told, once.

use std::collections::HashMap;

use super::Balance;
use crate::catalogue::{SaleId, Sku};

/// What was seen of the items that did not balance last time.
#[derive(Debug, Default)]
pub struct Suspicion {
    suspects: HashMap<(SaleId, Sku), Suspect>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suspect {
    Seen,
    Told,
}

impl Suspicion {
    /// Takes a whole reconcile in, and gives back the items whose drift is confirmed by it: those that did not balance
    /// the time before either. Each is given back once, until it has balanced again.
    pub fn confirm<'a>(&mut self, balances: &'a [Balance]) -> Vec<&'a Balance> {
        let mut suspects = HashMap::new();
        let mut confirmed = Vec::new();
        for balance in balances.iter().filter(|balance| !balance.is_good()) {
            let item = (balance.sale.clone(), balance.sku.clone());
            let now = match self.suspects.get(&item) {
                None => Suspect::Seen,
                Some(Suspect::Seen) => {
                    confirmed.push(balance);
                    Suspect::Told
                }
                Some(Suspect::Told) => Suspect::Told,
            };
            suspects.insert(item, now);
        }
        self.suspects = suspects;
        confirmed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::EntryId;
    use crate::reconcile::Account;

    fn at(redis: i64) -> Vec<Balance> {
        vec![Balance {
            sale: "demo".parse().unwrap(),
            sku: "TEE".parse().unwrap(),
            position: EntryId::ZERO,
            account: Account { allotted: 5, ..Account::default() },
            redis: Some(redis),
            aggregates: None,
        }]
    }

    #[test]
    fn drift_is_told_when_it_was_seen_twice_and_then_not_again_until_it_was_gone() {
        let mut suspicion = Suspicion::default();
        let told: Vec<usize> = [5, 6, 5, 6, 7, 6, 5, 6, 6]
            .map(|redis| suspicion.confirm(&at(redis)).len())
            .into_iter()
            .collect();
        assert_eq!(told, [0, 0, 0, 0, 1, 0, 0, 0, 1]);
    }
}
