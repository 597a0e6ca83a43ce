//! What viewers see when the handler goes away.

use clickstream_testkit::stomp::{Carrier, Client};

use crate::{
    stomp::{registered, subscribe},
    support::Handler,
};

#[tokio::test]
async fn a_draining_handler_says_so_and_closes() {
    let mut handler = Handler::start().await;
    let mut clients = Vec::new();
    for carrier in [Carrier::WebSocket, Carrier::SockJs] {
        let mut client = Client::connect(&handler.url, carrier).await.unwrap();
        client.send(&subscribe("event.x")).await.unwrap();
        registered(&mut client).await;
        clients.push(client);
    }
    let http = clickstream_testkit::process::http().unwrap();
    let mut sse = http
        .get(format!("{}/api/v1/live", handler.url))
        .send()
        .await
        .unwrap();
    assert!(
        sse.chunk()
            .await
            .unwrap()
            .unwrap()
            .starts_with(b"event: status\n")
    );
    handler.cancel.cancel();
    for mut client in clients {
        let ended = loop {
            let frame = client.recv().await.unwrap().unwrap();
            if frame.header("status") == Some("ended") {
                break frame.json().unwrap();
            }
        };
        assert_eq!(ended["reason"], "draining");
        assert!(client.recv().await.unwrap().is_none());
        assert_eq!(client.closed(), Some((1012, "this handler is going away")));
    }
    let rest = sse.text().await.unwrap();
    assert!(rest.contains("\"reason\":\"draining\""), "{rest}");
    handler.running.take().unwrap().await.unwrap().unwrap();
}
