//! A real PostgreSQL: a cluster of its own on a free loopback port, its files in a temporary folder.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use sqlx::{Connection, PgConnection};
use tokio::sync::OnceCell;

use crate::kafka::unique;
use crate::process::Process;
use crate::{port, reaper};

/// How long the server may take until it answers. It takes 0.2 s on two idle cores, more after a SIGKILL.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running server. Dropping it ends it and removes its data.
#[derive(Debug)]
pub struct Postgres {
    folder: PathBuf,
    address: SocketAddr,
    process: Mutex<Option<Process>>,
}

impl Postgres {
    /// The server that all tests of this process share; started by the first that asks, gone with the process.
    /// Tests that hurt the server start one of their own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn shared() -> Result<&'static Postgres> {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_try_init(Postgres::start).await
    }

    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// When PostgreSQL is missing (with the line that installs it) or does not start.
    pub async fn start() -> Result<Postgres> {
        Postgres::start_on(Ipv4Addr::LOCALHOST).await
    }

    /// As [`Postgres::start`], listening on another address of this machine, for everybody who reaches it.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub async fn start_on(host: Ipv4Addr) -> Result<Postgres> {
        let folder = tempfile::Builder::new()
            .prefix("clickstream-postgres-")
            .tempdir()?
            .keep();
        reaper::remove(&folder)?;
        if is_root()? {
            let owned = Command::new("chown")
                .arg("postgres")
                .arg(&folder)
                .status()
                .context("cannot run `chown`")?;
            ensure!(
                owned.success(),
                "there is no user `postgres` to run PostgreSQL as: it refuses root"
            );
        }
        let made = server_command("initdb")?
            .args([
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "--pgdata",
            ])
            .arg(folder.join("data"))
            .current_dir(&folder)
            .output()
            .context("cannot run `initdb`")?;
        ensure!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        if !host.is_loopback() {
            std::fs::write(folder.join("data/pg_hba.conf"), "host all all all trust\n")?;
        }
        let postgres = Postgres {
            folder,
            address: port::free_on(host)?,
            process: Mutex::new(None),
        };
        postgres.start_again().await?;
        Ok(postgres)
    }

    /// URL of the database `name`.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        format!("postgres://postgres@{}/{name}", self.address)
    }

    /// Makes an empty database that no other test uses; returns its URL.
    ///
    /// # Errors
    /// When the server does not answer or refuses.
    pub async fn create_database(&self) -> Result<String> {
        let name = unique("test").replace('-', "_");
        let mut connection = self.connect().await?;
        // The name is letters, digits and underscores only.
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&mut connection)
            .await?;
        Ok(self.url(&name))
    }

    /// SIGKILLs the server; its data stays.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&self) -> Result<()> {
        match self.process().as_mut() {
            Some(process) => process.kill(),
            None => Ok(()),
        }
    }

    /// Starts the server with the data it had, on the same address, and waits until it answers.
    ///
    /// # Errors
    /// When it runs, or does not start.
    pub async fn start_again(&self) -> Result<()> {
        if let Some(running) = self.process().as_mut() {
            ensure!(running.status()?.is_some(), "the server runs");
        }
        let end = Instant::now() + START_LIMIT;
        let mut process = self.spawn()?;
        loop {
            // Children of a killed server may hold its memory for a moment; then it refuses to start.
            if process.status()?.is_some() {
                process = self.spawn()?;
            }
            if let Ok(connection) = self.connect().await {
                connection.close().await?;
                *self.process() = Some(process);
                return Ok(());
            }
            if Instant::now() > end {
                bail!("PostgreSQL does not start:\n{}", process.log_tail(20));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn connect(&self) -> Result<PgConnection> {
        Ok(PgConnection::connect(&self.url("postgres")).await?)
    }

    fn spawn(&self) -> Result<Process> {
        let mut command = server_command("postgres")?;
        command
            .arg("-D")
            .arg(self.folder.join("data"))
            .args(["-p", &self.address.port().to_string()])
            .args([
                "-c",
                &format!("listen_addresses={}", self.address.ip()),
                "-c",
                "max_connections=200",
                "-c",
                "unix_socket_directories=",
            ])
            .current_dir(&self.folder);
        Process::start("postgres", command, &self.folder.join("postgres.log"))
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.process().take();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// `initdb` or `postgres`, as the user `postgres` when we are root.
fn server_command(program: &str) -> Result<Command> {
    let path = find(program)?;
    if !is_root()? {
        return Ok(Command::new(path));
    }
    // Unlike `runuser` it becomes the program, so that signals reach it.
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "--",
        ])
        .arg(path);
    Ok(command)
}

/// The program of the newest version that Debian's packages have put below `/usr/lib/postgresql`, or one on `PATH`.
fn find(program: &str) -> Result<PathBuf> {
    let packaged = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut packaged: Vec<_> = packaged
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse::<u32>().ok()?,
                entry.path().join("bin"),
            ))
        })
        .collect();
    packaged.sort();
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let folders = packaged
        .into_iter()
        .rev()
        .map(|(_, folder)| folder)
        .chain(std::env::split_paths(&paths));
    let found = folders
        .map(|folder| folder.join(program))
        .find(|path| path.is_file());
    found.with_context(|| {
        format!("`{program}` is missing: install it with `apt-get install -y postgresql`")
    })
}

fn is_root() -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let metadata =
        std::fs::metadata(Path::new("/proc/self")).context("cannot tell who runs the tests")?;
    Ok(metadata.uid() == 0)
}
