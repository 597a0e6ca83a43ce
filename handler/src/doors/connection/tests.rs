//! Channels as sockets, and a clock that the tests own.

use std::time::Duration;

use clickstream_protocol::stomp::{Decoder, Frame, Limits, Version};
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
    time::sleep,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::PollSender;

use super::*;
use crate::live::{EndReason, Event, Time};

/// Subscriptions that do what the test says.
#[derive(Clone)]
struct Fake(Arc<FakeInner>);

struct FakeInner {
    outbound: Arc<Outbound>,
    /// A permit lets one request be answered.
    gate: Semaphore,
    problem: Mutex<Option<Problem>>,
    asked: Mutex<Vec<Request>>,
    ended: Mutex<Vec<(u32, End)>>,
}

struct FakeSubscription(Fake, u32);

impl Source for Fake {
    type Subscription = FakeSubscription;

    fn outbound(&self) -> Arc<Outbound> {
        Arc::clone(&self.0.outbound)
    }

    async fn subscribe(
        self,
        request: Request,
        outbound: Arc<Outbound>,
        key: u32,
    ) -> Result<FakeSubscription, Problem> {
        outbound.open(key)?;
        self.0.asked.lock().push(request);
        self.0.gate.acquire().await.unwrap().forget();
        match self.0.problem.lock().take() {
            Some(problem) => {
                outbound.close(key);
                Err(problem)
            }
            None => Ok(FakeSubscription(self.clone(), key)),
        }
    }

    fn end(subscription: FakeSubscription, how: End) {
        let FakeSubscription(fake, key) = subscription;
        fake.0.outbound.close(key);
        fake.0.ended.lock().push((key, how));
    }
}

/// A client whose socket is two channels.
struct Client {
    fake: Fake,
    metrics: Metrics,
    drain: CancellationToken,
    to: Option<mpsc::Sender<Heard>>,
    from: mpsc::Receiver<Say>,
    decoder: Decoder,
    connection: JoinHandle<()>,
}

impl Client {
    fn open() -> Self {
        let telemetry = clickstream_telemetry::Metrics::new();
        let metrics = Metrics::new(&telemetry);
        let outbound = Arc::new(Outbound::new(64 << 10, metrics.outbound.clone()));
        let fake = Fake(Arc::new(FakeInner {
            outbound,
            gate: Semaphore::new(0),
            problem: Mutex::default(),
            asked: Mutex::default(),
            ended: Mutex::default(),
        }));
        let drain = CancellationToken::new();
        let context = Context {
            source: fake.clone(),
            metrics: metrics.clone(),
            drain: drain.clone(),
            door: Door::Stomp,
        };
        let (to, heard) = mpsc::channel(1);
        let (say, from) = mpsc::channel(1);
        let say = PollSender::new(say);
        let connection = tokio::spawn(run(context, None, ReceiverStream::new(heard), say));
        let decoder = Decoder::new(Limits::CLIENT);
        Self {
            fake,
            metrics,
            drain,
            to: Some(to),
            from,
            decoder,
            connection,
        }
    }

    async fn connected(headers: &str) -> Self {
        let mut client = Self::open();
        client
            .send(&format!("CONNECT\naccept-version:1.2\n{headers}\n\0"))
            .await;
        assert_eq!(client.frame().await.command, "CONNECTED");
        client.decoder.set_version(Version::V1_2);
        client
    }

    /// A client with one running subscription, whose key is 0.
    async fn subscribed(headers: &str) -> Self {
        let mut client = Self::connected("").await;
        client.fake.0.gate.add_permits(1);
        client
            .send(&format!(
                "SUBSCRIBE\nid:a\ndestination:/live\nreceipt:s\n{headers}\n\0"
            ))
            .await;
        assert_eq!(client.frame().await, receipt("s"));
        client
    }

    async fn send(&self, text: &str) {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        self.to
            .as_ref()
            .unwrap()
            .send(Heard::Data(bytes))
            .await
            .unwrap();
    }

    async fn say(&mut self) -> Option<Say> {
        self.from.recv().await
    }

    /// The next frame; a heart-beat is one without command.
    async fn frame(&mut self) -> Frame {
        match self.say().await {
            Some(Say::Frame(bytes)) if bytes == "\n" => Frame::new("", []),
            Some(Say::Frame(bytes)) => {
                self.decoder.push(&bytes);
                self.decoder.next().unwrap().unwrap()
            }
            other => panic!("no frame but {other:?}"),
        }
    }

