use bytes::Bytes;
use hyper::StatusCode;

/// Whether a problem of this kind tells the client when to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RetryAfter {
    Never,
    Always,
}

struct Row {
    slug: &'static str,
    status: u16,
    retry_after: RetryAfter,
    title: &'static str,
    advice: &'static str,
    /// The whole JSON of a problem that adds nothing, made by the compiler: a refusal in a rush
    /// costs no formatting.
    body: &'static str,
}

/// Makes the enum and its rows from one table, so that neither can lack the other.
macro_rules! problem_kinds {
    ($($kind:ident: $slug:literal $status:literal $retry_after:ident $title:literal $advice:literal;)+) => {
        /// Every problem that a client can be told (RFC 9457), each with its type, status and title.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ProblemKind {
            $(#[doc = concat!($status, ": ", $advice)] $kind,)+
        }

        impl ProblemKind {
            /// All kinds, in the order of the documented table.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            const fn row(self) -> &'static Row {
                match self {
                    $(Self::$kind => &Row {
                        slug: $slug,
                        status: $status,
                        retry_after: RetryAfter::$retry_after,
                        title: $title,
                        advice: $advice,
                        body: concat!(
                            r#"{"type":"/problems/"#, $slug, r#"","title":""#, $title,
                            r#"","status":"#, $status, "}"
                        ),
                    },)+
                }
            }
        }
    };
}

problem_kinds! {
    MalformedRequest: "malformed-request" 400 Never "The request is malformed"
        "The detail names what is wrong. Mend the request.";
    MissingIdempotencyKey: "missing-idempotency-key" 400 Never "The Idempotency-Key header is missing"
        "Send a key that is new for each purchase, and the same for each retry of it.";
    Unauthenticated: "unauthenticated" 401 Never "Credentials are missing or wrong"
        "Send valid credentials.";
    NotFound: "not-found" 404 Never "There is no such resource"
        "No sale, order or path of this name is known.";
    MethodNotAllowed: "method-not-allowed" 405 Never "The method is not allowed here"
        "Use one of the methods in the Allow header.";
    RequestTimeout: "request-timeout" 408 Never "The request arrived too slowly"
        "Send it again, over a new connection.";
    SoldOut: "sold-out" 409 Never "Sold out"
        "No unit is left. Units come back when an order is cancelled, so a later attempt may succeed.";
    InsufficientStock: "insufficient-stock" 409 Never "Fewer units are left than were asked for"
        "Ask for fewer units.";
    LimitReached: "limit-reached" 409 Never "The limit for one buyer is reached"
        "This buyer cannot have that many units of the item.";
    NotYetOpen: "not-yet-open" 409 Always "The sale is not open yet"
        "Come back when the sale opens.";
    Paused: "paused" 409 Always "The sale is paused"
        "Try again later.";
    Closed: "closed" 409 Never "The sale is closed"
        "The sale takes no more orders.";
    NotCancellable: "not-cancellable" 409 Never "The order cannot be cancelled by its buyer"
        "The sale does not allow it, or no longer. Ask the shop.";
    NotStoredYet: "not-stored-yet" 409 Always "The order is accepted, but not stored yet"
        "Repeat it in a moment.";
    Conflict: "conflict" 409 Never "The change conflicts with the current state"
        "Read the current state and decide anew.";
    BodyTooLarge: "body-too-large" 413 Never "The request body is too large"
        "Send less.";
    UnsupportedMediaType: "unsupported-media-type" 415 Never "The media type is not supported"
        "Send application/json.";
    IdempotencyKeyReused: "idempotency-key-reused" 422 Never "The Idempotency-Key belongs to another request"
        "Use a new key for a new purchase; repeat the first body to learn its outcome.";
    UnknownItem: "unknown-item" 422 Never "The sale has no such item"
        "Ask for items that the sale lists.";
    InvalidDefinition: "invalid-definition" 422 Never "The definition is invalid"
        "Mend the fields that the errors member names.";
    TooManyAttempts: "too-many-attempts" 429 Always "Too many attempts"
        "Wait, then repeat with the same Idempotency-Key.";
    Internal: "internal" 500 Never "An internal error occurred"
        "Repeat with the same Idempotency-Key. Operators find the cause in the log.";
    Unavailable: "unavailable" 503 Always "The service is not ready to decide"
        "Repeat with the same Idempotency-Key. The sale's state is unknown, so nothing is sold and nothing is called sold out.";
    BacklogFull: "backlog-full" 503 Always "Too many orders wait to be stored"
        "Repeat with the same Idempotency-Key.";
    TooManyStreams: "too-many-streams" 503 Always "Too many event streams are open"
        "Come back later, or ask for the state instead of its events.";
    Indeterminate: "indeterminate" 503 Always "The outcome is not known"
        "Repeat with the same Idempotency-Key: the order may exist, and the repetition tells.";
}

