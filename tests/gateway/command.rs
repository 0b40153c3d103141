//! `doorbuster gateway-sandbox`, as a process.

use std::path::Path;
use std::process::Stdio;

use doorbuster::payment::Gateway;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::shop::{PATIENCE, Shop, charge_of, json, order, paid, send};

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorbuster"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DOORBUSTER_") {
            command.env_remove(name);
        }
    }
    command.arg("gateway-sandbox").args(words).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// The process, and the block that it prints.
async fn start(words: &[&str]) -> (Child, String) {
    let mut child = command(words).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut block = String::new();
    while !block.contains("Ctrl-C") {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it says what it does");
        block.push_str(&line.unwrap().expect("it runs"));
        block.push('\n');
    }
    (child, block)
}

fn url(block: &str) -> String {
    let flag = "--gateway-url ";
    let at = block.find(flag).expect("it says how to point a node at it") + flag.len();
    block[at..].split_whitespace().next().unwrap().to_owned()
}

async fn refused(words: &[&str]) -> (Option<i32>, String) {
    let output = command(words).output().await.unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn state_flag(dir: &Path) -> String {
    format!("--state={}", dir.join("charges.jsonl").display())
}

#[tokio::test]
async fn it_is_killed_and_comes_back_knowing_its_charges() {
    let dir = tempfile::tempdir().unwrap();
    let words = ["--listen=127.0.0.1:0", &state_flag(dir.path()), "--unknown-rate=1"];
    let (mut child, block) = start(&words).await;
    let order = order(1);
    let asked = Shop::at(&url(&block)).gateway.charge(&charge_of(order)).await;
    assert!(asked.is_err(), "{asked:?}");
    child.kill().await.unwrap();

    let (child, block) = start(&["--listen=127.0.0.1:0", &state_flag(dir.path())]).await;
    assert_eq!(Shop::at(&url(&block)).gateway.look_up(order).await, Ok(Some(paid(order))));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert!(child.wait_with_output().await.unwrap().status.success());
}

#[tokio::test]
async fn its_flags_are_its_rates() {
    let words = [
        "--listen=127.0.0.1:0",
        "--token=a-token-of-the-gateway",
        "--decline-rate=0.1",
        "--error-rate=0.2",
        "--unknown-rate=0.3",
        "--undecided-rate=0.4",
        "--lie-rate=0.5",
        "--lost-webhook-rate=0.6",
        "--delay-ms=6",
        "--settle-ms=7",
        "--seed=8",
    ];
    let (_child, block) = start(&words).await;
    let address = url(&block).strip_prefix("http://").unwrap().parse().unwrap();
    let headers = [("authorization", "Bearer a-token-of-the-gateway")];
    let rates = json(&send(address, "GET", "/sandbox", &headers, "").await);
    assert_eq!(
        rates,
        serde_json::json!({
            "decline_rate": 0.1, "error_rate": 0.2, "unknown_rate": 0.3, "undecided_rate": 0.4, "lie_rate": 0.5,
            "lost_webhook_rate": 0.6, "delay_ms": 6, "settle_ms": 7,
        })
    );
    assert!(!block.contains("a-token-of-the-gateway"), "{block}");
}

#[tokio::test]
async fn what_it_cannot_do_it_says() {
    let (code, said) = refused(&["--listen=0.0.0.0:0"]).await;
    assert!(code == Some(1) && said.contains("--token"), "{said}");
    let (code, said) = refused(&["--listen=127.0.0.1:0", "--lie-rate=2"]).await;
    assert!(code == Some(1) && said.contains("lie_rate"), "{said}");
    let (code, said) = refused(&["--token=short"]).await;
    assert!(code == Some(2) && said.contains("16 to 256"), "{said}");
    let (code, said) = refused(&["--webhook-url=http://127.0.0.1:1"]).await;
    assert!(code == Some(2) && said.contains("--webhook-secret"), "{said}");
    let (code, said) = refused(&["--webhook-url=http://127.0.0.1:1", "--webhook-secret=whsec_no"]).await;
    assert!(code == Some(2) && said.contains("--webhook-secret"), "{said}");
    let (code, said) = refused(&["--listen=nowhere"]).await;
    assert!(code == Some(2) && said.contains("listen"), "{said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, said) = refused(&[&format!("--listen={}", taken.local_addr().unwrap())]).await;
    assert!(code == Some(1) && said.contains("cannot listen"), "{said}");
}