    /// Nothing more is said, then the connection ends.
    async fn over(mut self) -> Vec<(u32, End)> {
        assert_eq!(self.say().await, None);
        self.connection.await.unwrap();
        std::mem::take(&mut *self.fake.0.ended.lock())
    }

    fn push(&self, key: u32, size: usize) {
        let body = format!("\"{}\"", "x".repeat(size));
        let event = Event {
            source: "t/0/1".to_owned(),
            time: Time(0),
            body: body.into(),
            too_large: false,
        };
        self.fake.0.outbound.push_event(key, &Arc::new(event));
        self.fake.0.outbound.wake();
    }

    fn tell(&self, key: u32, status: Status) {
        self.fake.0.outbound.push_status(key, status);
        self.fake.0.outbound.wake();
    }

    fn close(code: u16, reason: &'static str) -> Option<Say> {
        Some(Say::Close(code, reason))
    }
}

fn receipt(id: &str) -> Frame {
    Frame::new("RECEIPT", [("receipt-id", id)])
}

fn status_of(frame: &Frame) -> serde_json::Value {
    assert_eq!(frame.command, "MESSAGE");
    let body: serde_json::Value = serde_json::from_slice(&frame.body).unwrap();
    assert_eq!(frame.header("status"), body["status"].as_str());
    body
}

#[tokio::test(start_paused = true)]
async fn events_and_statuses_come_as_messages() {
    let mut client = Client::subscribed("filter:event.x == 1\nrate:5\n").await;
    let asked = client.fake.0.asked.lock().remove(0);
    assert_eq!(asked.filter.as_deref(), Some("event.x == 1"));
    assert_eq!(asked.rate, Some(5));
    client.push(0, 1);
    let message = client.frame().await;
    let header = |name| message.header(name);
    assert_eq!(message.command, "MESSAGE");
    assert_eq!(header("subscription"), Some("a"));
    assert_eq!(header("destination"), Some("/live"));
    assert_eq!(header("content-type"), Some("application/json"));
    assert_eq!(header("source"), Some("t/0/1"));
    assert_eq!(header("time"), Some("1970-01-01T00:00:00.000Z"));
    assert_eq!(header("status"), None);
    assert_eq!(message.body, "\"x\"");
    client.tell(0, Status::Expiring { at: Time(1) });
    let status = client.frame().await;
    assert_eq!(status_of(&status)["at"], "1970-01-01T00:00:00.001Z");
    assert_ne!(status.header("message-id"), message.header("message-id"));
    client.send("UNSUBSCRIBE\nid:a\nreceipt:u\n\n\0").await;
    assert_eq!(client.frame().await, receipt("u"));
    assert_eq!(*client.fake.0.ended.lock(), [(0, End::Clean)]);
}

#[tokio::test(start_paused = true)]
async fn frames_may_be_cut_at_every_byte() {
    let mut client = Client::open();
    client.fake.0.gate.add_permits(1);
    let bytes = "CONNECT\naccept-version:1.2\n\n\0\n\
                 SUBSCRIBE\nid:a\ndestination:/live\nreceipt:s\n\n\0";
    for byte in bytes.split("").filter(|byte| !byte.is_empty()) {
        client.send(byte).await;
    }
    assert_eq!(client.frame().await.command, "CONNECTED");
    assert_eq!(client.frame().await, receipt("s"));
}

