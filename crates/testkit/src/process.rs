//! Processes that tests start, signal and end, and our own programs among them.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::{port, reaper};

/// A process with its output in a file. Dropping it kills its process group; while a test panics, the end of its
/// output is printed first.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    exited: Option<ExitStatus>,
}

/// What [`Process::signal`] can send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Asks it to end.
    Term,
    /// Ends it with no chance to clean up.
    Kill,
    /// Freezes it.
    Stop,
    /// Wakes it after [`Signal::Stop`].
    Cont,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Signal::Term => "TERM",
            Signal::Kill => "KILL",
            Signal::Stop => "STOP",
            Signal::Cont => "CONT",
        }
    }
}

impl Process {
    /// Starts `command` in a process group of its own, without input, its output appended to `log`.
    ///
    /// # Errors
    /// When the log cannot be opened or the program cannot be started.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Process> {
        let out = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot open `{}`", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0)
            .spawn()
            .with_context(|| {
                format!("cannot start {name}: `{}`", command.get_program().display())
            })?;
        reaper::watch(child.id())?;
        Ok(Process {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
            exited: None,
        })
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The name given at its start.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file its output goes to.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Sends a signal to the process.
    ///
    /// # Errors
    /// When it has ended, or `kill` cannot be run.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        ensure!(self.status()?.is_none(), "{} has ended already", self.name);
        let sent = Command::new("kill")
            .args(["-s", signal.name(), &self.child.id().to_string()])
            .status()
            .context("cannot run `kill`")?;
        ensure!(
            sent.success(),
            "cannot send {} to {}",
            signal.name(),
            self.name
        );
        Ok(())
    }

    /// How it ended, or `None` while it runs.
    ///
    /// # Errors
    /// When the kernel cannot tell.
    pub fn status(&mut self) -> Result<Option<ExitStatus>> {
        if self.exited.is_none() {
            self.exited = self.child.try_wait()?;
            if self.exited.is_some() {
                reaper::forget(self.child.id())?;
            }
        }
        Ok(self.exited)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.status()? {
                return Ok(status);
            }
            if Instant::now() > end {
                bail!("{} still runs after {limit:?}", self.name);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGKILLs the whole process group and waits for the process. Does nothing when it has ended.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> Result<()> {
        if self.status()?.is_some() {
            return Ok(());
        }
        let group = format!("-{}", self.child.id());
        let sent = Command::new("kill")
            .args(["-s", "KILL", "--", &group])
            .stderr(Stdio::null())
            .status()?;
        if !sent.success() {
            self.child.kill()?;
        }
        self.wait(Duration::from_secs(10)).map(|_| ())
    }

    /// The last lines of its output.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let skip = text.lines().count().saturating_sub(lines);
        text.lines().skip(skip).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "--- end of {} ({})\n{}\n---",
                self.name,
                self.log.display(),
                self.log_tail(25)
            );
        }
        let _ = self.kill();
    }
}

/// Where cargo put our programs: the folder above that of the running test.
///
/// # Errors
/// When the program has not been built, with the line that builds it.
pub fn built(program: &str) -> Result<PathBuf> {
    let test = std::env::current_exe().context("the test does not know its own path")?;
    let found = test
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file());
    found.with_context(|| {
        format!("`{program}` is not built: run `cargo build --bins` with the profile of the tests")
    })
}

/// One of our programs with its `--http-addr`.
#[derive(Debug)]
pub struct Program {
    process: Process,
    address: SocketAddr,
}

