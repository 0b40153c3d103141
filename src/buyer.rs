//! Who buys.

use std::fmt;
use std::sync::Arc;

/// A buyer's id was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a buyer id is 1 to {} visible ASCII characters (0x21 to 0x7E), without spaces", BuyerId::LENGTH_MAX)]
pub struct BuyerIdError;

/// Who buys: 1 to 128 visible ASCII characters. No space, so that it needs no escaping in the log.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuyerId(Arc<str>);

impl BuyerId {
    /// Longest allowed, in bytes.
    pub const LENGTH_MAX: usize = 128;

    /// Parses an id.
    ///
    /// # Errors
    /// [`BuyerIdError`] where it is empty, too long, or has a character that is not visible ASCII.
    pub fn parse(text: &[u8]) -> Result<Self, BuyerIdError> {
        if text.is_empty() || text.len() > Self::LENGTH_MAX || !text.iter().all(u8::is_ascii_graphic) {
            return Err(BuyerIdError);
        }
        str::from_utf8(text).map(|text| Self(text.into())).map_err(|_| BuyerIdError)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BuyerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_visible_ascii_passes() {
        assert_eq!(BuyerId::parse(b"user|42;x").unwrap().as_str(), "user|42;x");
        for bad in [&b""[..], b"a b", b"a\0", b"\xc3\xa4", b"a\n", &[b'x'; 129]] {
            assert_eq!(BuyerId::parse(bad), Err(BuyerIdError));
        }
    }
}
