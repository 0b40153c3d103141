use std::fmt;

use hyper::header::{AUTHORIZATION, HeaderMap};
use subtle::{Choice, ConstantTimeEq};

const TOKEN_MIN_BYTES: usize = 16;
const TOKEN_MAX_BYTES: usize = 256;
const SCHEME: &[u8] = b"Bearer";

/// The secret that a caller of a guarded listener must present (RFC 6750 section 2.1).
///
/// Kept padded to a fixed length and compared over the whole of it, so that the time of a check
/// tells neither the token's content nor its length.
#[derive(Clone)]
pub struct BearerToken {
    padded: [u8; TOKEN_MAX_BYTES],
    len: u64,
}

/// Why a setting is not a usable token. The token itself is never part of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BearerTokenError {
    /// Too short to resist guessing, or too long to compare.
    #[error("the bearer token must have 16 to 256 characters; make one with: openssl rand -hex 32")]
    Length,
    /// Not a `b64token` of RFC 6750.
    #[error(
        "the bearer token may hold only letters, digits and -._~+/= ; make one with: openssl rand -hex 32"
    )]
    Character,
}

impl BearerToken {
    /// Takes a configured token.
    ///
    /// # Errors
    /// [`BearerTokenError`] where no client could present it, or anybody could guess it.
    pub fn new(token: &str) -> Result<Self, BearerTokenError> {
        if !(TOKEN_MIN_BYTES..=TOKEN_MAX_BYTES).contains(&token.len()) {
            return Err(BearerTokenError::Length);
        }
        if !token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)) {
            return Err(BearerTokenError::Character);
        }
        pad(token.as_bytes()).ok_or(BearerTokenError::Length)
    }

    /// Whether the request carries this token: exactly one `Authorization` header, whose scheme
    /// is matched without regard to case (RFC 9110 section 11.1).
    pub fn authorizes(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return false };
        presented_token(value.as_bytes())
            .and_then(pad)
            .is_some_and(|presented| bool::from(self.ct_eq(&presented)))
    }
}

impl ConstantTimeEq for BearerToken {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.padded.ct_eq(&other.padded) & self.len.ct_eq(&other.len)
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("BearerToken(***)")
    }
}

/// The part after `Bearer` and its spaces.
fn presented_token(credentials: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = credentials.split_at_checked(SCHEME.len())?;
    let token = rest.trim_ascii_start();
    (scheme.eq_ignore_ascii_case(SCHEME) && token.len() < rest.len()).then_some(token)
}

/// `None` where the bytes are longer than any token; that tells nothing about ours.
fn pad(token: &[u8]) -> Option<BearerToken> {
    let mut padded = [0; TOKEN_MAX_BYTES];
    padded.get_mut(..token.len())?.copy_from_slice(token);
    Some(BearerToken { padded, len: token.len() as u64 })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use hyper::header::HeaderValue;

    const TOKEN: &str = "0123456789abcdef";

    fn admits(credentials: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for credential in credentials {
            headers.append(AUTHORIZATION, HeaderValue::from_str(credential).unwrap());
        }
        BearerToken::new(TOKEN).unwrap().authorizes(&headers)
    }

    #[test]
    fn admits_the_token_under_any_spelling_of_the_scheme() {
        for scheme in ["Bearer ", "bearer ", "BEARER   "] {
            assert!(admits(&[&format!("{scheme}{TOKEN}")]), "{scheme}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        let good = format!("Bearer {TOKEN}");
        assert!(!admits(&[]));
        assert!(!admits(&[&good, &good]));
        for bad in [
            "".to_owned(),
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            format!("Bearer{TOKEN}"),
            format!("Basic {TOKEN}"),
            TOKEN.to_owned(),
            format!("{good}0"),
            good[..good.len() - 1].to_owned(),
            format!("Bearer {}", "a".repeat(10_000)),
        ] {
            assert!(!admits(&[&bad]), "{bad}");
        }
    }

    #[test]
    fn refuses_weak_or_unsendable_settings_and_hides_itself() {
        assert_eq!(BearerToken::new("short").unwrap_err(), BearerTokenError::Length);
        assert_eq!(BearerToken::new(&"a".repeat(257)).unwrap_err(), BearerTokenError::Length);
        assert_eq!(BearerToken::new("0123456789 abcdef").unwrap_err(), BearerTokenError::Character);
        assert!(!format!("{:?}", BearerToken::new(TOKEN).unwrap()).contains(TOKEN));
    }
}