#[tokio::test(start_paused = true)]
async fn who_never_connects_is_closed() {
    let mut client = Client::open();
    let before = Instant::now();
    let error = client.frame().await;
    assert_eq!(
        error.header("message"),
        Some("no CONNECT frame came in time")
    );
    assert_eq!(before.elapsed().as_secs(), 10);
    assert_eq!(
        client.say().await,
        Client::close(1002, "no CONNECT frame came")
    );
    assert_eq!(client.over().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_missed_heart_beat_breaks_the_connection() {
    let mut client = Client::connected("heart-beat:10000,0\n").await;
    client.fake.0.gate.add_permits(1);
    client
        .send("SUBSCRIBE\nid:a\ndestination:/live\n\n\0")
        .await;
    for _ in 0..3 {
        sleep(Duration::from_secs(20)).await;
        client.send("\n").await;
    }
    assert!(!client.connection.is_finished());
    while client.say().await != Client::close(1002, "no heart-beat came") {}
    assert_eq!(client.over().await, [(0, End::Broken)]);
}

#[tokio::test(start_paused = true)]
async fn heart_beats_go_on_while_a_subscription_is_made() {
    let mut client = Client::connected("heart-beat:0,10000\n").await;
    client
        .send("SUBSCRIBE\nid:a\ndestination:/live\nreceipt:s\n\n\0")
        .await;
    for _ in 0..3 {
        assert_eq!(client.frame().await, Frame::new("", []));
    }
    client.fake.0.gate.add_permits(1);
    assert_eq!(client.frame().await, receipt("s"));
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_kept_alive() {
    let mut client = Client::connected("").await;
    let before = Instant::now();
    for _ in 0..3 {
        assert_eq!(client.say().await, Some(Say::KeepAlive));
    }
    assert_eq!(before.elapsed(), 3 * KEEP_ALIVE);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_loses_events_and_answers_pass_them() {
    let mut client = Client::subscribed("").await;
    for _ in 0..1_000 {
        client.push(0, 1_000);
    }
    sleep(Duration::from_millis(1)).await;
    for _ in 0..1_000 {
        client.push(0, 1_000);
    }
    // One batch is on its way, the queue is full, the rest is counted.
    assert!(client.fake.0.outbound.bytes() <= 64 << 10);
    let lost = client.metrics.outbound.slow.get();
    assert!(lost > 1_800, "{lost}");
    client
        .send("SUBSCRIBE\nid:b\ndestination:/live\nreceipt:b\n\n\0")
        .await;
    client.fake.0.gate.add_permits(1);
    sleep(Duration::from_millis(1)).await;
    // What was in the socket comes first, then the answer, then the other events.
    let mut events = 0;
    while client.frame().await != receipt("b") {
        events += 1;
    }
    assert!(events <= 2, "{events}");
    let mut waiting = 0;
    while client.from.try_recv().is_ok() || {
        sleep(Duration::from_millis(1)).await;
        client.from.try_recv().is_ok()
    } {
        waiting += 1;
    }
    assert!(events + waiting < 200, "{waiting}");
    assert_eq!(client.metrics.outbound.queue_bytes.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_answers_is_not_read_either() {
    let client = Client::connected("").await;
    let pair = "SUBSCRIBE\nid:a\ndestination:/live\n\n\0UNSUBSCRIBE\nid:a\nreceipt:r\n\n\0";
    client.fake.0.gate.add_permits(10_000);
    let to = client.to.clone().unwrap();
    let mut sent = 0;
    let data = || Heard::Data(Bytes::from_static(pair.as_bytes()));
    while timeout(Duration::from_secs(1), to.send(data()))
        .await
        .is_ok()
    {
        sent += 1;
    }
    assert!((MAX_ANSWERS..MAX_ANSWERS + 10).contains(&sent), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn unacknowledged_messages_hold_delivery() {
    let mut client = Client::subscribed("ack:client\n").await;
    let mut last = None;
    for _ in 0..1_000 {
        client.push(0, 1);
        last = client.frame().await.header("ack").map(str::to_owned);
    }
    client.push(0, 1);
    sleep(Duration::from_secs(1)).await;
    assert!(client.from.try_recv().is_err());
    client
        .send(&format!("ACK\nid:{}\n\n\0", last.unwrap()))
        .await;
    assert_eq!(client.frame().await.header("source"), Some("t/0/1"));
}

#[tokio::test(start_paused = true)]
async fn leaving_in_order_ends_subscriptions_at_once() {
    let mut client = Client::subscribed("").await;
    client.push(0, 1);
    client.send("DISCONNECT\nreceipt:d\n\n\0").await;
    while client.frame().await != receipt("d") {}
    assert_eq!(client.say().await, Client::close(1000, "bye"));
    assert_eq!(*client.fake.0.ended.lock(), [(0, End::Clean)]);
    client.to = None;
    client.connection.await.unwrap();

    let mut client = Client::subscribed("").await;
    client
        .to
        .as_ref()
        .unwrap()
        .send(Heard::Closed)
        .await
        .unwrap();
    assert_eq!(client.say().await, Client::close(1000, "bye"));
    client.to = None;
    assert_eq!(client.over().await, [(0, End::Clean)]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_keeps_its_query() {
    let mut client = Client::subscribed("").await;
    client.to = None;
    assert_eq!(client.over().await, [(0, End::Broken)]);

    let mut client = Client::subscribed("").await;
    client.push(0, 1);
    let (_, gone) = mpsc::channel(1);
    client.from = gone;
    client.connection.await.unwrap();
    assert_eq!(*client.fake.0.ended.lock(), [(0, End::Broken)]);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_ended_while_it_is_made_is_ended() {
    let mut client = Client::connected("").await;
    client
        .send("SUBSCRIBE\nid:a\ndestination:/live\nreceipt:s\n\n\0")
        .await;
    client.send("UNSUBSCRIBE\nid:a\nreceipt:u\n\n\0").await;
    assert_eq!(client.frame().await, receipt("u"));
    client.fake.0.gate.add_permits(1);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(*client.fake.0.ended.lock(), [(0, End::Clean)]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_subscription_costs_the_connection() {
    let mut client = Client::connected("").await;
    *client.fake.0.problem.lock() = Some(Problem::new(422, "invalid-filter", "T", "no:\n^^"));
    client.fake.0.gate.add_permits(1);
    client
        .send("SUBSCRIBE\nid:a\ndestination:/live\nreceipt:s\n\n\0")
        .await;
    let error = client.frame().await;
    assert_eq!(error.command, "ERROR");
    assert_eq!(error.header("message"), Some("no:\n^^"));
    assert_eq!(error.header("receipt-id"), Some("s"));
    assert_eq!(
        error.header("content-type"),
        Some("application/problem+json")
    );
    let body: serde_json::Value = serde_json::from_slice(&error.body).unwrap();
    assert_eq!(body["status"], 422);
    assert_eq!(
        client.say().await,
        Client::close(1002, "see the ERROR frame")
    );
    assert_eq!(client.over().await, []);
}

#[tokio::test(start_paused = true)]
async fn on_error_message_keeps_the_connection() {
    let mut client = Client::connected("").await;
    for destination in ["/live", "/nowhere"] {
        *client.fake.0.problem.lock() = Some(Problem::new(422, "invalid-filter", "T", "no"));
        client.fake.0.gate.add_permits(1);
        let subscribe = format!(
            "SUBSCRIBE\nid:a\ndestination:{destination}\non-error:message\nreceipt:s\n\n\0"
        );
        client.send(&subscribe).await;
        let ended = client.frame().await;
        assert_eq!(ended.header("destination"), Some(destination));
        let status = status_of(&ended);
        assert_eq!(status["status"], "ended");
        assert_eq!(status["reason"], "refused");
        assert_eq!(status["error"]["detail"], status["message"]);
        assert_eq!(client.frame().await, receipt("s"));
    }
    // The id is free again, and the end may be confirmed.
    client.send("UNSUBSCRIBE\nid:a\nreceipt:u\n\n\0").await;
    assert_eq!(client.frame().await, receipt("u"));
}

#[tokio::test(start_paused = true)]
async fn after_ended_the_connection_stays() {
    let mut client = Client::subscribed("").await;
    let ended = Status::Ended {
        reason: EndReason::Expired,
        message: "over".to_owned(),
        error: None,
    };
    client.tell(0, ended);
    assert_eq!(status_of(&client.frame().await)["reason"], "expired");
    client.fake.0.gate.add_permits(1);
    client
        .send("SUBSCRIBE\nid:a\ndestination:/live\nreceipt:again\n\n\0")
        .await;
    assert_eq!(client.frame().await, receipt("again"));
}

#[tokio::test(start_paused = true)]
async fn draining_tells_the_end_and_closes() {
    let mut client = Client::subscribed("").await;
    for _ in 0..3 {
        client.push(0, 1);
    }
    let ended = Status::Ended {
        reason: EndReason::Draining,
        message: "going".to_owned(),
        error: None,
    };
    client.tell(0, ended);
    client.drain.cancel();
    for _ in 0..3 {
        assert_eq!(client.frame().await.header("source"), Some("t/0/1"));
    }
    assert_eq!(status_of(&client.frame().await)["reason"], "draining");
    assert_eq!(
        client.say().await,
        Client::close(1012, "this handler is going away")
    );
    assert_eq!(client.over().await, [(0, End::Clean)]);
}
