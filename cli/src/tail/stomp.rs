//! The doors for STOMP: over a WebSocket, plain or in SockJS's frames.

use std::convert::Infallible;
use std::time::Duration;

use bytes::BytesMut;
use clickstream_protocol::sockjs;
use clickstream_protocol::stomp::{Decoder, Frame, Limits, Version, encode};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::door::{Failure, Incoming, Request, rejection};
use super::follow::Door;

/// How long a connection may take until the server has said CONNECTED.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// How long the server has to take back the subscription at the end.
const GOODBYE_LIMIT: Duration = Duration::from_secs(2);
/// Heart-beats that this side can send and wants to receive, at most so far apart.
const HEART_BEAT: Duration = Duration::from_secs(10);
/// The only subscription of the connection.
const SUBSCRIPTION: &str = "0";

/// How STOMP's bytes are put into WebSocket messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// As they are.
    Plain,
    /// As the strings of SockJS's `a[..]` frames.
    SockJs,
}

/// Subscribes and hands on what arrives.
///
/// # Errors
/// Why it is over: always. When it was told to stop, the server was told, too, and has
/// acknowledged it or had its time.
pub(super) async fn session(
    request: &Request,
    framing: Framing,
    door: &mut Door<'_>,
) -> Result<Infallible, Failure> {
    let opened = tokio::select! {
        () = door.stopped() => return Err(Failure::Stopped),
        opened = timeout(OPEN_LIMIT, Connection::open(request, framing)) => opened,
    };
    let mut connection =
        opened.map_err(|_| Failure::Unreachable(String::from("no answer in time")))??;
    door.opened().await;
    let Err(failure) = connection.run(request, door).await;
    if matches!(failure, Failure::Stopped) {
        // A server that does not answer finds out by itself that nobody is there.
        let _ = timeout(GOODBYE_LIMIT, connection.goodbye()).await;
    }
    Err(failure)
}

struct Connection {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    framing: Framing,
    decoder: Decoder,
    /// How often this side must say something; `None`: not at all.
    beat: Option<Duration>,
    next_beat: Instant,
    /// How often the server says something; `None`: it does not promise to.
    pulse: Option<Duration>,
    last_pulse: Instant,
}

impl Connection {
    async fn open(request: &Request, framing: Framing) -> Result<Connection, Failure> {
        let mut connection = Connection {
            socket: connect(request, framing).await?,
            framing,
            decoder: Decoder::new(Limits::CLIENT),
            beat: None,
            next_beat: Instant::now(),
            pulse: None,
            last_pulse: Instant::now(),
        };
        let millis = HEART_BEAT.as_millis();
        let connect = Frame::new(
            "CONNECT",
            [
                ("accept-version", Version::V1_2.as_str()),
                ("host", request.url.host_str().unwrap_or_default()),
                ("heart-beat", &format!("{millis},{millis}")),
            ],
        );
        if framing == Framing::SockJs {
            // Its first frame, `o`, says that the session is open.
            connection.receive().await?;
        }
        connection.send(&connect).await?;
        let connected = loop {
            match connection.frame()? {
                Some(frame) => break frame,
                None => connection.receive().await?,
            }
        };
        if connected.command != "CONNECTED" {
            return Err(Failure::Rejected(error_text(&connected)));
        }
        connection.decoder.set_version(Version::V1_2);
        let (beat, pulse) = intervals(connected.header("heart-beat").unwrap_or_default());
        connection.beat = beat;
        connection.pulse = pulse;
        Ok(connection)
    }

    async fn run(&mut self, request: &Request, door: &Door<'_>) -> Result<Infallible, Failure> {
        self.send(&subscribe(request)).await?;
        let mut served = false;
        loop {
            while let Some(frame) = self.frame()? {
                let incoming = match frame.command.as_str() {
                    "MESSAGE" if frame.header("status").is_some() => Incoming::Status(frame.body),
                    "MESSAGE" if frame.header("too-large").is_some() => {
                        Incoming::too_large(frame.header("source").unwrap_or_default())
                    }
                    "MESSAGE" => Incoming::Event(frame.body),
                    // At first it answers what was asked; later it may have any cause.
                    "ERROR" if served => return Err(Failure::Lost(error_text(&frame))),
                    "ERROR" => return Err(Failure::Rejected(error_text(&frame))),
                    _ => continue,
                };
                served = true;
                let room = loop {
                    tokio::select! {
                        room = door.room() => break room?,
                        () = due(self.beat.map(|_| self.next_beat)) => self.beat().await?,
                    }
                };
                room.hand_on(incoming)?;
                // What was not read while there was no room is no sign of death.
                self.last_pulse = Instant::now();
            }
            // A beat may be late by the way it takes, so a server has twice the time.
            let silence = self.pulse.map(|pulse| self.last_pulse + 2 * pulse);
            tokio::select! {
                () = door.stopped() => return Err(Failure::Stopped),
                () = due(self.beat.map(|_| self.next_beat)) => self.beat().await?,
                () = due(silence) => return Err(Failure::Lost(String::from("the server fell silent"))),
                received = self.receive() => received?,
            }
        }
    }

