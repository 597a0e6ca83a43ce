//! A real Kubernetes control plane without a node: etcd, kube-apiserver and kube-controller-manager on free loopback
//! ports. Pods stay Pending: a test that runs some takes a [`Cluster`], which has a node and takes longer to start.

mod node;
mod programs;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

pub use self::node::Cluster;
use crate::kafka::require;
use crate::process::Process;
use crate::{port, reaper};

/// How long the API server may take until it answers. A start takes 3 s on two idle cores.
const START_LIMIT: Duration = Duration::from_secs(120);

/// A running control plane. Dropping it ends it and removes its data.
#[derive(Debug)]
pub struct Kubernetes {
    folder: PathBuf,
    programs: PathBuf,
    etcd: SocketAddr,
    server: SocketAddr,
    services: String,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    // Dropped in this order.
    scheduler: Option<Process>,
    controllers: Option<Process>,
    server: Option<Process>,
    etcd: Option<Process>,
}

impl Kubernetes {
    /// The control plane that all tests of this process share; started by the first that asks, gone with the process.
    /// Tests that hurt it start one of their own.
    ///
    /// # Errors
    /// When it could not be started, for every caller.
    pub fn shared() -> Result<&'static Kubernetes> {
        static SHARED: OnceLock<Result<Kubernetes, String>> = OnceLock::new();
        SHARED
            .get_or_init(|| Kubernetes::start().map_err(|err| format!("{err:#}")))
            .as_ref()
            .map_err(|err| anyhow::anyhow!("{err}"))
    }

    /// Starts a control plane and waits until it answers and has made the namespace `default`.
    ///
    /// # Errors
    /// When Go or OpenSSL is missing (with the line that installs it), the program cannot be built, or does not start.
    pub fn start() -> Result<Kubernetes> {
        Kubernetes::start_on(Ipv4Addr::LOCALHOST, "10.96.0.0/16")
    }

    /// Starts a control plane whose API server listens on `address` and gives Services addresses of `services`.
    fn start_on(address: Ipv4Addr, services: &str) -> Result<Kubernetes> {
        require("openssl", "apt-get install -y openssl")?;
        let programs = programs::kubernetes()?;
        let folder = tempfile::Builder::new()
            .prefix("clickstream-kubernetes-")
            .tempdir()?
            .keep();
        reaper::remove(&folder)?;
        let kubernetes = Kubernetes {
            folder,
            programs,
            etcd: port::free()?,
            server: port::free_on(address)?,
            services: services.to_owned(),
            running: Mutex::default(),
        };
        kubernetes.write_credentials()?;
        kubernetes.start_etcd()?;
        kubernetes.start_api_server()?;
        kubernetes.start_controllers()?;
        let mut account = kubernetes.kubectl();
        account.args(["get", "namespace", "default"]);
        kubernetes.wait_until(account)?;
        Ok(kubernetes)
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    /// kubectl as the administrator.
    #[must_use]
    pub fn kubectl(&self) -> Command {
        let mut command = Command::new(self.programs.join("kubectl"));
        direct(&mut command)
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .arg("--cache-dir")
            .arg(self.folder.join("kubectl"))
            .stdin(Stdio::null());
        command
    }

    /// Helm as the administrator.
    ///
    /// # Errors
    /// When Go is missing or cannot build it.
    pub fn helm(&self) -> Result<Command> {
        let mut command = Command::new(programs::helm()?);
        direct(&mut command)
            .env("KUBECONFIG", self.kubeconfig())
            .stdin(Stdio::null());
        for folder in ["CACHE", "CONFIG", "DATA"] {
            command.env(format!("HELM_{folder}_HOME"), self.folder.join("helm"));
        }
        Ok(command)
    }

    /// Applies `path`, a file or a folder with all that is below it, and returns what kubectl says.
    ///
    /// # Errors
    /// When the API server refuses anything of it; the error has its words.
    pub fn apply(&self, path: &Path, more: &[&str]) -> Result<String> {
        let output = self
            .kubectl()
            .args(["apply", "-R", "-f"])
            .arg(path)
            .args(more)
            .output()
            .context("cannot run kubectl")?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Applies the definitions in `crds/` and waits until the API server serves them.
    ///
    /// # Errors
    /// When it refuses them.
    pub fn apply_crds(&self) -> Result<()> {
        self.define(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds"))
    }

    /// As [`Kubernetes::apply_crds`], of the Prometheus Operator's kinds PodMonitor and PrometheusRule.
    ///
    /// # Errors
    /// When Go is missing or cannot fetch them.
    pub fn apply_monitoring_crds(&self) -> Result<()> {
        programs::monitoring()?
            .iter()
            .try_for_each(|file| self.define(file))
    }

    fn define(&self, folder: &Path) -> Result<()> {
        self.apply(folder, &["--server-side"])?;
        let mut wait = self.kubectl();
        wait.args(["wait", "--for=condition=Established", "--timeout=60s"])
            .arg("-f")
            .arg(folder);
        let output = wait.output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// SIGKILLs the API server; etcd keeps its data.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill_api_server(&self) -> Result<()> {
        match self.running().server.as_mut() {
            Some(server) => server.kill(),
            None => Ok(()),
        }
    }

    /// Starts the API server, again on the same address, and waits until it answers.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_api_server(&self) -> Result<()> {
        let mut command = self.component("kube-apiserver");
        command
            .arg(format!("--etcd-servers=http://{}", self.etcd))
            .arg(format!("--bind-address={}", self.server.ip()))
            .arg(format!("--advertise-address={}", self.server.ip()))
            .arg(format!("--secure-port={}", self.server.port()))
            .arg(format!("--cert-dir={}", self.path("certificates")))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(format!(
                "--service-account-key-file={}",
                self.path("accounts.pub")
            ))
            .arg(format!(
                "--service-account-signing-key-file={}",
                self.path("accounts.key")
            ))
            .arg(format!("--token-auth-file={}", self.path("tokens.csv")))
            .arg(format!("--service-cluster-ip-range={}", self.services))
            .args([
                "--authorization-mode=RBAC",
                "--kubelet-preferred-address-types=InternalIP",
            ]);
        let server = Process::start("kube-apiserver", command, &self.folder.join("server.log"))?;
        self.running().server = Some(server);
        let mut ready = self.kubectl();
        ready.args(["get", "--raw", "/readyz"]);
        self.wait_until(ready)
    }

    fn start_etcd(&self) -> Result<()> {
        let (client, peer) = (
            format!("http://{}", self.etcd),
            format!("http://{}", port::free()?),
        );
        let mut command = self.component("etcd");
        command
            .arg("--unsafe-no-fsync")
            .args(["--data-dir", &self.path("etcd")])
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--initial-cluster", &format!("default={peer}")]);
        let etcd = Process::start("etcd", command, &self.folder.join("etcd.log"))?;
        self.running().etcd = Some(etcd);
        Ok(())
    }

    fn start_controllers(&self) -> Result<()> {
        let kubeconfig = self.path("admin.kubeconfig");
        let mut command = self.component("kube-controller-manager");
        command
            .arg(format!("--kubeconfig={kubeconfig}"))
            .arg(format!(
                "--service-account-private-key-file={}",
                self.path("accounts.key")
            ))
            // With which pods check whom they talk to.
            .arg(format!(
                "--root-ca-file={}",
                self.path("certificates/apiserver.crt")
            ))
            .args(["--leader-elect=false", "--secure-port=0"]);
        let log = self.folder.join("controllers.log");
        let controllers = Process::start("kube-controller-manager", command, &log)?;
        self.running().controllers = Some(controllers);
        Ok(())
    }

    fn start_scheduler(&self) -> Result<()> {
        let mut command = self.component("kube-scheduler");
        command
            .arg(format!("--kubeconfig={}", self.path("admin.kubeconfig")))
            .args(["--leader-elect=false", "--secure-port=0"]);
        let log = self.folder.join("scheduler.log");
        self.running().scheduler = Some(Process::start("kube-scheduler", command, &log)?);
        Ok(())
    }

    /// Runs `probe` until it succeeds.
    fn wait_until(&self, mut probe: Command) -> Result<()> {
        let end = Instant::now() + START_LIMIT;
        while !probe
            .output()
            .context("cannot run kubectl")?
            .status
            .success()
        {
            let mut running = self.running();
            let Running {
                scheduler,
                controllers,
                server,
                etcd,
            } = &mut *running;
            for process in [etcd, server, controllers, scheduler].into_iter().flatten() {
                if process.status()?.is_some() || Instant::now() > end {
                    let (name, log) = (process.name().to_owned(), process.log_tail(20));
                    bail!("the control plane does not start, {name}:\n{log}");
                }
            }
            drop(running);
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn write_credentials(&self) -> Result<()> {
        let (key, public) = (self.path("accounts.key"), self.path("accounts.pub"));
        for args in [
            [
                "ecparam",
                "-name",
                "prime256v1",
                "-genkey",
                "-noout",
                "-out",
                &key,
            ]
            .as_slice(),
            ["ec", "-in", &key, "-pubout", "-out", &public].as_slice(),
        ] {
            let made = Command::new("openssl").args(args).output()?;
            ensure!(
                made.status.success(),
                "openssl: {}",
                String::from_utf8_lossy(&made.stderr)
            );
        }
        std::fs::write(
            self.folder.join("tokens.csv"),
            "admin-token,admin,admin,\"system:masters\"\n",
        )?;
        let server = self.server;
        std::fs::write(
            self.kubeconfig(),
            format!(
                "apiVersion: v1\n\
                 kind: Config\n\
                 clusters: [{{name: test, cluster: {{server: \"https://{server}\", insecure-skip-tls-verify: true}}}}]\n\
                 users: [{{name: admin, user: {{token: admin-token}}}}]\n\
                 contexts: [{{name: test, context: {{cluster: test, user: admin}}}}]\n\
                 current-context: test\n"
            ),
        )?;
        Ok(())
    }

    fn component(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        direct(&mut command).current_dir(&self.folder);
        command
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All that is talked to is on this machine, even where its addresses look otherwise.
fn direct(command: &mut Command) -> &mut Command {
    for variable in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
        command.env_remove(variable);
    }
    command
}

impl Drop for Kubernetes {
    fn drop(&mut self) {
        *self.running() = Running::default();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
