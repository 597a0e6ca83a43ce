//! A control plane with a node that runs pods: containerd, kubelet, kube-proxy and CoreDNS in network, mount and process
//! namespaces of their own, and Helm. When their first process ends, the kernel ends every pod and takes back mounts,
//! links, routes and filters; only the pods' control groups are removed by us. Needs root.

use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{Kubernetes, direct, programs};
use crate::kafka::require;
use crate::process::Process;
use crate::reaper;

/// How long the node may take until it is ready. It takes 6 s on two idle cores.
const START_LIMIT: Duration = Duration::from_secs(180);

/// Debian's packages, and one program of each.
const PACKAGES: [(&str, &str); 7] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("cc", "gcc"),
];

/// Of the package `containernetworking-plugins`.
const PLUGIN: &str = "/usr/lib/cni/ptp";

/// How many clusters may run at once.
const NETWORKS: u8 = 64;

/// A control plane with one node. Dropping it ends every pod and removes all of it; while a test panics, what the pods
/// said last is printed first.
///
/// Pods reach this machine at [`Cluster::host`], and tests reach pods and Services at their own addresses.
#[derive(Debug)]
pub struct Cluster {
    node: Process,
    folder: PathBuf,
    network: Network,
    kubernetes: Kubernetes,
}

impl Cluster {
    /// Starts a control plane and a node, and waits until the node can run pods.
    ///
    /// # Errors
    /// When this is not root, something is missing (with the line that installs it), cannot be built, or does not
    /// start.
    pub fn start() -> Result<Cluster> {
        check_machine()?;
        let (kube, coredns) = (programs::kubernetes()?, programs::coredns()?);
        let folder = tempfile::Builder::new()
            .prefix("clickstream-node-")
            .tempdir()?
            .keep();
        reaper::remove(&folder)?;
        reaper::run(&remove_control_groups(&folder)?)?;
        let bin = folder.join("bin");
        std::fs::create_dir(&bin)?;
        for program in [
            kube.join("kubelet"),
            kube.join("kube-proxy"),
            coredns.clone(),
        ] {
            let name = program.file_name().context("a program has a name")?;
            symlink(&program, bin.join(name))?;
        }
        let mut command = Command::new("unshare");
        direct(&mut command)
            .args(["--net", "--mount", "--pid", "--fork"])
            .args(["--kill-child", "--mount-proc", "--"])
            .arg(programs::source().join("node"))
            .arg(&folder);
        let mut node = Process::start("the node", command, &folder.join("node.log"))?;
        let network = Network::claim(&mut node)?;
        let kubernetes = Kubernetes::start_on(network.host(), &network.services())?;
        kubernetes.start_scheduler()?;
        std::fs::copy(kubernetes.kubeconfig(), folder.join("admin.kubeconfig"))?;
        let told = folder.join("told");
        std::fs::write(
            &told,
            format!(
                "link={} pods={} server={}\n",
                network.node(),
                network.pods(),
                network.host()
            ),
        )?;
        std::fs::rename(&told, folder.join("network"))?;
        let mut cluster = Cluster {
            node,
            folder,
            network,
            kubernetes,
        };
        cluster.load_pause()?;
        cluster.wait_until_ready()?;
        Ok(cluster)
    }

    /// Its control plane.
    #[must_use]
    pub fn kubernetes(&self) -> &Kubernetes {
        &self.kubernetes
    }

    /// This machine's address, for pods and for tests alike: Kafka and PostgreSQL listen on it.
    #[must_use]
    pub fn host(&self) -> Ipv4Addr {
        self.network.host()
    }

    /// Where the node's programs write, each to a log of its name.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Gives the node the images of `archive`, as `image/archive` makes it. Pods must not ask a registry for them:
    /// `imagePullPolicy: IfNotPresent`.
    ///
    /// # Errors
    /// When containerd refuses.
    pub fn load(&self, archive: &Path) -> Result<()> {
        let mut ctr = Command::new("ctr");
        ctr.arg("--address")
            .arg(self.folder.join("containerd.sock"))
            .args(["--namespace", "k8s.io", "images", "import"])
            .arg(archive);
        run(&mut ctr)
    }

    /// Drops what pods send to `port` of other pods. The kubelet, which looks whether pods are ready, and this machine
    /// still reach it.
    ///
    /// # Errors
    /// When the node refuses.
    pub fn block_between_pods(&self, port: u16) -> Result<()> {
        self.filter("--insert", port)
    }

    /// Ends what [`Cluster::block_between_pods`] began.
    ///
    /// # Errors
    /// When it was not begun.
    pub fn unblock_between_pods(&self, port: u16) -> Result<()> {
        self.filter("--delete", port)
    }

    fn filter(&self, verb: &str, port: u16) -> Result<()> {
        let (node, pods) = (self.node.id().to_string(), self.network.pods());
        run(Command::new("nsenter")
            .args(["--net", "--mount", "--target", &node, "--"])
            .args(["iptables", "--wait", verb, "FORWARD"])
            .args(["--source", &pods, "--destination", &pods])
            .args(["--protocol", "tcp", "--dport", &port.to_string()])
            .args(["--jump", "DROP"]))
    }

