//! `GET /api/v1/live`.

use reqwest::Response;

use crate::support::Handler;

async fn get(handler: &Handler, parameters: &[(&str, &str)]) -> Response {
    let http = clickstream_testkit::process::http().unwrap();
    let request = http
        .get(format!("{}/api/v1/live", handler.url))
        .query(parameters);
    request.send().await.unwrap()
}

/// The next event of the stream, without its empty line.
async fn event(answer: &mut Response, buffer: &mut String) -> String {
    loop {
        if let Some((event, rest)) = buffer.split_once("\n\n") {
            let event = event.to_owned();
            *buffer = rest.to_owned();
            return event;
        }
        let chunk = answer.chunk().await.unwrap().unwrap();
        buffer.push_str(std::str::from_utf8(&chunk).unwrap());
    }
}

#[tokio::test]
async fn matches_and_statuses_are_told_apart() {
    let handler = Handler::shared().await;
    let mut answer = get(handler, &[("filter", "event.sse == 1"), ("rate", "0")]).await;
    assert_eq!(answer.status(), 200);
    let headers = answer.headers().clone();
    assert_eq!(headers["content-type"], "text/event-stream");
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["x-accel-buffering"], "no");
    let mut buffer = String::new();
    let first = event(&mut answer, &mut buffer).await;
    let status = first.strip_prefix("event: status\ndata: ").unwrap();
    let status: serde_json::Value = serde_json::from_str(status).unwrap();
    assert_eq!(status["status"], "registered");
    let source = handler.matched(status["query"].as_str().unwrap(), "{\n\"sse\": 1}");
    let expected = format!("id: {source}\ndata: {{\ndata: \"sse\": 1}}");
    while event(&mut answer, &mut buffer).await != expected {}
}

#[tokio::test]
async fn a_refused_request_is_a_problem() {
    let handler = Handler::shared().await;
    for (parameters, status) in [
        (&[("filter", "event.type ==")][..], 422),
        (&[("filter", "nothing.known")], 422),
        (&[("rate", "fast")], 422),
        (&[("resume", "x")], 422),
        (&[("filtre", "true")], 400),
        (&[("rate", "1"), ("rate", "2")], 400),
        (&[("query", "shop/unknown")], 404),
    ] {
        let answer = get(handler, parameters).await;
        assert_eq!(answer.status(), status, "{parameters:?}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let problem: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(problem["status"], status);
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        assert_eq!(problem["caret"].is_string(), parameters[0].0 == "filter");
    }
}

#[tokio::test]
async fn a_browser_can_ask_for_the_reason_as_a_status() {
    let handler = Handler::shared().await;
    let answer = get(
        handler,
        &[("filter", "event.type =="), ("on-error", "message")],
    )
    .await;
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.unwrap();
    let status = text
        .strip_prefix("event: status\ndata: ")
        .unwrap()
        .trim_end();
    let status: serde_json::Value = serde_json::from_str(status).unwrap();
    assert_eq!(status["reason"], "refused");
    assert_eq!(status["error"]["status"], 422);
}

#[tokio::test]
async fn who_comes_back_is_told_that_nothing_was_kept() {
    let handler = Handler::shared().await;
    let http = clickstream_testkit::process::http().unwrap();
    let request = http.get(format!("{}/api/v1/live", handler.url));
    let mut answer = request
        .header("last-event-id", "events/3/1")
        .send()
        .await
        .unwrap();
    let first = event(&mut answer, &mut String::new()).await;
    let status = first.strip_prefix("event: status\ndata: ").unwrap();
    let status: serde_json::Value = serde_json::from_str(status).unwrap();
    assert_eq!(status["status"], "gap");
    assert_eq!(status["reason"], "resume");
}
