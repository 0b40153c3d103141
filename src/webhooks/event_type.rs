//! The types of events.

use std::fmt;
use std::str::FromStr;

/// What can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventType(&'static str);

/// As they are stored, and written in the event.
const ALL: [&str; 9] = [
    "order.pending",
    "order.confirmed",
    "order.cancelled",
    "sale.opened",
    "sale.paused",
    "sale.resumed",
    "sale.closed",
    "sale.sold_out",
    "webhook.test",
];

/// Nothing that is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no event type {0:?}: one of {types}", types = ALL.join(", "))]
pub struct UnknownEventType(String);

impl EventType {
    /// Sent only where an operator asks for it.
    pub const TEST: Self = Self("webhook.test");

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl FromStr for EventType {
    type Err = UnknownEventType;
    fn from_str(word: &str) -> Result<Self, UnknownEventType> {
        let known = ALL.iter().find(|known| **known == word);
        known.map(|word| Self(word)).ok_or_else(|| UnknownEventType(word.chars().take(60).collect()))
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
