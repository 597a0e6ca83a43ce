//! SockJS 0.3.3: the frames between a server and a client, and the rules of its paths.
//!
//! A server's frame is one line of text; how lines are delimited is the
//! transport's matter. A client sends JSON: an array of strings, or over
//! WebSocket a single string, too.

use std::fmt::Write as _;

use serde::Deserialize;

/// What `GET` on the base address answers.
pub const GREETING: &str = "Welcome to SockJS!\n";
/// First frame of every session.
pub const OPEN: &str = "o";
/// Says that the connection lives.
pub const HEARTBEAT: &str = "h";
/// What the `xhr_streaming` transport sends before its first frame: browsers
/// hand on the start of an answer only when they have 2 KiB of it.
pub const STREAMING_PRELUDE: [u8; 2049] = {
    let mut prelude = [b'h'; 2049];
    prelude[2048] = b'\n';
    prelude
};

/// Why a session ends, as clients are told in a close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    /// 1000 to 4999.
    pub code: u16,
    /// For people.
    pub reason: &'static str,
}

impl Close {
    /// The session is over.
    pub const GO_AWAY: Close = Close {
        code: 3000,
        reason: "Go away!",
    };
    /// A second receiver came while the first is connected.
    pub const STILL_OPEN: Close = Close {
        code: 2010,
        reason: "Another connection still open",
    };
    /// A receiver went away in the middle: frames may be lost.
    pub const INTERRUPTED: Close = Close {
        code: 1002,
        reason: "Connection interrupted",
    };
}

/// A frame that carries messages: `a["…","…"]`.
#[must_use]
pub fn messages<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = String::from("a[");
    for (at, text) in texts.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        quote(text, &mut out);
    }
    out.push(']');
    out
}

/// The last frame: `c[3000,"Go away!"]`.
#[must_use]
pub fn close(code: u16, reason: &str) -> String {
    let mut out = format!("c[{code},");
    quote(reason, &mut out);
    out.push(']');
    out
}

/// What a client sent is not JSON, or neither a string nor an array of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("broken JSON encoding")]
pub struct BrokenJson;

/// The messages in what a client sent: none for an empty text.
///
/// # Errors
/// [`BrokenJson`]; nothing of the text counts then.
pub fn decode_messages(text: &str) -> Result<Vec<String>, BrokenJson> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Sent {
        One(String),
        Many(Vec<String>),
    }
    if text.is_empty() {
        return Ok(Vec::new());
    }
    match serde_json::from_str(text).map_err(|_| BrokenJson)? {
        Sent::One(message) => Ok(vec![message]),
        Sent::Many(messages) => Ok(messages),
    }
}

/// The body of `/info`. `entropy` must be fresh and unpredictable: browsers of
/// old seed their random numbers with it.
#[must_use]
pub fn info(entropy: u32) -> String {
    format!(r#"{{"websocket":true,"cookie_needed":false,"origins":["*:*"],"entropy":{entropy}}}"#)
}

/// Whether a decoded path part may stand for the server or the session.
#[must_use]
pub fn is_path_part(part: &str) -> bool {
    !part.is_empty() && !part.contains(['.', '/'])
}

/// Appends `text` as a JSON string in which every character that transports
/// are known to mangle is escaped.
fn quote(text: &str, out: &mut String) {
    out.reserve(text.len() + text.len() / 8 + 2);
    out.push('"');
    let mut clean = 0;
    for (at, char) in text.char_indices() {
        let short = match char {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\0'..='\x1f'
            | '\u{200c}'..='\u{200f}'
            | '\u{2028}'..='\u{202f}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fff0}'..='\u{ffff}' => "",
            _ => continue,
        };
        out.push_str(&text[clean..at]);
        if short.is_empty() {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(char));
        } else {
            out.push_str(short);
        }
        clean = at + char.len_utf8();
    }
    out.push_str(&text[clean..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_are_as_the_protocol_writes_them() {
        assert_eq!(messages(["x"]), r#"a["x"]"#);
        assert_eq!(messages(["a", "b\"\\"]), r#"a["a","b\"\\"]"#);
        assert_eq!(messages(["  \0\n\r "]), r#"a["  \u0000\n\r "]"#);
        assert_eq!(close(3000, "Go away!"), r#"c[3000,"Go away!"]"#);
        assert_eq!(STREAMING_PRELUDE.len(), 2049);
        assert!(STREAMING_PRELUDE.starts_with(b"hh") && STREAMING_PRELUDE.ends_with(b"h\n"));
    }

    #[test]
    fn characters_that_transports_mangle_are_escaped() {
        for code in (0..0x20)
            .chain(0x200c..=0x200f)
            .chain(0x2028..=0x202f)
            .chain(0x2060..=0x206f)
            .chain(0xfff0..=0xffff)
        {
            let char = char::from_u32(code).unwrap();
            let frame = messages([char.to_string().as_str()]);
            assert!(frame.is_ascii(), "{code:x} stands plain in {frame}");
        }
        assert_eq!(messages(["\u{2028}"]), "a[\"\\u2028\"]");
    }

    #[test]
    fn clients_send_a_string_or_an_array_of_strings() {
        assert_eq!(decode_messages(""), Ok(vec![]));
        assert_eq!(decode_messages("[]"), Ok(vec![]));
        assert_eq!(decode_messages(r#""a""#), Ok(vec!["a".to_owned()]));
        assert_eq!(
            decode_messages(r#"["a","\u0062"]"#),
            Ok(vec!["a".to_owned(), "b".to_owned()])
        );
        for broken in [
            r#"["a"#,
            "1",
            "{}",
            "null",
            "[1]",
            r#"[["a"]]"#,
            r#"["\ud800"]"#,
        ] {
            assert_eq!(decode_messages(broken), Err(BrokenJson), "{broken}");
        }
    }

    #[test]
    fn path_parts_are_not_empty_and_have_no_dot() {
        for good in ["a", "_", "1", "abcdefgh_i-j "] {
            assert!(is_path_part(good), "{good}");
        }
        for bad in ["", "a.", ".", "a/b"] {
            assert!(!is_path_part(bad), "{bad}");
        }
    }

    #[test]
    fn info_is_json() {
        let info: serde_json::Value = serde_json::from_str(&info(u32::MAX)).unwrap();
        assert_eq!(info["entropy"], u32::MAX);
        assert_eq!(info["origins"], serde_json::json!(["*:*"]));
    }

    proptest! {
        #[test]
        fn any_text_comes_through(texts in prop::collection::vec(".*", 0..4)) {
            let frame = messages(texts.iter().map(String::as_str));
            prop_assert!(!frame.contains(['\n', '\r']));
            prop_assert_eq!(decode_messages(&frame[1..]).unwrap(), texts);
        }

        #[test]
        fn hostile_text_never_panics(text in ".*") {
            let _ = decode_messages(&text);
        }
    }
}
