//! `POST /v1/orders/{id}/cancel`

use std::time::Duration;

use hyper::Response;
use hyper::header::HeaderMap;
use tokio::time::{Instant, sleep};

use super::{Api, orders};
use crate::http::{Body, Problem, ProblemKind};
use crate::order_id::OrderId;
use crate::order_life::{Cancellation, LifeError, OrderOf, Refusal, Step, Told};

/// How long an order that is in the log alone is waited for: a cancel often follows its order at once.
const STORED_WITHIN: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(50);
/// Suggested to a buyer whose order is still not stored then.
const NOT_STORED_RETRY: Duration = Duration::from_secs(2);

const TOLD: Told<'static> = Told { actor: "buyer", reason: "cancelled by the buyer" };

/// Cancels an order of the buyer who asks, and shows it. Done before, for whatever reason, it shows it and changes
/// nothing.
pub(super) async fn cancel(api: &Api, id: &str, headers: &HeaderMap) -> Result<Response<Body>, Problem> {
    let buyer = api.identity.of(headers)?;
    let id: OrderId = id.parse().map_err(|_| ProblemKind::NotFound)?;
    if api.attempts.is_over(&buyer) {
        return Err(ProblemKind::TooManyAttempts.into());
    }
    let until = Instant::now() + STORED_WITHIN;
    let mut is_in_log = false;
    loop {
        let step = Step::Cancel(Cancellation::Buyer);
        match api.life.step(id, OrderOf::Buyer(&buyer), step, TOLD).await {
            Ok(_) => return orders::show_stored(api, id, &buyer).await,
            Err(LifeError::NotStored(_)) => {}
            Err(error) => return Err(problem(&error)),
        }
        if !is_in_log {
            // Somewhere else than in Postgres, and of this buyer: otherwise there is none, as far as he is told.
            orders::find(api, id, &buyer).await?;
            is_in_log = true;
        }
        if Instant::now() >= until {
            return Err(Problem::new(ProblemKind::NotStoredYet).with_retry_after(NOT_STORED_RETRY));
        }
        sleep(POLL).await;
    }
}

fn problem(error: &LifeError) -> Problem {
    match error {
        LifeError::Refused(_, Refusal::NotByBuyer) => {
            Problem::new(ProblemKind::NotCancellable).with_detail(Refusal::NotByBuyer.to_string())
        }
        error => {
            tracing::warn!(%error, "an order cannot be cancelled now");
            ProblemKind::Unavailable.into()
        }
    }
}
