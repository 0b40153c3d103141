//! What becomes of a payment: which question is to be put to the gateway, and what follows from what is heard. Pure.
//!
//! ```text
//! due -> unknown -> paid ------> refund_due -> refunded
//!   awaited ---'  |\                 ^
//!                 | `-> late --------+-> moved (to the order that its units were claimed again as)
//!                 |-> declined
//!                 `-> void
//! ```
//!
//! A gateway may say late, twice or in any order what it has to say. The first final word counts; one that contradicts it
//! is an incident, and money that was taken for nothing goes back.

use crate::faults::weakened;
use crate::order::{CancelReason, OrderState, words};
use crate::order_id::OrderId;
use crate::order_life::{Cancellation, Step};

/// How the payment of an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PaymentState {
    /// To be taken; nobody has asked the gateway, as far as is known.
    Due,
    /// The buyer pays elsewhere; a webhook tells.
    Awaited,
    /// The gateway was asked, and what it did is not known.
    Unknown,
    /// The money is here.
    Paid,
    /// No money comes.
    Declined,
    /// The money came after the hold was over: units are to be claimed again for it.
    Late,
    /// The money belongs to another order now, which has claimed the units again.
    Moved,
    /// The money is to go back.
    RefundDue,
    /// The money went back.
    Refunded,
    /// Nothing was ever taken.
    Void,
}

words!(PaymentState {
    Due = "due",
    Awaited = "awaited",
    Unknown = "unknown",
    Paid = "paid",
    Declined = "declined",
    Late = "late",
    Moved = "moved",
    RefundDue = "refund_due",
    Refunded = "refunded",
    Void = "void",
});

impl PaymentState {
    /// States in which a payment waits for somebody: not those of which only the end of their hold is waited for, nor declined
    /// ones, which are asked for once more only to be sure.
    pub const WAITING: [Self; 5] = [Self::Due, Self::Unknown, Self::Paid, Self::Late, Self::RefundDue];
}

/// An order, as far as its payment depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaidOrder {
    /// Where it stands.
    pub state: OrderState,
    /// Why it was cancelled, if it was.
    pub cancel_reason: Option<CancelReason>,
    /// Whether the time is over for which it holds its units.
    pub hold_is_over: bool,
}

/// A sum of money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// In minor units of the currency.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
}

/// What the rules look at, of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentFacts {
    /// The payment.
    pub payment: PaymentState,
    /// Its order.
    pub order: PaidOrder,
    /// What it costs; `None` where it has items of several currencies.
    pub cost: Option<Sum>,
    /// It was claimed for money that had come late: it is never charged itself, the money is brought to it.
    pub is_made_from_late: bool,
    /// Money is known to have come for it, its own or such as was brought to it.
    pub has_money: bool,
    /// The history tells already that the outcome is not known.
    pub is_parked: bool,
    /// No request to charge can still arrive at the gateway: none was sent, or so long ago.
    pub no_charge_on_its_way: bool,
}

/// What has to be done outside for a payment that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Ask the gateway for the money.
    Charge,
    /// Ask the gateway what it did.
    LookUp,
    /// Claim the units again.
    Reclaim,
    /// Ask the gateway to pay back.
    Refund,
    /// Nothing: what is known is enough to go on.
    Conclude,
}

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The money was taken.
    Paid {
        /// How much.
        sum: Sum,
        /// The gateway's own name for it.
        reference: String,
    },
    /// The money was taken under the order's own id, though it was bought with other money, which had come too late for the
    /// order before it.
    PaidTwice {
        /// How much.
        sum: Sum,
        /// The gateway's own name for it.
        reference: String,
    },
    /// No money comes; the gateway's word for why.
    Declined(String),
    /// The gateway has not decided.
    Undecided,
    /// The gateway was asked, and gave no answer.
    NoAnswer(String),
    /// The gateway was not asked.
    NotAsked(String),
    /// The gateway knows of no charge.
    NeverHeard,
    /// The gateway has paid back, now or before.
    Refunded,
    /// The gateway will not pay back.
    RefundRefused(String),
    /// The units were claimed again, as this order.
    Reclaimed(OrderId),
    /// There are no units to claim, or the sale does not sell any more.
    NoUnits(&'static str),
    /// Nothing new: the order is looked at again.
    None,
    /// Nothing new: what is needed is on its way.
    NotYet,
}

