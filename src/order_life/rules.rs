//! The state machine of an order. Pure rules: which step leads where, who may take it, and what follows from it.
//!
//! ```text
//! accepted (in the log) -> pending -> confirmed
//!                              \         |
//!                               `-> cancelled
//! ```

use crate::catalogue::{BuyerCancel, PaymentPolicy};
use crate::order::{CancelReason, OrderState};

/// Why a stored order may be cancelled. The reasons that persisting finds are none of these: such an order was never
/// active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancellation {
    /// The payment was declined.
    Declined,
    /// The payment did not come in time.
    Expired,
    /// The buyer asks for it.
    Buyer,
    /// An operator asks for it.
    Operator,
}

/// What is to become of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is paid.
    Confirm,
    /// It is not to be.
    Cancel(Cancellation),
}

/// What the rules look at. Of one moment, and of the database's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Where the order stands.
    pub state: OrderState,
    /// Why it was cancelled, if it was.
    pub cancel_reason: Option<CancelReason>,
    /// What its sale asks for before an order is confirmed.
    pub payment: PaymentPolicy,
    /// Until when its buyer may cancel.
    pub buyer_cancel: BuyerCancel,
    /// Whether its sale has closed.
    pub sale_is_closed: bool,
    /// Whether the time is over for which it holds its units.
    pub hold_is_over: bool,
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Sold for good.
    Confirmed,
    /// Its units go back on sale, once.
    Cancelled {
        /// Whether the buyer's money is to go back too.
        refund: bool,
    },
    /// Nothing: it was done before.
    Unchanged,
}

/// Why a step is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing leads out of cancelled: whoever was paid for it pays back.
    #[error("the order is cancelled ({0}), and cancelled is final")]
    Cancelled(CancelReason),
    /// A payment that came is not undone by one that did not.
    #[error("the order is confirmed: only its buyer, while the sale allows it, or an operator can cancel it")]
    Confirmed,
    /// The hold still runs.
    #[error("the order still holds its units: its time is not over")]
    StillHeld,
    /// The sale's policy.
    #[error("the sale does not let its buyers cancel this order: an operator can")]
    NotByBuyer,
    /// In no column: nothing can be done with it yet.
    #[error("the order is not stored yet")]
    NotStored,
}

impl Cancellation {
    /// As it is stored.
    pub fn reason(self) -> CancelReason {
        match self {
            Self::Declined => CancelReason::Declined,
            Self::Expired => CancelReason::Expired,
            Self::Buyer => CancelReason::Buyer,
            Self::Operator => CancelReason::Operator,
        }
    }
}

/// What `step` does to an order. A step that was taken before does nothing, and that is no error.
///
/// An order whose hold is over stays pending, and can be confirmed, until somebody has cancelled it: so long its units
/// are nobody else's.
///
/// # Errors
/// [`Refusal`].
pub fn outcome(facts: &Facts, step: Step) -> Result<Outcome, Refusal> {
    match (facts.state, step) {
        (OrderState::Accepted, _) => Err(Refusal::NotStored),
        (OrderState::Pending, Step::Confirm) => Ok(Outcome::Confirmed),
        (OrderState::Confirmed, Step::Confirm) | (OrderState::Cancelled, Step::Cancel(_)) => {
            Ok(Outcome::Unchanged)
        }
        (OrderState::Cancelled, Step::Confirm) => {
            // The column's CHECK knows no cancelled order without a reason.
            Err(Refusal::Cancelled(facts.cancel_reason.unwrap_or(CancelReason::Operator)))
        }
        (state, Step::Cancel(why)) => {
            may_cancel(facts, state == OrderState::Confirmed, why)?;
            let is_paid = state == OrderState::Confirmed && facts.payment != PaymentPolicy::None;
            Ok(Outcome::Cancelled { refund: is_paid })
        }
    }
}

