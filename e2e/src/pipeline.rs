//! Workers and handlers of one pipeline, as processes of their own.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clickstream_testkit::kafka::{Kafka, unique};
use clickstream_testkit::process::{Process, Program, built};
use clickstream_testkit::viewer::{Door, Viewer};
use tempfile::TempDir;

use crate::{SOON, until};

/// What to start.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Partitions of the source topic.
    pub partitions: i32,
    /// Partitions of the filtered topic.
    pub lanes: i32,
    /// Worker processes.
    pub workers: usize,
    /// Handler processes.
    pub handlers: usize,
    /// Flags of every worker on top of the usual ones.
    pub worker_args: Vec<String>,
    /// Flags of every handler on top of the usual ones.
    pub handler_args: Vec<String>,
}

impl Default for Setup {
    /// Two workers, two handlers, eight partitions, four lanes, everything else as it comes.
    fn default() -> Setup {
        Setup {
            partitions: 8,
            lanes: 4,
            workers: 2,
            handlers: 2,
            worker_args: Vec::new(),
            handler_args: Vec::new(),
        }
    }
}

/// A running pipeline with topics of its own. Dropping it kills its programs; without [`Pipeline::stop`] before, the
/// test has failed and their output is kept.
#[derive(Debug)]
pub struct Pipeline {
    /// Its workers, those that were killed among them.
    pub workers: Vec<Program>,
    /// Its handlers, those that were killed among them.
    pub handlers: Vec<Program>,
    /// Its name.
    pub name: String,
    /// Its source topic.
    pub source: String,
    common: Vec<String>,
    setup: Setup,
    folder: TempDir,
    stopped: bool,
}

impl Pipeline {
    /// Makes the source topic, starts all programs at once and waits until every one is ready.
    ///
    /// # Errors
    /// When one is not ready within a minute.
    pub async fn start(kafka: &Kafka, database_url: &str, setup: Setup) -> Result<Pipeline> {
        let name = unique("e2e");
        let source = kafka.unique_topic("source", setup.partitions).await?;
        let flags = [
            ("--brokers", kafka.brokers()),
            ("--source-topic", source.clone()),
            ("--pipeline", name.clone()),
            ("--database-url", database_url.to_owned()),
        ];
        let common = flags
            .into_iter()
            .flat_map(|(flag, value)| [flag.to_owned(), value])
            .collect();
        let folder = tempfile::Builder::new()
            .prefix("clickstream-e2e-")
            .tempdir()?;
        let (workers, handlers) = (setup.workers, setup.handlers);
        let mut pipeline = Pipeline {
            workers: Vec::new(),
            handlers: Vec::new(),
            name,
            source,
            common,
            setup,
            folder,
            stopped: false,
        };
        // Handlers first: they have to wait for the schema and the filtered topic that the workers make.
        for _ in 0..handlers {
            pipeline.add_handler()?;
        }
        for _ in 0..workers {
            pipeline.add_worker()?;
        }
        for program in pipeline.workers.iter_mut().chain(&mut pipeline.handlers) {
            program.ready(SOON).await?;
        }
        Ok(pipeline)
    }