    /// The image of a pod's sandbox.
    fn load_pause(&mut self) -> Result<()> {
        let root = self.folder.join("pause");
        std::fs::create_dir(&root)?;
        run(Command::new("cc")
            .args(["-static", "-Os", "-o"])
            .arg(root.join("pause"))
            .arg(programs::source().join("pause.c")))?;
        let archive = self.folder.join("pause.tar");
        let make = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../image/archive");
        run(Command::new(make)
            .arg("localhost/pause:1")
            .arg(&root)
            .arg(&archive)
            .arg("/pause"))?;
        let end = Instant::now() + START_LIMIT;
        let socket = self.folder.join("containerd.sock");
        while UnixStream::connect(&socket).is_err() {
            self.check(end)?;
            std::thread::sleep(Duration::from_millis(50));
        }
        self.load(&archive)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let end = Instant::now() + START_LIMIT;
        for (object, condition) in [
            ("node/node", "--for=condition=Ready"),
            ("serviceaccount/default", "--for=create"),
        ] {
            let mut ready = self.kubernetes.kubectl();
            ready.args(["wait", condition, object, "--timeout=1s"]);
            while !ready.output()?.status.success() {
                self.check(end)?;
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        Ok(())
    }

    /// Fails when the node has ended, or after `end`.
    fn check(&mut self, end: Instant) -> Result<()> {
        if self.node.status()?.is_some() || Instant::now() > end {
            let kubelet = std::fs::read_to_string(self.folder.join("kubelet.log"));
            let kubelet = kubelet.unwrap_or_default();
            let lines: Vec<_> = kubelet.lines().rev().take(15).collect();
            let lines: Vec<_> = lines.into_iter().rev().collect();
            bail!(
                "the node does not start:\n{}\n--- kubelet\n{}",
                self.node.log_tail(25),
                lines.join("\n")
            );
        }
        Ok(())
    }

    /// Prints what helps to see why a test has failed.
    fn describe(&self) {
        for args in [
            "get pods --all-namespaces --output=wide",
            "get events --all-namespaces --sort-by=.lastTimestamp",
            "logs --all-namespaces --selector=app.kubernetes.io/name=clickstream --all-pods --prefix --tail=30",
        ] {
            let mut kubectl = self.kubernetes.kubectl();
            kubectl.args(args.split(' '));
            if let Ok(output) = kubectl.output() {
                let text = String::from_utf8_lossy(&output.stdout);
                let lines: Vec<_> = text.lines().collect();
                let from = lines.len().saturating_sub(120);
                eprintln!("--- kubectl {args}\n{}", lines[from..].join("\n"));
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.describe();
        }
        let _ = self.node.kill();
        // Waits for the end of the pods' processes, which are the kernel's to end.
        if let Ok(command) = remove_control_groups(&self.folder) {
            let _ = Command::new("sh").args(["-c", &command]).output();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Addresses of one cluster.
#[derive(Debug, Clone, Copy)]
struct Network(u8);

impl Network {
    /// Links the namespaces of `node` to this machine, by addresses that no other cluster has: who makes the link of a
    /// name owns the network of its number. The link goes with the namespaces.
    fn claim(node: &mut Process) -> Result<Network> {
        let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net"));
        let (id, end) = (node.id().to_string(), Instant::now() + START_LIMIT);
        while namespace(&id)? == namespace("self")? {
            if node.status()?.is_some() || Instant::now() > end {
                bail!(
                    "cannot make namespaces, which takes root without a sandbox: {}",
                    node.log_tail(5)
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let network = (0..NETWORKS).map(Network).find(|network| {
            let link = network.link();
            let peer = ["type", "veth", "peer", "name", "eth0", "netns", &id];
            ip(["link", "add", &link].iter().chain(&peer)).is_ok()
        });
        let network = network.with_context(|| {
            format!("cannot make a link to the node: {NETWORKS} are there, or `ip link add` fails")
        })?;
        let (link, node) = (network.link(), network.node().to_string());
        let address = format!("{}/30", network.host());
        ip(["address", "add", &address, "dev", &link].iter())?;
        ip(["link", "set", &link, "up"].iter())?;
        for addresses in [network.pods(), network.services()] {
            ip(["route", "add", &addresses, "via", &node].iter())?;
        }
        Ok(network)
    }

    /// This machine's end of the link.
    fn host(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 217, self.0, 1)
    }

    /// The node's end.
    fn node(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 217, self.0, 2)
    }

    fn pods(self) -> String {
        format!("10.218.{}.0/24", self.0)
    }

    fn services(self) -> String {
        format!("10.219.{}.0/24", self.0)
    }

    fn link(self) -> String {
        format!("clickstream{}", self.0)
    }
}

/// Fails with what to install or to become when this machine cannot run a node.
fn check_machine() -> Result<()> {
    for (program, package) in PACKAGES {
        require(program, &format!("apt-get install -y {package}"))?;
    }
    ensure!(
        Path::new(PLUGIN).exists(),
        "`{PLUGIN}` is missing: install it with `apt-get install -y containernetworking-plugins`"
    );
    let user = Command::new("id").arg("-u").output()?.stdout;
    ensure!(user == b"0\n", "a node needs root: run this test as root");
    Ok(())
}

/// A line of shell that removes the control groups of the pods as soon as their processes have ended, which takes a
/// moment.
fn remove_control_groups(folder: &Path) -> Result<String> {
    let name = folder.file_name().context("a folder has a name")?.display();
    Ok(format!(
        "n=0; while [ $n -lt 300 ]; do left=; \
         for group in /sys/fs/cgroup/{name} /sys/fs/cgroup/*/{name}; do \
         [ -d \"$group\" ] || continue; left=1; find \"$group\" -depth -type d -exec rmdir {{}} +; done; \
         [ \"$left\" ] || break; n=$((n + 1)); sleep 0.1; done"
    ))
}

fn ip<'a>(args: impl Iterator<Item = &'a &'a str>) -> Result<()> {
    run(Command::new("ip").args(args))
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().display().to_string();
    let output = command
        .output()
        .with_context(|| format!("cannot run `{program}`"))?;
    ensure!(
        output.status.success(),
        "`{program}`: {}",
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    Ok(())
}
