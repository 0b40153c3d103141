//! What one attempt tells: pure, and the heart of it. What is called not asked must not have been carried out; where that
//! is not certain, it is unknown.

use std::time::Duration;

use hyper::StatusCode;

use crate::http::{ClientError, Reply};
use crate::payment::gateway::GatewayError;
use crate::payment::protocol::{ChargeAnswer, ChargeStatus};

/// What is asked of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Charge,
    LookUp,
    Refund,
}

impl Operation {
    pub fn name(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::LookUp => "look_up",
            Self::Refund => "refund",
        }
    }
}

/// An attempt without the answer that was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    /// What is known of it.
    pub error: GatewayError,
    /// Whether another attempt may help.
    pub again: bool,
    /// The gateway cannot do its work: what the circuit breaker counts.
    pub is_outage: bool,
    /// When the gateway wants to be asked again.
    pub retry_after: Option<Duration>,
}

impl Flaw {
    fn new(error: GatewayError) -> Self {
        Self { error, again: false, is_outage: false, retry_after: None }
    }

    /// Another attempt may help, at once or when the gateway says.
    fn passing(error: GatewayError) -> Self {
        Self { again: true, ..Self::new(error) }
    }

    fn outage(error: GatewayError) -> Self {
        Self { is_outage: true, ..Self::passing(error) }
    }

    pub(super) fn circuit_open() -> Self {
        let why = "it gave no answer several times in a row, and is left alone for a moment";
        Self::new(GatewayError::NotAsked(why.to_owned()))
    }

    pub(super) fn unsendable(why: String) -> Self {
        Self::new(GatewayError::NotAsked(why))
    }
}

pub(super) fn judge_failure(error: ClientError) -> Flaw {
    Flaw::outage(match error {
        ClientError::NotConnected(why) => GatewayError::NotAsked(why),
        ClientError::Unanswered(why) => GatewayError::Unknown(why),
    })
}

/// Reads an answer; `read` takes what its body says and finds what is missing there.
pub(super) fn judge_reply<T>(
    operation: Operation,
    reply: &Reply,
    read: impl Fn(ChargeAnswer) -> Result<T, &'static str>,
) -> Result<T, Flaw> {
    use GatewayError::{NotAsked, Refused, Unknown};
    let said = || reply.describe();
    let flaw = match reply.status {
        StatusCode::OK => match parse(reply).and_then(read) {
            Ok(answer) => return Ok(answer),
            // Somebody else answers in its place, or it speaks another protocol.
            Err(lack) => Flaw::new(Unknown(format!("its answer cannot be read, {lack}: {}", said()))),
        },
        // A 404 of whatever stands at a wrong address must not be taken for the word that nothing was charged.
        StatusCode::NOT_FOUND if operation == Operation::LookUp => match parse(reply) {
            Ok(answer) if answer.status == ChargeStatus::None => match read(answer) {
                Ok(nothing) => return Ok(nothing),
                Err(lack) => Flaw::new(Unknown(format!("{lack}: {}", said()))),
            },
            _ => Flaw::new(Unknown(format!("not a gateway's 404, look at gateway_url: {}", said()))),
        },
        StatusCode::NOT_FOUND if operation == Operation::Charge => {
            Flaw::new(NotAsked(format!("it takes no charges there, look at gateway_url: {}", said())))
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Flaw::new(NotAsked(format!("it does not let us in, look at gateway_token: {}", said())))
        }
        // It says itself that it did nothing yet.
        StatusCode::TOO_MANY_REQUESTS | StatusCode::TOO_EARLY => Flaw::passing(NotAsked(said())),
        // Another attempt may be under way in it just now.
        StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT => Flaw::passing(Unknown(said())),
        status if status.is_client_error() => Flaw::new(Refused(said())),
        status if status.is_server_error() => Flaw::outage(Unknown(said())),
        _ => Flaw::new(Unknown(format!("it answers what the protocol does not have: {}", said()))),
    };
    Err(Flaw { retry_after: reply.retry_after(), ..flaw })
}

