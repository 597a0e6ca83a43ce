//! STOMP on a WebSocket: `/stomp`.

use axum::{
    Router,
    extract::{
        State as Extract,
        ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade},
    },
    response::Response,
    routing::get,
};
use bytes::Bytes;
use clickstream_protocol::stomp::Version;
use futures_util::{SinkExt, StreamExt, future::ready};
use tokio_tungstenite::tungstenite;

use super::connection::{self, Context, Heard, Say};
use crate::{State, metrics::Door};

/// Of one message from a client; a frame may come in several. A larger one is not read, and the session says so.
pub(super) const MAX_MESSAGE_BYTES: usize = 64 << 10;
/// Allocated at once for each connection: most are idle, and what clients send is small.
const READ_BUFFER_BYTES: usize = 4 << 10;
/// Bytes gathered before a write; the buffer grows only as needed.
const WRITE_BUFFER_BYTES: usize = 16 << 10;
/// One event comes on top of what is gathered, however large the events of the topic are.
const MAX_WRITE_BUFFER_BYTES: usize = 64 << 20;

pub(super) fn routes() -> Router<State> {
    Router::new().route("/stomp", get(upgrade))
}

async fn upgrade(Extract(state): Extract<State>, upgrade: WebSocketUpgrade) -> Response {
    accept(state, Door::Stomp, upgrade)
}

/// Answers an upgrade and serves STOMP on the WebSocket, for `/stomp` and for SockJS's raw door.
pub(super) fn accept(state: State, door: Door, upgrade: WebSocketUpgrade) -> Response {
    let upgrade = bound(upgrade).protocols(Version::ALL.map(Version::sub_protocol));
    let sub_protocol = upgrade
        .selected_protocol()
        .and_then(|name| Version::from_sub_protocol(name.to_str().ok()?));
    upgrade.on_upgrade(move |socket| {
        let tracker = state.connections.clone();
        tracker.track_future(serve(state, door, sub_protocol, socket))
    })
}

/// The memory that a WebSocket may take.
pub(super) fn bound(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(MAX_WRITE_BUFFER_BYTES)
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
}

async fn serve(state: State, door: Door, sub_protocol: Option<Version>, socket: WebSocket) {
    let (sink, stream) = socket.split();
    let heard = stream.filter_map(|message| ready(message.map_or_else(hear_error, hear)));
    let say = sink.with(|say| ready(Ok::<_, axum::Error>(self::say(say))));
    connection::run(Context::new(&state, door), sub_protocol, heard, say).await;
}

/// Any error is the last that the stream yields: the connection broke, or the client did not keep to the protocol.
pub(super) fn hear_error(error: axum::Error) -> Option<Heard> {
    let error = error.into_inner().downcast::<tungstenite::Error>().ok()?;
    matches!(*error, tungstenite::Error::Capacity(_)).then_some(Heard::TooLarge(MAX_MESSAGE_BYTES))
}

fn hear(message: Message) -> Option<Heard> {
    match message {
        Message::Text(text) => Some(Heard::Data(text.into())),
        Message::Binary(bytes) => Some(Heard::Data(bytes)),
        Message::Close(frame) => is_clean(frame.as_ref()).then_some(Heard::Closed),
        Message::Ping(_) | Message::Pong(_) => None,
    }
}

/// Whether the client closed because it was done (1000) or its page went away (1001). A close without code is what
/// a client sends that misses our heart-beats, and it will be back.
pub(super) fn is_clean(frame: Option<&CloseFrame>) -> bool {
    frame.is_some_and(|frame| matches!(frame.code, 1000 | 1001))
}

fn say(say: Say) -> Message {
    match say {
        // Events are JSON, so this is text; a body that is not goes as what it is.
        Say::Frame(bytes) => match Utf8Bytes::try_from(bytes.clone()) {
            Ok(text) => Message::Text(text),
            Err(_) => Message::Binary(bytes),
        },
        Say::KeepAlive => Message::Ping(Bytes::new()),
        Say::Close(code, reason) => Message::Close(Some(CloseFrame {
            code,
            reason: Utf8Bytes::from_static(reason),
        })),
    }
}
