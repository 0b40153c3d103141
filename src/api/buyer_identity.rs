//! Who a request is from. Token checks will join here.

use hyper::header::{HeaderMap, HeaderName};

use crate::buyer::BuyerId;
use crate::http::{Problem, ProblemKind};

/// How buyers are recognised.
#[derive(Clone, Debug)]
pub enum BuyerIdentity {
    /// Not at all: nobody can buy.
    None,
    /// By a header that a proxy in front sets, and strips from what clients send.
    TrustedHeader(HeaderName),
}

impl BuyerIdentity {
    /// The buyer.
    ///
    /// # Errors
    /// 401 where the request does not say who it is from; 400 where what it says cannot be an id.
    pub fn of(&self, headers: &HeaderMap) -> Result<BuyerId, Problem> {
        let Self::TrustedHeader(name) = self else {
            return Err(Problem::new(ProblemKind::Unauthenticated)
                .with_detail("this server is not configured to recognise buyers: see trusted_buyer_header"));
        };
        let mut values = headers.get_all(name).iter();
        let value = values.next().ok_or(ProblemKind::Unauthenticated)?;
        if values.next().is_some() {
            return Err(
                Problem::new(ProblemKind::MalformedRequest).with_detail(format!("{name} is given twice"))
            );
        }
        BuyerId::parse(value.as_bytes())
            .map_err(|error| Problem::new(ProblemKind::MalformedRequest).with_detail(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_believed_only_when_configured() {
        let mut headers = HeaderMap::new();
        headers.insert("x-buyer-id", "alice".parse().unwrap());
        assert_eq!(BuyerIdentity::None.of(&headers).unwrap_err().kind(), ProblemKind::Unauthenticated);
        let trusting = BuyerIdentity::TrustedHeader("x-buyer-id".parse().unwrap());
        assert_eq!(trusting.of(&headers).unwrap().as_str(), "alice");
        headers.append("x-buyer-id", "bob".parse().unwrap());
        assert_eq!(trusting.of(&headers).unwrap_err().kind(), ProblemKind::MalformedRequest);
        assert_eq!(trusting.of(&HeaderMap::new()).unwrap_err().kind(), ProblemKind::Unauthenticated);
    }
}
