//! The three paths every program serves, over a real socket.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

use clickstream_telemetry::{Health, Metrics, Waiting, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn readiness_names_what_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let health = Health::new(&[Waiting::Registry, Waiting::FilteredTopic]);
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(
        listener,
        health.clone(),
        Metrics::new(),
        stop.clone(),
    ));

    let waiting = get(address, "/readyz").await;
    assert!(waiting.starts_with("HTTP/1.1 503"), "{waiting}");
    assert!(
        waiting.ends_with(r#"{"waitingFor":["filtered-topic","registry"]}"#),
        "{waiting}"
    );
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/metrics").await.ends_with("# EOF\n"));

    health.set_ready(Waiting::Registry);
    health.set_ready(Waiting::FilteredTopic);
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
    health.drain();
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));

    stop.cancel();
    server.await.unwrap().unwrap();
}
