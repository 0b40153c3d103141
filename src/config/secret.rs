//! Values that are never shown.

use std::fmt;

use super::setting::Bounds;
use super::value::{Shown, Value};

/// Stands where a secret is. No secret may contain it, so that masked output cannot be loaded by mistake.
pub const MASK: &str = "********";

/// A bearer token. `Debug` and `Display` show [`MASK`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Shortest allowed, in characters.
    pub const LENGTH_MIN: usize = 16;
    /// Longest allowed, in characters.
    pub const LENGTH_MAX: usize = 256;

    /// Keeps a token; `None` where it is too short, too long, or could not stand in an `Authorization`
    /// header (RFC 6750, section 2.1, `b64token`).
    pub fn new(token: &str) -> Option<Self> {
        let body = token.trim_end_matches('=');
        let allowed = |c: u8| c.is_ascii_alphanumeric() || b"-._~+/".contains(&c);
        let fits = (Self::LENGTH_MIN..=Self::LENGTH_MAX).contains(&token.len());
        let usable = fits && !body.is_empty() && body.bytes().all(allowed);
        usable.then(|| Self(token.to_owned()))
    }

    /// The token itself, for comparing it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Value for Secret {
    const SECRET: bool = true;

    fn parse(text: &str, _: Bounds) -> Option<Self> {
        Self::new(text)
    }

    fn allowed(_: Bounds) -> String {
        format!("{} to {} letters, digits and -._~+/=", Self::LENGTH_MIN, Self::LENGTH_MAX)
    }

    fn shown(&self) -> Shown {
        Shown::Text(MASK.to_owned())
    }

    fn mask(_: &str) -> String {
        MASK.to_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_secret_never_shows_itself() {
        let secret = Secret::new("c29tZS1sb25nLXRva2Vu==").unwrap();
        assert_eq!(format!("{secret:?} {secret}"), "******** ********");
        assert_eq!(secret.expose(), "c29tZS1sb25nLXRva2Vu==");
    }

    #[test]
    fn a_token_is_long_and_fits_a_header() {
        for bad in ["", "short", "================", "a token with spaces", "****************"] {
            assert_eq!(Secret::new(bad), None, "{bad}");
        }
        assert!(Secret::new(&"x".repeat(256)).is_some());
        assert!(Secret::new(&"x".repeat(257)).is_none());
    }
}
