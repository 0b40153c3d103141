//! Money: what the gateway's books say it took, against what Postgres says was bought for it.

use std::collections::HashMap;

use doorbuster::payment::{ChargeStatus, SandboxCharge};

use super::View;
use crate::findings::{Broken, Findings};
use crate::stored::{Books, StoredOrder, StoredPayment};

/// Before the id of the order whose units are claimed again, as the key of that claim.
const LATE_KEY: &str = "doorbuster:paid-late:";

/// Of an order that was claimed for money that had come late: the order that the money was for.
pub(crate) fn late_for(key: &str) -> Option<&str> {
    key.strip_prefix(LATE_KEY)
}

/// Whether the engine itself had reason to claim it: for the same buyer, the same units as of an order that is no more.
pub(super) fn is_claimed_again(view: &View<'_>, order: &StoredOrder) -> bool {
    let first = late_for(&order.purchase.key).and_then(|id| view.by_id.get(id));
    first.is_some_and(|first| {
        let (then, now) = (&first.purchase, &order.purchase);
        (&then.sale, &then.buyer, &first.lines) == (&now.sale, &now.buyer, &order.lines)
            && first.cancelled.as_deref() == Some("expired")
    })
}

/// Whether the gateway ever said that there is no money for this order.
pub(super) fn was_declined(view: &View<'_>, order: &str) -> bool {
    let charges = view.stored.books.iter().flat_map(|books| &books.charges);
    charges
        .filter(|charge| charge.order_id == order)
        .any(|charge| charge.is_lie || charge.status == ChargeStatus::Declined)
}

pub(super) fn check(books: &Books, findings: &mut Findings) {
    let charges: HashMap<&str, &SandboxCharge> =
        books.charges.iter().map(|charge| (charge.order_id.as_str(), charge)).collect();
    let mut bought: HashMap<&str, Vec<&StoredPayment>> = HashMap::new();
    for payment in &books.payments {
        if payment.order_state.as_deref() == Some("confirmed") {
            bought.entry(&payment.paid_as).or_default().push(payment);
        }
        charged_again(payment, &charges, findings);
    }
    for charge in &books.charges {
        let (id, status) = (&charge.order_id, charge.status);
        if charge.times_charged > 1 || charge.times_refunded > 1 {
            let (charged, refunded) = (charge.times_charged, charge.times_refunded);
            findings.add(Broken::PaidTwice, format!("{id}: charged {charged} times, refunded {refunded}"));
        }
        if status == ChargeStatus::Paid && !bought.contains_key(id.as_str()) {
            findings.add(Broken::Kept, format!("{id} is paid, and buys no confirmed order"));
        }
    }
    for (charge, orders) in bought {
        has_money(charges.get(charge).copied(), &orders, findings);
    }
}

/// Whether one charge pays for what was bought with it: for one order, and all of it.
fn has_money(charge: Option<&SandboxCharge>, orders: &[&StoredPayment], findings: &mut Findings) {
    let ids: Vec<_> = orders.iter().map(|payment| &payment.order).collect();
    let cost: i64 = orders.iter().map(|payment| payment.cost).sum();
    match charge {
        Some(charge) if charge.status != ChargeStatus::Paid => {
            findings
                .add(Broken::Unpaid, format!("{ids:?}: confirmed, and its charge is {:?}", charge.status));
        }
        None => findings.add(Broken::Unpaid, format!("{ids:?}: confirmed, and nobody was charged")),
        Some(charge) if orders.len() > 1 || charge.amount != cost => {
            let amount = charge.amount;
            findings.add(Broken::Unpaid, format!("{ids:?}: {amount} taken for what costs {cost}"));
        }
        Some(_) => {}
    }
}

