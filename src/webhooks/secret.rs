//! The secret of an endpoint, and what it signs:
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;

const PREFIX: &str = "whsec_";
/// Before each signature by HMAC-SHA256.
const SCHEME: &str = "v1,";
/// Bytes of a secret: the specification allows these.
const BYTES_MIN: usize = 24;
const BYTES_MAX: usize = 64;
const BYTES_NEW: usize = 32;

/// Shared with whoever is told. Only [`WebhookSecret::expose`] shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

/// Not a secret, or none could be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Its form.
    #[error("a secret is whsec_ and the base64 of 24 to 64 bytes; leave it out to have one made")]
    Form,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandom,
}

impl WebhookSecret {
    /// A new one.
    ///
    /// # Errors
    /// [`SecretError::NoRandom`].
    pub fn generate() -> Result<Self, SecretError> {
        let mut bytes = vec![0; BYTES_NEW];
        SystemRandom::new().fill(&mut bytes).map_err(|_| SecretError::NoRandom)?;
        Ok(Self(bytes))
    }

    /// As its owner keeps it: `whsec_…`.
    pub fn expose(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.0))
    }

    /// The header `webhook-signature` of a message that is sent at `timestamp` (seconds since the Unix epoch).
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        format!("{SCHEME}{}", STANDARD.encode(self.tag(id, timestamp, body)))
    }

    /// Whether the header `webhook-signature` of a message holds a signature of it by this secret, in constant time. The
    /// header may hold several, apart by spaces: while a secret is exchanged, both sign. Those of other schemes are passed over.
    /// What `timestamp` says, and whether `id` was there before, is for the caller to judge.
    pub fn verify(&self, id: &str, timestamp: i64, signatures: &str, body: &[u8]) -> bool {
        let expected = self.tag(id, timestamp, body);
        signatures
            .split(' ')
            .filter_map(|signature| STANDARD.decode(signature.strip_prefix(SCHEME)?).ok())
            .any(|tag| tag.ct_eq(expected.as_ref()).into())
    }

    fn tag(&self, id: &str, timestamp: i64, body: &[u8]) -> hmac::Tag {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let mut signed = hmac::Context::with_key(&key);
        signed.update(format!("{id}.{timestamp}.").as_bytes());
        signed.update(body);
        signed.sign()
    }
}

impl FromStr for WebhookSecret {
    type Err = SecretError;
    fn from_str(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(SecretError::Form)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| SecretError::Form)?;
        let fits = (BYTES_MIN..=BYTES_MAX).contains(&bytes.len());
        fits.then_some(Self(bytes)).ok_or(SecretError::Form)
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The vector that the specification's own libraries are tested with.
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn secret() -> WebhookSecret {
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap()
    }

    #[test]
    fn signs_as_the_specification_does() {
        assert_eq!(secret().sign(ID, TIMESTAMP, BODY), SIGNATURE);
    }

    #[test]
    fn verifies_as_the_specification_does() {
        assert!(secret().verify(ID, TIMESTAMP, SIGNATURE, BODY));
        let among_others =
            format!("v1a,bm90IG91cnM= v1,bm90IG91cnM= v1,&& v2{} {SIGNATURE}", &SIGNATURE[2..]);
        assert!(secret().verify(ID, TIMESTAMP, &among_others, BODY));
    }

    #[test]
    fn verifies_nothing_else() {
        let of_another_scheme = SIGNATURE.replace("v1,", "v2,");
        let cut = STANDARD.encode(&STANDARD.decode(&SIGNATURE[3..]).unwrap()[..31]);
        let longer = format!(
            "v1,{}",
            STANDARD.encode([&[0; 32][..], &STANDARD.decode(&SIGNATURE[3..]).unwrap()].concat())
        );
        let bad = ["", " ", "v1,", &SIGNATURE[3..], &of_another_scheme, &format!("v1,{cut}"), &longer];
        for signatures in bad {
            assert!(!secret().verify(ID, TIMESTAMP, signatures, BODY), "{signatures:?}");
        }
        assert!(!secret().verify("msg_other", TIMESTAMP, SIGNATURE, BODY));
        assert!(!secret().verify(ID, TIMESTAMP + 1, SIGNATURE, BODY));
        assert!(!secret().verify(ID, TIMESTAMP, SIGNATURE, br#"{"test": 2432232315}"#));
        assert!(!WebhookSecret::generate().unwrap().verify(ID, TIMESTAMP, SIGNATURE, BODY));
    }

    #[test]
    fn reads_what_it_writes_and_nothing_weak() {
        let secret = WebhookSecret::generate().unwrap();
        assert_eq!(secret.expose().parse(), Ok(secret.clone()));
        assert_ne!(secret, WebhookSecret::generate().unwrap());
        for bad in ["", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_ä"] {
            assert_eq!(bad.parse::<WebhookSecret>(), Err(SecretError::Form), "{bad}");
        }
        assert!(!format!("{secret:?}").contains(&secret.expose()[6..]));
    }
}
