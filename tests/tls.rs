//! Encrypted ways to Redis and Postgres, with certificates that are verified.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use doorbuster::servers::{PostgresOptions, PrivatePostgres, PrivateRedis, RedisOptions, free_port};
use tempfile::TempDir;

/// An authority, and a key and certificate of 127.0.0.1 that it has signed.
struct Certificates {
    dir: TempDir,
}

impl Certificates {
    fn new() -> Self {
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = authority.self_signed(&authority_key).unwrap();
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let server = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let server = server.signed_by(&key, &issuer).unwrap();
        let made = Self { dir: shared_tempdir() };
        std::fs::write(made.path("authority.pem"), certificate.pem()).unwrap();
        std::fs::write(made.path("server.pem"), server.pem()).unwrap();
        std::fs::write(made.path("server.key"), key.serialize_pem()).unwrap();
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A copy of the key that only the owner of `beside` can read: PostgreSQL refuses any other.
    fn key_for_owner_of(&self, beside: &Path) -> PathBuf {
        let (key, owner) = (self.path("owned.key"), std::fs::metadata(beside).unwrap());
        std::fs::copy(self.path("server.key"), &key).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        chown(&key, Some(owner.uid()), Some(owner.gid())).unwrap();
        key
    }
}

fn shared_tempdir() -> TempDir {
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempdir().unwrap()
}

/// `doorbuster`, which trusts `authority` alone.
fn doorbuster(arguments: &[&str], authority: &Path) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_doorbuster"));
    command.args(arguments).env("SSL_CERT_FILE", authority).env_remove("SSL_CERT_DIR").kill_on_drop(true);
    command
}

async fn postgres_with_tls(dir: &Path, certificates: &Certificates) -> PrivatePostgres {
    let options = PostgresOptions { data_dir: dir.join("postgres"), ..PostgresOptions::default() };
    let mut postgres = PrivatePostgres::start(options).await.unwrap();
    postgres.create_database("shop").await.unwrap();
    let pgdata = dir.join("postgres/pgdata");
    let key = certificates.key_for_owner_of(&pgdata);
    let settings = format!(
        "ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\n",
        certificates.path("server.pem").display(),
        key.display()
    );
    std::fs::write(pgdata.join("postgresql.auto.conf"), settings).unwrap();
    postgres.restart().await.unwrap();
    postgres
}

#[tokio::test]
async fn postgres_is_reached_by_tls_and_only_with_a_certificate_of_a_known_authority() {
    let (dir, certificates) = (shared_tempdir(), Certificates::new());
    let postgres = postgres_with_tls(dir.path(), &certificates).await;
    let url = format!("{}?sslmode=require", postgres.url("shop"));
    let migrate = |authority: &Path| {
        let mut command = doorbuster(&["migrate"], authority);
        command.env("DOORBUSTER_POSTGRES_URL", &url);
        command
    };

    let stranger = Certificates::new();
    let output = migrate(&stranger.path("authority.pem")).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("invalid peer certificate"), "{said}");
    let output = migrate(&dir.path().join("nothing.pem")).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("SSL_CERT_FILE"), "{said}");

    let output = migrate(&certificates.path("authority.pem")).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("applied V1__"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_opens_where_both_servers_speak_tls() {
    let (dir, certificates) = (shared_tempdir(), Certificates::new());
    let postgres = postgres_with_tls(dir.path(), &certificates).await;
    let tls_port = free_port().unwrap();
    let setting = |name: &str, value: String| (name.to_owned(), value);
    let redis = PrivateRedis::start(RedisOptions {
        data_dir: dir.path().join("redis"),
        extra_args: vec![
            setting("tls-port", tls_port.to_string()),
            setting("tls-cert-file", certificates.path("server.pem").display().to_string()),
            setting("tls-key-file", certificates.path("server.key").display().to_string()),
            setting("tls-auth-clients", "no".to_owned()),
        ],
        ..RedisOptions::default()
    });
    let _redis = redis.await.unwrap();
    let api = free_port().unwrap();
    let mut node =
        doorbuster(&["run", "--listen", &format!("127.0.0.1:{api}")], &certificates.path("authority.pem"));
    node.env("DOORBUSTER_POSTGRES_URL", format!("{}?sslmode=require", postgres.url("shop")));
    node.env("DOORBUSTER_REDIS_URL", format!("rediss://127.0.0.1:{tls_port}"));
    let _node = node.spawn().unwrap();

    let is_ready = || async {
        let url = format!("http://127.0.0.1:{api}/readyz");
        let curl = tokio::process::Command::new("curl").args(["-s", &url]).output().await.unwrap();
        String::from_utf8_lossy(&curl.stdout).contains(r#""ready""#)
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !is_ready().await {
        assert!(tokio::time::Instant::now() < deadline, "the partition does not open over TLS");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
