//! A real Apache Kafka: one KRaft node on free loopback ports, its jars taken by Maven once and kept in
//! `${XDG_CACHE_HOME:-$HOME/.cache}/clickstream/`.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::process::Process;
use crate::{port, reaper};

/// Version of the jars that `testbed/kafka/pom.xml` names.
const VERSION: &str = "4.1.1";

/// How long a broker may take until it answers. A cold start takes 3 s on two idle cores.
const START_LIMIT: Duration = Duration::from_secs(90);

/// A running broker. Dropping it ends it and removes its data.
#[derive(Debug)]
pub struct Kafka {
    folder: PathBuf,
    broker: SocketAddr,
    process: Mutex<Option<Process>>,
}

impl Kafka {
    /// The broker that all tests of this process share; started by the first that asks, gone with the process.
    /// Tests that hurt the broker start one of their own.
    ///
    /// # Errors
    /// When it could not be started, for every caller.
    pub fn shared() -> Result<&'static Kafka> {
        static SHARED: OnceLock<Result<Kafka, String>> = OnceLock::new();
        SHARED
            .get_or_init(|| Kafka::start().map_err(|err| format!("{err:#}")))
            .as_ref()
            .map_err(|err| anyhow::anyhow!("{err}"))
    }

    /// Starts a broker and waits until it answers.
    ///
    /// # Errors
    /// When Java or Maven is missing (with the line that installs it), the jars cannot be had, or it does not start.
    pub fn start() -> Result<Kafka> {
        Kafka::start_on(Ipv4Addr::LOCALHOST)
    }

    /// As [`Kafka::start`], listening on another address of this machine.
    ///
    /// # Errors
    /// As [`Kafka::start`].
    pub fn start_on(host: Ipv4Addr) -> Result<Kafka> {
        let jars = jars()?;
        let folder = tempfile::Builder::new()
            .prefix("clickstream-kafka-")
            .tempdir()?
            .keep();
        reaper::remove(&folder)?;
        let (broker, controller) = (port::free_on(host)?, port::free()?);
        let properties = folder.join("server.properties");
        std::fs::write(
            &properties,
            server_properties(broker, controller, &folder.join("data")),
        )?;
        let kafka = Kafka {
            folder,
            broker,
            process: Mutex::new(None),
        };
        let format = java(&jars, &kafka.folder)
            .args([
                "kafka.tools.StorageTool",
                "format",
                "-t",
                "AAAAAAAAAAAAAAAAAAAAAQ",
                "-c",
            ])
            .arg(&properties)
            .output()
            .context("cannot run `java`")?;
        ensure!(
            format.status.success(),
            "cannot format: {}",
            String::from_utf8_lossy(&format.stderr)
        );
        kafka.start_again()?;
        Ok(kafka)
    }

    /// `host:port`, for `--brokers`.
    #[must_use]
    pub fn brokers(&self) -> String {
        self.broker.to_string()
    }

    /// SIGKILLs the broker; its data stays.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&self) -> Result<()> {
        match self.process().as_mut() {
            Some(process) => process.kill(),
            None => Ok(()),
        }
    }

    /// Starts the broker with the data it had, on the same address, and waits until it answers.
    ///
    /// # Errors
    /// When it runs, or does not start.
    pub fn start_again(&self) -> Result<()> {
        let mut slot = self.process();
        if let Some(running) = slot.as_mut() {
            ensure!(running.status()?.is_some(), "the broker runs");
        }
        let mut command = java(&jars()?, &self.folder);
        command
            .arg("kafka.Kafka")
            .arg(self.folder.join("server.properties"));
        let mut process = Process::start("kafka", command, &self.folder.join("broker.log"))?;
        let end = Instant::now() + START_LIMIT;
        while !self.answers() {
            if process.status()?.is_some() || Instant::now() > end {
                bail!("the broker does not start:\n{}", process.log_tail(20));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        *slot = Some(process);
        Ok(())
    }

    /// Makes a topic.
    ///
    /// # Errors
    /// When it exists or the broker refuses.
    pub async fn create_topic(&self, name: &str, partitions: i32) -> Result<()> {
        self.create_topic_with(name, partitions, &[]).await
    }

    /// Makes a topic with settings, e.g. `("retention.ms", "1000")`.
    ///
    /// # Errors
    /// When it exists or the broker refuses.
    pub async fn create_topic_with(
        &self,
        name: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> Result<()> {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let topic = settings
            .iter()
            .fold(topic, |topic, (key, value)| topic.set(key, value));
        let results = self
            .admin()?
            .create_topics([&topic], &AdminOptions::new())
            .await?;
        for result in results {
            result
                .map_err(|(name, code)| anyhow::anyhow!("cannot create topic `{name}`: {code}"))?;
        }
        Ok(())
    }

    /// Makes a topic whose name begins with `prefix` and that no other test uses; returns the name.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn unique_topic(&self, prefix: &str, partitions: i32) -> Result<String> {
        let name = unique(prefix);
        self.create_topic(&name, partitions).await?;
        Ok(name)
    }

    /// A client for other administration.
    ///
    /// # Errors
    /// When librdkafka refuses the configuration.
    pub fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        Ok(self.client().create()?)
    }

    /// The beginning of a client's configuration.
    #[must_use]
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.brokers());
        config
    }

    /// Whether the broker serves requests: it answers for its metadata and has left its start-up fence.
    fn answers(&self) -> bool {
        if TcpStream::connect_timeout(&self.broker, Duration::from_millis(200)).is_err() {
            return false;
        }
        let Ok(client) = self.client().create::<rdkafka::consumer::BaseConsumer>() else {
            return false;
        };
        let metadata =
            rdkafka::consumer::Consumer::fetch_metadata(&client, None, Duration::from_secs(2));
        metadata.is_ok_and(|metadata| !metadata.brokers().is_empty())
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.process().take();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A name that no other test of any process uses: `prefix`, process id, count.
#[must_use]
pub fn unique(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{prefix}-{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Kafka's libraries unpack native code, which a killed broker leaves behind: it lies with the broker's data.
fn java(jars: &Path, folder: &Path) -> Command {
    let mut command = Command::new("java");
    command
        .args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .arg("-Dorg.apache.logging.log4j.level=WARN")
        .arg(format!("-Djava.io.tmpdir={}", folder.display()))
        .arg("-cp")
        .arg(jars.join("*"));
    command
}

/// One node that is broker and controller. Sessions and start-up fences are short, so that a killed broker is back
/// within seconds; groups form at once.
fn server_properties(broker: SocketAddr, controller: SocketAddr, data: &Path) -> String {
    let data = data.display();
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@{controller}\n\
         listeners=PLAINTEXT://{broker},CONTROLLER://{controller}\n\
         advertised.listeners=PLAINTEXT://{broker}\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         log.dirs={data}\n\
         auto.create.topics.enable=false\n\
         broker.heartbeat.interval.ms=500\n\
         broker.session.timeout.ms=3000\n\
         offsets.topic.num.partitions=4\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n\
         group.min.session.timeout.ms=1000\n"
    )
}

/// The folder of the jars; Maven fills it when it is not there.
fn jars() -> Result<PathBuf> {
    require("java", "apt-get install -y default-jre-headless")?;
    let cache = cache()?;
    let jars = cache.join(format!("kafka-{VERSION}"));
    if jars.is_dir() {
        return Ok(jars);
    }
    require("mvn", "apt-get install -y maven")?;
    std::fs::create_dir_all(&cache)?;
    let pom = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testbed/kafka/pom.xml");
    let fresh = tempfile::tempdir_in(&cache)?;
    let taken = Command::new("mvn")
        .args(["-q", "-B", "-f"])
        .arg(&pom)
        .arg("dependency:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", fresh.path().display()))
        .output()
        .context("cannot run `mvn`")?;
    ensure!(
        taken.status.success(),
        "Maven cannot take the jars: {}",
        String::from_utf8_lossy(&taken.stdout)
    );
    // Another test process may have been quicker; its jars are the same.
    let fresh = fresh.keep();
    if std::fs::rename(&fresh, &jars).is_err() {
        ensure!(
            jars.is_dir(),
            "cannot move the jars to `{}`",
            jars.display()
        );
        std::fs::remove_dir_all(&fresh)?;
    }
    Ok(jars)
}

/// Where what is fetched or built once is kept.
pub(crate) fn cache() -> Result<PathBuf> {
    let caches = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .context("neither `XDG_CACHE_HOME` nor `HOME` is set")?;
    Ok(caches.join("clickstream"))
}

/// Fails with the line that installs `program` when it is not on `PATH`.
pub(crate) fn require(program: &str, install: &str) -> Result<()> {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    });
    ensure!(found, "`{program}` is missing: install it with `{install}`");
    Ok(())
}