impl ProblemKind {
    /// The problem type: a URI reference relative to the service (RFC 9457 section 3.1.1).
    pub fn type_uri(self) -> String {
        format!("/problems/{}", self.slug())
    }

    /// The last part of the type, also fit for a metric's label.
    pub const fn slug(self) -> &'static str {
        self.row().slug
    }

    /// The title, the same for every problem of this kind (RFC 9457 section 3.1.3).
    pub const fn title(self) -> &'static str {
        self.row().title
    }

    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        // Every row is known to be valid by a test; the fallback keeps the promise of no panic.
        StatusCode::from_u16(self.row().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Whether every answer of this kind carries Retry-After.
    pub const fn has_retry_after(self) -> bool {
        matches!(self.row().retry_after, RetryAfter::Always)
    }

    /// The JSON of a problem of this kind without detail; shared, never copied.
    pub(super) const fn plain_body(self) -> Bytes {
        Bytes::from_static(self.row().body.as_bytes())
    }

    /// All kinds as a Markdown table, for the README; a test holds the two together.
    pub fn markdown_table() -> String {
        let mut table = String::from("| status | type | Retry-After | title | what to do |\n");
        table.push_str("|---|---|---|---|---|\n");
        for kind in Self::ALL {
            let row = kind.row();
            let retry_after = if kind.has_retry_after() { "yes" } else { "" };
            let cells = [
                &row.status.to_string(),
                &format!("`{}`", kind.type_uri()),
                retry_after,
                row.title,
                row.advice,
            ];
            table.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
        table
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_row_is_a_valid_error_and_its_plain_body_says_the_same() {
        for &kind in ProblemKind::ALL {
            let status = StatusCode::from_u16(kind.row().status).unwrap();
            assert!(status.is_client_error() || status.is_server_error(), "{kind:?}");
            let body: serde_json::Value = serde_json::from_slice(&kind.plain_body()).unwrap();
            let expected = serde_json::json!({
                "type": kind.type_uri(), "title": kind.title(), "status": status.as_u16(),
            });
            assert_eq!(body, expected);
        }
    }

    #[test]
    fn types_are_unique_and_waiting_is_told_where_waiting_helps() {
        let slugs: HashSet<_> = ProblemKind::ALL.iter().map(|kind| kind.slug()).collect();
        assert_eq!(slugs.len(), ProblemKind::ALL.len());
        for kind in ProblemKind::ALL {
            if matches!(kind.status().as_u16(), 429 | 503) {
                assert!(kind.has_retry_after(), "{kind:?}");
            }
        }
    }

    #[test]
    fn the_table_has_a_line_for_each_kind() {
        let table = ProblemKind::markdown_table();
        assert_eq!(table.lines().count(), ProblemKind::ALL.len() + 2);
        assert!(table.lines().all(|line| line.matches('|').count() == 6));
        assert!(table.contains("| 409 | `/problems/paused` | yes | The sale is paused | Try again later. |"));
    }
}
