//! The protocol's rules for a server, one by one.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::stomp::{Decoder, Frame, Version};

/// A client of one session: frames in, frames out.
struct Client {
    session: Session,
    now: Instant,
    version: Option<Version>,
    subscribed: Vec<Subscribe>,
    unsubscribed: Vec<u32>,
    credit: u32,
    closed: Option<Close>,
}

impl Client {
    fn new(sub_protocol: Option<Version>) -> Client {
        let now = Instant::now();
        let settings = Arc::new(Settings::default());
        Client {
            session: Session::new(settings, "s1".to_owned(), sub_protocol, now),
            now,
            version: None,
            subscribed: vec![],
            unsubscribed: vec![],
            credit: 0,
            closed: None,
        }
    }

    fn connected(version: Version) -> Client {
        let mut client = Client::new(None);
        let answer = client.send(&format!("CONNECT\naccept-version:{version}\nhost:h\n\n\0"));
        assert_eq!(answer[0].command, "CONNECTED");
        client.version = Some(version);
        client
    }

    fn send(&mut self, bytes: &str) -> Vec<Frame> {
        self.run(|session, now, actions| session.receive(bytes.as_bytes(), now, actions))
    }

    fn wait(&mut self, time: Duration) -> Vec<Frame> {
        self.now += time;
        self.run(Session::tick)
    }

    /// Carries out the actions; a heart-beat is shown as a frame without command.
    fn run(&mut self, step: impl FnOnce(&mut Session, Instant, &mut Vec<Action>)) -> Vec<Frame> {
        let mut actions = vec![];
        step(&mut self.session, self.now, &mut actions);
        let mut frames = vec![];
        for action in actions {
            assert_eq!(self.closed, None, "nothing follows Close");
            match action {
                Action::Send(bytes) if bytes == "\n" => frames.push(Frame::new("", [])),
                Action::Send(bytes) => {
                    let mut decoder = Decoder::new(Limits::CLIENT);
                    if let Some(version) = self.version {
                        decoder.set_version(version);
                    }
                    decoder.push(&bytes);
                    frames.push(decoder.next().unwrap().unwrap());
                    assert_eq!(decoder.next(), Ok(None), "one frame an action");
                }
                Action::Subscribe(subscribe) => self.subscribed.push(subscribe),
                Action::Unsubscribe(key) => self.unsubscribed.push(key),
                Action::Credit { more, .. } => self.credit += more,
                Action::Close(close) => self.closed = Some(close),
            }
        }
        frames
    }

    fn subscribe(&mut self, headers: &str) -> u32 {
        let answer = self.send(&format!("SUBSCRIBE\ndestination:/live\n{headers}\n\0"));
        assert_eq!(answer, []);
        let key = self.subscribed.last().unwrap().key;
        assert_eq!(
            self.run(|s, _, actions| assert!(s.subscribed(key, actions))),
            []
        );
        key
    }

    fn message(&mut self, key: u32) -> Option<Frame> {
        let mut out = BytesMut::new();
        let written = self
            .session
            .message(key, true, &[("time", "1:2")], b"{}", &mut out);
        written.then(|| {
            let mut decoder = Decoder::new(Limits::CLIENT);
            decoder.set_version(self.version.unwrap());
            decoder.push(&out);
            decoder.next().unwrap().unwrap()
        })
    }

    /// The credit that acknowledging a message gives.
    fn settle(&mut self, command: &str, message: &Frame) -> u32 {
        let id = message.header("message-id").unwrap();
        let frame = match self.version.unwrap() {
            Version::V1_0 => format!("{command}\nmessage-id:{id}\n\n\0"),
            Version::V1_1 => format!("{command}\nsubscription:0\nmessage-id:{id}\n\n\0"),
            Version::V1_2 => format!("{command}\nid:{}\n\n\0", message.header("ack").unwrap()),
        };
        self.credit = 0;
        assert_eq!(self.send(&frame), []);
        self.credit
    }

    /// The connection ends with this ERROR.
    #[track_caller]
    fn refuses(mut self, bytes: &str, message: &str) {
        let answer = self.send(bytes);
        let error = answer.last().unwrap();
        assert_eq!(error.command, "ERROR", "{bytes:?}");
        assert_eq!(error.header("message"), Some(message), "{bytes:?}");
        assert_eq!(self.closed, Some(Close::Error));
        assert_eq!(self.send("CONNECT\n\n\0"), [], "deaf after Close");
    }
}

