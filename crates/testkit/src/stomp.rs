//! A small STOMP client for tests, written from the specification and not from `crates/protocol`, so that the two
//! check each other. It sends what it is told, right or wrong, and hides nothing that comes back.

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// A STOMP frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// As on the wire, e.g. `MESSAGE`.
    pub command: String,
    /// Unescaped, in order.
    pub headers: Vec<(String, String)>,
    /// Without the closing NUL.
    pub body: Bytes,
}

impl Frame {
    /// A frame without headers and body.
    #[must_use]
    pub fn new(command: &str) -> Frame {
        Frame {
            command: command.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Frame {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The first header of that name, which is the one that counts.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("no JSON in the body of {self:?}"))
    }

    /// The frame as STOMP 1.2 writes it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let escapes = self.command != "CONNECT";
        let mut out = format!("{}\n", self.command).into_bytes();
        for (name, value) in &self.headers {
            let (name, value) = if escapes {
                (escape(name), escape(value))
            } else {
                (name.clone(), value.clone())
            };
            out.extend_from_slice(format!("{name}:{value}\n").as_bytes());
        }
        out.push(b'\n');
        out.extend_from_slice(&self.body);
        out.push(0);
        out
    }
}

/// Cuts a stream of bytes into frames; line ends between frames are heart-beats.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the bytes are no STOMP 1.2 frame.
    pub fn next_frame(&mut self) -> Result<Option<Frame>> {
        let beats = self
            .buffer
            .iter()
            .take_while(|byte| matches!(byte, b'\n' | b'\r'))
            .count();
        self.buffer.advance(beats);
        let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") else {
            return Ok(None);
        };
        let head = std::str::from_utf8(&self.buffer[..end])?;
        let mut lines = head.split('\n');
        let mut frame = Frame::new(lines.next().unwrap_or_default());
        let escapes = frame.command != "CONNECTED";
        for line in lines {
            let (name, value) = line
                .split_once(':')
                .with_context(|| format!("no colon in header `{line}`"))?;
            let read = |text: &str| {
                if escapes {
                    unescape(text)
                } else {
                    Ok(text.to_owned())
                }
            };
            frame.headers.push((read(name)?, read(value)?));
        }
        let body = end + 2;
        let length = match frame.header("content-length") {
            Some(length) => length.parse::<usize>()?,
            None => match self.buffer[body..].iter().position(|byte| *byte == 0) {
                Some(length) => length,
                None => return Ok(None),
            },
        };
        if self.buffer.len() <= body + length {
            return Ok(None);
        }
        ensure!(
            self.buffer[body + length] == 0,
            "no NUL after the body of {frame:?}"
        );
        self.buffer.advance(body);
        frame.body = self.buffer.split_to(length).freeze();
        self.buffer.advance(1);
        Ok(Some(frame))
    }
}

/// Which way the frames travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// A WebSocket at `/stomp`.
    WebSocket,
    /// SockJS's WebSocket transport at `/sockjs`.
    SockJs,
}

/// A STOMP connection.
#[derive(Debug)]
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    carrier: Carrier,
    decoder: Decoder,
    closed: Option<(u16, String)>,
}

