//! `/stomp`.

use clickstream_testkit::stomp::{Carrier, Client, Frame};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest as _},
};

use crate::support::{Handler, until};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn open(
    url: &str,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<(Socket, Option<String>), tungstenite::Error> {
    let url = format!("{}{path}", url.replacen("http", "ws", 1));
    let mut request = url.into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let (socket, answer) = connect_async(request).await?;
    let protocol = answer.headers().get("sec-websocket-protocol");
    Ok((
        socket,
        protocol.map(|protocol| protocol.to_str().unwrap().to_owned()),
    ))
}

async fn text(socket: &mut Socket) -> String {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Text(text) => return text.to_string(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("no text but {other:?}"),
        }
    }
}

async fn close_code(socket: &mut Socket) -> u16 {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Close(Some(frame)) => return frame.code.into(),
            Message::Close(None) => panic!("a close without code"),
            _ => {}
        }
    }
}

/// The query id in the `registered` status that comes next.
pub(crate) async fn registered(client: &mut Client) -> String {
    let frame = client.recv().await.unwrap().unwrap();
    assert_eq!(frame.header("status"), Some("registered"), "{frame:?}");
    frame.json().unwrap()["query"].as_str().unwrap().to_owned()
}

pub(crate) fn subscribe(filter: &str) -> Frame {
    Frame::new("SUBSCRIBE")
        .with("id", "0")
        .with("destination", "/live")
        .with("filter", filter)
        .with("rate", "0")
}

#[tokio::test]
async fn a_viewer_gets_what_matches_over_websocket_and_sockjs() {
    let handler = Handler::shared().await;
    for (carrier, price) in [(Carrier::WebSocket, 1), (Carrier::SockJs, 2)] {
        let mut client = Client::connect(&handler.url, carrier).await.unwrap();
        let filter = format!("event.price == {price}");
        client
            .send(&subscribe(&filter).with("receipt", "r"))
            .await
            .unwrap();
        let query = loop {
            let frame = client.recv().await.unwrap().unwrap();
            match frame.header("status") {
                Some("registered") => {
                    break frame.json().unwrap()["query"].as_str().unwrap().to_owned();
                }
                _ => assert_eq!(frame.header("receipt-id"), Some("r")),
            }
        };
        let source = handler.matched(&query, "{\"price\": \"π\"}");
        let message = loop {
            let frame = client.recv().await.unwrap().unwrap();
            if frame.header("source").is_some() {
                break frame;
            }
        };
        assert_eq!(message.header("source"), Some(source.as_str()));
        assert_eq!(message.header("time"), Some("2023-11-14T22:13:20.123Z"));
        assert_eq!(message.header("subscription"), Some("0"));
        assert_eq!(message.body, "{\"price\": \"π\"}");
        client
            .send(&Frame::new("DISCONNECT").with("receipt", "bye"))
            .await
            .unwrap();
        while let Some(frame) = client.recv().await.unwrap() {
            if frame.command == "RECEIPT" && frame.header("receipt-id") == Some("bye") {
                break;
            }
        }
        while client.recv().await.unwrap().is_some() {}
        assert_eq!(client.closed(), Some((1000, "bye")));
    }
}

#[tokio::test]
async fn the_sub_protocol_settles_the_version() {
    let handler = Handler::shared().await;
    let all = "CONNECT\naccept-version:1.0,1.1,1.2\nhost:h\n\n\0";
    for (offered, chosen, version) in [
        ("v10.stomp, v11.stomp, v12.stomp", Some("v12.stomp"), "1.2"),
        ("v10.stomp, v11.stomp", Some("v11.stomp"), "1.1"),
        ("v10.stomp", Some("v10.stomp"), "1.0"),
        ("", None, "1.2"),
    ] {
        let headers = [("sec-websocket-protocol", offered)];
        let headers = if offered.is_empty() {
            &headers[..0]
        } else {
            &headers[..]
        };
        for path in ["/stomp", "/sockjs/websocket"] {
            let (mut socket, protocol) = open(&handler.url, path, headers).await.unwrap();
            assert_eq!(protocol.as_deref(), chosen);
            socket.send(Message::text(all)).await.unwrap();
            let connected = text(&mut socket).await;
            assert!(
                connected.contains(&format!("\nversion:{version}\n")),
                "{connected:?}"
            );
        }
    }
}

#[tokio::test]
async fn binary_messages_and_frames_in_pieces_are_read() {
    let handler = Handler::shared().await;
    let (mut socket, _) = open(&handler.url, "/stomp", &[]).await.unwrap();
    for piece in b"CONNECT\r\naccept-version:1.2\r\n\r\n\0".chunks(7) {
        socket.send(Message::binary(piece.to_vec())).await.unwrap();
    }
    assert!(text(&mut socket).await.starts_with("CONNECTED\n"));
}