    /// Takes back the subscription and waits until the server has.
    async fn goodbye(&mut self) -> Result<(), Failure> {
        self.send(&Frame::new("UNSUBSCRIBE", [("id", SUBSCRIPTION)]))
            .await?;
        self.send(&Frame::new("DISCONNECT", [("receipt", "bye")]))
            .await?;
        loop {
            match self.frame()? {
                Some(frame) if frame.command == "RECEIPT" => break,
                Some(_) => {}
                None => self.receive().await?,
            }
        }
        let close = CloseFrame {
            code: CloseCode::Normal,
            reason: Utf8Bytes::default(),
        };
        self.socket.close(Some(close)).await.map_err(lost)
    }

    /// The next frame of what was received.
    fn frame(&mut self) -> Result<Option<Frame>, Failure> {
        self.decoder
            .next()
            .map_err(|error| Failure::Lost(error.to_string()))
    }

    async fn beat(&mut self) -> Result<(), Failure> {
        self.send_text(String::from("\n")).await
    }

    async fn send(&mut self, frame: &Frame) -> Result<(), Failure> {
        let mut bytes = BytesMut::new();
        encode(frame, Some(Version::V1_2), &mut bytes);
        // Made of strings.
        self.send_text(String::from_utf8_lossy(&bytes).into_owned())
            .await
    }

    async fn send_text(&mut self, text: String) -> Result<(), Failure> {
        if let Some(beat) = self.beat {
            self.next_beat = Instant::now() + beat;
        }
        let text = match self.framing {
            Framing::Plain => text,
            Framing::SockJs => serde_json::json!([text]).to_string(),
        };
        self.socket.send(Message::text(text)).await.map_err(lost)
    }

    /// Waits for the next WebSocket message and takes it over. May be dropped and called again.
    async fn receive(&mut self) -> Result<(), Failure> {
        let message = self.socket.next().await.ok_or_else(closed)?.map_err(lost)?;
        self.last_pulse = Instant::now();
        match message {
            Message::Close(Some(frame)) if !frame.reason.is_empty() => Err(Failure::Lost(format!(
                "the server closed the connection: {}",
                frame.reason
            ))),
            Message::Close(_) => Err(closed()),
            Message::Text(text) if self.framing == Framing::SockJs => self.unpack(&text),
            Message::Text(_) | Message::Binary(_) => {
                self.decoder.push(&message.into_data());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Takes over a SockJS frame.
    fn unpack(&mut self, frame: &str) -> Result<(), Failure> {
        if let Some(reason) = frame.strip_prefix('c') {
            return Err(Failure::Lost(format!(
                "the server closed the session: {reason}"
            )));
        }
        // Not `a`: `o` opens, `h` is a heart-beat.
        if let Some(messages) = frame.strip_prefix('a') {
            let messages = sockjs::decode_messages(messages)
                .map_err(|error| Failure::Lost(error.to_string()))?;
            for message in messages {
                self.decoder.push(message.as_bytes());
            }
        }
        Ok(())
    }
}

async fn connect(
    request: &Request,
    framing: Framing,
) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, Failure> {
    let mut address = match framing {
        Framing::Plain => request.address("stomp"),
        Framing::SockJs => {
            let server: u16 = rand::random_range(0..1_000);
            let session: u64 = rand::random();
            request.address(&format!("sockjs/{server:03}/{session:016x}/websocket"))
        }
    };
    let scheme = if address.scheme() == "https" {
        "wss"
    } else {
        "ws"
    };
    // Changes between these schemes are always allowed.
    let _ = address.set_scheme(scheme);
    let mut handshake = address
        .as_str()
        .into_client_request()
        .map_err(|error| Failure::Rejected(error.to_string()))?;
    if framing == Framing::Plain {
        let protocol = HeaderValue::from_static(Version::V1_2.sub_protocol());
        handshake
            .headers_mut()
            .insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    for (name, value) in &request.headers {
        handshake.headers_mut().append(name, value.clone());
    }
    match connect_async(handshake).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => {
            let body = response.body().as_deref().unwrap_or_default();
            Err(rejection(response.status().as_u16(), body))
        }
        Err(error) => Err(Failure::Unreachable(error.to_string())),
    }
}

fn subscribe(request: &Request) -> Frame {
    let destination = match &request.query {
        Some(query) => format!("/queries/{query}"),
        None => String::from("/live"),
    };
    let mut frame = Frame::new(
        "SUBSCRIBE",
        [
            ("id", SUBSCRIPTION),
            ("destination", &destination),
            ("on-error", "message"),
        ],
    );
    for (name, value) in request.parameters() {
        frame.headers.push(name, value);
    }
    frame
}

/// What an ERROR frame says.
fn error_text(frame: &Frame) -> String {
    let message = frame.header("message").unwrap_or(&frame.command);
    format!("the server refused: {message}")
}

/// How often this side beats and how often the server does, from CONNECTED's `heart-beat`.
fn intervals(header: &str) -> (Option<Duration>, Option<Duration>) {
    let (sends, wants) = header.split_once(',').unwrap_or_default();
    let negotiated = |millis: &str| match millis.trim().parse() {
        Ok(0) | Err(_) => None,
        Ok(millis) => Some(HEART_BEAT.max(Duration::from_millis(millis))),
    };
    (negotiated(wants), negotiated(sends))
}

async fn due(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn lost(error: Error) -> Failure {
    Failure::Lost(error.to_string())
}

fn closed() -> Failure {
    Failure::Lost(String::from("the server closed the connection"))
}