#[test]
fn the_highest_common_version_is_spoken() {
    let cases = [
        ("accept-version:1.0,1.1,1.2\n", None, Some("1.2")),
        ("accept-version:1.1, 1.0\n", None, Some("1.1")),
        ("accept-version:1.2,2.0\n", None, Some("1.2")),
        ("", None, Some("1.0")),
        (
            "accept-version:1.0,1.1,1.2\n",
            Some(Version::V1_1),
            Some("1.1"),
        ),
        ("accept-version:1.0\n", Some(Version::V1_1), None),
        ("accept-version:2.0\n", None, None),
        ("accept-version:\n", None, None),
    ];
    for (header, sub_protocol, expected) in cases {
        for command in ["CONNECT", "STOMP"] {
            let mut client = Client::new(sub_protocol);
            let answer = client.send(&format!("{command}\n{header}host:h\n\n\0"));
            assert_eq!(answer.len(), 1);
            if let Some(version) = expected {
                assert_eq!(answer[0].command, "CONNECTED");
                assert_eq!(answer[0].header("version"), Some(version));
                assert_eq!(answer[0].header("session"), Some("s1"));
                assert!(
                    answer[0]
                        .header("server")
                        .unwrap()
                        .starts_with("clickstream/")
                );
                assert_eq!(client.closed, None);
            } else {
                assert_eq!(answer[0].command, "ERROR");
                let spoken = sub_protocol.map_or("1.2,1.1,1.0", Version::as_str);
                assert_eq!(answer[0].header("version"), Some(spoken));
                assert_eq!(client.closed, Some(Close::Error));
            }
        }
    }
}

#[test]
fn heart_beats_are_negotiated() {
    const CONNECT: &str = "CONNECT\naccept-version:1.2\n";
    let due = |header: &str| {
        let mut client = Client::new(None);
        let answer = client.send(&format!("{CONNECT}{header}\n\0"));
        assert_eq!(answer[0].header("heart-beat"), Some("10000,10000"));
        client
            .session
            .deadline()
            .map(|d| (d - client.now).as_millis())
    };
    assert_eq!(due(""), None);
    assert_eq!(due("heart-beat:0,0\n"), None);
    // The server sends by MAX(10 s, 20 s), early; it waits for twice MAX(20 s, 10 s).
    assert_eq!(due("heart-beat:0,20000\n"), Some(15_000));
    assert_eq!(due("heart-beat:0,1\n"), Some(7_500));
    assert_eq!(due("heart-beat:20000,0\n"), Some(41_000));
    assert_eq!(due("heart-beat:1,0\n"), Some(21_000));
    for wrong in ["x,0", "1", "-1,0", "1,2,3", ""] {
        Client::new(None).refuses(
            &format!("{CONNECT}heart-beat:{wrong}\n\n\0"),
            "`heart-beat` must be two numbers of milliseconds",
        );
    }
    // 1.0 knows none.
    let mut client = Client::new(None);
    let answer = client.send("CONNECT\nheart-beat:1,1\n\n\0");
    assert_eq!(answer[0].header("heart-beat"), None);
    assert_eq!(client.session.deadline(), None);
}

#[test]
fn heart_beats_go_both_ways() {
    let mut client = Client::new(None);
    client.send("CONNECT\naccept-version:1.2\nheart-beat:10000,10000\n\n\0");
    let beat = [Frame::new("", [])];
    assert_eq!(client.wait(Duration::from_millis(7_499)), []);
    assert_eq!(client.wait(Duration::from_millis(1)), beat);
    // What is sent counts as a heart-beat.
    client.now += Duration::from_secs(5);
    client.session.sent(client.now);
    assert_eq!(client.wait(Duration::from_secs(5)), []);
    // So does what is received, if only an end of line.
    client.send("\n");
    assert_eq!(client.wait(Duration::from_secs(20)), beat);
    assert_eq!(client.wait(Duration::from_secs(1)), []);
    assert_eq!(client.closed, Some(Close::HeartBeat));
}

#[test]
fn who_does_not_connect_in_time_is_closed() {
    let mut client = Client::new(None);
    client.send("\n\n");
    assert_eq!(client.wait(Duration::from_millis(9_999)), []);
    let answer = client.wait(Duration::from_millis(1));
    assert_eq!(
        answer[0].header("message"),
        Some("no CONNECT frame came in time")
    );
    assert_eq!(client.closed, Some(Close::ConnectTimeout));
}

