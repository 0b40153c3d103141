//! How the sandbox misbehaves.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const DELAY_MAX_MS: u64 = 600_000;

/// Shares of the orders, from 0 to 1, that meet each misfortune; and times. What JSON does not give is
/// as in [`Rates::default`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rates {
    /// Charges that are declined.
    pub decline_rate: f64,
    /// Requests that are answered 500, and not carried out.
    pub error_rate: f64,
    /// Charges and refunds that are carried out, and their connection closed without an answer.
    pub unknown_rate: f64,
    /// Charges that are decided only after `settle_ms`.
    pub undecided_rate: f64,
    /// Charges that are answered as declined, and are paid: a look-up and the webhook say so.
    pub lie_rate: f64,
    /// Charges whose webhook gets lost on its way, and is not sent again.
    pub lost_webhook_rate: f64,
    /// Pause before each answer, in milliseconds; what was asked is done before it.
    pub delay_ms: u64,
    /// How long undecided charges stay so, in milliseconds.
    pub settle_ms: u64,
}

/// Rates that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RatesError {
    /// No share.
    #[error("{0} must be a number from 0 to 1")]
    Share(&'static str),
    /// Too long.
    #[error("{0} must be a whole number of milliseconds from 0 to {DELAY_MAX_MS}")]
    Time(&'static str),
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            decline_rate: 0.0,
            error_rate: 0.0,
            unknown_rate: 0.0,
            undecided_rate: 0.0,
            lie_rate: 0.0,
            lost_webhook_rate: 0.0,
            delay_ms: 0,
            settle_ms: 2_000,
        }
    }
}

impl Rates {
    /// Whether they can be.
    ///
    /// # Errors
    /// [`RatesError`], naming the first that cannot.
    pub fn check(&self) -> Result<(), RatesError> {
        let shares = [
            ("decline_rate", self.decline_rate),
            ("error_rate", self.error_rate),
            ("unknown_rate", self.unknown_rate),
            ("undecided_rate", self.undecided_rate),
            ("lie_rate", self.lie_rate),
            ("lost_webhook_rate", self.lost_webhook_rate),
        ];
        let times = [("delay_ms", self.delay_ms), ("settle_ms", self.settle_ms)];
        if let Some((name, _)) = shares.iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
            return Err(RatesError::Share(name));
        }
        match times.iter().find(|(_, time)| *time > DELAY_MAX_MS) {
            Some((name, _)) => Err(RatesError::Time(name)),
            None => Ok(()),
        }
    }

    pub(super) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms)
    }

    pub(super) fn settle(&self) -> Duration {
        Duration::from_millis(self.settle_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_between_nothing_and_all() {
        let with = |share| Rates { lie_rate: share, ..Rates::default() }.check();
        assert_eq!((with(0.0), with(1.0)), (Ok(()), Ok(())));
        for bad in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(with(bad), Err(RatesError::Share("lie_rate")));
        }
        let slow = Rates { settle_ms: DELAY_MAX_MS + 1, ..Rates::default() };
        assert_eq!(slow.check(), Err(RatesError::Time("settle_ms")));
    }
}
