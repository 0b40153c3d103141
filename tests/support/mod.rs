//! A private PostgreSQL for one test binary. It ends with the process: its guard reads a pipe that only
//! this process holds open.

use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::NoTls;

struct Server {
    port: u16,
    /// Holds the pipe.
    _guard: Child,
}

static SERVER: OnceLock<Server> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The URL of a new, empty database.
pub async fn new_database() -> String {
    let server = tokio::task::spawn_blocking(|| SERVER.get_or_init(start)).await.unwrap();
    let url = |name: &str| format!("postgres://postgres@127.0.0.1:{}/{name}", server.port);
    let deadline = Instant::now() + Duration::from_secs(60);
    let client = loop {
        match tokio_postgres::connect(&url("postgres"), NoTls).await {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                break client;
            }
            Err(error) => assert!(Instant::now() < deadline, "PostgreSQL did not start: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    url(&name)
}

fn start() -> Server {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let script = format!(
        "set -e; PATH=/usr/lib/postgresql/15/bin:$PATH; dir=$(mktemp -d); \
         initdb -D $dir/data -A trust -U postgres -E UTF8 --locale=C -N >$dir/log; \
         postgres -D $dir/data -p {port} -h 127.0.0.1 -k '' -F >>$dir/log 2>&1 </dev/null & pid=$!; \
         cat >/dev/null || true; kill -QUIT $pid; wait $pid || true; rm -rf $dir"
    );
    // PostgreSQL refuses to run as root.
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let mut command = if is_root { Command::new("runuser") } else { Command::new("sh") };
    if is_root {
        command.args(["-u", "postgres", "--", "sh"]);
    }
    command.arg("-c").arg(script).current_dir("/").stdin(Stdio::piped());
    Server { port, _guard: command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap() }
}