#[test]
fn frames_out_of_place_are_refused() {
    Client::new(None).refuses(
        "SUBSCRIBE\nid:0\ndestination:/live\n\n\0",
        "`SUBSCRIBE` came before CONNECT",
    );
    for version in Version::ALL {
        let refuses =
            |bytes: &str, message: &str| Client::connected(version).refuses(bytes, message);
        refuses("CONNECT\n\n\0", "the connection is already established");
        refuses("STOMP\n\n\0", "the connection is already established");
        refuses("NONSENSE\n\n\0", "unknown command `NONSENSE`");
        refuses("subscribe\n\n\0", "unknown command `subscribe`");
        refuses("MESSAGE\n\n\0", "unknown command `MESSAGE`");
        for command in ["SEND", "BEGIN", "COMMIT", "ABORT"] {
            refuses(
                &format!("{command}\ndestination:/live\n\n\0"),
                &format!("`{command}` is not supported: this server only delivers"),
            );
        }
        refuses(
            "SUBSCRIBE\nid:0\n\n\0",
            "SUBSCRIBE needs a `destination` header",
        );
        refuses(
            "SUBSCRIBE\nid:0\ndestination:/live\nack:x\n\n\0",
            "`ack` cannot be `x`",
        );
        refuses("UNSUBSCRIBE\nid:0\n\n\0", "there is no such subscription");
        refuses("UNSUBSCRIBE\n\n\0", "UNSUBSCRIBE needs an `id` header");
    }
    Client::connected(Version::V1_0).refuses("NACK\nmessage-id:1\n\n\0", "unknown command `NACK`");
    for version in [Version::V1_1, Version::V1_2] {
        let refuses =
            |bytes: &str, message: &str| Client::connected(version).refuses(bytes, message);
        refuses(
            "SUBSCRIBE\ndestination:/live\n\n\0",
            "SUBSCRIBE needs an `id` header",
        );
        refuses(
            "UNSUBSCRIBE\ndestination:/live\n\n\0",
            "UNSUBSCRIBE needs an `id` header",
        );
        refuses("DISCONNECT\n\nbody\0", "`DISCONNECT` must not have a body");
    }
}

#[test]
fn an_error_names_the_receipt_that_the_culprit_asked_for() {
    for bytes in [
        "SEND\nreceipt:a\\cb\n\n\0",
        "SEND\nreceipt:a\\cb\nnonsense\n",
    ] {
        let mut client = Client::connected(Version::V1_2);
        let answer = client.send(bytes);
        assert_eq!(answer[0].header("receipt-id"), Some("a:b"));
    }
}

#[test]
fn receipts_follow_processing() {
    let mut client = Client::connected(Version::V1_2);
    let both = "SUBSCRIBE\nid:0\nreceipt:r1\ndestination:/live\n\n\0\
                SUBSCRIBE\nid:1\nreceipt:r2\ndestination:/live\n\n\0";
    assert_eq!(client.send(both), [], "not before it is registered");
    let second = client.subscribed[1].key;
    let answer = client.run(|s, _, actions| assert!(s.subscribed(second, actions)));
    assert_eq!(answer, [Frame::new("RECEIPT", [("receipt-id", "r2")])]);
    let answer = client.send("UNSUBSCRIBE\nid:1\nreceipt:r3\n\n\0");
    assert_eq!(answer, [Frame::new("RECEIPT", [("receipt-id", "r3")])]);
    assert_eq!(client.unsubscribed, [second]);
    let answer = client.send("DISCONNECT\nreceipt:r4\n\n\0UNSUBSCRIBE\nid:0\n\n\0");
    assert_eq!(answer, [Frame::new("RECEIPT", [("receipt-id", "r4")])]);
    assert_eq!(client.closed, Some(Close::Disconnect));
}

#[test]
fn a_subscription_ended_while_it_is_registered_has_no_receipt() {
    let mut client = Client::connected(Version::V1_2);
    client.send("SUBSCRIBE\nid:0\nreceipt:r\ndestination:/live\n\n\0UNSUBSCRIBE\nid:0\n\n\0");
    let key = client.subscribed[0].key;
    assert_eq!(
        client.run(|s, _, actions| assert!(!s.subscribed(key, actions))),
        []
    );
    assert_eq!(client.message(key), None);
}