fn parse(reply: &Reply) -> Result<ChargeAnswer, &'static str> {
    let body = reply.body.as_ref().map_err(|_| "it broke off or is too long")?;
    serde_json::from_slice(body).map_err(|_| "it is not what the protocol has")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use hyper::header::{HeaderMap, RETRY_AFTER};

    use crate::payment::gateway::ChargeState;

    fn reply(status: u16, body: &'static str) -> Reply {
        let status = StatusCode::from_u16(status).unwrap();
        Reply { status, headers: HeaderMap::new(), body: Ok(Bytes::from_static(body.as_bytes())) }
    }

    fn judged(operation: Operation, status: u16, body: &'static str) -> Result<Option<ChargeState>, Flaw> {
        judge_reply(operation, &reply(status, body), ChargeAnswer::state)
    }

    fn flaw(operation: Operation, status: u16, body: &'static str) -> Flaw {
        judged(operation, status, body).unwrap_err()
    }

    #[test]
    fn what_a_gateway_did_is_known_only_where_it_says_so() {
        use GatewayError::{NotAsked, Refused, Unknown};
        for status in [400, 402, 404, 410, 413, 422] {
            let flaw = flaw(Operation::Refund, status, "{}");
            assert!(matches!(flaw.error, Refused(_)) && !flaw.again && !flaw.is_outage, "{status} {flaw:?}");
        }
        for status in [408, 409] {
            let flaw = flaw(Operation::Charge, status, "");
            assert!(matches!(flaw.error, Unknown(_)) && flaw.again && !flaw.is_outage, "{status} {flaw:?}");
        }
        for status in [425, 429] {
            let flaw = flaw(Operation::Charge, status, "");
            assert!(matches!(flaw.error, NotAsked(_)) && flaw.again && !flaw.is_outage, "{status} {flaw:?}");
        }
        for status in [500, 502, 503, 504, 599] {
            let flaw = flaw(Operation::Charge, status, "");
            assert!(matches!(flaw.error, Unknown(_)) && flaw.again && flaw.is_outage, "{status} {flaw:?}");
        }
        for status in [201, 204, 302] {
            let flaw = flaw(Operation::Charge, status, r#"{"status":"undecided"}"#);
            assert!(matches!(flaw.error, Unknown(_)) && !flaw.again, "{status} {flaw:?}");
        }
        for body in ["", "<html>", r#"{"status":"paid"}"#, r#"{"status":"captured"}"#] {
            assert!(matches!(flaw(Operation::Charge, 200, body).error, Unknown(_)), "{body}");
        }
    }

    #[test]
    fn a_mistake_in_the_settings_refuses_no_order() {
        for (status, setting) in [(401, "gateway_token"), (403, "gateway_token"), (404, "gateway_url")] {
            let GatewayError::NotAsked(why) = flaw(Operation::Charge, status, "").error else {
                panic!("{status}")
            };
            assert!(why.contains(setting), "{why}");
        }
    }

    #[test]
    fn only_a_gateway_can_say_that_nothing_was_charged() {
        assert_eq!(judged(Operation::LookUp, 404, r#"{"status":"none"}"#), Ok(None));
        for body in ["", "<h1>404</h1>", "{}", r#"{"status":"declined"}"#] {
            assert!(matches!(flaw(Operation::LookUp, 404, body).error, GatewayError::Unknown(_)), "{body}");
        }
    }

    #[test]
    fn an_answer_that_broke_off_says_nothing() {
        let broken = Reply { body: Err("too long".to_owned()), ..reply(200, "") };
        let flaw = judge_reply(Operation::Charge, &broken, ChargeAnswer::state).unwrap_err();
        assert!(matches!(flaw.error, GatewayError::Unknown(_)), "{flaw:?}");
    }

    #[test]
    fn a_gateway_says_when_to_come_back() {
        let mut busy = reply(503, "");
        busy.headers.insert(RETRY_AFTER, "7".parse().unwrap());
        let flaw = judge_reply(Operation::Charge, &busy, ChargeAnswer::state).unwrap_err();
        assert_eq!(flaw.retry_after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn without_a_connection_nothing_was_asked() {
        let away = judge_failure(ClientError::NotConnected("refused".to_owned()));
        assert!(matches!(away.error, GatewayError::NotAsked(_)) && away.again && away.is_outage);
        let silent = judge_failure(ClientError::Unanswered("no answer".to_owned()));
        assert!(matches!(silent.error, GatewayError::Unknown(_)) && silent.again && silent.is_outage);
    }
}
