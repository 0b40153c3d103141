//! `/admin/v1/orders`.

use serde::Deserialize;
use serde_json::json;

use super::who::Who;
use super::{AdminError, AdminReply, AdminState};
use crate::order_id::OrderId;
use crate::order_life::{Cancellation, LifeError, OrderOf, Outcome, Step, Told};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CancelBody {
    reason: String,
    actor: Option<String>,
}

/// `GET /admin/v1/orders/{id}`: an order that is stored, with every step since.
pub(super) async fn get(state: &AdminState, id: &str) -> Result<AdminReply, AdminError> {
    read(state, order_id(id)?, None).await
}

/// `POST /admin/v1/orders/{id}/cancel`, with `{"reason": "…", "actor": "…"}`. Cancelled before, it changes nothing.
pub(super) async fn cancel(state: &AdminState, id: &str, body: &[u8]) -> Result<AdminReply, AdminError> {
    let id = order_id(id)?;
    let body: CancelBody = serde_json::from_slice(body).map_err(|error| {
        AdminError::Malformed(format!("{error}; send {{\"reason\":\"…\",\"actor\":\"…\"}}"))
    })?;
    let who = Who::read(body.actor.as_deref(), &body.reason)?;
    let told = Told { actor: &who.actor, reason: &who.reason };
    let step = Step::Cancel(Cancellation::Operator);
    let outcome = state.orders.step(id, OrderOf::Anyone, step, told).await?;
    read(state, id, Some(outcome != Outcome::Unchanged)).await
}

async fn read(state: &AdminState, id: OrderId, changed: Option<bool>) -> Result<AdminReply, AdminError> {
    let mut body = json!({ "order": state.orders.read(id).await? });
    if let Some(changed) = changed {
        body["changed"] = changed.into();
    }
    Ok(AdminReply::ok(body))
}

fn order_id(text: &str) -> Result<OrderId, AdminError> {
    text.parse().map_err(|_| AdminError::no_route())
}

impl From<LifeError> for AdminError {
    fn from(error: LifeError) -> Self {
        match error {
            LifeError::NotStored(_) => Self::NotFound(error.to_string()),
            LifeError::Refused(..) => Self::Conflict(error.to_string()),
            LifeError::NotDrained(_) => {
                tracing::warn!(%error, "an admin request has to be repeated");
                Self::Unavailable
            }
            LifeError::Unreadable(..) => Self::internal(error),
            LifeError::Postgres(error) => error.into(),
        }
    }
}