#[test]
fn ids_are_unique_among_active_subscriptions() {
    let again = "SUBSCRIBE\nid:0\ndestination:/other\n\n\0";
    let taken = "a subscription with this id is active on the connection";
    let mut client = Client::connected(Version::V1_2);
    client.subscribe("id:0\n");
    client.refuses(again, taken);
    // After UNSUBSCRIBE, or after its end, the id is free.
    let mut client = Client::connected(Version::V1_2);
    let first = client.subscribe("id:0\n");
    client.send("UNSUBSCRIBE\nid:0\n\n\0");
    let second = client.subscribe("id:0\n");
    assert_ne!(first, second);
    client.session.ended(second);
    let third = client.subscribe("id:0\n");
    client.session.ended(third);
    assert_eq!(client.send("UNSUBSCRIBE\nid:0\n\n\0"), []);
    assert_eq!(client.unsubscribed, [first, third]);
}

#[test]
fn version_1_0_needs_no_ids() {
    let mut client = Client::connected(Version::V1_0);
    let key = client.subscribe("");
    let message = client.message(key).unwrap();
    assert_eq!(message.header("subscription"), None);
    assert_eq!(message.header("destination"), Some("/live"));
    assert_eq!(client.send("UNSUBSCRIBE\ndestination: /live\n\n\0"), []);
    assert_eq!(client.unsubscribed, [key]);
    let key = client.subscribe("id:7\n");
    assert_eq!(
        client.message(key).unwrap().header("subscription"),
        Some("7")
    );
    client.send("UNSUBSCRIBE\nid:7\n\n\0");
    assert_eq!(client.unsubscribed.last(), Some(&key));
}

#[test]
fn subscriptions_are_bounded() {
    let mut client = Client::connected(Version::V1_2);
    for id in 0..=MAX_SUBSCRIPTIONS {
        client.subscribe(&format!("id:{id}\n"));
    }
    assert_eq!(client.session.active(), MAX_SUBSCRIPTIONS + 1);
    client.refuses(
        "SUBSCRIBE\nid:x\ndestination:/live\n\n\0",
        "too many subscriptions on the connection",
    );
    // Ended ones do not count, and the oldest is forgotten.
    let mut client = Client::connected(Version::V1_2);
    for id in 0..2 * MAX_SUBSCRIPTIONS {
        let key = client.subscribe(&format!("id:{id}\n"));
        client.session.ended(key);
    }
    assert_eq!(client.session.active(), 0);
    assert_eq!(
        client.send(&format!("UNSUBSCRIBE\nid:{MAX_SUBSCRIPTIONS}\n\n\0")),
        []
    );
    client.refuses("UNSUBSCRIBE\nid:0\n\n\0", "there is no such subscription");
}

#[test]
fn acknowledgements_of_mode_client_are_cumulative() {
    for version in Version::ALL {
        let mut client = Client::connected(version);
        let key = client.subscribe("id:0\nack:client\n");
        assert_eq!(client.subscribed[0].credit, Some(1_000));
        let sent: Vec<_> = (0..3).map(|_| client.message(key).unwrap()).collect();
        assert_eq!(client.settle("ACK", &sent[1]), 2);
        assert_eq!(client.settle("ACK", &sent[0]), 0, "acknowledged before");
        assert_eq!(client.settle("ACK", &sent[2]), 1);
        // A message that is not counted stands for those before it, too.
        client.message(key).unwrap();
        let mut out = BytesMut::new();
        assert!(client.session.message(key, false, &[], b"", &mut out));
        let mut last = sent[2].clone();
        last.headers = [("message-id", "5"), ("ack", "5")].into_iter().collect();
        assert_eq!(client.settle("ACK", &last), 1);
    }
}

#[test]
fn acknowledgements_of_mode_client_individual_count_for_one() {
    for version in [Version::V1_1, Version::V1_2] {
        for command in ["ACK", "NACK"] {
            let mut client = Client::connected(version);
            let key = client.subscribe("id:0\nack:client-individual\n");
            let sent: Vec<_> = (0..3).map(|_| client.message(key).unwrap()).collect();
            assert_eq!(client.settle(command, &sent[1]), 1);
            assert_eq!(client.settle(command, &sent[1]), 0);
            assert_eq!(client.settle(command, &sent[0]), 1);
        }
    }
    Client::connected(Version::V1_0).refuses(
        "SUBSCRIBE\ndestination:/live\nack:client-individual\n\n\0",
        "`ack` cannot be `client-individual`",
    );
}