/// When a payment is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Only if something is heard.
    Never,
    /// At once.
    Now,
    /// In a moment: something is on its way.
    Soon,
    /// After a pause, which grows.
    Later,
    /// Once more after minutes, to be sure.
    Once,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How the payment stands now.
    pub payment: PaymentState,
    /// The order's step.
    pub step: Option<Step>,
    /// When it is looked at again.
    pub again: Again,
    /// For the order's history, in words; with a step, the reason of that.
    pub note: Option<String>,
    /// Something that an operator has to know.
    pub alarm: Option<Alarm>,
}

/// What an operator has to know of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// The gateway took another sum than was asked for.
    WrongAmount,
    /// The gateway took money for an order that other money has bought.
    PaidTwice,
    /// The gateway says another thing than it said before.
    Contradiction,
    /// The gateway does not pay back.
    RefundRefused,
    /// The gateway took money for an order that nobody has.
    NoOrder,
}

impl Alarm {
    /// The incident's kind.
    pub fn kind(self) -> &'static str {
        match self {
            Self::WrongAmount => "payment_wrong_amount",
            Self::PaidTwice => "paid_twice",
            Self::Contradiction => "payment_contradiction",
            Self::RefundRefused => "refund_refused",
            Self::NoOrder => "paid_without_order",
        }
    }
}

/// What a payment that is due asks for.
pub fn task(facts: &PaymentFacts) -> Task {
    let holds = facts.order.state == OrderState::Pending && !facts.order.hold_is_over;
    let is_made_from_late = facts.is_made_from_late && !weakened!("late_claim_is_charged");
    match facts.payment {
        PaymentState::Due if is_free(facts) || is_made_from_late => Task::Conclude,
        PaymentState::Due if holds => Task::Charge,
        // A gateway that has declined is asked once more: it may have taken the money all the same.
        PaymentState::Due | PaymentState::Unknown | PaymentState::Awaited | PaymentState::Declined => {
            Task::LookUp
        }
        PaymentState::Late => Task::Reclaim,
        PaymentState::RefundDue if is_free(facts) => Task::Conclude,
        // Out of the log of a database that was restored: its money is that of the order before it, which brings it, or has it
        // back already.
        PaymentState::RefundDue if is_made_from_late && !facts.has_money => Task::LookUp,
        PaymentState::RefundDue => Task::Refund,
        PaymentState::Paid | PaymentState::Moved | PaymentState::Refunded | PaymentState::Void => {
            Task::Conclude
        }
    }
}

