//! PostgreSQL comes back from a backup, older than it was.

use chaos::instruments::BaseBackup;
use doorbuster::servers::PrivatePostgres;

use crate::support::{count_rows, postgres_options, sql_client, tempdir};

#[tokio::test]
async fn what_came_after_the_backup_is_gone_and_what_came_before_is_there() {
    let dir = tempdir();
    let mut postgres = PrivatePostgres::start(postgres_options(dir.path())).await.unwrap();
    let client = sql_client(&postgres.url("postgres")).await.unwrap();
    client.batch_execute("CREATE TABLE kept (n bigint); INSERT INTO kept VALUES (1), (2)").await.unwrap();
    let backup = BaseBackup::take(&postgres, &postgres.pgdata().with_file_name("backup")).await.unwrap();
    client.batch_execute("INSERT INTO kept VALUES (3)").await.unwrap();
    assert_eq!(count_rows(&postgres).await, 3);
    backup.restore(&mut postgres).await.unwrap();
    assert_eq!(count_rows(&postgres).await, 2);
    postgres.restart().await.unwrap();
    assert_eq!(count_rows(&postgres).await, 2);
}
