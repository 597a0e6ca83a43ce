//! The database fixture does what tests of other packages rely on.

use clickstream_testkit::postgres::Postgres;
use sqlx::{Connection, PgConnection};

#[tokio::test]
async fn killed_server_comes_back_with_its_rows() {
    let postgres = Postgres::start().await.unwrap();
    let url = postgres.create_database().await.unwrap();
    assert_ne!(url, postgres.create_database().await.unwrap());
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
        .execute(&mut connection)
        .await
        .unwrap();

    postgres.kill().unwrap();
    assert!(PgConnection::connect(&url).await.is_err());
    postgres.start_again().await.unwrap();

    let mut connection = PgConnection::connect(&url).await.unwrap();
    let n: i32 = sqlx::query_scalar("SELECT n FROM kept")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(n, 7);
    assert!(
        postgres.start_again().await.is_err(),
        "a second server on the same data"
    );
}
