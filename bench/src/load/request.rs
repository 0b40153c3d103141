//! The bytes of a request, and the numbers in it.

use std::sync::Arc;

/// Digits of the number in a buyer's name and in a key.
const DIGITS: usize = 15;
/// Where the number begins in an idempotency key, counted from 1 as SQL's `substr` does.
pub const KEY_NUMBER_FROM: usize = 11;

/// Bits of the numbers that [`scattered`] knows: all that have no more than [`DIGITS`] digits, and more than anyone counts to.
const SCATTERED_BITS: u32 = 49;

/// A number that looks like a random one, another for each. Buyers do not arrive in the order of their names: if these did, an
/// index of them would only ever grow at its end.
///
/// Each step can be undone, so no two numbers meet: a xor with the own upper bits, a product with an odd number. The factors are
/// those of MurmurHash3's `fmix64` (Appleby, 2011).
fn scattered(number: u64) -> u64 {
    const MASK: u64 = (1 << SCATTERED_BITS) - 1;
    let mix = |number: u64| number ^ (number >> (SCATTERED_BITS / 2 + 1));
    let times = |number: u64, odd: u64| number.wrapping_mul(odd) & MASK;
    mix(times(mix(times(mix(number & MASK), 0xff51_afd7_ed55_8ccd)), 0xc4ce_b9fe_1a85_ec53))
}

/// The names of the buyer and of the key of a number, as the requests have them.
pub fn buyer_and_key(run: u32, number: u64) -> (String, String) {
    (format!("b{:0DIGITS$}-{run:08x}", scattered(number)), format!("k{run:08x}-{number:0DIGITS$}"))
}

/// Numbers of one thread begin at a multiple of this, so that no two threads share one.
pub(super) const NUMBERS_PER_THREAD: u64 = 1_000_000_000_000;

/// What is sold: every pair of a sale and one of its SKUs.
#[derive(Clone, Debug)]
pub struct Shop {
    /// Identity of the run: eight hexadecimal digits in every buyer's name and key.
    pub run: u32,
    /// Sales.
    pub sales: Arc<[String]>,
    /// SKUs; each sale has all of them.
    pub skus: Arc<[String]>,
}

/// An order that was accepted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepted {
    pub number: u64,
    pub id: OrderId,
}

/// The id in a Location, as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OrderId {
    bytes: [u8; 64],
    length: u8,
}

impl OrderId {
    /// The last part of a path; `None` where it is longer than 64 bytes.
    pub(super) fn of_location(location: &[u8]) -> Option<Self> {
        let from = location.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
        let text = &location[from..];
        let mut id = Self { bytes: [0; 64], length: u8::try_from(text.len()).ok()? };
        id.bytes.get_mut(..text.len())?.copy_from_slice(text);
        Some(id)
    }

