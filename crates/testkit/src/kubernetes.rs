//! A real Kubernetes control plane without a node: etcd, kube-apiserver and kube-controller-manager on free loopback
//! ports. They are one Go program (`testbed/kubernetes`), built once and kept in
//! `${XDG_CACHE_HOME:-$HOME/.cache}/clickstream/`. Pods stay Pending: a test that needs more plays the kubelet.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::kafka::{cache, require};
use crate::process::Process;
use crate::{port, reaper};

/// As in `testbed/kubernetes/go.mod`.
const VERSION: &str = "1.34.2";

/// How long the API server may take until it answers. A start takes 3 s on two idle cores.
const START_LIMIT: Duration = Duration::from_secs(120);

/// What one program is called by, and so is.
const COMPONENTS: [&str; 4] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kubectl",
];

/// A running control plane. Dropping it ends it and removes its data.
#[derive(Debug)]
pub struct Kubernetes {
    folder: PathBuf,
    programs: PathBuf,
    etcd: SocketAddr,
    server: SocketAddr,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    // Dropped in this order.
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
        let programs = programs()?;
        let folder = tempfile::Builder::new()
            .prefix("clickstream-kubernetes-")
            .tempdir()?
            .keep();
        reaper::remove(&folder)?;
        let kubernetes = Kubernetes {
            folder,
            programs,
            etcd: port::free()?,
            server: port::free()?,
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
        command
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .arg("--cache-dir")
            .arg(self.folder.join("kubectl"))
            .stdin(Stdio::null());
        command
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
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
        self.apply(&folder, &["--server-side"])?;
        let mut wait = self.kubectl();
        wait.args(["wait", "--for=condition=Established", "--timeout=60s"])
            .arg("-f")
            .arg(&folder);
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
            .args([
                "--authorization-mode=RBAC",
                "--service-cluster-ip-range=10.96.0.0/16",
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
            .args(["--leader-elect=false", "--secure-port=0"]);
        let log = self.folder.join("controllers.log");
        let controllers = Process::start("kube-controller-manager", command, &log)?;
        self.running().controllers = Some(controllers);
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
                controllers,
                server,
                etcd,
            } = &mut *running;
            for process in [etcd, server, controllers].into_iter().flatten() {
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
        command.current_dir(&self.folder);
        command
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Kubernetes {
    fn drop(&mut self) {
        *self.running() = Running::default();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The folder of the programs; Go fills it when it is not there, which takes minutes.
fn programs() -> Result<PathBuf> {
    require("openssl", "apt-get install -y openssl")?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testbed/kubernetes");
    let mut hash = DefaultHasher::new();
    for file in ["main.go", "go.mod", "go.sum"] {
        std::fs::read(source.join(file))?.hash(&mut hash);
    }
    let cache = cache()?;
    let programs = cache.join(format!("kubernetes-{VERSION}-{:016x}", hash.finish()));
    if programs.is_dir() {
        return Ok(programs);
    }
    require("go", "apt-get install -y golang-go, or see https://go.dev")?;
    eprintln!(
        "building Kubernetes {VERSION} once, into `{}`: this takes minutes",
        programs.display()
    );
    std::fs::create_dir_all(&cache)?;
    let fresh = tempfile::tempdir_in(&cache)?;
    let version = "k8s.io/component-base/version";
    let built = Command::new("go")
        .args(["build", "-trimpath", "-buildvcs=false"])
        .arg(format!(
            "-ldflags=-s -w -X {version}.gitVersion=v{VERSION} -X {version}.gitMajor=1 -X {version}.gitMinor=34"
        ))
        .arg("-o")
        .arg(fresh.path().join("kube"))
        .arg(".")
        .current_dir(&source)
        .env("CGO_ENABLED", "0")
        .output()
        .context("cannot run `go`")?;
    ensure!(
        built.status.success(),
        "Go cannot build Kubernetes: {}",
        String::from_utf8_lossy(&built.stderr)
    );
    for component in COMPONENTS {
        std::os::unix::fs::symlink("kube", fresh.path().join(component))?;
    }
    // Another test process may have been quicker; its program is the same.
    let fresh = fresh.keep();
    if std::fs::rename(&fresh, &programs).is_err() {
        ensure!(
            programs.is_dir(),
            "cannot move the program to `{}`",
            programs.display()
        );
        std::fs::remove_dir_all(&fresh)?;
    }
    Ok(programs)
}
