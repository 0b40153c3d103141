//! How orders are paid for.
//!
//! [`rules`] says what follows from what is heard; [`PaymentDesk`] is the one door through which it does, in one transaction
//! with the step of the order; [`PaymentWorker`] asks the gateway. Postgres says what is to be paid for (`payments`, written
//! with the order); the payments stream of Redis only tells sooner.

mod by_hand;
mod desk;
mod error;
mod gateway;
mod hints;
mod http_gateway;
mod list;
mod no_gateway;
mod protocol;
mod reclaim;
mod record;
mod rules;
mod sandbox;
mod worker;

pub use by_hand::ByHand;
pub use desk::{PaymentDesk, PaymentTimes, WebhookName};
pub use error::PaymentError;
pub use gateway::{Charge, ChargeState, Gateway, GatewayError};
pub use http_gateway::{GatewaySetupError, HttpGateway, HttpGatewayOptions};
pub use list::{ListedPayment, WaitingPayments, list_payments, retry_payments, waiting_payments};
pub use no_gateway::NoGateway;
pub use protocol::ChargeStatus;
pub use rules::{
    Again, Alarm, News, PaidOrder, PaymentFacts, PaymentState, Sum, Task, Verdict, task, verdict,
};
pub use sandbox::{Rates, RatesError, Sandbox, SandboxCharge, SandboxError, SandboxOptions, SandboxWebhook};
pub use worker::{PaymentOptions, PaymentWorker};
