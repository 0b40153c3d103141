//! `Prefer: wait=N` (<https://www.rfc-editor.org/rfc/rfc7240#section-4.3>).

use std::time::Duration;

use hyper::Response;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::http::Body;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How long the client would have the response wait, at most `max` and in whole seconds; `None` where it does not say, or
/// says what cannot be understood: a preference is never an error.
pub(super) fn wait(headers: &HeaderMap, max: Duration) -> Option<Duration> {
    let preferences = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    // The first one counts where it is given twice (section 2).
    let asked = preferences.flat_map(|value| value.split(',')).find_map(wait_of)?;
    let wait = Duration::from_secs(asked?).min(Duration::from_secs(max.as_secs()));
    (!wait.is_zero()).then_some(wait)
}

/// Of one preference: `None` where it is another one, `Some(None)` where its number cannot be read.
fn wait_of(preference: &str) -> Option<Option<u64>> {
    let (preference, _parameters) = preference.split_once(';').unwrap_or((preference, ""));
    let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
    if !name.trim().eq_ignore_ascii_case("wait") {
        return None;
    }
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    Some(value.parse().ok())
}

/// Says that the response waited, or would have.
pub(super) fn applied(mut response: Response<Body>, wait: Duration) -> Response<Body> {
    if let Ok(value) = HeaderValue::try_from(format!("wait={}", wait.as_secs())) {
        response.headers_mut().insert(PREFERENCE_APPLIED, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(values: &[&str]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PREFER, value.parse().unwrap());
        }
        wait(&headers, Duration::from_secs(30)).map(|wait| wait.as_secs())
    }

    #[test]
    fn the_first_wait_counts_and_is_bounded() {
        assert_eq!(asked(&["wait=5"]), Some(5));
        assert_eq!(asked(&["respond-async, Wait = \"7\" ; x=y"]), Some(7));
        assert_eq!(asked(&["return=minimal", "wait=9, wait=3"]), Some(9));
        assert_eq!(asked(&["wait=99999"]), Some(30));
    }

    #[test]
    fn what_cannot_be_understood_is_ignored() {
        for values in [&[][..], &["wait"], &["wait=0"], &["wait=-1"], &["wait=x, wait=5"], &["waiting=5"]] {
            assert_eq!(asked(values), None, "{values:?}");
        }
    }
}
