//! Judges a run from outside: what buyers were told, against what the servers hold. Pure.

mod cancels;
mod items;
mod payments;
mod sold_out;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::client::PARTITION_EMPTY;
use crate::findings::{Broken, Findings};
use crate::history::{Attempt, History, Outcome, Purchase};
use crate::stored::{Injected, Stored, StoredOrder};

pub(crate) use payments::late_for;

/// Judges.
pub fn check(history: &History, stored: &Stored, injected: &Injected) -> Findings {
    let view = View::new(history, stored, injected);
    let mut findings = Findings::default();
    acknowledged_orders(&view, &mut findings);
    stored_orders(&view, &mut findings);
    for (purchase, attempts) in &view.attempts {
        of_one_key(&view, purchase, attempts, &mut findings);
    }
    cancels::check(&view, &mut findings);
    sold_out::check(&view, &mut findings);
    items::check(&view, &mut findings);
    stored.books.iter().for_each(|books| payments::check(books, &mut findings));
    at_rest(stored, &mut findings);
    findings
}

/// The three sources, by what they are looked up by.
struct View<'a> {
    attempts: BTreeMap<&'a Purchase, Vec<&'a Attempt>>,
    by_id: HashMap<&'a str, &'a StoredOrder>,
    by_purchase: BTreeMap<&'a Purchase, Vec<&'a StoredOrder>>,
    dead: BTreeSet<&'a str>,
    history: &'a History,
    stored: &'a Stored,
    injected: &'a Injected,
}

impl<'a> View<'a> {
    fn new(history: &'a History, stored: &'a Stored, injected: &'a Injected) -> Self {
        let mut attempts: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for attempt in &history.attempts {
            attempts.entry(&attempt.purchase).or_default().push(attempt);
        }
        let mut by_purchase: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for order in &stored.orders {
            by_purchase.entry(&order.purchase).or_default().push(order);
        }
        Self {
            attempts,
            by_id: stored.orders.iter().map(|order| (order.id.as_str(), order)).collect(),
            by_purchase,
            dead: stored.dead_letters.iter().map(|letter| letter.order.as_str()).collect(),
            history,
            stored,
            injected,
        }
    }

    /// Whether storage itself lost this order.
    fn is_destroyed(&self, id: &str) -> bool {
        self.injected.destroyed.contains_key(id) && !self.by_id.contains_key(id)
    }
}

fn acknowledged_orders(view: &View<'_>, findings: &mut Findings) {
    let told: BTreeSet<&str> = view.history.attempts.iter().filter_map(Attempt::order).collect();
    findings.acknowledged = told.len() as u64;
    for id in told {
        match view.by_id.get(id) {
            Some(order) if order.cancelled.as_deref() == Some("over_allotment") => {
                findings.add(Broken::Phantom, format!("{id} was acknowledged, then refused by the gate"));
            }
            Some(_) => {}
            None if view.dead.contains(id) => {}
            None if view.is_destroyed(id) => findings.destroyed += 1,
            None if view.injected.loss_is_allowed => findings.lost_in_failover += 1,
            None => {
                let in_log = view.stored.in_log.contains(id);
                // What is settled will be persisted by nobody, though the log still has it.
                let will_be_persisted = in_log && !view.stored.is_at_rest();
                let broken = if will_be_persisted { Broken::Stuck } else { Broken::Lost };
                let place = if in_log { "in the log alone" } else { "nowhere" };
                findings.add(broken, format!("{id} was acknowledged and is {place}"));
            }
        }
    }
}

fn stored_orders(view: &View<'_>, findings: &mut Findings) {
    for order in &view.stored.orders {
        if view.injected.planted.contains(&order.purchase) || payments::is_claimed_again(view, order) {
            continue;
        }
        let asked = view.attempts.get(&order.purchase);
        if !asked.is_some_and(|attempts| attempts.iter().any(|attempt| attempt.lines == order.lines)) {
            findings
                .add(Broken::Ghost, format!("{} of {:?} was asked for by nobody", order.id, order.purchase));
        }
    }
    for (purchase, orders) in &view.by_purchase {
        let active: Vec<_> =
            orders.iter().filter(|order| order.cancelled.is_none()).map(|order| &order.id).collect();
        if active.len() > 1 {
            findings.add(Broken::Duplicate, format!("{purchase:?} has {active:?}"));
        }
    }
}