impl Client {
    /// Opens the connection and sends nothing.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn open(url: &str, carrier: Carrier) -> Result<Client> {
        let base = url.replacen("http", "ws", 1);
        let address = match carrier {
            Carrier::WebSocket => format!("{base}/stomp"),
            Carrier::SockJs => format!("{base}/sockjs/000/{}/websocket", session()),
        };
        let mut request = address.as_str().into_client_request()?;
        if carrier == Carrier::WebSocket {
            let protocols = HeaderValue::from_static("v12.stomp, v11.stomp, v10.stomp");
            request
                .headers_mut()
                .insert("Sec-WebSocket-Protocol", protocols);
        }
        let (socket, _) = tokio_tungstenite::connect_async(request)
            .await
            .with_context(|| format!("cannot open `{address}`"))?;
        let mut client = Client {
            socket,
            carrier,
            decoder: Decoder::default(),
            closed: None,
        };
        if carrier == Carrier::SockJs {
            let open = client
                .socket
                .next()
                .await
                .context("SockJS closed at once")??;
            ensure!(open == Message::text("o"), "SockJS begins with {open:?}");
        }
        Ok(client)
    }

    /// Opens the connection and has it CONNECTED in STOMP 1.2, without heart-beats.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn connect(url: &str, carrier: Carrier) -> Result<Client> {
        let mut client = Client::open(url, carrier).await?;
        let connect = Frame::new("CONNECT")
            .with("accept-version", "1.2")
            .with("host", "test");
        client.send(&connect.with("heart-beat", "0,0")).await?;
        let answer = client.recv().await?.context("closed before CONNECTED")?;
        ensure!(
            answer.command == "CONNECTED",
            "CONNECT was answered with {answer:?}"
        );
        Ok(client)
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send(&mut self, frame: &Frame) -> Result<()> {
        self.send_bytes(&frame.encode()).await
    }

    /// Sends bytes as one message, a text one when they are UTF-8.
    ///
    /// # Errors
    /// When the connection is gone, or SockJS is to carry what is no text.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let text = std::str::from_utf8(bytes);
        let message = match (self.carrier, text) {
            (Carrier::WebSocket, Ok(text)) => Message::text(text),
            (Carrier::WebSocket, Err(_)) => Message::binary(bytes.to_vec()),
            (Carrier::SockJs, text) => Message::text(serde_json::to_string(&[text?])?),
        };
        Ok(self.socket.send(message).await?)
    }

    /// The next frame; `None` when the server has closed ([`Client::closed`] tells how). Cancelling loses nothing.
    ///
    /// # Errors
    /// When the bytes are no frame or the connection breaks.
    pub async fn recv(&mut self) -> Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(Some(frame));
            }
            let Some(message) = self.socket.next().await else {
                return Ok(None);
            };
            match message {
                Ok(Message::Text(text)) if self.carrier == Carrier::SockJs => self.sockjs(&text)?,
                Ok(Message::Text(text)) => self.decoder.push(text.as_bytes()),
                Ok(Message::Binary(bytes)) => self.decoder.push(&bytes),
                Ok(Message::Close(Some(close))) => {
                    self.closed
                        .get_or_insert((close.code.into(), close.reason.to_string()));
                }
                Ok(_) => {}
                Err(_) if self.closed.is_some() => return Ok(None),
                Err(err) => return Err(err.into()),
            }
        }
    }

    /// Code and reason that the server closed with: WebSocket's, or SockJS's when that came first.
    #[must_use]
    pub fn closed(&self) -> Option<(u16, &str)> {
        self.closed
            .as_ref()
            .map(|(code, reason)| (*code, reason.as_str()))
    }

    /// Closes cleanly.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn close(&mut self) -> Result<()> {
        Ok(self.socket.close(None).await?)
    }

    fn sockjs(&mut self, text: &str) -> Result<()> {
        match text.split_at_checked(1) {
            Some(("h", "")) => {}
            Some(("a", messages)) => {
                for message in serde_json::from_str::<Vec<String>>(messages)? {
                    self.decoder.push(message.as_bytes());
                }
            }
            Some(("c", close)) => self.closed = Some(serde_json::from_str(close)?),
            _ => bail!("no SockJS frame: `{text}`"),
        }
        Ok(())
    }
}

/// A SockJS session id that no other client of this process uses.
fn session() -> String {
    crate::kafka::unique("s").replace('-', "_")
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
        .replace(':', "\\c")
}

fn unescape(text: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        out.push(match char {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('c') => ':',
                Some('\\') => '\\',
                other => return Err(anyhow!("bad escape `\\{other:?}` in `{text}`")),
            },
            char => char,
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{Decoder, Frame};

    #[test]
    fn frames_come_back_whole_from_single_bytes() {
        let mut first = Frame::new("MESSAGE")
            .with("filter", "a:b\\c\nd")
            .with("content-length", "3");
        first.body = vec![b'x', 0, b'y'].into();
        let second = Frame::new("RECEIPT").with("receipt-id", "1");
        let bytes = [first.encode(), b"\n\r\n".to_vec(), second.encode()].concat();
        let mut decoder = Decoder::default();
        let mut seen = Vec::new();
        for byte in bytes {
            decoder.push(&[byte]);
            seen.extend(decoder.next_frame().unwrap());
        }
        assert_eq!(seen, [first, second]);
    }
}