    fn text(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// What a request asks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    /// A claim, the first time or again while it is open.
    Claim { number: u64 },
    /// The claim of an order that was accepted, once more.
    Again(Accepted),
    /// Its order.
    Order(Accepted),
    /// A sale.
    Sale { number: u64 },
}

/// The parts of requests that never change.
#[derive(Debug)]
pub(super) struct Templates {
    shop: Shop,
    host: String,
    run: [u8; 8],
    bodies: Vec<Vec<u8>>,
}

impl Templates {
    pub(super) fn new(shop: Shop, host: String) -> Self {
        let bodies = shop
            .skus
            .iter()
            .map(|sku| {
                let body = format!(r#"{{"items":[{{"sku":"{sku}","quantity":1}}]}}"#);
                format!("\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                    .into_bytes()
            })
            .collect();
        let mut run = [0; 8];
        run.copy_from_slice(format!("{:08x}", shop.run).as_bytes());
        Self { shop, host, run, bodies }
    }

    /// Writes a request into `out`, which is emptied first.
    pub(super) fn write(&self, ask: &Ask, out: &mut Vec<u8>) {
        out.clear();
        match ask {
            Ask::Claim { number } | Ask::Again(Accepted { number, .. }) => self.claim(*number, out),
            Ask::Order(order) => {
                out.extend_from_slice(b"GET /v1/orders/");
                out.extend_from_slice(order.id.text());
                self.head(out);
                self.buyer(order.number, out);
                out.extend_from_slice(b"\r\n\r\n");
            }
            Ask::Sale { number } => {
                out.extend_from_slice(b"GET /v1/sales/");
                out.extend_from_slice(self.sale_of(*number).as_bytes());
                self.head(out);
                out.extend_from_slice(b"\r\n\r\n");
            }
        }
    }

    fn claim(&self, number: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(b"POST /v1/sales/");
        out.extend_from_slice(self.sale_of(number).as_bytes());
        out.extend_from_slice(b"/orders");
        self.head(out);
        self.buyer(number, out);
        out.extend_from_slice(b"\r\nIdempotency-Key: k");
        out.extend_from_slice(&self.run);
        out.push(b'-');
        out.extend_from_slice(&digits(number));
        let body = number as usize / self.shop.sales.len() % self.bodies.len();
        out.extend_from_slice(&self.bodies[body]);
    }

    fn sale_of(&self, number: u64) -> &str {
        &self.shop.sales[number as usize % self.shop.sales.len()]
    }

    fn head(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        out.extend_from_slice(self.host.as_bytes());
    }

    fn buyer(&self, number: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\nX-Buyer-Id: b");
        // In front of the run: else the buyers of each would have a place of their own in the index.
        out.extend_from_slice(&digits(scattered(number)));
        out.push(b'-');
        out.extend_from_slice(&self.run);
    }
}

fn digits(mut number: u64) -> [u8; DIGITS] {
    let mut digits = [b'0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_the_request_that_the_api_reads() {
        let shop =
            Shop { run: 0xab, sales: ["one".into(), "two".into()].into(), skus: ["TEE".into()].into() };
        let templates = Templates::new(shop, "127.0.0.1:80".into());
        let mut out = b"left over".to_vec();
        templates.write(&Ask::Claim { number: 41 }, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "POST /v1/sales/two/orders HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\
             X-Buyer-Id: b123351344163520-000000ab\r\nIdempotency-Key: k000000ab-000000000000041\r\n\
             Content-Type: application/json\r\nContent-Length: 38\r\n\r\n\
             {\"items\":[{\"sku\":\"TEE\",\"quantity\":1}]}"
        );
        let (buyer, key) = buyer_and_key(0xab, 41);
        assert!(
            text.contains(&format!("X-Buyer-Id: {buyer}\r\nIdempotency-Key: {key}\r\n")),
            "{buyer} {key}"
        );
        assert_eq!(&"k000000ab-000000000000041"[KEY_NUMBER_FROM - 1..], "000000000000041");
    }

    #[test]
    fn buyers_come_in_no_order_and_each_once() {
        let of_two_threads = (0..20_000).chain(NUMBERS_PER_THREAD..NUMBERS_PER_THREAD + 20_000);
        let places: Vec<u64> = of_two_threads.map(scattered).collect();
        assert!(places.iter().all(|place| digits(*place).len() == DIGITS && *place < 1 << SCATTERED_BITS));
        let rises = places.windows(2).filter(|two| two[0] < two[1]).count();
        assert!((19_000..21_000).contains(&rises), "{rises} of 39,999 are behind the one before");
        let distinct: std::collections::HashSet<_> = places.iter().collect();
        assert_eq!(distinct.len(), places.len());
    }

    #[test]
    fn an_order_is_asked_for_by_its_buyer() {
        let shop = Shop { run: 1, sales: ["one".into()].into(), skus: ["TEE".into()].into() };
        let id = OrderId::of_location(b"/v1/orders/01KAJ5").unwrap();
        let mut out = Vec::new();
        Templates::new(shop, "h".into()).write(&Ask::Order(Accepted { number: 3, id }), &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "GET /v1/orders/01KAJ5 HTTP/1.1\r\nHost: h\r\nX-Buyer-Id: b149000481827977-00000001\r\n\r\n"
        );
        assert!(OrderId::of_location(&[b'x'; 65]).is_none());
    }
}