fn of_one_key(view: &View<'_>, purchase: &Purchase, attempts: &[&Attempt], findings: &mut Findings) {
    let told: BTreeSet<&str> =
        attempts.iter().filter_map(|attempt| attempt.order()).filter(|id| !view.is_destroyed(id)).collect();
    if told.len() > 1 && !view.injected.loss_is_allowed {
        findings.add(Broken::Duplicate, format!("{purchase:?} was told {told:?}"));
    }
    for attempt in attempts {
        match &attempt.outcome {
            Outcome::Order { id, .. } => {
                if view.by_id.get(id.as_str()).is_some_and(|order| order.lines != attempt.lines) {
                    findings
                        .add(Broken::WrongConflict, format!("{id} was told to another body of {purchase:?}"));
                }
            }
            Outcome::Refused { status: 422, .. } => {
                if !attempts.iter().any(|other| other.lines != attempt.lines) {
                    findings.add(Broken::WrongConflict, format!("422 for {purchase:?}, which has one body"));
                }
            }
            Outcome::Refused { problem, .. } if tells_of_no_order(problem) => {
                if hides_an_order(view, purchase, attempts, attempt) {
                    findings
                        .add(Broken::HiddenOrder, format!("{problem} for {purchase:?}, which had an order"));
                }
            }
            Outcome::Refused { .. } | Outcome::Unknown { .. } => {}
        }
    }
}

/// Whether a refusal means: no order of this key at that moment (README, "Retries").
fn tells_of_no_order(problem: &str) -> bool {
    matches!(
        problem,
        "sold-out"
            | "insufficient-stock"
            | "limit-reached"
            | "not-yet-open"
            | "paused"
            | "closed"
            | PARTITION_EMPTY
    )
}

/// Whether the key had its order already when this attempt was refused, or no other attempt can have made it.
fn hides_an_order(view: &View<'_>, purchase: &Purchase, attempts: &[&Attempt], refused: &Attempt) -> bool {
    let told_before = attempts.iter().any(|other| {
        other.order().is_some_and(|id| !view.is_destroyed(id) && !view.injected.loss_is_allowed)
            && other.to_us.is_some_and(|to| to < refused.from_us)
    });
    if told_before {
        return true;
    }
    let exists = view.by_purchase.get(purchase).is_some_and(|orders| !orders.is_empty())
        && !view.injected.planted.contains(purchase);
    let refused_at = refused.to_us.unwrap_or(u64::MAX);
    let other_may_have_made_it = attempts.iter().any(|other| {
        let ended_before = other.to_us.is_some_and(|to| to < refused.from_us) && !other.is_open();
        let is_itself = other.from_us == refused.from_us && other.to_us == refused.to_us;
        // One that was refused as definitely made nothing; one that began later, ran beside it or was left open may.
        let made_nothing = matches!(other.outcome, Outcome::Refused { .. });
        !is_itself && !made_nothing && (other.from_us > refused_at || !ended_before)
    });
    exists && !other_may_have_made_it
}

fn at_rest(stored: &Stored, findings: &mut Findings) {
    if stored.unsettled > 0 {
        findings
            .add(Broken::Stuck, format!("{} entries or changes of stock are not settled", stored.unsettled));
    }
    if stored.overdue > 0 {
        findings.add(Broken::Stuck, format!("{} orders outlive their hold", stored.overdue));
    }
    if stored.unpaid > 0 {
        findings.add(Broken::Stuck, format!("{} payments are not decided", stored.unpaid));
    }
    if stored.closed > 0 {
        findings.add(Broken::Stuck, format!("{} partitions do not open", stored.closed));
    }
    for _ in 0..stored.oversold_polls {
        findings.add(Broken::Oversold, "seen in postgres during the run");
    }
    for _ in 0..stored.deadlocks {
        findings.add(Broken::Deadlock, "postgres broke a deadlock");
    }
}

#[cfg(test)]
mod tests;
