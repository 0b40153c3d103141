//! Entries that could not be persisted, and how an operator ends them.
//!
//! Each ends once, in one transaction, under the partition's persisting lock and epoch: while a keeper opens the
//! partition, nobody ends a letter that it is counting.

mod drop;
mod error;
mod fence;
mod letter;
mod retry;

pub use drop::{Dropped, drop_letter};
pub use error::DeadLetterError;
pub use letter::{DeadLetter, Ended, LetterQuery, Outcome, find, list};
pub use retry::{Retried, retry};

/// Who ends a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator(String);

impl Operator {
    /// `None` where the name is empty.
    pub fn new(name: &str) -> Option<Self> {
        let name = name.trim();
        (!name.is_empty()).then(|| Self(name.chars().take(100).collect()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
