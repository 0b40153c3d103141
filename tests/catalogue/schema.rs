use std::time::Duration;

use doorbuster::postgres::{
    MigrateError, PartitionsError, PgError, connect_pool, ensure_partitions, migrate, within,
};

use crate::{Catalogue, TIMEOUT, definition, new_sale, support};

#[tokio::test(flavor = "multi_thread")]
async fn eight_nodes_migrate_at_once_and_one_does_it() {
    let url = support::new_database().await;
    let nodes = (0..8).map(|_| {
        tokio::spawn({
            let url = url.clone();
            async move { migrate(&url, TIMEOUT).await }
        })
    });
    let mut applied = 0;
    for node in nodes.collect::<Vec<_>>() {
        let migrated = node.await.unwrap().unwrap();
        assert!(migrated.version >= 1);
        applied += usize::from(!migrated.applied.is_empty());
    }
    assert_eq!(applied, 1);
    let pool = connect_pool(&url, 1, TIMEOUT).unwrap();
    let locks = "SELECT count(*) FROM pg_locks JOIN pg_database AS db ON db.oid = database \
                 WHERE locktype = 'advisory' AND datname = current_database()";
    // The server lets go when it has seen the session's end, which may be after we have.
    let client = pool.get().await.unwrap();
    let deadline = std::time::Instant::now() + TIMEOUT;
    while client.query_one(locks, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        assert!(std::time::Instant::now() < deadline, "a migration left its lock behind");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let catalogue = Catalogue::new(1).await;
    catalogue
        .execute(
            "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
             VALUES (777, 'from_the_future', '2100-01-01T00:00:00Z', '1')",
        )
        .await;
    let error = migrate(&catalogue.url, TIMEOUT).await.unwrap_err();
    assert!(matches!(error, MigrateError::SchemaNewer { database: 777, .. }), "{error}");
    assert!(error.to_string().contains("upgrade the binary"), "{error}");
}

#[tokio::test]
async fn a_diverged_schema_is_refused() {
    let catalogue = Catalogue::new(1).await;
    catalogue.execute("UPDATE refinery_schema_history SET checksum = '1' WHERE version = 1").await;
    let error = migrate(&catalogue.url, TIMEOUT).await.unwrap_err();
    assert!(matches!(error, MigrateError::Diverged(_)), "{error}");
}

#[tokio::test]
async fn the_number_of_partitions_is_fixed_while_sales_exist() {
    let catalogue = Catalogue::new(2).await;
    for count in [4, 1, 3] {
        ensure_partitions(&catalogue.pool, count).await.unwrap();
        assert_eq!(catalogue.number("SELECT count(*) FROM partitions").await, i64::from(count));
    }
    catalogue.store.create_sale(&new_sale(&definition("demo")), "test").await.unwrap();
    ensure_partitions(&catalogue.pool, 3).await.unwrap();
    let error = ensure_partitions(&catalogue.pool, 4).await.unwrap_err();
    assert!(matches!(error, PartitionsError::Mismatch { stored: 3, configured: 4 }), "{error}");
    assert!(error.to_string().contains("set partitions = 3"), "{error}");
}

#[tokio::test]
async fn errors_are_sorted_by_what_helps() {
    let catalogue = Catalogue::new(1).await;
    let client = catalogue.pool.get().await.unwrap();
    let error = |error: tokio_postgres::Error| PgError::from(error);

    let nul = client.execute("SELECT $1::text", &[&"a\0b"]).await.map_err(error).unwrap_err();
    assert!(nul.is_bad_data(), "{nul}");
    let check = "INSERT INTO partitions (partition) VALUES (300)";
    let check = client.execute(check, &[]).await.map_err(error).unwrap_err();
    assert!(check.is_bad_data(), "{check}");
    assert_eq!(check.constraint(), Some("partitions_partition_check"));
    let table = client.execute("SELECT FROM nothing_here", &[]).await.map_err(error).unwrap_err();
    assert!(matches!(table, PgError::Other(_)), "{table}");
    assert!(table.to_string().contains("nothing_here"), "the cause must show: {table}");

    client.batch_execute("SET statement_timeout = 50").await.unwrap();
    let slow = client.execute("SELECT pg_sleep(20)", &[]).await.map_err(error).unwrap_err();
    assert!(slow.is_transient(), "{slow}");
    let ended = "SELECT pg_terminate_backend(pg_backend_pid())";
    let ended = client.execute(ended, &[]).await.map_err(error).unwrap_err();
    assert!(ended.is_transient(), "{ended}");
}

#[tokio::test]
async fn a_server_that_is_away_or_silent_is_transient_in_bounded_time() {
    // A listener whose queue nobody reads: connections stand, and nothing is ever said.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed_port = closed.local_addr().unwrap().port();
    drop(closed);
    for port in [silent_port, closed_port] {
        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
        let pool = connect_pool(&url, 1, Duration::from_millis(300)).unwrap();
        let error = PgError::from(pool.get().await.unwrap_err());
        assert!(error.is_transient(), "{error}");
        let error = migrate(&url, Duration::from_millis(300)).await.unwrap_err();
        assert!(matches!(&error, MigrateError::Postgres(error) if error.is_transient()), "{error}");
    }
    let hung = within(Duration::from_millis(50), std::future::pending::<Result<(), PgError>>()).await;
    assert!(hung.unwrap_err().is_transient());
}
