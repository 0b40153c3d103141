use doorbuster::servers::{PostgresOptions, PrivatePostgres, PrivateRedis, RedisOptions};
use nix::sys::signal::Signal;

use crate::process::{Running, buy, doorbuster, refused, said, tempdir};

#[tokio::test(flavor = "multi_thread")]
async fn nodes_come_and_go_on_servers_that_stay() {
    let dir = tempdir();
    let redis = RedisOptions { data_dir: dir.path().join("redis"), ..RedisOptions::default() };
    let postgres = PostgresOptions { data_dir: dir.path().join("postgres"), ..PostgresOptions::default() };
    let (redis, postgres) =
        tokio::try_join!(PrivateRedis::start(redis), PrivatePostgres::start(postgres)).unwrap();
    postgres.create_database("shop").await.unwrap();
    let command = || {
        let mut command = doorbuster();
        command.env("DOORBUSTER_REDIS_URL", redis.url()).env("DOORBUSTER_POSTGRES_URL", postgres.url("shop"));
        command.env("DOORBUSTER_LISTEN", "127.0.0.1:0").env("DOORBUSTER_ADMIN_LISTEN", "127.0.0.1:0");
        command.env("DOORBUSTER_PARTITIONS", "2");
        command
    };

    let migrated = said(command().arg("migrate"));
    assert!(migrated.starts_with("applied V1__") && migrated.ends_with("with 2 partitions\n"), "{migrated}");
    assert!(said(command().arg("migrate")).starts_with("nothing to apply: the schema is at version "));

    let dev = Running::start(
        command().args(["dev", "--external", "--metrics-listen=127.0.0.1:0"]),
        false,
        "Ctrl-C stops everything",
    );
    assert_eq!((dev.address("Redis"), dev.address("Postgres")), (&*redis.url(), &*postgres.url("shop")));
    buy(dev.line("Buy a shirt"));
    let (status, rest) = dev.end(Signal::SIGINT);
    assert!(status.success() && rest.contains("external servers go on"), "{rest}");

    let node = Running::start(
        command().args(["run", "--trusted-buyer-header", "x-buyer-id", "--log-format", "json"]),
        true,
        "the node runs",
    );
    let started = node.block.join("\n");
    assert!(started.contains("the API listens") && !started.contains("the admin API listens"), "{started}");
    let (status, log) = node.end(Signal::SIGTERM);
    assert!(status.success() && log.contains(r#""requests_cut":0"#), "{log}");

    let (code, error) = refused(command().args(["run", "--partitions", "3"]));
    assert!(code == 1 && error.contains("error: the database has 2 partitions"), "{code} {error}");
}
