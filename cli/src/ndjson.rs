//! Lines of a file or of standard input, each of bounded length.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Reads one line after the other into the same buffer.
pub(crate) struct Lines {
    input: Box<dyn BufRead>,
    name: PathBuf,
    line: Vec<u8>,
    /// Number of the line that [`Lines::next`] gives next, from 0.
    number: u64,
    max_bytes: usize,
}

/// One line without its ending (`\n` or `\r\n`).
pub(crate) struct Line<'a> {
    /// From 0.
    pub(crate) number: u64,
    /// At most `max_bytes` and one byte more, which says that the line was longer.
    pub(crate) bytes: &'a [u8],
}

impl Lines {
    /// Opens `path`, where `-` is standard input. Of a longer line than `max_bytes` the rest is
    /// read over.
    ///
    /// # Errors
    /// When the file cannot be opened; the message names it.
    pub(crate) fn open(path: &Path, max_bytes: usize) -> anyhow::Result<Lines> {
        let input: Box<dyn BufRead> = if path == Path::new("-") {
            Box::new(io::stdin().lock())
        } else {
            let file = File::open(path).with_context(|| format!("opening `{}`", path.display()))?;
            Box::new(BufReader::with_capacity(1 << 16, file))
        };
        Ok(Lines {
            input,
            name: path.to_owned(),
            line: Vec::new(),
            number: 0,
            max_bytes,
        })
    }

    /// The next line; `None` at the end. A last line needs no line ending.
    ///
    /// # Errors
    /// When the file cannot be read; the message names it.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Line<'_>>> {
        self.line.clear();
        let found = read_line(&mut self.input, self.max_bytes, &mut self.line)
            .with_context(|| format!("reading `{}`", self.name.display()))?;
        if !found {
            return Ok(None);
        }
        let number = self.number;
        self.number += 1;
        Ok(Some(Line {
            number,
            bytes: &self.line,
        }))
    }
}

/// Whether there was a line to read.
fn read_line(input: &mut dyn BufRead, max_bytes: usize, line: &mut Vec<u8>) -> io::Result<bool> {
    // Room for the longest line, its ending, and the byte that tells of a longer one.
    let limit = max_bytes as u64 + 3;
    if (&mut *input).take(limit).read_until(b'\n', line)? == 0 {
        return Ok(false);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    } else {
        input.skip_until(b'\n')?;
    }
    line.truncate(max_bytes + 1);
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8], max_bytes: usize) -> Vec<Vec<u8>> {
        let mut input = text;
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            if !read_line(&mut input, max_bytes, &mut line).unwrap() {
                return lines;
            }
            lines.push(line);
        }
    }

    #[test]
    fn every_ending_ends_a_line() {
        assert_eq!(lines(b"a\r\n\nb\nc", 9), [&b"a"[..], b"", b"b", b"c"]);
        assert_eq!(lines(b"a\n", 9), [b"a"]);
        assert!(lines(b"", 9).is_empty());
    }

    #[test]
    fn a_long_line_is_cut_one_byte_late_and_read_over() {
        assert_eq!(
            lines(b"123\n1234\n12345678\n1", 3),
            [&b"123"[..], b"1234", b"1234", b"1"]
        );
        assert_eq!(lines(b"123\r\n1234", 3), [&b"123"[..], b"1234"]);
    }
}
