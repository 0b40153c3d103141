//! A real nginx with the configuration that ships, before a real node. Not part of `cargo test`, since it needs nginx:
//! `make test-proxy`.

#[path = "dev/process.rs"]
#[allow(dead_code, reason = "the tests of the binary use the rest")]
mod process;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use process::{PATIENCE, Running, doorbuster, shell, tempdir, wait_until};

const SHIPPED: &str = include_str!("../deploy/nginx/doorbuster.conf");
const BUY: &str = r#"-u alice:x -H 'X-Buyer-Id: mallory' -H "Idempotency-Key: $(date +%s%N)" -H 'Content-Type: application/json' -d '{"items":[{"sku":"TEE-RED","quantity":1}]}'"#;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Ends with its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// nginx before a node, and before an address where nobody listens.
fn nginx(dir: &Path, node: &str) -> (Process, String) {
    let (port, nobody) = (free_port(), free_port());
    let node = node.trim_start_matches("http://");
    let server = |address: &str| format!("server {address} max_fails=1 fail_timeout=1s;");
    let both = format!("{} {}", server(&format!("127.0.0.1:{nobody}")), server(node));
    let conf = SHIPPED.replace(&server("127.0.0.1:8080"), &both);
    assert_ne!(conf, SHIPPED);
    let conf = conf.replace("listen 80 ", &format!("listen 127.0.0.1:{port} "));
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {}/{name};", dir.display()))
        .join(" ");
    let whole = format!(
        "daemon off; master_process off; pid {0}/nginx.pid; error_log {0}/error.log;
         events {{}} http {{ access_log off; {paths} {conf} }}",
        dir.display()
    );
    let file = dir.join("nginx.conf");
    std::fs::write(&file, whole).unwrap();
    let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
    let nginx = Command::new("nginx").arg("-p").arg(dir).arg("-c").arg(&file).env("PATH", path).spawn();
    let nginx = Process(nginx.expect("nginx is installed: deploy/install-deps.sh --proxy"));
    let url = format!("http://127.0.0.1:{port}");
    wait_until("nginx answers", || {
        Command::new("curl")
            .args(["-sf", &format!("{url}/healthz")])
            .stdout(Stdio::null())
            .status()
            .unwrap()
            .success()
    });
    (nginx, url)
}

/// A client of a stream, line by line.
struct Stream {
    client: Process,
    lines: Receiver<String>,
}

impl Stream {
    fn open(url: &str, more: &[&str]) -> Self {
        let mut client = Command::new("curl");
        client.args(["-sN", "-u", "alice:x"]).args(more).arg(url).stdout(Stdio::piped());
        let mut client = client.spawn().unwrap();
        let out = BufReader::new(client.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { client: Process(client), lines }
    }

    /// The next line that begins so.
    fn next(&self, beginning: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {beginning:?}"));
            if line.starts_with(beginning) {
                return line;
            }
        }
    }
}

#[test]
fn behind_nginx_events_come_as_they_happen_and_buyers_are_who_they_are() {
    let dir = tempdir();
    let anywhere =
        ["--listen", "--admin-listen", "--metrics-listen"].map(|flag| format!("{flag}=127.0.0.1:0"));
    let dev = Running::dev_as(
        doorbuster().args(anywhere).args(["--event-heartbeat-ms", "200"]),
        &dir.path().join("dev"),
    );
    let (_nginx, url) = nginx(dir.path(), dev.address("API"));

    // The stream stays open, so what is seen of it was not gathered.
    let sale = Stream::open(&format!("{url}/v1/sales/demo/events"), &[]);
    let before = sale.next("data:");
    sale.next(":");
    let bought = shell(&format!("curl -si {url}/v1/sales/demo/orders {BUY}"));
    assert!(bought.starts_with("HTTP/1.1 202"), "{bought}");
    let id = sale.next("id:");
    assert_ne!(sale.next("data:"), before);

    // Whoever comes back with the last id is not told what he knows.
    let again = Stream::open(
        &format!("{url}/v1/sales/demo/events"),
        &["-H", &format!("Last-Event-ID: {}", id.trim_start_matches("id:").trim())],
    );
    assert_eq!(again.lines.recv_timeout(PATIENCE).unwrap(), ":");

    let location =
        bought.lines().find_map(|line| line.strip_prefix("location: ").or(line.strip_prefix("Location: ")));
    let order = format!("{url}{}", location.expect(&bought).trim());
    let mut seen = Stream::open(&format!("{order}/events"), &[]);
    while !seen.next("data:").contains(r#""state":"confirmed""#) {}
    assert!(seen.client.0.wait().unwrap().success(), "it ends with the outcome");
    let status = |user: &str| shell(&format!("curl -s -o /dev/null -w '%{{http_code}}' -u {user}:x {order}"));
    assert_eq!((status("alice"), status("mallory")), ("200".to_owned(), "404".to_owned()));

    // A client that goes away leaves nothing behind nginx.
    let metrics = dev.address("Metrics").to_owned();
    let open = || {
        let metrics = shell(&format!("curl -s {metrics}"));
        let line = metrics.lines().find(|line| line.starts_with("doorbuster_event_streams{of=\"sale\"}"));
        line.expect(&metrics).rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(open(), "2");
    drop((sale, again));
    wait_until("the node has closed the streams", || open() == "0");

    // One node of two is not there all the while, and no request fails.
    for _ in 0..20 {
        assert_eq!(shell(&format!("curl -s -o /dev/null -w '%{{http_code}}' {url}/v1/sales/demo")), "200");
        std::thread::sleep(Duration::from_millis(100));
    }
}
