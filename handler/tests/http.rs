//! The page, the API, readiness and draining, over HTTP.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use common::{Bed, Server, client, until};
use futures_util::StreamExt as _;
use reqwest::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use serde_json::{Value, json};

async fn post(server: &Server, path: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
    let request = client()
        .post(server.url(path))
        .header(CONTENT_TYPE, "application/json")
        .body(body);
    answer(request.send().await.unwrap()).await
}

async fn answer(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let kind = response.headers()[CONTENT_TYPE]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        kind == "application/problem+json",
        status >= 400,
        "{kind} with {status}"
    );
    (status, response.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_are_checked_and_explained() {
    let bed = Bed::new();
    let server = bed.server(&[]).await;
    let (status, checked) = post(
        &server,
        "/api/v1/filters/check",
        r#"{"filter":"event.a==1"}"#,
    )
    .await;
    assert_eq!(status, 200);
    insta::assert_json_snapshot!("checked", checked);
    let (status, refused) = post(
        &server,
        "/api/v1/filters/check",
        r#"{"filter":"event.a = 1"}"#,
    )
    .await;
    assert_eq!(status, 422);
    insta::assert_json_snapshot!("refused", refused);

    let explain = json!({"filter": "event.a == 1 && record.topic == 't'", "event": {"a": 1}, "record": {"topic": "t"}});
    let (status, explained) = post(&server, "/api/v1/filters/explain", explain.to_string()).await;
    assert_eq!((status, &explained["result"]), (200, &json!("match")));
    let explain = r#"{"filter":"event.a == 1","event":{}}"#;
    let (status, explained) = post(&server, "/api/v1/filters/explain", explain).await;
    assert_eq!(
        (status, &explained["result"]),
        (200, &json!("error")),
        "{explained}"
    );
    let explain = r#"{"filter":"event.a == 1","event":[1]}"#;
    assert_eq!(
        post(&server, "/api/v1/filters/explain", explain).await.0,
        422
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_error_is_a_problem() {
    let bed = Bed::new();
    let server = bed.server(&[]).await;
    let check = "/api/v1/filters/check";
    assert_eq!(post(&server, check, "{").await.0, 400);
    assert_eq!(post(&server, check, "{}").await.0, 422);
    assert_eq!(post(&server, check, r#"{"filter":1}"#).await.0, 422);
    assert_eq!(
        post(&server, check, r#"{"filter":"true","more":1}"#)
            .await
            .0,
        422
    );
    assert_eq!(
        post(
            &server,
            check,
            format!(r#"{{"filter":"{}"}}"#, "x".repeat(70_000))
        )
        .await
        .0,
        413
    );
    let plain = client()
        .post(server.url(check))
        .body(r#"{"filter":"true"}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(answer(plain).await.0, 415);
    assert_eq!(answer(server.get(check).await).await.0, 405);
    assert_eq!(answer(server.get("/api/v1/none").await).await.0, 404);
    assert_eq!(answer(server.get("/none").await).await.0, 404);
    let foreign = client()
        .get(server.url("/api/v1/pipeline"))
        .header("origin", "https://evil.example.com");
    assert_eq!(answer(foreign.send().await.unwrap()).await.0, 403);
    bed.registry.set_available(false);
    assert_eq!(answer(server.get("/api/v1/queries").await).await.0, 503);
    until("not ready", async || {
        server.get("/readyz").await.status() == 503
    })
    .await;
    let waiting: Value = server.get("/readyz").await.json().await.unwrap();
    assert_eq!(waiting, json!({"waitingFor": ["database"]}));
    bed.registry.set_available(true);
    until("ready", async || {
        server.get("/readyz").await.status() == 200
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_and_the_lists_are_served() {
    let bed = Bed::new();
    let server = bed
        .server(&[
            "--source-topic",
            "events",
            "--allowed-origins",
            "https://app.example.com",
        ])
        .await;
    let page = server.get("/").await;
    assert_eq!(page.status(), 200);
    assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
    assert!(
        page.headers()[CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap()
            .starts_with("default-src 'none'")
    );
    let etag = page.headers()["etag"].clone();
    let again = client()
        .get(server.url("/"))
        .header("if-none-match", etag)
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), 304);

    let (_, pipeline) = answer(server.get("/api/v1/pipeline").await).await;
    assert_eq!(pipeline["pipeline"], "shop");
    assert_eq!(pipeline["sourceTopics"], json!(["events"]));
    assert_eq!(
        (&pipeline["eventTypeField"], &pipeline["userField"]),
        (&json!("type"), &json!("user_id"))
    );
    for list in ["event-types", "fields?prefix=a", "queries"] {
        let (status, list) = answer(server.get(&format!("/api/v1/{list}")).await).await;
        assert_eq!((status, list), (200, json!({"items": []})));
    }
    let allowed = client()
        .get(server.url("/api/v1/pipeline"))
        .header("origin", "https://app.example.com");
    let allowed = allowed.send().await.unwrap();
    assert_eq!(
        allowed.headers()["access-control-allow-origin"],
        "https://app.example.com"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_tells_every_viewer_and_leaves_the_registry() {
    let bed = Bed::new();
    let server = bed.server(&[]).await;
    let viewer = client()
        .get(server.url("/api/v1/live?filter=true"))
        .send()
        .await
        .unwrap();
    until("registered", async || bed.queries().await.len() == 1).await;
    let listed: Value = server.get("/api/v1/queries").await.json().await.unwrap();
    assert_eq!(
        (
            &listed["items"][0]["kind"],
            &listed["items"][0]["subscribers"]
        ),
        (&json!("live"), &json!(1))
    );
    server.cancel.cancel();
    let mut told = String::new();
    let mut stream = viewer.bytes_stream();
    while let Some(Ok(bytes)) = stream.next().await {
        told.push_str(&String::from_utf8_lossy(&bytes));
    }
    assert!(
        told.contains(r#""status":"ended","reason":"draining""#),
        "{told}"
    );
    server.stop().await;
    assert!(bed.queries().await.is_empty());
}
