//! What is told to the outside: operators register addresses for types of events, and every such event is delivered to
//! them at least once, under the same `webhook-id`.
//!
//! Events are written by Postgres itself, in the transaction that made them (`V7__sale_events_and_webhooks.sql`); the
//! workers here take them from there. Signed as <https://www.standardwebhooks.com> says, written as CloudEvents 1.0.

mod client;
mod cloud_event;
mod delivery;
mod endpoint;
mod event_type;
mod secret;
mod store;
mod worker;

pub use client::{Answer, WebhookClient};
pub use cloud_event::CloudEvent;
pub use endpoint::{Endpoint, EndpointError, NewEndpoint};
pub use event_type::EventType;
pub use secret::{SecretError, WebhookSecret};
pub use store::{DeadDelivery, WebhookError, WebhookStore};
pub use worker::{WebhookOptions, WebhookWorker};
