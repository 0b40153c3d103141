//! What goes over the wire to a gateway and back: docs/PAYMENTS.md.

use serde::{Deserialize, Serialize};

use super::gateway::{Charge, ChargeState};

/// What is kept of a gateway's words: they go into the database and the log.
const REFERENCE_CHARACTERS: usize = 255;
const REASON_CHARACTERS: usize = 200;

/// The header of a request that is carried out once, however often it is sent
/// (<https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>).
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Body of a charge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ChargeRequest {
    pub order_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buyer: Option<String>,
    /// In minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
}

/// How a charge stands, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChargeStatus {
    /// The money is taken.
    Paid,
    /// No money is taken, and none will be.
    Declined,
    /// It is not decided yet.
    Undecided,
    /// The money was taken, and paid back.
    Refunded,
    /// There is no charge of this order.
    None,
}

/// Body of an answer about a charge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ChargeAnswer {
    pub status: ChargeStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl From<&Charge> for ChargeRequest {
    fn from(charge: &Charge) -> Self {
        Self {
            order_id: charge.order.to_string(),
            buyer: Some(charge.buyer.as_str().to_owned()),
            amount: charge.amount,
            currency: charge.currency.clone(),
        }
    }
}

impl ChargeAnswer {
    pub(super) fn of(status: ChargeStatus) -> Self {
        Self { status, amount: None, currency: None, reference: None, reason: None }
    }

    /// As Doorbuster has it; `None` where there is no charge.
    ///
    /// A charge that was paid back pays for nothing: the buyer has his money, so the order must not be confirmed.
    ///
    /// # Errors
    /// What the answer lacks.
    pub(super) fn state(self) -> Result<Option<ChargeState>, &'static str> {
        Ok(Some(match self.status {
            ChargeStatus::Paid => ChargeState::Paid {
                amount: self.amount.ok_or("it is paid and names no amount")?,
                currency: self
                    .currency
                    .filter(|c| is_currency(c))
                    .ok_or("it is paid and names no currency")?,
                reference: cleaned(&self.reference.unwrap_or_default(), REFERENCE_CHARACTERS),
            },
            ChargeStatus::Declined => {
                ChargeState::Declined { reason: cleaned(&self.reason.unwrap_or_default(), REASON_CHARACTERS) }
            }
            ChargeStatus::Undecided => ChargeState::Undecided,
            ChargeStatus::Refunded => ChargeState::Refunded,
            ChargeStatus::None => return Ok(None),
        }))
    }
}

/// ISO 4217 in form.
pub(super) fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|c| c.is_ascii_uppercase())
}

/// Control characters, NUL among them, would be refused by Postgres or garble the log.
fn cleaned(text: &str, characters: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(json: &str) -> Result<Option<ChargeState>, &'static str> {
        serde_json::from_str::<ChargeAnswer>(json).unwrap().state()
    }

    #[test]
    fn an_answer_is_read_whole_or_not_at_all() {
        let paid =
            r#"{"status":"paid","amount":1500,"currency":"EUR","reference":"ch_1","more":"is passed over"}"#;
        let reference = "ch_1".to_owned();
        assert_eq!(
            state(paid),
            Ok(Some(ChargeState::Paid { amount: 1500, currency: "EUR".to_owned(), reference }))
        );
        assert!(state(r#"{"status":"paid","currency":"EUR"}"#).is_err());
        assert!(state(r#"{"status":"paid","amount":1500}"#).is_err());
        assert!(state(r#"{"status":"paid","amount":1500,"currency":"Euro"}"#).is_err());
        assert_eq!(state(r#"{"status":"undecided"}"#), Ok(Some(ChargeState::Undecided)));
        assert_eq!(state(r#"{"status":"none"}"#), Ok(None));
        assert!(serde_json::from_str::<ChargeAnswer>(r#"{"status":"captured"}"#).is_err());
    }

    #[test]
    fn a_refunded_charge_pays_for_nothing() {
        let refunded = state(r#"{"status":"refunded","amount":1500,"currency":"EUR","reference":"ch_1"}"#);
        assert_eq!(refunded, Ok(Some(ChargeState::Refunded)));
    }

    #[test]
    fn what_a_gateway_says_is_bounded_and_without_control_characters() {
        let long = "x".repeat(1_000);
        let declined = state(&format!(r#"{{"status":"declined","reason":"no\u0000 \n{long}"}}"#));
        let Ok(Some(ChargeState::Declined { reason })) = declined else { panic!("{declined:?}") };
        assert!(reason.starts_with("no xxx") && reason.len() == REASON_CHARACTERS, "{reason}");
    }
}
