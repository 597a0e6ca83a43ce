//! Frames to bytes and back.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::Version::{V1_0, V1_1, V1_2};
use super::*;

/// Frames and the error, if any, of bytes that come in pieces.
fn decode<'a>(
    version: Option<Version>,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Frame>, Option<DecodeError>) {
    let mut decoder = Decoder::new(Limits::SERVER);
    if let Some(version) = version {
        decoder.set_version(version);
    }
    let mut frames = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

fn one(version: Option<Version>, bytes: &[u8]) -> Result<Frame, DecodeError> {
    match decode(version, [bytes]) {
        (mut frames, None) if frames.len() == 1 => Ok(frames.remove(0)),
        (frames, Some(error)) if frames.is_empty() => Err(error),
        other => panic!("not one frame: {other:?}"),
    }
}

#[test]
fn a_header_is_read_as_its_version_says() {
    type Case = (
        Option<Version>,
        &'static str,
        Result<&'static str, DecodeError>,
    );
    let cases: &[Case] = &[
        (Some(V1_2), r"\n\c\\\r", Ok("\n:\\\r")),
        (Some(V1_1), r"\n\c\\", Ok("\n:\\")),
        (Some(V1_1), r"\r", Err(DecodeError::Escape(V1_1))),
        (Some(V1_2), r"\t", Err(DecodeError::Escape(V1_2))),
        (Some(V1_2), "\\", Err(DecodeError::Escape(V1_2))),
        (Some(V1_2), r"\\\", Err(DecodeError::Escape(V1_2))),
        (Some(V1_2), r"\\n", Ok(r"\n")),
        (Some(V1_2), r"\\\n", Ok("\\\n")),
        (Some(V1_2), r"\\\\", Ok(r"\\")),
        (Some(V1_2), r"a\\b\\c", Ok(r"a\b\c")),
        (Some(V1_0), r"\n\t", Ok(r"\n\t")),
        (None, r"\n\t", Ok(r"\n\t")),
        // Padding: examples of 1.0 have it, later versions keep it.
        (Some(V1_0), "  a  ", Ok("a")),
        (Some(V1_1), "  a  ", Ok("  a  ")),
        (Some(V1_2), " a", Ok(" a")),
        // A colon that was not escaped is still the value's.
        (Some(V1_2), "a:b", Ok("a:b")),
        (Some(V1_2), "", Ok("")),
        // CR LF ends a line in 1.2; before it the CR is the value's.
        (Some(V1_2), "a\r", Ok("a")),
        (Some(V1_1), "a\r", Ok("a\r")),
        (Some(V1_2), "a\rb", Err(DecodeError::CarriageReturn)),
    ];
    for (version, written, expected) in cases {
        let bytes = format!("SUBSCRIBE\nh:{written}\n\n\0");
        let value = one(*version, bytes.as_bytes()).map(|f| f.header("h").unwrap().to_owned());
        assert_eq!(
            value.as_deref().map_err(Clone::clone),
            expected.clone(),
            "{version:?} {written:?}"
        );
    }
}

#[test]
fn connect_and_connected_are_never_unescaped() {
    for command in ["CONNECT", "STOMP", "CONNECTED"] {
        let bytes = format!("{command}\nlogin:a\\tb\n\n\0");
        for version in [None, Some(V1_1), Some(V1_2)] {
            let frame = one(version, bytes.as_bytes()).unwrap();
            assert_eq!(frame.header("login"), Some("a\\tb"));
        }
    }
}

#[test]
fn of_repeated_headers_the_first_counts() {
    let frame = one(Some(V1_2), b"SEND\nfoo:World\nfoo:Hello\n\n\0").unwrap();
    assert_eq!(frame.header("foo"), Some("World"));
    assert_eq!(frame.headers.len(), 2);
}

#[test]
fn the_body_ends_at_nul_or_where_content_length_says() {
    let body = |bytes: &[u8]| one(Some(V1_2), bytes).map(|f| f.body);
    assert_eq!(body(b"SEND\n\nab\0").unwrap(), "ab");
    assert_eq!(
        body(b"SEND\ncontent-length:3\n\na\0b\0").unwrap(),
        &b"a\0b"[..]
    );
    assert_eq!(body(b"SEND\ncontent-length:0\n\n\0").unwrap(), "");
    assert_eq!(
        body(b"SEND\ncontent-length:1\n\nab\0"),
        Err(DecodeError::BodyLength)
    );
    for wrong in ["-1", "+1", "x", "", "1 ", "99999999999999999999999"] {
        let bytes = format!("SEND\ncontent-length:{wrong}\n\na\0");
        let error = body(bytes.as_bytes()).unwrap_err();
        assert_eq!(error, DecodeError::ContentLength, "{wrong:?}");
    }
    // Too large is told before the body comes.
    assert_eq!(
        body(b"SEND\ncontent-length:65536\n\n"),
        Err(DecodeError::FrameTooLarge(Limits::SERVER.frame))
    );
    // Too short a body is not known before the rest comes.
    assert_eq!(
        decode(Some(V1_2), [&b"SEND\ncontent-length:4\n\na\0"[..]]),
        (vec![], None)
    );
}

#[test]
fn line_ends_between_frames_are_heart_beats() {
    let (frames, error) = decode(
        Some(V1_2),
        [&b"\n\r\n\nA\n\n\0\n\r\n\nB\r\nx:y\r\n\r\n\0\r"[..]],
    );
    assert_eq!(error, None);
    assert_eq!(frames, [Frame::new("A", []), Frame::new("B", [("x", "y")])]);
    // In 1.1 a CR is no line end, so here a command begins.
    let (frames, _) = decode(Some(V1_1), [&b"\r\n\n\0"[..]]);
    assert_eq!(frames, [Frame::new("\r", [])]);
}

#[test]
fn broken_frames_are_refused() {
    let long = |n: usize| "x".repeat(n);
    let limits = Limits::SERVER;
    let cases = [
        (
            format!("{}\n\n\0", long(33)),
            DecodeError::CommandTooLong(32),
        ),
        (long(34), DecodeError::CommandTooLong(32)),
        (
            format!("a\rb{}\n", long(40)),
            DecodeError::CommandTooLong(32),
        ),
        (format!("{}\0", long(34)), DecodeError::CommandTooLong(32)),
        (
            format!("A\nx:{}\n\n\0", long(10 * 1024)),
            DecodeError::HeaderTooLong(10 * 1024),
        ),
        (
            format!("A\nx:{}", long(10 * 1024)),
            DecodeError::HeaderTooLong(10 * 1024),
        ),
        (
            format!("A\n{}\n\0", "x:y\n".repeat(65)),
            DecodeError::TooManyHeaders(64),
        ),
        (
            format!("A\n{}\n\0", format!("x:{}\n", long(10_000)).repeat(7)),
            DecodeError::FrameTooLarge(limits.frame),
        ),
        (
            format!("A\n\n{}", long(limits.frame)),
            DecodeError::FrameTooLarge(limits.frame),
        ),
        (
            format!("A\n\n{}\0", long(limits.frame)),
            DecodeError::FrameTooLarge(limits.frame),
        ),
        ("A\n\0".to_owned(), DecodeError::EndsInHeaders),
        ("A\0".to_owned(), DecodeError::EndsInHeaders),
        ("\0".to_owned(), DecodeError::EndsInHeaders),
        ("A\nx:y\0\n".to_owned(), DecodeError::EndsInHeaders),
        ("A\nx\n\n\0".to_owned(), DecodeError::NotAHeader),
        ("A\n:y\n\n\0".to_owned(), DecodeError::NotAHeader),
    ];
    for (bytes, expected) in cases {
        let shown = bytes.get(..20).unwrap_or(&bytes);
        assert_eq!(
            one(Some(V1_2), bytes.as_bytes()),
            Err(expected),
            "{shown:?}"
        );
    }
    assert_eq!(
        one(Some(V1_2), b"A\nx:\xff\n\n\0"),
        Err(DecodeError::NotUtf8)
    );
    assert_eq!(one(Some(V1_2), b"\xff\n\n\0"), Err(DecodeError::NotUtf8));
}

#[test]
fn a_filter_of_4096_bytes_that_all_need_escapes_fits() {
    let filter = "\n".repeat(4096);
    let mut out = BytesMut::new();
    encode(
        &Frame::new("SUBSCRIBE", [("filter", filter.as_str())]),
        Some(V1_2),
        &mut out,
    );
    assert_eq!(
        one(Some(V1_2), &out).unwrap().header("filter"),
        Some(filter.as_str())
    );
}

#[test]
fn the_version_can_change_between_two_frames_of_one_chunk() {
    let mut decoder = Decoder::new(Limits::SERVER);
    decoder.push(b"CONNECT\r\nx:\\t\r\n\r\n\0SUBSCRIBE\nid:a\\cb\n\n\0");
    assert_eq!(decoder.next().unwrap().unwrap().header("x"), Some("\\t"));
    decoder.set_version(V1_1);
    assert_eq!(decoder.next().unwrap().unwrap().header("id"), Some("a:b"));
}

#[test]
fn an_error_stays_and_the_receipt_is_known() {
    let mut decoder = Decoder::new(Limits::SERVER);
    decoder.push(b"SUBSCRIBE\nreceipt:7\nnonsense\n");
    assert_eq!(decoder.next(), Err(DecodeError::NotAHeader));
    assert_eq!(decoder.partial().get("receipt"), Some("7"));
    decoder.push(b"\n\n\0A\n\n\0");
    assert_eq!(decoder.next(), Err(DecodeError::NotAHeader));
}

fn version() -> impl Strategy<Value = Version> {
    prop::sample::select(Version::ALL.to_vec())
}

/// A frame that `version` can carry.
fn frame(version: Version) -> impl Strategy<Value = Frame> {
    let (name, value) = match version {
        V1_0 => ("[^:\\s\0]{1,9}", "([^\\s\0]([^\n\r\0]{0,9}[^\\s\0])?)?"),
        V1_1 | V1_2 => ("[^\0]{1,9}", "[^\0]{0,20}"),
    };
    let body = prop::collection::vec(any::<u8>(), 0..40);
    (
        "[A-Z]{1,12}",
        prop::collection::vec((name, value), 0..6),
        body,
    )
        .prop_filter(
            "reads its own body length, or is not escaped",
            |(command, headers, _)| {
                !decode::is_connect(command) && headers.iter().all(|(n, _)| n != "content-length")
            },
        )
        .prop_map(|(command, headers, body)| Frame {
            command,
            headers: headers.into_iter().collect(),
            body: Bytes::from(body),
        })
}

fn several() -> impl Strategy<Value = (Version, Vec<Frame>)> {
    version().prop_flat_map(|v| (Just(v), prop::collection::vec(frame(v), 0..4)))
}

/// Bytes that often come near to being frames.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        Just(b"\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\0".to_vec()),
        Just(b"\\".to_vec()),
        Just(b"CONNECT\naccept-version:1.2\n\n\0".to_vec()),
        Just(b"SUBSCRIBE\nid:0\ndestination:/live\n\n\0".to_vec()),
        Just(b"content-length:3\n".to_vec()),
        Just(b"x:y\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(token, 0..20).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded((version, frames) in several()) {
        let mut out = BytesMut::new();
        for frame in &frames {
            encode(frame, Some(version), &mut out);
        }
        let (decoded, error) = decode(Some(version), [&out[..]]);
        prop_assert_eq!(error, None);
        prop_assert_eq!(decoded.len(), frames.len());
        for (decoded, frame) in decoded.iter().zip(&frames) {
            prop_assert_eq!(&decoded.command, &frame.command);
            prop_assert_eq!(&decoded.body, &frame.body);
            let headers: Headers =
                decoded.headers.iter().filter(|(n, _)| *n != "content-length").collect();
            prop_assert_eq!(&headers, &frame.headers);
        }
    }

    #[test]
    fn any_cut_gives_the_same_frames(
        (version, frames) in several(),
        tail in hostile(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut bytes = BytesMut::new();
        for frame in &frames {
            encode(frame, Some(version), &mut bytes);
        }
        bytes.extend_from_slice(&tail);
        let whole = decode(Some(version), [&bytes[..]]);
        prop_assert_eq!(&decode(Some(version), bytes.chunks(1)), &whole);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]);
        prop_assert_eq!(&decode(Some(version), pieces), &whole);
    }

    #[test]
    fn what_is_held_is_bounded(
        version in prop::option::of(version()),
        pieces in prop::collection::vec(hostile(), 0..40),
    ) {
        let limits = Limits { command: 8, headers: 3, header_line: 32, frame: 64 };
        let mut decoder = Decoder::new(limits);
        if let Some(version) = version {
            decoder.set_version(version);
        }
        for piece in pieces {
            decoder.push(&piece);
            while let Ok(Some(frame)) = decoder.next() {
                prop_assert!(frame.body.len() <= limits.frame);
                prop_assert!(frame.headers.len() <= limits.headers);
            }
            prop_assert!(decoder.held() <= limits.frame + 1);
        }
    }

    #[test]
    fn no_header_smuggles_in_a_frame(version in prop::option::of(version()), text in ".*") {
        let mut out = BytesMut::new();
        encode(&Frame::new("ERROR", [("message", text.as_str())]), version, &mut out);
        let bytes = &out[..];
        prop_assert_eq!(bytes.iter().filter(|b| **b == 0).count(), 1);
        prop_assert_eq!(bytes.iter().filter(|b| **b == b'\n').count(), 3);
    }
}
