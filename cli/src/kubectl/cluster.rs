//! Asking the cluster, by `kubectl`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Which cluster, and where in it.
#[derive(Debug, clap::Args)]
pub(crate) struct Cluster {
    /// Namespace [default: that of kubectl's context]
    #[arg(short, long)]
    namespace: Option<String>,
    /// Context of the kubeconfig [default: its current one]
    #[arg(long)]
    context: Option<String>,
    /// The kubeconfig [default: kubectl's]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

#[derive(Deserialize)]
struct List<T> {
    items: Vec<T>,
}

impl Cluster {
    /// kubectl with these options; `namespace` instead of the one that was given.
    pub(super) fn kubectl(&self, namespace: Option<&str>) -> Command {
        let mut command = Command::new("kubectl");
        if let Some(namespace) = namespace.or(self.namespace.as_deref()) {
            command.args(["--namespace", namespace]);
        }
        if let Some(context) = &self.context {
            command.args(["--context", context]);
        }
        if let Some(kubeconfig) = &self.kubeconfig {
            command.arg("--kubeconfig").arg(kubeconfig);
        }
        command
    }

    /// All objects of a kind.
    pub(super) fn list<T: DeserializeOwned>(
        &self,
        kind: &str,
        all_namespaces: bool,
    ) -> anyhow::Result<Vec<T>> {
        let mut command = self.kubectl(None);
        command.args(["get", kind, "--output", "json"]);
        if all_namespaces {
            command.arg("--all-namespaces");
        }
        Ok(json::<List<T>>(command)?.items)
    }

    /// One object.
    pub(super) fn get<T: DeserializeOwned>(
        &self,
        kind: &str,
        name: &str,
        namespace: Option<&str>,
    ) -> anyhow::Result<T> {
        let mut command = self.kubectl(namespace);
        // A name that begins with a dash is no option.
        command.args(["get", "--output", "json", "--", kind, name]);
        json(command)
    }
}

fn json<T: DeserializeOwned>(mut command: Command) -> anyhow::Result<T> {
    let output = command
        .output()
        .context("running `kubectl`: is it on the PATH?")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("reading what `kubectl` says")
}
