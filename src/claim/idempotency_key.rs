//! placeholder until merged
use std::sync::Arc;

/// The buyer's name for one attempt to buy: 1 to 255 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Arc<str>);

/// Not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key is 1 to 255 visible ASCII characters (0x21 to 0x7E)")]
pub struct IdempotencyKeyError;

impl IdempotencyKey {
    /// Parses a key.
    ///
    /// # Errors
    /// Where it is empty, too long, or has a character that is not visible ASCII.
    pub fn parse(text: &[u8]) -> Result<Self, IdempotencyKeyError> {
        if text.is_empty() || text.len() > 255 || !text.iter().all(u8::is_ascii_graphic) {
            return Err(IdempotencyKeyError);
        }
        str::from_utf8(text).map(|text| Self(text.into())).map_err(|_| IdempotencyKeyError)
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
