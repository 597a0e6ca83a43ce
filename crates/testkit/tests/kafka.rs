//! The broker fixture does what tests of other packages rely on.

use std::time::Duration;

use clickstream_testkit::kafka::Kafka;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};

#[tokio::test]
async fn killed_broker_comes_back_with_its_records() {
    let kafka = Kafka::start().unwrap();
    let topic = kafka.unique_topic("kept", 2).await.unwrap();
    let producer: FutureProducer = kafka
        .client()
        .set("enable.idempotence", "true")
        .create()
        .unwrap();
    let send = async |payload: &str| {
        let record = FutureRecord::<str, str>::to(&topic)
            .partition(1)
            .payload(payload);
        producer
            .send(record, Duration::from_secs(60))
            .await
            .map_err(|(err, _)| err)
            .unwrap()
    };
    assert_eq!(send("before").await.offset, 0);

    kafka.kill().unwrap();
    let killed = std::time::Instant::now();
    kafka.start_again().unwrap();
    println!(
        "broker answers again {:.1} s after its start",
        killed.elapsed().as_secs_f64()
    );

    assert_eq!(send("after").await.offset, 1);
    println!(
        "and takes records {:.1} s after its start",
        killed.elapsed().as_secs_f64()
    );
    let consumer: BaseConsumer = kafka.client().create().unwrap();
    assert_eq!(
        consumer
            .fetch_watermarks(&topic, 1, Duration::from_secs(30))
            .unwrap(),
        (0, 2)
    );
    assert!(
        kafka.start_again().is_err(),
        "a second broker on the same data"
    );
}
