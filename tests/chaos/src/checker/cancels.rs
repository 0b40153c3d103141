//! Orders that were given up: by whom, and where their units are.

use std::collections::HashSet;

use super::{View, payments};
use crate::findings::{Broken, Findings};
use crate::history::{CancelAttempt, CancelOrder, CancelOutcome, CancelledBy, Lines};
use crate::stored::StoredOrder;

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    for attempt in &view.history.cancels {
        answer(view, attempt, findings);
    }
    let asked = asked_for(view);
    for order in &view.stored.orders {
        if let Some(reason) = &order.cancelled {
            cause(view, order, reason, &asked, findings);
        }
        units_back(view, order, findings);
    }
}

/// What was answered to a cancel, against what became of its order. One that is gone is somebody else's finding.
fn answer(view: &View<'_>, attempt: &CancelAttempt, findings: &mut Findings) {
    let CancelOrder { order, by } = &attempt.cancel;
    let Some(stored) = view.by_id.get(order.as_str()) else { return };
    match &attempt.outcome {
        CancelOutcome::Done if stored.cancelled.is_none() => {
            findings.add(Broken::Undone, format!("{order}: cancelled by {by:?}, and active"));
        }
        // Every storm's sale allows it, whoever asks.
        CancelOutcome::Refused { problem, .. } if ["not-cancellable", "conflict"].contains(&&**problem) => {
            findings.add(Broken::Undone, format!("{order}: {problem} for {by:?}, whom its sale allows it"));
        }
        // He had been told of it; an operator is told of orders that are stored.
        CancelOutcome::Refused { problem, .. } if problem == "not-found" && *by != CancelledBy::Operator => {
            findings.add(Broken::HiddenOrder, format!("{order}: not found by {by:?}, who has it"));
        }
        _ => {}
    }
}

/// Cancels that may have done something.
fn asked_for<'a>(view: &View<'a>) -> HashSet<(&'a str, Option<&'a str>)> {
    let open =
        view.history.cancels.iter().filter(|one| !matches!(one.outcome, CancelOutcome::Refused { .. }));
    open.map(|one| match &one.cancel.by {
        CancelledBy::Buyer(buyer) => (one.cancel.order.as_str(), Some(buyer.as_str())),
        CancelledBy::Operator => (one.cancel.order.as_str(), None),
    })
    .collect()
}

/// Whether somebody, or its hold, gave the reason for which an order is cancelled, once.
fn cause(
    view: &View<'_>,
    order: &StoredOrder,
    reason: &str,
    asked: &HashSet<(&str, Option<&str>)>,
    findings: &mut Findings,
) {
    let id = order.id.as_str();
    let is_asked = match reason {
        "buyer" => asked.contains(&(id, Some(order.purchase.buyer.as_str()))),
        "operator" => asked.contains(&(id, None)),
        "declined" => payments::was_declined(view, id),
        "expired" => !order.cancelled_before_its_time,
        // Found by persisting: not a step of a stored order.
        "over_allotment" | "duplicate" => return,
        _ => false,
    };
    if !is_asked {
        findings.add(Broken::Unasked, format!("{id}: {reason}, and nothing gave that reason"));
    }
    if order.cancel_steps != 1 {
        findings.add(Broken::Unasked, format!("{id}: cancelled by {} steps", order.cancel_steps));
    }
}

/// Whether what the ledger says came back of an order is what it took, where it is cancelled, and nothing where not.
fn units_back(view: &View<'_>, order: &StoredOrder, findings: &mut Findings) {
    let returned = view.stored.returned.get(&order.id).cloned().unwrap_or_default();
    let expected: Lines = match order.cancelled {
        Some(_) => order.units().map(|(sku, units)| (sku.clone(), units)).collect(),
        None => Lines::new(),
    };
    // What is still on its way is told as stuck.
    if returned != expected && view.stored.is_at_rest() {
        let (id, reason) = (&order.id, &order.cancelled);
        findings.add(Broken::Leaked, format!("{id} ({reason:?}): {returned:?} came back of {expected:?}"));
    }
}
