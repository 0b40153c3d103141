//! A gateway that does not answer: what is known then, and how it is left alone.

use std::time::{Duration, Instant};

use doorbuster::payment::{Gateway, GatewayError, HttpGatewayOptions, Rates};
use doorbuster::servers::free_port;
use tokio::net::TcpSocket;

use crate::scripted::{Act, Scripted};
use crate::shop::{Shop, charge_of, options, order, paid, sandbox};

const PAID: &str = r#"{"status":"paid","amount":1500,"currency":"EUR","reference":"ch_1"}"#;

#[tokio::test]
async fn where_nobody_listens_nothing_was_asked() {
    let shop = Shop::at(&format!("http://127.0.0.1:{}", free_port().unwrap()));
    let asked = shop.gateway.charge(&charge_of(order(1))).await;
    assert!(matches!(asked, Err(GatewayError::NotAsked(_))), "{asked:?}");
    assert_eq!((shop.attempts(), shop.requests("charge", "not_asked")), (3, 1));
}

/// A full accept queue: the system drops what wants to connect, as a packet filter would.
#[tokio::test]
async fn where_connecting_takes_too_long_nothing_was_asked() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    let is_full = |stream: &Result<_, _>| stream.is_err();
    loop {
        let stream =
            tokio::time::timeout(Duration::from_millis(300), tokio::net::TcpStream::connect(address)).await;
        if is_full(&stream) {
            break;
        }
        waiting.push(stream);
    }
    let timeout = Duration::from_millis(400);
    let shop =
        Shop::with(HttpGatewayOptions { timeout, attempts: 2, ..options(&format!("http://{address}")) });
    let asked = shop.gateway.charge(&charge_of(order(1))).await;
    assert!(matches!(asked, Err(GatewayError::NotAsked(_))), "{asked:?}");
}

#[tokio::test]
async fn what_may_have_arrived_is_unknown() {
    for act in [Act::HangUp, Act::HalfAnswer, Act::Say(500, "")] {
        let server = Scripted::start([act]).await;
        let shop = Shop::with(HttpGatewayOptions { attempts: 1, ..options(&server.url()) });
        let asked = shop.gateway.charge(&charge_of(order(1))).await;
        assert!(matches!(asked, Err(GatewayError::Unknown(_))), "{asked:?}");
    }
}

#[tokio::test]
async fn one_attempt_that_may_have_arrived_is_enough() {
    // After the first request nobody listens any more.
    let server = Scripted::start([Act::HangUp]).await;
    let shop = Shop::at(&server.url());
    let asked = shop.gateway.charge(&charge_of(order(1))).await;
    assert!(matches!(asked, Err(GatewayError::Unknown(_))), "{asked:?}");
    assert_eq!(shop.attempts(), 3);
}

#[tokio::test]
async fn each_attempt_has_a_time_of_its_own() {
    let server = Scripted::start([Act::Silence, Act::Silence, Act::Say(200, PAID)]).await;
    let timeout = Duration::from_millis(500);
    let shop = Shop::with(HttpGatewayOptions { timeout, ..options(&server.url()) });
    let began = Instant::now();
    assert!(shop.gateway.charge(&charge_of(order(1))).await.is_ok());
    assert!(began.elapsed() >= timeout * 2);
    let keys: Vec<_> = server.requests().iter().map(|request| key(request)).collect();
    assert!(keys.len() == 3 && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

fn key(request: &str) -> String {
    request.lines().find(|line| line.starts_with("idempotency-key")).unwrap().to_owned()
}

#[tokio::test]
async fn a_gateway_without_answers_is_left_alone_and_then_tried_again() {
    let sandbox = sandbox(Rates { error_rate: 1.0, ..Rates::default() }).await;
    let breaker_open = Duration::from_millis(1_500);
    let shop =
        Shop::with(HttpGatewayOptions { breaker_failures: 5, breaker_open, ..options(&sandbox.url()) });
    let asked = shop.gateway.charge(&charge_of(order(1))).await;
    assert!(matches!(asked, Err(GatewayError::Unknown(_))) && shop.breaker() == 0, "{asked:?}");
    // Its fourth and fifth attempt were asked; that there is no third any more makes neither of them undone.
    let asked = shop.gateway.charge(&charge_of(order(2))).await;
    assert!(matches!(asked, Err(GatewayError::Unknown(_))) && shop.breaker() == 2, "{asked:?}");
    assert_eq!(sandbox.requests(), 5);

    // Unless this machine stood still meanwhile.
    let began = Instant::now();
    let asked = shop.gateway.charge(&charge_of(order(3))).await;
    if began.elapsed() < breaker_open / 2 {
        assert!(matches!(asked, Err(GatewayError::NotAsked(_))), "{asked:?}");
        assert_eq!(sandbox.requests(), 5);
    }

    // Half-open, the first failure opens it anew; it is not asked five times before.
    tokio::time::sleep(breaker_open).await;
    let before = sandbox.requests();
    let asked = shop.gateway.charge(&charge_of(order(4))).await;
    assert!(matches!(asked, Err(GatewayError::Unknown(_))) && shop.breaker() == 2, "{asked:?}");
    assert_eq!(sandbox.requests(), before + 1);

    sandbox.set_rates(Rates::default()).unwrap();
    tokio::time::sleep(breaker_open).await;
    let order = order(5);
    assert_eq!(shop.gateway.charge(&charge_of(order)).await, Ok(paid(order)));
    assert_eq!(shop.breaker(), 0);
}

#[tokio::test]
async fn a_decline_and_a_refusal_open_no_circuit() {
    let sandbox = sandbox(Rates { decline_rate: 1.0, ..Rates::default() }).await;
    let shop = Shop::with(HttpGatewayOptions { breaker_failures: 1, ..options(&sandbox.url()) });
    for n in 0..5 {
        assert!(shop.gateway.charge(&charge_of(order(n))).await.is_ok());
        assert!(matches!(shop.gateway.refund(order(n + 100)).await, Err(GatewayError::Refused(_))));
    }
    assert_eq!(shop.breaker(), 0);
}
