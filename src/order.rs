//! The states of an order that Postgres holds.
//!
//! ```text
//! accepted (in the log) -> pending -> confirmed
//!                                 \-> cancelled
//! ```

/// Where an order stands; later states are greater. `accepted` is in no column: it is an entry of the log that is not yet persisted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OrderState {
    /// In the log, not yet in Postgres.
    Accepted,
    /// Waits for its payment.
    Pending,
    /// Sold.
    Confirmed,
    /// Not sold; its units went back.
    Cancelled,
}

impl OrderState {
    /// Whether whoever waits for the outcome of an order has it.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Confirmed | Self::Cancelled)
    }
}

/// Why an order was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelReason {
    /// The payment was declined.
    Declined,
    /// The payment did not come in time.
    Expired,
    /// The buyer asked for it.
    Buyer,
    /// An operator asked for it.
    Operator,
    /// Postgres had fewer units than Redis sold.
    OverAllotment,
    /// A second order of one key.
    Duplicate,
}

impl CancelReason {
    /// Whether the order was cancelled as it was persisted, so that it was never active.
    pub fn is_found_by_persisting(self) -> bool {
        matches!(self, Self::OverAllotment | Self::Duplicate)
    }
}

/// A word that names no state or reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown word {0:?}: written by a newer version?")]
pub struct UnknownWord(String);

impl UnknownWord {
    pub(crate) fn of(word: &str) -> Self {
        Self(word.chars().take(60).collect())
    }
}

macro_rules! words {
    ($type:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $type {
            /// The word for it in Postgres, the log and JSON.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl std::str::FromStr for $type {
            type Err = $crate::order::UnknownWord;
            fn from_str(word: &str) -> Result<Self, $crate::order::UnknownWord> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    other => Err($crate::order::UnknownWord::of(other)),
                }
            }
        }
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words!(OrderState { Accepted = "accepted", Pending = "pending", Confirmed = "confirmed", Cancelled = "cancelled" });
words!(CancelReason {
    Declined = "declined",
    Expired = "expired",
    Buyer = "buyer",
    Operator = "operator",
    OverAllotment = "over_allotment",
    Duplicate = "duplicate",
});
