//! A private PostgreSQL for all tests of one binary.

use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use doorbuster::servers::{PostgresOptions, PrivatePostgres};
use tokio::sync::OnceCell;

struct Shared {
    /// Its guard ends it with this process.
    postgres: PrivatePostgres,
    _cleaner: Child,
}

static SHARED: OnceCell<Shared> = OnceCell::const_new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The URL of a new, empty database.
pub async fn new_database() -> String {
    let postgres = &SHARED.get_or_init(start).await.postgres;
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    postgres.create_database(&name).await.unwrap();
    postgres.url(&name)
}

async fn start() -> Shared {
    // Open to the user that PostgreSQL runs as.
    let open = std::fs::Permissions::from_mode(0o755);
    let dir = tempfile::Builder::new().permissions(open).tempdir().unwrap().keep();
    let options = PostgresOptions {
        data_dir: dir.join("postgres"),
        // These tests prove what is stored, not that it survives; durability has its own.
        extra_settings: vec![("fsync".to_owned(), "off".to_owned())],
        ..PostgresOptions::default()
    };
    // Nothing runs at the end of a test binary: a shell, which sees its pipe closed, clears up behind it.
    let clean = r#"cat; for wait in 1 2 3 4 5 6 7 8 9 10; do sleep 1; rm -rf "$0" && exit; done"#;
    let cleaner = Command::new("/bin/sh")
        .args(["-c", clean])
        .arg(&dir)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Shared { postgres: PrivatePostgres::start(options).await.unwrap(), _cleaner: cleaner }
}