/// What follows from `news`.
pub fn verdict(facts: &PaymentFacts, news: &News) -> Verdict {
    use PaymentState::{Awaited, Declined, Due, Late, Moved, Paid, RefundDue, Refunded, Unknown, Void};
    match (facts.payment, news) {
        (Paid, _) => {
            let alarm = match news {
                News::Declined(_) | News::Refunded => Some(Alarm::Contradiction),
                News::PaidTwice { .. } => Some(Alarm::PaidTwice),
                _ => None,
            };
            Verdict { alarm, ..paid(facts.order) }
        }
        (_, News::PaidTwice { .. }) => Verdict { alarm: Some(Alarm::PaidTwice), ..stays(facts) },
        (Due | Awaited | Unknown | Declined | Void, News::Paid { sum, .. }) => {
            let is_exact = facts.cost.as_ref() == Some(sum);
            if is_exact { paid(facts.order) } else { wrong_amount(facts.order) }
        }
        (Due | Awaited | Unknown | Void, News::Declined(why)) => declined(facts.order, why),
        // It never had money under its own id.
        (RefundDue, News::NeverHeard | News::Declined(_)) if facts.is_made_from_late && !facts.has_money => {
            Verdict { payment: Void, again: Again::Never, ..stays(facts) }
        }
        (Late | Moved | RefundDue | Refunded, News::Declined(_)) | (Moved, News::Refunded) => {
            Verdict { alarm: Some(Alarm::Contradiction), ..stays(facts) }
        }
        (Due | Awaited | Unknown | Declined | Void | Late | RefundDue, News::Refunded) => {
            refunded(facts.order)
        }
        (Due | Awaited | Unknown, News::NeverHeard) => never_heard(facts),
        (Awaited, News::Undecided | News::NoAnswer(_) | News::NotAsked(_)) => {
            Verdict { again: Again::Later, ..stays(facts) }
        }
        // Nothing more is expected of a gateway that was asked once more, and had an answer.
        (Declined, News::Declined(_) | News::NeverHeard | News::Undecided) => stays(facts),
        (Declined, News::NoAnswer(_) | News::NotAsked(_)) => Verdict { again: Again::Later, ..stays(facts) },
        // The order is gone before the money that it was claimed for was brought to it: that claims anew.
        (Due, News::None) if facts.is_made_from_late && facts.order.state == OrderState::Cancelled => {
            Verdict { payment: Void, again: Again::Never, ..stays(facts) }
        }
        // Nothing was taken for it.
        (RefundDue, News::None) if is_free(facts) => {
            Verdict { payment: Void, again: Again::Never, ..stays(facts) }
        }
        (Due | Late, News::NotYet) => Verdict { again: Again::Soon, ..stays(facts) },
        (Due | Unknown, News::Undecided) => parked(facts, "the gateway has not decided"),
        (Due | Unknown, News::NoAnswer(why)) => parked(facts, why),
        (Due | Unknown, News::NotAsked(_)) => Verdict { again: Again::Later, ..stays(facts) },
        (Due, News::None) if is_free(facts) => {
            Verdict { note: Some("it costs nothing".into()), ..paid(facts.order) }
        }
        (Late, News::Reclaimed(id)) => Verdict {
            payment: Moved,
            again: Again::Never,
            note: Some(format!("paid after its hold was over: its units were claimed again as order {id}")),
            ..stays(facts)
        },
        (Late, News::NoUnits(why)) => Verdict {
            payment: RefundDue,
            again: Again::Now,
            note: Some(format!("paid after its hold was over, and {why}: the money goes back")),
            ..stays(facts)
        },
        (RefundDue, News::RefundRefused(_)) => {
            Verdict { alarm: Some(Alarm::RefundRefused), again: Again::Later, ..stays(facts) }
        }
        _ => stays(facts),
    }
}

fn is_free(facts: &PaymentFacts) -> bool {
    facts.cost.as_ref().is_some_and(|cost| cost.amount == 0)
}

/// Nothing follows; what was due stays due.
fn stays(facts: &PaymentFacts) -> Verdict {
    use PaymentState::{Due, Late, RefundDue, Unknown};
    let open = matches!(facts.payment, Due | Unknown | Late | RefundDue);
    let again = if open { Again::Later } else { Again::Never };
    Verdict { payment: facts.payment, step: None, again, note: None, alarm: None }
}

