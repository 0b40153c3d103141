//! Backups of a world's own PostgreSQL, made and put back with PostgreSQL's own tools; and what a database says.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::process::Command;

use super::{World, tempdir};

/// A base backup.
pub struct Backup(TempDir);

/// A dump of the world's database.
pub struct Dump(TempDir);

/// Rows of every table that an operator or a buyer can see, as text.
pub type Rows = Vec<(&'static str, Vec<String>)>;

/// What has to be the same: all columns of these tables.
const WHOLE: [&str; 5] = ["orders", "stock_ledger", "sale_stock", "sale_items", "products"];
/// And of these, all but when something was noticed, and by whom.
const IN_PART: [(&str, &str); 5] = [
    ("sales", "to_jsonb(t)"),
    (
        "stock_intents",
        "jsonb_build_array(cause, kind, sale_id, partition, order_id, lines, applied_at IS NOT NULL)",
    ),
    ("sale_publications", "jsonb_build_array(sale_id, partition, version)"),
    ("dead_letters", "to_jsonb(t) - 'found_at'"),
    ("incidents", "jsonb_build_array(kind, partition, subject, detail)"),
];

impl World {
    /// What the database says.
    pub async fn rows(&self) -> Rows {
        let db = self.reconnect().await;
        let whole = WHOLE.iter().map(|table| (*table, "to_jsonb(t)"));
        let mut rows = Vec::new();
        for (table, columns) in whole.chain(IN_PART) {
            let query = format!("SELECT ({columns})::text FROM {table} t ORDER BY 1");
            let found = db.query(&query, &[]).await.unwrap();
            rows.push((table, found.iter().map(|row| row.get(0)).collect()));
        }
        rows
    }

    /// Takes a base backup of the running server.
    pub async fn back_up(&self) -> Backup {
        let backup = Backup(tempdir());
        let to = backup.0.path().join("pgdata");
        let url = self.postgres.as_ref().unwrap().url("postgres");
        run("pg_basebackup", &["-d", &url, "-D", to.to_str().unwrap(), "-X", "stream", "-c", "fast"]).await;
        backup
    }

    /// Stops the server, puts the backup in the place of its data, and starts it.
    pub async fn restore(&mut self, backup: &Backup) {
        let pgdata = self.pgdata();
        let owner = std::fs::metadata(&pgdata).unwrap();
        let postgres = self.postgres.as_mut().unwrap();
        postgres.stop().await.unwrap();
        std::fs::remove_dir_all(&pgdata).unwrap();
        let from = backup.0.path().join("pgdata");
        run("cp", &["-a", from.to_str().unwrap(), pgdata.to_str().unwrap()]).await;
        give_to(&pgdata, owner.uid(), owner.gid());
        postgres.restart().await.unwrap();
        self.db = self.reconnect().await;
    }

    /// Dumps the database.
    pub async fn dump(&self) -> Dump {
        let dump = Dump(tempdir());
        let to = dump.0.path().join("dump");
        run("pg_dump", &["-d", &self.postgres_url, "-Fc", "-f", to.to_str().unwrap()]).await;
        dump
    }

    /// Puts a dump in the place of the database.
    pub async fn restore_dump(&mut self, dump: &Dump) {
        let postgres = self.postgres.as_ref().unwrap();
        postgres.drop_database("world").await.unwrap();
        postgres.create_database("world").await.unwrap();
        let from = dump.0.path().join("dump");
        run("pg_restore", &["-d", &self.postgres_url, "--exit-on-error", from.to_str().unwrap()]).await;
        self.db = self.reconnect().await;
    }

    fn pgdata(&self) -> PathBuf {
        self._postgres_dir.as_ref().unwrap().path().join("postgres/pgdata")
    }
}

/// Fails with the first table that differs.
pub fn assert_same(found: &Rows, wanted: &Rows) {
    for ((table, found), (_, wanted)) in found.iter().zip(wanted) {
        let missing: Vec<_> = wanted.iter().filter(|row| !found.contains(row)).collect();
        let surplus: Vec<_> = found.iter().filter(|row| !wanted.contains(row)).collect();
        assert!(
            missing.is_empty() && surplus.is_empty(),
            "{table}: missing {missing:#?}, surplus {surplus:#?}"
        );
        assert_eq!(found.len(), wanted.len(), "{table}");
    }
}

async fn run(program: &str, args: &[&str]) {
    let output = Command::new(find(program)).args(args).output().await.unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Of the newest PostgreSQL where it is one of its programs, as the private servers are.
fn find(program: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin").join(program)).collect();
    found.retain(|path| path.exists());
    found.sort();
    found.pop().unwrap_or_else(|| program.into())
}

fn give_to(path: &Path, uid: u32, gid: u32) {
    std::os::unix::fs::lchown(path, Some(uid), Some(gid)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        for entry in std::fs::read_dir(path).unwrap() {
            give_to(&entry.unwrap().path(), uid, gid);
        }
    }
}