/// An order that was claimed for money which is there is not charged itself, not even to give it back.
fn charged_again(payment: &StoredPayment, charges: &HashMap<&str, &SandboxCharge>, findings: &mut Findings) {
    let charge = charges.get(payment.order.as_str());
    if let (Some(first), Some(charge)) = (&payment.late_for, charge)
        && charge.times_charged > 0
    {
        findings.add(Broken::PaidTwice, format!("{}: charged for what {first} has paid", payment.order));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(order: &str, status: ChargeStatus) -> SandboxCharge {
        let is_taken = matches!(status, ChargeStatus::Paid | ChargeStatus::Refunded);
        SandboxCharge {
            order_id: order.to_owned(),
            amount: 100,
            currency: "EUR".to_owned(),
            status,
            is_lie: false,
            reference: String::new(),
            times_charged: u32::from(is_taken),
            times_refunded: u32::from(status == ChargeStatus::Refunded),
            is_told: true,
        }
    }

    fn payment(order: &str, state: &str) -> StoredPayment {
        StoredPayment {
            order: order.to_owned(),
            order_state: Some(state.to_owned()),
            cost: 100,
            paid_as: order.to_owned(),
            late_for: None,
        }
    }

    fn broken(payments: &[StoredPayment], charges: &[SandboxCharge]) -> Vec<Broken> {
        let mut findings = Findings::default();
        check(&Books { payments: payments.to_vec(), charges: charges.to_vec() }, &mut findings);
        findings.broken.into_keys().collect()
    }

    #[test]
    fn money_buys_an_order_or_goes_back() {
        use ChargeStatus::{Declined, Paid, Refunded};
        let (confirmed, cancelled) = ([payment("A", "confirmed")], [payment("A", "cancelled")]);
        assert_eq!(broken(&confirmed, &[charge("A", Paid)]), []);
        assert_eq!(broken(&cancelled, &[charge("A", Refunded)]), []);
        assert_eq!(broken(&cancelled, &[charge("A", Declined)]), []);
        assert_eq!(broken(&cancelled, &[]), [], "given up before anybody was asked");
        assert_eq!(broken(&cancelled, &[charge("A", Paid)]), [Broken::Kept]);
        assert_eq!(broken(&[], &[charge("A", Paid)]), [Broken::Kept], "of an order that nobody knows");
        for charges in [vec![], vec![charge("A", Declined)], vec![charge("A", Refunded)]] {
            assert_eq!(broken(&confirmed, &charges), [Broken::Unpaid], "{charges:?}");
        }
        let less = SandboxCharge { amount: 99, ..charge("A", Paid) };
        assert_eq!(broken(&confirmed, &[less]), [Broken::Unpaid]);
    }

    #[test]
    fn late_money_buys_the_order_that_was_claimed_for_it_alone() {
        use ChargeStatus::{Paid, Refunded};
        let again = StoredPayment {
            paid_as: "A".to_owned(),
            late_for: Some("A".to_owned()),
            ..payment("B", "confirmed")
        };
        let of = |first: &str| [payment("A", first), again.clone()];
        assert_eq!(broken(&of("cancelled"), &[charge("A", Paid)]), []);
        assert_eq!(broken(&of("cancelled"), &[charge("A", Refunded)]), [Broken::Unpaid]);
        assert_eq!(broken(&of("confirmed"), &[charge("A", Paid)]), [Broken::Unpaid], "two for one price");
        for second in [Paid, Refunded] {
            let charges = [charge("A", Paid), charge("B", second)];
            assert!(broken(&of("cancelled"), &charges).contains(&Broken::PaidTwice));
        }
    }

    #[test]
    fn nobody_is_charged_or_refunded_twice() {
        let charged = SandboxCharge { times_charged: 2, ..charge("A", ChargeStatus::Paid) };
        assert_eq!(broken(&[payment("A", "confirmed")], &[charged]), [Broken::PaidTwice]);
        let refunded = SandboxCharge { times_refunded: 2, ..charge("A", ChargeStatus::Refunded) };
        assert_eq!(broken(&[payment("A", "cancelled")], &[refunded]), [Broken::PaidTwice]);
    }
}
