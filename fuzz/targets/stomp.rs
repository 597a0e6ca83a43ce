//! STOMP frames: however bytes are cut into pieces, the same frames come out, and what is encoded is read back.

#![no_main]

use bytes::BytesMut;
use clickstream_protocol::stomp::{DecodeError, Decoder, Frame, Limits, Version, encode};
use libfuzzer_sys::fuzz_target;

fn decode<'a>(
    limits: Limits,
    version: Option<Version>,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Frame>, Option<DecodeError>) {
    let mut decoder = Decoder::new(limits);
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

/// A frame at the limits is written with a `content-length` more, and with escapes that an earlier version had not.
const WRITTEN: Limits = Limits {
    headers: Limits::SERVER.headers + 1,
    header_line: 2 * Limits::SERVER.header_line,
    frame: 2 * Limits::SERVER.frame + 32,
    ..Limits::SERVER
};

// The first byte chooses the version, the second the length of the pieces.
fuzz_target!(|data: &[u8]| {
    let [version, length, bytes @ ..] = data else {
        return;
    };
    let version = match version % 4 {
        0 => None,
        1 => Some(Version::V1_0),
        2 => Some(Version::V1_1),
        _ => Some(Version::V1_2),
    };
    let (frames, error) = decode(Limits::SERVER, version, [bytes]);
    let pieces = bytes.chunks(usize::from(*length).max(1));
    assert_eq!(
        (frames.clone(), error),
        decode(Limits::SERVER, version, pieces)
    );

    let mut encoded = BytesMut::new();
    for frame in &frames {
        encode(frame, version, &mut encoded);
    }
    let (again, error) = decode(WRITTEN, version, [&encoded[..]]);
    assert_eq!(error, None, "a frame that was read cannot be written");
    assert_eq!(again.len(), frames.len());
    for (again, frame) in again.iter().zip(&frames) {
        assert_eq!((&again.command, &again.body), (&frame.command, &frame.body));
    }
});