    /// Starts one more worker and does not wait for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn add_worker(&mut self) -> Result<()> {
        let mut args = self.common.clone();
        args.extend([
            "--migrate".to_owned(),
            "--create-filtered-topic".to_owned(),
            self.setup.lanes.to_string(),
        ]);
        args.extend(self.setup.worker_args.iter().cloned());
        let name = format!("worker-{}", self.workers.len());
        self.workers.push(Program::start(
            "clickstream-worker",
            &name,
            self.folder.path(),
            &args,
        )?);
        Ok(())
    }

    /// Starts one more handler and does not wait for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn add_handler(&mut self) -> Result<()> {
        let mut args = self.common.clone();
        args.extend(self.setup.handler_args.iter().cloned());
        let name = format!("handler-{}", self.handlers.len());
        self.handlers.push(Program::start(
            "clickstream-handler",
            &name,
            self.folder.path(),
            &args,
        )?);
        Ok(())
    }

    /// A viewer at one of the handlers.
    ///
    /// # Errors
    /// When the handler cannot be reached.
    pub async fn viewer(
        &self,
        handler: usize,
        door: Door,
        options: &[(&str, &str)],
    ) -> Result<Viewer> {
        let url = self.handlers.get(handler).context("no such handler")?.url();
        let name = format!("{door:?} at handler {handler} {options:?}");
        Viewer::open(&name, &url, door, options).await
    }

    /// Filters that a handler lists as active.
    ///
    /// # Errors
    /// When it does not answer as documented.
    pub async fn listed(&self, handler: usize) -> Result<Vec<String>> {
        let answer = self
            .handlers
            .get(handler)
            .context("no such handler")?
            .json("/api/v1/queries")
            .await?;
        let items = answer["items"]
            .as_array()
            .with_context(|| format!("no `items` in {answer}"))?;
        items
            .iter()
            .map(|item| Ok(item["filter"].as_str().context("no `filter`")?.to_owned()))
            .collect()
    }

    /// Waits until no handler lists a query and no worker that runs matches one; returns the seconds that took.
    ///
    /// # Errors
    /// When some remain after `limit`.
    pub async fn no_queries(&self, limit: Duration) -> Result<f64> {
        until("no query is left", limit, async || {
            for handler in 0..self.handlers.len() {
                if !self.listed(handler).await?.is_empty() {
                    return Ok(false);
                }
            }
            for worker in &self.workers {
                if worker.metric("worker_queries", "").await? != 0.0 {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await
    }

    /// SIGTERMs every program that runs. Each must end with 0, and none may have panicked.
    ///
    /// # Errors
    /// When one does otherwise, with the end of its output.
    pub fn stop(mut self) -> Result<()> {
        for program in self.handlers.iter_mut().chain(&mut self.workers) {
            if program.process().status()?.is_none() {
                program.stop(Duration::from_secs(40))?;
            }
            let output = program.process().log_tail(usize::MAX);
            let panic = output.lines().find(|line| line.contains("panicked at"));
            ensure!(
                panic.is_none(),
                "{} panicked: {panic:?}",
                program.process().name()
            );
        }
        self.stopped = true;
        Ok(())
    }

    /// The folder with the output of its programs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sends the data set over and over at 200 events/s, until the process is dropped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn flow(&self, kafka: &Kafka) -> Result<Process> {
        let mut command = Command::new(built("clickstream")?);
        command.args([
            "generate",
            "--brokers",
            &kafka.brokers(),
            "--topic",
            &self.source,
        ]);
        command.args(["--rate", "200", "--rounds", "0"]);
        Process::start(
            "generate",
            command,
            &self.folder.path().join("generate.log"),
        )
    }

    /// As [`script`], with its output among that of the pipeline's programs.
    ///
    /// # Errors
    /// When it fails or takes longer than `limit`.
    pub async fn script(&self, command: Command, folder: &str, limit: Duration) -> Result<()> {
        script(command, folder, self.folder.path(), limit).await
    }

    /// Runs the command line `clickstream` with `args` to its end; returns what it printed on standard output.
    ///
    /// # Errors
    /// When it fails or takes longer than `limit`, with what it printed.
    pub async fn clickstream(&self, args: &[&str], limit: Duration) -> Result<String> {
        let log = self
            .folder
            .path()
            .join(format!("{}.log", unique("clickstream")));
        let mut command = Command::new(built("clickstream")?);
        command.args(args);
        let mut process = Process::start("clickstream", command, &log)?;
        until(
            &format!("`clickstream {args:?}` has ended"),
            limit,
            async || Ok(process.status()?.is_some()),
        )
        .await?;
        let status = process.wait(limit)?;
        let output = std::fs::read_to_string(&log)?;
        ensure!(
            status.success(),
            "`clickstream {args:?}` ended with {status}: {output}"
        );
        Ok(output)
    }
}

/// Runs `command` in `folder` of this repository to its end and prints what it printed; `logs` keeps that.
///
/// # Errors
/// When it fails, with the last of what it printed, or takes longer than `limit`.
pub async fn script(
    mut command: Command,
    folder: &str,
    logs: &Path,
    limit: Duration,
) -> Result<()> {
    let name = command.get_program().display().to_string();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    command.current_dir(root.join(folder));
    let mut script = Process::start(&name, command, &logs.join("script.log"))?;
    let ended = until("the script has ended", limit, async || {
        Ok(script.status()?.is_some())
    })
    .await;
    println!("{}", script.log_tail(usize::MAX));
    ended?;
    let status = script.wait(SOON)?;
    ensure!(
        status.success(),
        "`{name}` in `{folder}` ended with {status}: {}",
        script.log_tail(10)
    );
    Ok(())
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if self.stopped {
            return;
        }
        self.folder.disable_cleanup(true);
        eprintln!(
            "the output of the programs is kept in `{}`",
            self.folder.path().display()
        );
        for program in self.workers.iter_mut().chain(&mut self.handlers) {
            let process = program.process();
            eprintln!("--- end of {}\n{}", process.name(), process.log_tail(15));
        }
    }
}
