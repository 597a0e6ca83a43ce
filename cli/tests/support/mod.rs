//! Running the program and looking at what it does.
#![allow(dead_code, reason = "each test program uses its part")]

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Far longer than anything here takes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// What a finished run has shown.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Lines of standard output.
    pub(crate) fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }

    /// Whether a status message of that name stands on standard error.
    pub(crate) fn has_status(&self, name: &str) -> bool {
        self.stderr.contains(&format!(r#""status":"{name}""#))
    }
}

/// A run of the program, killed when dropped.
pub(crate) struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<(Stream, String)>,
    stdout: String,
    stderr: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

/// Starts the program.
pub(crate) fn start<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Running {
    let mut child = Command::new(env!("CARGO_BIN_EXE_clickstream"))
        .args(args)
        .env_remove("BROKERS")
        .env_remove("DATABASE_URL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let (sender, lines) = mpsc::channel();
    forward(
        child.stdout.take().expect("piped"),
        Stream::Out,
        sender.clone(),
    );
    forward(child.stderr.take().expect("piped"), Stream::Err, sender);
    Running {
        stdin: child.stdin.take(),
        child,
        lines,
        stdout: String::new(),
        stderr: String::new(),
    }
}

/// Runs the program to its end.
pub(crate) fn run<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Finished {
    start(args).finish()
}

/// Runs the program to its end with this on standard input.
pub(crate) fn run_with_input<A: AsRef<OsStr>>(
    args: impl IntoIterator<Item = A>,
    input: &str,
) -> Finished {
    let mut running = start(args);
    let mut stdin = running.stdin.take().expect("piped");
    let input = input.to_owned();
    // It need not read all of it.
    thread::spawn(move || stdin.write_all(input.as_bytes()));
    running.finish()
}

fn forward(
    stream: impl Read + Send + 'static,
    which: Stream,
    lines: mpsc::Sender<(Stream, String)>,
) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let line = line.expect("UTF-8");
            if lines.send((which, line)).is_err() {
                break;
            }
        }
    });
}

impl Running {
    /// Waits for a line of standard output or error that contains `text`, and gives it.
    pub(crate) fn until(&mut self, text: &str) -> String {
        let end = Instant::now() + LIMIT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok((stream, line)) = self.lines.recv_timeout(left) else {
                panic!(
                    "no `{text}` in time\nstdout: {}\nstderr: {}",
                    self.stdout, self.stderr
                );
            };
            self.keep(stream, &line);
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Asks it to end, as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", "INT", &id]).status();
        assert!(sent.expect("`kill` runs").success());
    }

    /// Waits until it has ended by itself.
    pub(crate) fn finish(mut self) -> Finished {
        drop(self.stdin.take());
        let status = self.wait();
        while let Ok((stream, line)) = self.lines.recv_timeout(LIMIT) {
            self.keep(stream, &line);
        }
        Finished {
            code: status.code(),
            stdout: std::mem::take(&mut self.stdout),
            stderr: std::mem::take(&mut self.stderr),
        }
    }

    fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().expect("its own child") {
                return status;
            }
            assert!(Instant::now() < end, "still running: {}", self.stderr);
            // So that it never waits for us to read.
            if let Ok((stream, line)) = self.lines.recv_timeout(Duration::from_millis(10)) {
                self.keep(stream, &line);
            }
        }
    }

    fn keep(&mut self, stream: Stream, line: &str) {
        let text = match stream {
            Stream::Out => &mut self.stdout,
            Stream::Err => &mut self.stderr,
        };
        text.push_str(line);
        text.push('\n');
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing to do where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