#[tokio::test]
async fn a_bad_filter_is_told_with_its_position() {
    let handler = Handler::shared().await;
    let mut client = Client::connect(&handler.url, Carrier::WebSocket)
        .await
        .unwrap();
    let bad = subscribe("event.type ==").with("receipt", "r");
    client
        .send(&bad.clone().with("on-error", "message"))
        .await
        .unwrap();
    let ended = client.recv().await.unwrap().unwrap().json().unwrap();
    assert_eq!(ended["reason"], "refused");
    assert_eq!(ended["error"]["status"], 422);
    assert!(
        ended["error"]["caret"].as_str().unwrap().contains('^'),
        "{ended}"
    );
    assert_eq!(client.recv().await.unwrap().unwrap().command, "RECEIPT");
    client.send(&bad).await.unwrap();
    let error = client.recv().await.unwrap().unwrap();
    assert_eq!(error.command, "ERROR");
    assert_eq!(error.header("receipt-id"), Some("r"));
    assert_eq!(error.json().unwrap(), ended["error"]);
    assert!(client.recv().await.unwrap().is_none());
    assert_eq!(client.closed(), Some((1002, "see the ERROR frame")));
}

#[tokio::test]
async fn what_breaks_the_protocol_is_told_and_closed() {
    let handler = Handler::shared().await;
    let connect = "CONNECT\naccept-version:1.2\n\n\0";
    for (sent, message) in [
        (
            "SEND\ndestination:/live\n\n\0",
            "`SEND` came before CONNECT",
        ),
        ("\u{1f980}\n\n\0", "`\u{1f980}` came before CONNECT"),
        (
            &format!("{connect}NONSENSE\n\n\0"),
            "unknown command `NONSENSE`",
        ),
        (
            &format!("{connect}SEND\ncontent-length:9\n\nx\0aaaaaaaaaaaa"),
            "content-length",
        ),
        (&format!("{connect}SUBSCRIBE\nid:\\x\n\n\0"), "escape"),
        (
            &format!("{connect}SUBSCRIBE\nid:0\ndestination:/queue/a\n\n\0"),
            "is no destination",
        ),
    ] {
        let (mut socket, _) = open(&handler.url, "/stomp", &[]).await.unwrap();
        socket.send(Message::text(sent)).await.unwrap();
        let error = loop {
            let frame = text(&mut socket).await;
            if !frame.starts_with("CONNECTED\n") {
                break frame;
            }
        };
        assert!(error.starts_with("ERROR\n"), "{error:?}");
        assert!(error.contains(message), "{error:?}");
        assert_eq!(close_code(&mut socket).await, 1002, "{sent:?}");
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_unread() {
    let handler = Handler::shared().await;
    for (path, frame) in [
        ("/stomp", "ERROR\n"),
        ("/sockjs/0/s/websocket", "a[\"ERROR\\n"),
    ] {
        let (mut socket, _) = open(&handler.url, path, &[]).await.unwrap();
        if path != "/stomp" {
            assert_eq!(text(&mut socket).await, "o");
        }
        // The server closes while it is being sent.
        let _ = socket.send(Message::text("\n".repeat(900_000))).await;
        let error = text(&mut socket).await;
        assert!(error.starts_with(frame), "{error:?}");
        assert!(
            error.contains("a message cannot be larger than 65536 bytes"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn pages_of_other_sites_are_turned_away() {
    let handler = Handler::shared().await;
    let own = handler.url.clone();
    for (origin, allowed) in [
        (own.as_str(), true),
        ("https://app.example.com", true),
        ("https://evil.example.com", false),
        ("null", false),
    ] {
        for path in ["/stomp", "/sockjs/websocket", "/sockjs/0/s/websocket"] {
            let opened = open(&handler.url, path, &[("origin", origin)]).await;
            match opened {
                Ok(_) => assert!(allowed, "{origin} {path}"),
                Err(tungstenite::Error::Http(answer)) => {
                    assert_eq!((answer.status().as_u16(), allowed), (403, false), "{path}");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[tokio::test]
async fn who_never_reads_is_closed_and_hurts_nobody() {
    let handler = &Handler::start().await;
    let mut slow = Client::connect(&handler.url, Carrier::WebSocket)
        .await
        .unwrap();
    slow.send(&subscribe("event.slow")).await.unwrap();
    let query = registered(&mut slow).await;
    let mut other = Client::connect(&handler.url, Carrier::WebSocket)
        .await
        .unwrap();
    other.send(&subscribe("event.other")).await.unwrap();
    let others = registered(&mut other).await;
    let large = format!("{{\"slow\":\"{}\"}}", "x".repeat(500_000));
    let http = clickstream_testkit::process::http().unwrap();
    until("the slow connection is closed", || async {
        handler.matched(&query, &large);
        let metrics = http
            .get(format!("{}/metrics", handler.url))
            .send()
            .await
            .unwrap();
        let metrics = metrics.text().await.unwrap();
        metrics.contains("handler_connections{door=\"stomp\"} 1\n")
    })
    .await;
    let source = handler.matched(&others, "{\"other\":true}");
    while other.recv().await.unwrap().unwrap().header("source") != Some(source.as_str()) {}
    handler.cancel.cancel();
}