#[test]
fn only_what_was_sent_can_be_acknowledged() {
    let unsent = "ACK names a message that was not sent";
    for id in ["1", "0", "x", "-1", ""] {
        let bytes = format!("ACK\nid:{id}\n\n\0");
        Client::connected(Version::V1_2).refuses(&bytes, unsent);
    }
    Client::connected(Version::V1_2).refuses("ACK\nmessage-id:1\n\n\0", "ACK needs a `id` header");
    Client::connected(Version::V1_1).refuses(
        "ACK\nmessage-id:1\n\n\0",
        "ACK needs a `subscription` header",
    );
    Client::connected(Version::V1_2).refuses(
        "ACK\nid:1\ntransaction:t\n\n\0",
        "transactions are not supported: this server only delivers",
    );
    // It may come after the end of its subscription.
    let mut client = Client::connected(Version::V1_2);
    let key = client.subscribe("id:0\nack:client\n");
    let message = client.message(key).unwrap();
    client.send("UNSUBSCRIBE\nid:0\n\n\0");
    assert_eq!(client.settle("ACK", &message), 0);
    assert_eq!(client.closed, None);
}

#[test]
fn a_message_has_the_headers_of_its_version() {
    for version in Version::ALL {
        let mut client = Client::connected(version);
        let auto = client.subscribe("id:0\n");
        let message = client.message(auto).unwrap();
        assert_eq!(message.command, "MESSAGE");
        assert_eq!(message.header("subscription"), Some("0"));
        assert_eq!(message.header("destination"), Some("/live"));
        assert_eq!(message.header("message-id"), Some("1"));
        assert_eq!(message.header("time"), Some("1:2"));
        assert_eq!(message.header("content-length"), Some("2"));
        assert_eq!(message.header("ack"), None);
        let client_ack = client.subscribe("id:1\nack:client\n");
        let message = client.message(client_ack).unwrap();
        assert_eq!(message.header("ack").is_some(), version == Version::V1_2);
    }
}

#[test]
fn a_refused_subscription_ends_the_connection() {
    let mut client = Client::connected(Version::V1_2);
    client.send("SUBSCRIBE\nid:0\nreceipt:r\ndestination:/live\n\n\0");
    let key = client.subscribed[0].key;
    let answer = client.run(|s, _, actions| {
        s.refuse(
            key,
            "bad:\nfilter",
            "application/json",
            "{}".into(),
            actions,
        )
    });
    assert_eq!(answer[0].command, "ERROR");
    assert_eq!(answer[0].header("message"), Some("bad:\nfilter"));
    assert_eq!(answer[0].header("receipt-id"), Some("r"));
    assert_eq!(answer[0].header("content-type"), Some("application/json"));
    assert_eq!(answer[0].body, "{}");
    assert_eq!(client.closed, Some(Close::Error));
}

proptest! {
    #[test]
    fn hostile_bytes_get_an_error_at_most(
        pieces in prop::collection::vec(
            prop_oneof![
                Just(&b"CONNECT\naccept-version:1.2\nheart-beat:1,1\n\n\0"[..]),
                Just(&b"SUBSCRIBE\nid:0\ndestination:/live\nack:client\n\n\0"[..]),
                Just(&b"UNSUBSCRIBE\nid:0\n\n\0"[..]),
                Just(&b"ACK\nid:1\n\n\0"[..]),
                Just(&b"\n"[..]),
                Just(&b"\xff\0\\"[..]),
            ],
            0..30,
        ),
        waits in prop::collection::vec(0_u64..15, 30),
    ) {
        let mut client = Client::new(None);
        let mut actions = vec![];
        for (piece, wait) in pieces.iter().zip(waits) {
            client.now += Duration::from_secs(wait);
            client.session.receive(piece, client.now, &mut actions);
            client.session.tick(client.now, &mut actions);
            prop_assert!(client.session.deadline().is_none_or(|d| d > client.now));
        }
        let closes = actions.iter().filter(|a| matches!(a, Action::Close(_))).count();
        prop_assert_eq!(closes, usize::from(client.session.is_closed()));
        if closes == 1 {
            prop_assert!(matches!(actions.last(), Some(Action::Close(_))));
        }
    }
}
