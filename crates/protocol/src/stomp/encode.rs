//! Frames to bytes.

use std::fmt::Write as _;

use bytes::{BufMut, BytesMut};

use super::{Frame, Version};

/// Appends `frame` to `out` as `version` writes it; `None`: not negotiated yet.
///
/// `content-length` is added when there is a body and the header is absent.
/// CONNECT and CONNECTED are never escaped. Where nothing can be escaped
/// (those two, version 1.0, no version), a character that would end the header
/// becomes a space, so that no value can smuggle in a header or a frame.
/// NUL, which no version can carry in a header, becomes a space everywhere.
pub fn encode(frame: &Frame, version: Option<Version>, out: &mut BytesMut) {
    let version = version.filter(|_| !super::decode::is_connect(&frame.command));
    out.put_slice(frame.command.as_bytes());
    out.put_u8(b'\n');
    for (name, value) in frame.headers.iter() {
        put_header(version, name, value, out);
    }
    if !frame.body.is_empty() && frame.header("content-length").is_none() {
        put_content_length(frame.body.len(), out);
    }
    out.put_u8(b'\n');
    out.put_slice(&frame.body);
    out.put_u8(0);
}

/// Appends one MESSAGE made of what is the subscription's own (`prefix`, see
/// [`message_prefix`]), what is the message's own (`id`, and `ack` when the
/// subscription acknowledges) and what all subscriptions share.
///
/// `content-length` is written, and must not be among `headers`.
pub(super) fn encode_message(
    version: Version,
    prefix: &[u8],
    id: u64,
    ack: bool,
    headers: &[(&str, &str)],
    body: &[u8],
    out: &mut BytesMut,
) {
    out.reserve(prefix.len() + body.len() + 256);
    out.put_slice(prefix);
    put_number("message-id:", id, out);
    if ack {
        put_number("ack:", id, out);
    }
    for (name, value) in headers {
        put_header(Some(version), name, value, out);
    }
    put_content_length(body.len(), out);
    out.put_u8(b'\n');
    out.put_slice(body);
    out.put_u8(0);
}

/// The command and the headers that all MESSAGE frames of a subscription have.
pub(super) fn message_prefix(version: Version, id: Option<&str>, destination: &str) -> BytesMut {
    let mut out = BytesMut::with_capacity(64);
    out.put_slice(b"MESSAGE\n");
    if let Some(id) = id {
        put_header(Some(version), "subscription", id, &mut out);
    }
    put_header(Some(version), "destination", destination, &mut out);
    out
}

fn put_header(version: Option<Version>, name: &str, value: &str, out: &mut BytesMut) {
    put_escaped(version, name, true, out);
    out.put_u8(b':');
    put_escaped(version, value, false, out);
    out.put_u8(b'\n');
}

fn put_content_length(length: usize, out: &mut BytesMut) {
    put_number("content-length:", length as u64, out);
}

fn put_number(name: &str, number: u64, out: &mut BytesMut) {
    out.put_slice(name.as_bytes());
    // Writing into `BytesMut` fails only past `usize::MAX` octets.
    let _ = writeln!(out, "{number}");
}

fn put_escaped(version: Option<Version>, text: &str, is_name: bool, out: &mut BytesMut) {
    let bytes = text.as_bytes();
    let mut clean = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let written: &[u8] = match (byte, version) {
            (0, _) => b" ",
            (b'\n', Some(Version::V1_1 | Version::V1_2)) => b"\\n",
            (b':', Some(Version::V1_1 | Version::V1_2)) => b"\\c",
            (b'\\', Some(Version::V1_1 | Version::V1_2)) => b"\\\\",
            (b'\r', Some(Version::V1_2)) => b"\\r",
            (b'\n' | b'\r', None | Some(Version::V1_0)) => b" ",
            (b':', None | Some(Version::V1_0)) if is_name => b" ",
            _ => continue,
        };
        out.put_slice(&bytes[clean..at]);
        out.put_slice(written);
        clean = at + 1;
    }
    out.put_slice(&bytes[clean..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(frame: &Frame, version: Option<Version>) -> String {
        let mut out = BytesMut::new();
        encode(frame, version, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn each_version_escapes_what_it_can() {
        let frame = Frame::new("ERROR", [("a:b", "x\ny\r\\:")]);
        assert_eq!(
            encoded(&frame, Some(Version::V1_2)),
            "ERROR\na\\cb:x\\ny\\r\\\\\\c\n\n\0"
        );
        assert_eq!(
            encoded(&frame, Some(Version::V1_1)),
            "ERROR\na\\cb:x\\ny\r\\\\\\c\n\n\0"
        );
        assert_eq!(
            encoded(&frame, Some(Version::V1_0)),
            "ERROR\na b:x y \\:\n\n\0"
        );
        assert_eq!(encoded(&frame, None), "ERROR\na b:x y \\:\n\n\0");
    }

    #[test]
    fn connected_is_never_escaped() {
        let frame = Frame::new("CONNECTED", [("server", "a:b\\c")]);
        assert_eq!(
            encoded(&frame, Some(Version::V1_2)),
            "CONNECTED\nserver:a:b\\c\n\n\0"
        );
    }

    #[test]
    fn message_has_its_own_and_the_shared_headers() {
        let prefix = message_prefix(Version::V1_2, Some("s:0"), "/live");
        let mut out = BytesMut::new();
        encode_message(
            Version::V1_2,
            &prefix,
            7,
            true,
            &[("time", "12:00")],
            b"{}",
            &mut out,
        );
        assert_eq!(
            out,
            &b"MESSAGE\nsubscription:s\\c0\ndestination:/live\nmessage-id:7\nack:7\ntime:12\\c00\ncontent-length:2\n\n{}\0"[..]
        );
    }
}