fn may_cancel(facts: &Facts, is_confirmed: bool, why: Cancellation) -> Result<(), Refusal> {
    match (why, is_confirmed) {
        (Cancellation::Operator, _) | (Cancellation::Declined, false) => Ok(()),
        (Cancellation::Expired, false) if facts.hold_is_over => Ok(()),
        (Cancellation::Expired, false) => Err(Refusal::StillHeld),
        (Cancellation::Declined | Cancellation::Expired, true) => Err(Refusal::Confirmed),
        (Cancellation::Buyer, confirmed) => match (facts.buyer_cancel, confirmed) {
            (BuyerCancel::Pending | BuyerCancel::UntilClose, false) => Ok(()),
            (BuyerCancel::UntilClose, true) if !facts.sale_is_closed => Ok(()),
            _ => Err(Refusal::NotByBuyer),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn facts(state: OrderState, payment: PaymentPolicy, buyer_cancel: BuyerCancel) -> Facts {
        let cancel_reason = (state == OrderState::Cancelled).then_some(CancelReason::Expired);
        Facts { state, cancel_reason, payment, buyer_cancel, sale_is_closed: false, hold_is_over: false }
    }

    const CANCEL: fn(Cancellation) -> Step = Step::Cancel;

    #[test]
    fn a_pending_order_is_paid_declined_given_up_or_too_late() {
        let pending = facts(OrderState::Pending, PaymentPolicy::Gateway, BuyerCancel::Pending);
        assert_eq!(outcome(&pending, Step::Confirm), Ok(Outcome::Confirmed));
        for why in [Cancellation::Declined, Cancellation::Buyer, Cancellation::Operator] {
            assert_eq!(outcome(&pending, CANCEL(why)), Ok(Outcome::Cancelled { refund: false }));
        }
        assert_eq!(outcome(&pending, CANCEL(Cancellation::Expired)), Err(Refusal::StillHeld));
        let late = Facts { hold_is_over: true, ..pending };
        assert_eq!(outcome(&late, CANCEL(Cancellation::Expired)), Ok(Outcome::Cancelled { refund: false }));
        assert_eq!(outcome(&late, Step::Confirm), Ok(Outcome::Confirmed), "its units are still its own");
    }

    #[test]
    fn a_paid_order_that_is_cancelled_is_paid_back_and_a_free_one_is_not() {
        for (payment, refund) in [(PaymentPolicy::None, false), (PaymentPolicy::Checkout, true)] {
            let confirmed = facts(OrderState::Confirmed, payment, BuyerCancel::UntilClose);
            for why in [Cancellation::Buyer, Cancellation::Operator] {
                assert_eq!(outcome(&confirmed, CANCEL(why)), Ok(Outcome::Cancelled { refund }));
            }
            for why in [Cancellation::Declined, Cancellation::Expired] {
                assert_eq!(outcome(&confirmed, CANCEL(why)), Err(Refusal::Confirmed));
            }
        }
    }

    #[test]
    fn the_policy_binds_the_buyer_and_not_the_operator() {
        let of = |state, policy| facts(state, PaymentPolicy::Gateway, policy);
        let buyer = CANCEL(Cancellation::Buyer);
        let never = of(OrderState::Pending, BuyerCancel::Never);
        let paid = of(OrderState::Confirmed, BuyerCancel::Pending);
        let closed = Facts { sale_is_closed: true, ..of(OrderState::Confirmed, BuyerCancel::UntilClose) };
        for bound in [never, paid, closed] {
            assert_eq!(outcome(&bound, buyer), Err(Refusal::NotByBuyer), "{bound:?}");
            assert!(outcome(&bound, CANCEL(Cancellation::Operator)).is_ok(), "{bound:?}");
        }
        let pending = Facts { sale_is_closed: true, ..of(OrderState::Pending, BuyerCancel::UntilClose) };
        assert!(outcome(&pending, buyer).is_ok());
    }

    fn any_step() -> impl Strategy<Value = Step> {
        use Cancellation::{Buyer, Declined, Expired, Operator};
        let cancel = prop::sample::select(vec![Declined, Expired, Buyer, Operator]);
        prop_oneof![Just(Step::Confirm), cancel.prop_map(Step::Cancel)]
    }

    proptest! {
        /// Whatever happens in whatever order: only the arrows of the diagram, units back at most once and exactly once
        /// where it ends as cancelled, money back at most once and only if it was taken.
        #[test]
        fn no_sequence_of_steps_leaves_the_diagram(
            steps in prop::collection::vec((any_step(), any::<bool>(), any::<bool>()), 0..12),
            payment in prop::sample::select(vec![PaymentPolicy::Gateway, PaymentPolicy::Checkout, PaymentPolicy::None]),
            policy in prop::sample::select(vec![BuyerCancel::Never, BuyerCancel::Pending, BuyerCancel::UntilClose]),
        ) {
            let first = if payment == PaymentPolicy::None { OrderState::Confirmed } else { OrderState::Pending };
            let mut now = facts(first, payment, policy);
            let (mut paid, mut returned, mut refunded) = (false, 0, 0);
            for (step, over, closed) in steps {
                now.hold_is_over |= over;
                now.sale_is_closed |= closed;
                let before = now.state;
                match outcome(&now, step) {
                    Ok(Outcome::Confirmed) => { now.state = OrderState::Confirmed; paid = true; }
                    Ok(Outcome::Cancelled { refund }) => {
                        let Step::Cancel(why) = step else { panic!("{step:?} cancelled") };
                        now.state = OrderState::Cancelled;
                        now.cancel_reason = Some(why.reason());
                        returned += 1;
                        refunded += u32::from(refund);
                    }
                    Ok(Outcome::Unchanged) | Err(_) => {}
                }
                use OrderState::{Cancelled, Confirmed, Pending};
                let arrow = matches!((before, now.state), (Pending, Confirmed) | (Pending | Confirmed, Cancelled));
                prop_assert!(before == now.state || arrow, "{before} to {}", now.state);
            }
            prop_assert_eq!(returned, u32::from(now.state == OrderState::Cancelled));
            prop_assert_eq!(refunded, u32::from(paid && now.state == OrderState::Cancelled));
        }
    }
}
