use std::net::TcpListener;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::process::{Running, buy, claim, doorbuster, refused, said, tempdir, wait_until};

const DEMO: &str = include_str!("../../examples/demo-sale.toml");

#[test]
fn an_operator_works_on_the_command_line_while_it_sells() {
    let dir = tempdir();
    // Whoever holds them: the ports of the settings are taken.
    let _held = [TcpListener::bind("127.0.0.1:8080"), TcpListener::bind("127.0.0.1:8081")];
    let dev = Running::dev_as(&mut doorbuster(), dir.path());
    assert!(dev.block.iter().any(|line| line.contains("port 8080 is taken, so the API listens on")));
    let postgres = dev.address("Postgres");
    let sale = |words: &[&str]| {
        let mut command = doorbuster();
        command.arg("sale").args(words).env("DOORBUSTER_POSTGRES_URL", postgres);
        command
    };

    let file = dir.path().join("night.toml");
    std::fs::write(&file, DEMO.replace(r#"id = "demo""#, r#"id = "night""#)).unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(said(&mut sale(&["create", file])), "sale night: created\n");
    assert_eq!(said(&mut sale(&["create", file])), "sale night: unchanged: it exists with this definition\n");
    let list = said(&mut sale(&["list"]));
    assert!(list.contains("demo") && list.contains("night"), "{list}");

    let line = dev.line("Buy a shirt").replace("/demo/", "/night/");
    buy(&line);
    assert_eq!(said(&mut sale(&["pause", "night"])), "sale night: paused\n");
    let answer = claim(&line);
    assert!(answer.contains("application/problem+json") && answer.contains("/problems/paused"), "{answer}");
    assert_eq!(said(&mut sale(&["resume", "night"])), "sale night: open\n");
    buy(&line);
    wait_until("both orders are persisted", || {
        let show = said(&mut sale(&["show", "night", "--json"]));
        serde_json::from_str::<Value>(&show).unwrap()["sale"]["items"][0]["sold"] == 2
    });

    std::fs::write(file, DEMO.replace("stock = 5", "stock = -5")).unwrap();
    let (code, error) = refused(&mut sale(&["create", file]));
    assert!(code == 1 && error.contains("items[2].stock"), "{code} {error}");
    let products = said(doorbuster().args(["product", "list"]).env("DOORBUSTER_POSTGRES_URL", postgres));
    assert!(products.contains("Queue mug"), "{products}");
    assert_eq!(dev.end(Signal::SIGINT).0.code(), Some(0));
}

struct Admin {
    address: String,
    token: &'static str,
}

impl Admin {
    /// Status and body.
    fn send(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-w", "\n%{http_code} %{content_type}", "-X", method, "-d", &body.to_string()])
            .args([
                "-H",
                "Content-Type: application/json",
                "-H",
                &format!("Authorization: Bearer {}", self.token),
            ])
            .arg(format!("{}/admin/v1/{path}", self.address))
            .stdin(Stdio::null());
        let answer = said(&mut curl);
        let (body, end) = answer.rsplit_once('\n').unwrap();
        let (status, content_type) = end.split_once(' ').unwrap();
        let status: u16 = status.parse().unwrap();
        let expected = if status < 400 { "application/json" } else { "application/problem+json" };
        assert_eq!(content_type, expected, "{answer}");
        (status, serde_json::from_str(body).unwrap())
    }
}

#[test]
fn the_admin_api_is_guarded_and_changes_what_is_sold() {
    let dir = tempdir();
    let dev = Running::dev(dir.path());
    let address = dev.address("Admin").to_owned();
    let stranger = Admin { address: address.clone(), token: "doorbuster-dev-tokeX" };
    let (status, problem) = stranger.send("GET", "sales", &Value::Null);
    assert_eq!((status, &problem["status"]), (401, &json!(401)));

    let admin = Admin { address, token: "doorbuster-dev-token" };
    let cap = json!({"name": "Cap", "price": 1500, "currency": "EUR"});
    let (status, product) = admin.send("PUT", "products/CAP", &cap);
    assert_eq!((status, &product["price"]), (201, &json!(1500)));
    let sale = json!({
        "id": "caps", "name": "Caps", "opens_at": "2026-01-01T00:00:00Z", "closes_at": "2100-01-01T00:00:00Z",
        "items": [{"sku": "CAP", "stock": 3, "per_buyer_limit": 1}]
    });
    let (status, created) = admin.send("POST", "sales", &sale);
    assert_eq!(
        (status, &created["applied"], &created["sale"]["status"]),
        (201, &json!(true), &json!("open"))
    );
    let line = dev.line("Buy a shirt").replace("/demo/", "/caps/").replace("TEE-RED", "CAP");
    buy(&line);
    let answer = claim(&line);
    assert!(answer.contains("/problems/limit-reached"), "{answer}");

    let (status, paused) = admin.send("POST", "sales/caps/pause", &Value::Null);
    assert_eq!((status, &paused["sale"]["status"]), (200, &json!("paused")));
    let (_, list) = admin.send("GET", "sales", &Value::Null);
    let ids: Vec<_> = list["sales"].as_array().unwrap().iter().map(|sale| &sale["id"]).collect();
    assert_eq!(ids, ["caps", "demo"]);

    let mut wrong = sale;
    wrong["id"] = json!("other");
    wrong["closes_at"] = json!("2020-01-01T00:00:00Z");
    wrong["items"][0]["price"] = json!(15.5);
    let (status, problem) = admin.send("POST", "sales", &wrong);
    let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| &error["field"]).collect();
    assert_eq!((status, fields), (422, vec![&json!("closes_at"), &json!("items[0].price")]));
    assert_eq!(dev.end(Signal::SIGINT).0.code(), Some(0));
}
