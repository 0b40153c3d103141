//! The short names under which Redis remembers a claim: 64 bits in 11 characters.
//!
//! XXH3 is not cryptographic. It need not be: digests are only compared within one buyer of one sale, so a
//! buyer who finds a collision has found his own earlier order.

use xxhash_rust::xxh3::xxh3_64;

use crate::catalogue::Sku;
use crate::claim::IdempotencyKey;

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Length of a digest's text, in bytes.
pub const DIGEST_LENGTH: usize = 11;

/// 64 bits as 11 characters of base64url (RFC 4648 section 5), without padding.
pub fn digest_text(bits: u64) -> [u8; DIGEST_LENGTH] {
    let padded = u128::from(bits) << 2;
    std::array::from_fn(|i| BASE64URL[(padded >> (60 - 6 * i) & 63) as usize])
}

/// Which attempt this is.
pub fn key_digest(key: &IdempotencyKey) -> u64 {
    xxh3_64(key.as_str().as_bytes())
}

/// What was asked for: the same for the same lines, whatever the spacing and member order of the JSON.
/// `lines` must be sorted by SKU.
pub fn fingerprint(lines: &[(Sku, u32)]) -> u64 {
    let mut text = Vec::with_capacity(lines.len() * 16);
    for (sku, quantity) in lines {
        text.extend_from_slice(sku.as_str().as_bytes());
        text.push(b':');
        text.extend_from_slice(&quantity.to_le_bytes());
    }
    xxh3_64(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_differ_in_every_bit() {
        assert_eq!(&digest_text(0), b"AAAAAAAAAAA");
        assert_eq!(&digest_text(u64::MAX), b"__________8");
        let texts: std::collections::HashSet<_> = (0..64).map(|bit| digest_text(1 << bit)).collect();
        assert_eq!(texts.len(), 64);
    }

    #[test]
    fn a_fingerprint_is_of_skus_and_quantities() {
        let lines = |sku: &str, n| vec![(sku.parse::<Sku>().unwrap(), n)];
        assert_eq!(fingerprint(&lines("A", 1)), fingerprint(&lines("A", 1)));
        assert_ne!(fingerprint(&lines("A", 1)), fingerprint(&lines("A", 2)));
        assert_ne!(fingerprint(&lines("A", 1)), fingerprint(&lines("B", 1)));
    }
}
