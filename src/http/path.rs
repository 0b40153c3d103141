use std::borrow::Cow;

/// More segments than any route has; a longer path is not found.
const SEGMENTS_MAX: usize = 8;

/// Why a path segment is not text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// `%` without two hexadecimal digits.
    #[error("a percent sign in the path must be followed by two hexadecimal digits")]
    PercentEncoding,
    /// The decoded bytes are not UTF-8, or hold a control character.
    #[error("the path must be UTF-8 without control characters")]
    Text,
}

/// A request path cut at its slashes, not decoded: an encoded slash belongs to its segment
/// (RFC 3986 section 2.2).
#[derive(Debug, Clone, Copy)]
pub struct PathSegments<'a> {
    parts: [&'a str; SEGMENTS_MAX],
    len: usize,
}

impl<'a> PathSegments<'a> {
    /// Cuts `/v1/sales/x` into `["v1", "sales", "x"]`. `None` where the path does not begin with
    /// a slash or has more segments than any route. A trailing slash gives an empty last segment.
    pub fn split(path: &'a str) -> Option<Self> {
        let mut segments = Self { parts: [""; SEGMENTS_MAX], len: 0 };
        for part in path.strip_prefix('/')?.split('/') {
            *segments.parts.get_mut(segments.len)? = part;
            segments.len += 1;
        }
        Some(segments)
    }

    /// The segments, to match on: `["v1", "sales", sale] => …`.
    pub fn as_slice(&self) -> &[&'a str] {
        &self.parts[..self.len]
    }
}

/// Percent-decodes one segment (RFC 3986 section 2.1), borrowing where nothing is encoded.
///
/// # Errors
/// [`PathError`]. Control characters are refused here because a NUL would abort a whole batch
/// of rows in Postgres.
pub fn decode_segment(segment: &str) -> Result<Cow<'_, str>, PathError> {
    let decoded = if segment.contains('%') {
        String::from_utf8(percent_decode(segment.as_bytes())?).map(Cow::Owned).map_err(|_| PathError::Text)?
    } else {
        Cow::Borrowed(segment)
    };
    if decoded.chars().any(char::is_control) {
        return Err(PathError::Text);
    }
    Ok(decoded)
}

fn percent_decode(encoded: &[u8]) -> Result<Vec<u8>, PathError> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.iter();
    while let Some(&byte) = bytes.next() {
        if byte == b'%' {
            let high = hex_digit(bytes.next())?;
            let low = hex_digit(bytes.next())?;
            decoded.push(high << 4 | low);
        } else {
            decoded.push(byte);
        }
    }
    Ok(decoded)
}

fn hex_digit(byte: Option<&u8>) -> Result<u8, PathError> {
    match byte {
        Some(digit @ b'0'..=b'9') => Ok(digit - b'0'),
        Some(digit @ b'a'..=b'f') => Ok(digit - b'a' + 10),
        Some(digit @ b'A'..=b'F') => Ok(digit - b'A' + 10),
        _ => Err(PathError::PercentEncoding),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn cuts_at_slashes() {
        let cut = |path| PathSegments::split(path).map(|segments| segments.as_slice().to_vec());
        assert_eq!(cut("/v1/sales/x"), Some(vec!["v1", "sales", "x"]));
        assert_eq!(cut("/"), Some(vec![""]));
        assert_eq!(cut("/v1/"), Some(vec!["v1", ""]));
        assert_eq!(cut("*"), None);
        assert_eq!(cut("/1/2/3/4/5/6/7/8").map(|segments| segments.len()), Some(8));
        assert_eq!(cut("/1/2/3/4/5/6/7/8/9"), None);
    }

    #[test]
    fn decodes_only_what_is_encoded() {
        assert!(matches!(decode_segment("plain-1"), Ok(Cow::Borrowed("plain-1"))));
        assert_eq!(decode_segment("a%2Fb%c3%A9").unwrap(), "a/bé");
        assert_eq!(decode_segment("%"), Err(PathError::PercentEncoding));
        assert_eq!(decode_segment("%4"), Err(PathError::PercentEncoding));
        assert_eq!(decode_segment("%+1"), Err(PathError::PercentEncoding));
        assert_eq!(decode_segment("%ff"), Err(PathError::Text));
        assert_eq!(decode_segment("a%00"), Err(PathError::Text));
    }
}