/// The money is here: what it pays for depends on what became of the order meanwhile.
fn paid(order: PaidOrder) -> Verdict {
    let verdict = |payment, step, again, note: Option<&str>| Verdict {
        payment,
        step,
        again,
        note: note.map(str::to_owned),
        alarm: None,
    };
    match (order.state, order.cancel_reason) {
        (OrderState::Accepted, _) => verdict(PaymentState::Paid, None, Again::Later, None),
        (OrderState::Pending, _) => {
            verdict(PaymentState::Paid, Some(Step::Confirm), Again::Never, Some("paid"))
        }
        (OrderState::Confirmed, _) => verdict(PaymentState::Paid, None, Again::Never, None),
        (OrderState::Cancelled, _) if weakened!("late_money_is_kept") => {
            verdict(PaymentState::Paid, None, Again::Never, None)
        }
        (OrderState::Cancelled, Some(CancelReason::Expired)) => {
            verdict(PaymentState::Late, None, Again::Now, Some("paid after its hold was over"))
        }
        (OrderState::Cancelled, _) => verdict(
            PaymentState::RefundDue,
            None,
            Again::Now,
            Some("paid after it was cancelled: the money goes back"),
        ),
    }
}

/// Too much or too little: it buys nothing, and goes back.
fn wrong_amount(order: PaidOrder) -> Verdict {
    let pending = order.state == OrderState::Pending;
    let confirmed = order.state == OrderState::Confirmed;
    Verdict {
        // A confirmed order was paid, said the log: an operator has to find out.
        payment: if confirmed { PaymentState::Paid } else { PaymentState::RefundDue },
        step: pending.then_some(Step::Cancel(Cancellation::Declined)),
        again: if confirmed { Again::Never } else { Again::Now },
        note: Some("the gateway took another sum than the order costs".into()),
        alarm: Some(Alarm::WrongAmount),
    }
}

fn declined(order: PaidOrder, why: &str) -> Verdict {
    let verdict = Verdict {
        payment: PaymentState::Declined,
        step: None,
        again: Again::Once,
        note: Some(format!("declined: {why}")),
        alarm: None,
    };
    match order.state {
        OrderState::Pending => Verdict { step: Some(Step::Cancel(Cancellation::Declined)), ..verdict },
        // The log says that it was paid once.
        OrderState::Confirmed => Verdict { alarm: Some(Alarm::Contradiction), ..verdict },
        OrderState::Cancelled | OrderState::Accepted => verdict,
    }
}

/// The money was here, and is gone: it buys nothing any more.
fn refunded(order: PaidOrder) -> Verdict {
    Verdict {
        payment: PaymentState::Refunded,
        step: (order.state == OrderState::Pending).then_some(Step::Cancel(Cancellation::Declined)),
        again: Again::Never,
        note: Some("the money went back".into()),
        // Somebody has it both ways.
        alarm: (order.state == OrderState::Confirmed).then_some(Alarm::Contradiction),
    }
}

fn never_heard(facts: &PaymentFacts) -> Verdict {
    let is_awaited = facts.payment == PaymentState::Awaited;
    match (facts.order.state, facts.order.hold_is_over) {
        // No time is lost: its hold runs.
        (OrderState::Pending, false) if !is_awaited => {
            Verdict { payment: PaymentState::Due, again: Again::Now, ..stays(facts) }
        }
        (state @ (OrderState::Confirmed | OrderState::Cancelled), _) if facts.no_charge_on_its_way => {
            let contradicts = state == OrderState::Confirmed;
            Verdict {
                payment: PaymentState::Void,
                again: Again::Never,
                alarm: contradicts.then_some(Alarm::Contradiction),
                ..stays(facts)
            }
        }
        // The sweeper ends it, or a request or the buyer's own payment is still on its way.
        _ if is_awaited => Verdict { again: Again::Later, ..stays(facts) },
        _ => Verdict { payment: PaymentState::Unknown, again: Again::Later, ..stays(facts) },
    }
}

/// Left alone for a while, then looked up.
fn parked(facts: &PaymentFacts, why: &str) -> Verdict {
    Verdict {
        payment: PaymentState::Unknown,
        again: Again::Later,
        note: (!facts.is_parked).then(|| format!("whether it is paid is not known yet: {why}")),
        ..stays(facts)
    }
}

#[cfg(test)]
mod tests;
