//! The transports that are a WebSocket.

use axum::{
    extract::{
        State as Extract,
        ws::{
            CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade,
            rejection::WebSocketUpgradeRejection,
        },
    },
    http::StatusCode,
    response::{IntoResponse, Response},
};
use clickstream_protocol::sockjs;
use futures_util::{SinkExt, StreamExt, future::ready, stream};

use crate::{
    State,
    doors::{
        connection::{self, Context, Heard, Say},
        stomp,
    },
    metrics::Door,
};

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// `/sockjs/websocket`: STOMP without frames of SockJS around it.
pub(super) async fn raw(Extract(state): Extract<State>, upgrade: Upgrade) -> Response {
    match upgrade {
        Ok(upgrade) => stomp::accept(state, Door::Sockjs, upgrade),
        Err(_) => no_upgrade(),
    }
}

/// The session is the socket; ids mean nothing here.
pub(super) async fn framed(Extract(state): Extract<State>, upgrade: Upgrade) -> Response {
    let Ok(upgrade) = upgrade else {
        return no_upgrade();
    };
    stomp::bound(upgrade).on_upgrade(move |socket| {
        let tracker = state.connections.clone();
        tracker.track_future(serve(state, socket))
    })
}

fn no_upgrade() -> Response {
    (
        StatusCode::BAD_REQUEST,
        "Can \"Upgrade\" only to \"WebSocket\".\n",
    )
        .into_response()
}

async fn serve(state: State, mut socket: WebSocket) {
    if socket.send(Message::text(sockjs::OPEN)).await.is_err() {
        return;
    }
    let (sink, stream) = socket.split();
    let heard = stream
        // Broken JSON ends the session at once, as does a broken connection.
        .map(|message| message.map_or_else(|error| Ok(stomp::hear_error(error)), hear))
        .take_while(|heard| ready(heard.is_ok()))
        .filter_map(|heard| ready(heard.ok().flatten()));
    let say = sink.with_flat_map(|say| stream::iter(self::say(say)).map(Ok::<_, axum::Error>));
    connection::run(Context::new(&state, Door::Sockjs), None, heard, say).await;
}

fn hear(message: Message) -> Result<Option<Heard>, ()> {
    let text = match &message {
        Message::Text(text) => text.as_str(),
        Message::Binary(bytes) => std::str::from_utf8(bytes).map_err(|_| ())?,
        Message::Close(frame) => {
            return Ok(stomp::is_clean(frame.as_ref()).then_some(Heard::Closed));
        }
        Message::Ping(_) | Message::Pong(_) => return Ok(None),
    };
    let messages = sockjs::decode_messages(text).map_err(|_| ())?;
    Ok((!messages.is_empty()).then(|| Heard::Data(messages.concat().into())))
}

fn say(say: Say) -> Vec<Message> {
    match say {
        Say::Frame(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            vec![Message::text(sockjs::messages([text.as_ref()]))]
        }
        Say::KeepAlive => vec![Message::text(sockjs::HEARTBEAT)],
        Say::Close(code, reason) => vec![
            Message::text(sockjs::close(code, reason)),
            Message::Close(Some(CloseFrame {
                code,
                reason: Utf8Bytes::from_static(reason),
            })),
        ],
    }
}
