use std::borrow::Cow;
use std::sync::Arc;

use hyper::header::HeaderMap;

const NAME: &str = "idempotency-key";
const CHARACTERS_MAX: usize = 255;
/// Keys that begin so are the engine's own: what a buyer sends must not meet them.
const RESERVED_KEYS: &str = "doorbuster:";

/// The client's name for one attempt to buy: the same key and body mean the same order.
///
/// From the `Idempotency-Key` header of draft-ietf-httpapi-idempotency-key-header. The draft makes
/// it a structured-field string, `"abc"` (RFC 9651 section 3.3.3); many clients send it bare, `abc`.
/// Both are taken, and are the same key where their content is the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Arc<str>);

/// Why a request has no usable idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdempotencyKeyError {
    /// No such header.
    #[error("send an Idempotency-Key header with a value that is new for each purchase")]
    Missing,
    /// Several such headers.
    #[error("send exactly one Idempotency-Key header")]
    Repeated,
    /// Empty, or longer than the limit.
    #[error("the Idempotency-Key must have 1 to 255 characters")]
    Length,
    /// Something other than 0x21 to 0x7E.
    #[error("the Idempotency-Key must consist of visible ASCII characters, without spaces")]
    Character,
    /// The beginning of the engine's own keys.
    #[error("an Idempotency-Key must not begin with {RESERVED_KEYS:?}")]
    Reserved,
    /// A quote is open, or something follows the closing one, or a backslash escapes nothing.
    #[error(
        "a quoted Idempotency-Key must end with its quote, and a backslash in it may stand only \
         before a quote or a backslash"
    )]
    Quoting,
}

impl IdempotencyKey {
    /// The key of a request.
    ///
    /// # Errors
    /// [`IdempotencyKeyError`], whose text is written for the client.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, IdempotencyKeyError> {
        let mut values = headers.get_all(NAME).iter();
        let value = values.next().ok_or(IdempotencyKeyError::Missing)?;
        if values.next().is_some() {
            return Err(IdempotencyKeyError::Repeated);
        }
        Self::parse(value.as_bytes())
    }

    /// The key in one field value, quoted or bare.
    ///
    /// # Errors
    /// As [`IdempotencyKey::from_headers`].
    pub fn parse(value: &[u8]) -> Result<Self, IdempotencyKeyError> {
        // Each content character takes at most two bytes, and there are two quotes.
        if value.len() > 2 * CHARACTERS_MAX + 2 {
            return Err(IdempotencyKeyError::Length);
        }
        let content = match value.strip_prefix(b"\"") {
            Some(quoted) => unquote(quoted)?.into(),
            None => Cow::Borrowed(checked(value)?),
        };
        if content.is_empty() || content.len() > CHARACTERS_MAX {
            return Err(IdempotencyKeyError::Length);
        }
        if content.starts_with(RESERVED_KEYS) {
            return Err(IdempotencyKeyError::Reserved);
        }
        Ok(Self(content.as_ref().into()))
    }

    /// A key as we wrote it ourselves: its content, without quotes.
    ///
    /// # Errors
    /// [`IdempotencyKeyError`] where no key can have this content.
    pub fn from_content(content: &str) -> Result<Self, IdempotencyKeyError> {
        if content.is_empty() || content.len() > CHARACTERS_MAX {
            return Err(IdempotencyKeyError::Length);
        }
        checked(content.as_bytes()).map(|content| Self(content.into()))
    }

    /// The content, without quotes or escapes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn checked(bare: &[u8]) -> Result<&str, IdempotencyKeyError> {
    let visible = bare.iter().all(u8::is_ascii_graphic);
    str::from_utf8(bare).ok().filter(|_| visible).ok_or(IdempotencyKeyError::Character)
}

/// The content of a structured-field string whose opening quote has been taken.
fn unquote(quoted: &[u8]) -> Result<String, IdempotencyKeyError> {
    let mut content = String::with_capacity(quoted.len());
    let mut bytes = quoted.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if bytes.next().is_none() => return Ok(content),
            b'"' => return Err(IdempotencyKeyError::Quoting),
            b'\\' => match bytes.next() {
                Some(escaped @ (b'"' | b'\\')) => content.push(char::from(escaped)),
                _ => return Err(IdempotencyKeyError::Quoting),
            },
            visible if visible.is_ascii_graphic() => content.push(char::from(visible)),
            _ => return Err(IdempotencyKeyError::Character),
        }
    }
    Err(IdempotencyKeyError::Quoting)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use hyper::header::HeaderValue;

    fn content(value: &[u8]) -> Result<String, IdempotencyKeyError> {
        IdempotencyKey::parse(value).map(|key| key.as_str().to_owned())
    }

    #[test]
    fn bare_and_quoted_forms_are_one_key() {
        assert_eq!(IdempotencyKey::parse(b"abc-1"), IdempotencyKey::parse(b"\"abc-1\""));
        assert_eq!(IdempotencyKey::parse(br#"a"\b"#), IdempotencyKey::parse(br#""a\"\\b""#));
    }

    #[test]
    fn keeps_1_to_255_visible_characters() {
        let longest = "k".repeat(255);
        assert_eq!(content(longest.as_bytes()).unwrap(), longest);
        assert_eq!(content(format!("\"{longest}\"").as_bytes()).unwrap(), longest);
        let escaped = format!("\"{}\"", "\\\\".repeat(255));
        assert_eq!(content(escaped.as_bytes()).unwrap(), "\\".repeat(255));
        for too in ["".to_owned(), "\"\"".to_owned(), "k".repeat(256), "k".repeat(10_000)] {
            assert_eq!(content(too.as_bytes()), Err(IdempotencyKeyError::Length), "{}", too.len());
        }
        assert_eq!(content(b"!~").unwrap(), "!~");
        for byte in (0..=0x20).chain(0x7f..=0xff) {
            assert_eq!(content(&[b'a', byte, b'b']), Err(IdempotencyKeyError::Character), "{byte:#x}");
            assert_eq!(content(&[b'"', byte, b'"']), Err(IdempotencyKeyError::Character), "{byte:#x}");
        }
    }

    #[test]
    fn the_keys_of_the_engine_are_its_own() {
        for ours in [&b"doorbuster:x"[..], br#""doorbuster:x""#, br#""door\"buster:""#] {
            let refused = content(ours) == Err(IdempotencyKeyError::Reserved);
            assert_eq!(refused, !ours.contains(&b'\\'), "{}", ours.escape_ascii());
        }
        assert!(IdempotencyKey::from_content("doorbuster:x").is_ok());
    }

    #[test]
    fn refuses_bad_quoting() {
        for bad in [&br#"""#[..], br#""a"#, br#""a"b"#, br#""a";p=1"#, br#""a\"#, br#""a\n""#] {
            assert_eq!(content(bad), Err(IdempotencyKeyError::Quoting), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn wants_exactly_one_header() {
        let mut headers = HeaderMap::new();
        assert_eq!(IdempotencyKey::from_headers(&headers), Err(IdempotencyKeyError::Missing));
        headers.append(NAME, HeaderValue::from_static("abc"));
        assert_eq!(IdempotencyKey::from_headers(&headers).unwrap().as_str(), "abc");
        headers.append(NAME, HeaderValue::from_static("abc"));
        assert_eq!(IdempotencyKey::from_headers(&headers), Err(IdempotencyKeyError::Repeated));
    }
}