impl Program {
    /// Starts `program` (from [`built`]) with `args` and `--http-addr` on a free port, its output in
    /// `folder/<name>.log`.
    ///
    /// # Errors
    /// When it is not built or cannot be started.
    pub fn start(program: &str, name: &str, folder: &Path, args: &[String]) -> Result<Program> {
        let address = port::free()?;
        let mut command = Command::new(built(program)?);
        command
            .args(args)
            .arg("--http-addr")
            .arg(address.to_string());
        let process = Process::start(name, command, &folder.join(format!("{name}.log")))?;
        Ok(Program { process, address })
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// `http://127.0.0.1:<port>`, no slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it serves HTTP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until `/readyz` answers 200.
    ///
    /// # Errors
    /// When it ends before, or is not ready after `limit`; with what it waits for and the end of its output.
    pub async fn ready(&mut self, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        let mut last = String::from("no answer");
        loop {
            if let Some(status) = self.process.status()? {
                bail!(
                    "{} ended with {status}:\n{}",
                    self.process.name,
                    self.process.log_tail(20)
                );
            }
            if let Ok(answer) = http()?.get(format!("{}/readyz", self.url())).send().await {
                if answer.status().is_success() {
                    return Ok(());
                }
                last = answer.text().await.unwrap_or_default();
            }
            if Instant::now() > end {
                let tail = self.process.log_tail(20);
                bail!(
                    "{} is not ready after {limit:?}: {last}\n{tail}",
                    self.process.name
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The sum of a metric's samples whose labels contain `labels` (as text, `""` for all); 0 when there is none.
    ///
    /// # Errors
    /// When `/metrics` does not answer.
    pub async fn metric(&self, name: &str, labels: &str) -> Result<f64> {
        let text = http()?
            .get(format!("{}/metrics", self.url()))
            .send()
            .await?
            .error_for_status()?
            .text()
            .await?;
        Ok(sum_metric(&text, name, labels))
    }

    /// The JSON at `path`.
    ///
    /// # Errors
    /// When there is no answer, an error status or no JSON.
    pub async fn json(&self, path: &str) -> Result<serde_json::Value> {
        let answer = http()?
            .get(format!("{}{path}", self.url()))
            .send()
            .await?
            .error_for_status()?;
        Ok(answer.json().await?)
    }

    /// SIGTERM, then waits for the end.
    ///
    /// # Errors
    /// When it still runs after `limit`, or ended with anything but 0.
    pub fn stop(&mut self, limit: Duration) -> Result<()> {
        self.process.signal(Signal::Term)?;
        let status = self.process.wait(limit)?;
        ensure!(
            status.success(),
            "{} ended with {status}:\n{}",
            self.process.name,
            self.process.log_tail(20)
        );
        Ok(())
    }
}

/// One HTTP client for all tests of the process; requests give up after 10 s.
///
/// # Errors
/// When the client cannot be made.
pub fn http() -> Result<reqwest::Client> {
    // Only the first call installs it; tests speak plain HTTP, but the client insists on a provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // A client belongs to the runtime it was first used on, and every test has its own, so none is kept.
    Ok(reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .no_proxy()
        .build()?)
}

fn sum_metric(text: &str, name: &str, labels: &str) -> f64 {
    text.lines()
        .filter_map(|line| {
            let (sample, value) = line.rsplit_once(' ')?;
            let (found, rest) = sample.split_once('{').unwrap_or((sample, ""));
            (found == name && rest.contains(labels)).then(|| value.parse::<f64>().ok())?
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::{Process, Signal, sum_metric};

    #[test]
    fn metric_is_summed_over_the_chosen_labels() {
        let text = "# TYPE a counter\na_total{reason=\"x\"} 2\na_total{reason=\"y\"} 3\na_total_more 9\nb 7\n# EOF\n";
        assert_eq!(sum_metric(text, "a_total", ""), 5.0);
        assert_eq!(sum_metric(text, "a_total", "reason=\"y\""), 3.0);
        assert_eq!(sum_metric(text, "b", ""), 7.0);
        assert_eq!(sum_metric(text, "c", ""), 0.0);
    }

    #[test]
    fn dropped_process_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sleep");
        command.arg("600");
        let mut process = Process::start("sleeper", command, &folder.path().join("log")).unwrap();
        process.signal(Signal::Stop).unwrap();
        let proc = std::path::PathBuf::from(format!("/proc/{}", process.id()));
        assert!(proc.exists());
        drop(process);
        assert!(!proc.exists());
    }

    #[test]
    fn exit_status_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo said; exit 3"]);
        let mut process = Process::start("shell", command, &folder.path().join("log")).unwrap();
        assert_eq!(
            process.wait(Duration::from_secs(30)).unwrap().code(),
            Some(3)
        );
        assert_eq!(process.log_tail(5), "said");
        assert!(process.signal(Signal::Term).is_err());
    }
}
