//! Ends what a test process started when that process is gone, however it went.
//!
//! One small shell per test process reads what to watch from a pipe. When the test process ends, is killed or crashes,
//! the kernel closes the pipe; the shell then kills every process group it was told of and removes the folders.
//! The shell has a process group of its own, so that Ctrl-C on a terminal ends the tests and not their reaper.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result};

/// Reads `watch PID`, `forget PID`, `run COMMAND`, `remove FOLDER`; at the end of input kills, runs and removes.
/// (`kill -9 --` is an error to dash, `kill -s` is not.)
/// Kills are waited for (5 s at most), so that no dying process writes into a folder that is being removed.
const SCRIPT: &str = r#"
pids= after=
while read -r word value; do
  case $word in
    watch) pids="$pids $value" ;;
    forget) rest=; for pid in $pids; do [ "$pid" = "$value" ] || rest="$rest $pid"; done; pids=$rest ;;
    run) after="$after$value;" ;;
    remove) set -- "$@" "$value" ;;
  esac
done
for pid in $pids; do kill -s KILL -- "-$pid"; done
for pid in $pids; do
  n=0
  while kill -s 0 -- "-$pid" && [ $n -lt 50 ]; do sleep 0.1; n=$((n + 1)); done
done
eval "$after"
[ $# -eq 0 ] || rm -rf -- "$@"
"#;

/// Kills the process group led by `pid` when this test process is gone. Start it with `process_group(0)`.
///
/// # Errors
/// When the reaper cannot be started or has been killed.
pub fn watch(pid: u32) -> Result<()> {
    tell(&format!("watch {pid}\n"))
}

/// Takes back [`watch`]; call it once the process has been waited for.
///
/// # Errors
/// When the reaper has been killed.
pub fn forget(pid: u32) -> Result<()> {
    tell(&format!("forget {pid}\n"))
}

/// Runs `command`, a line of shell, when this test process is gone, after the watched processes have ended.
///
/// # Errors
/// When the reaper cannot be started or has been killed.
pub fn run(command: &str) -> Result<()> {
    tell(&format!("run {command}\n"))
}

/// Removes `folder` when this test process is gone, after the watched processes have ended.
///
/// # Errors
/// When the reaper cannot be started or has been killed.
pub fn remove(folder: &Path) -> Result<()> {
    tell(&format!("remove {}\n", folder.display()))
}

fn tell(line: &str) -> Result<()> {
    static REAPER: OnceLock<Result<Mutex<ChildStdin>, String>> = OnceLock::new();
    let reaper = REAPER
        .get_or_init(|| start().map_err(|err| format!("{err:#}")))
        .as_ref()
        .map_err(|err| anyhow::anyhow!("no reaper: {err}"))?;
    let mut pipe = reaper.lock().unwrap_or_else(PoisonError::into_inner);
    pipe.write_all(line.as_bytes())
        .context("the reaper is gone")
}

fn start() -> Result<Mutex<ChildStdin>> {
    let mut shell = Command::new("sh")
        .args(["-c", SCRIPT, "reaper"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot start `sh`")?;
    let pipe = shell.stdin.take().context("`sh` has no standard input")?;
    Ok(Mutex::new(pipe))
}
