//! How orders are paid for.
//!
//! [`rules`] says what follows from what is heard; [`PaymentDesk`] is the one door through which it does, in one transaction
//! with the step of the order; [`PaymentWorker`] asks the gateway. Postgres says what is to be paid for (`payments`, written
//! with the order); the payments stream of Redis only tells sooner.

mod desk;
mod error;
mod gateway;
mod hints;
mod list;
mod no_gateway;
mod reclaim;
mod record;
mod rules;
mod worker;

pub use desk::{PaymentDesk, WebhookName};
pub use error::PaymentError;
pub use gateway::{Charge, ChargeState, Gateway, GatewayError};
pub use list::{ListedPayment, list_payments, retry_payments};
pub use no_gateway::NoGateway;
pub use rules::{
    Again, Alarm, News, PaidOrder, PaymentFacts, PaymentState, Sum, Task, Verdict, task, verdict,
};
pub use worker::{PaymentOptions, PaymentWorker};
