//! The plugin of kubectl, on a real API server.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use clickstream_testkit::kubernetes::Kubernetes;
use serde_json::{Value, json};

/// A cluster with our kinds, and a folder with the plugin beside kubectl.
struct Bed {
    kubernetes: &'static Kubernetes,
    plugins: tempfile::TempDir,
}

impl Bed {
    fn new(namespace: &str) -> Self {
        let kubernetes = Kubernetes::shared().unwrap();
        kubernetes.apply_crds().unwrap();
        let plugins = tempfile::TempDir::new().unwrap();
        let plugin = plugins.path().join("kubectl-clickstream");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_clickstream"), plugin).unwrap();
        let bed = Self {
            kubernetes,
            plugins,
        };
        let made = bed
            .kubernetes
            .kubectl()
            .args(["create", "namespace", namespace])
            .output();
        assert!(made.unwrap().status.success());
        bed
    }

    /// `kubectl clickstream`, as a person types it.
    fn plugin(&self, args: &[&str]) -> Output {
        let kubectl = PathBuf::from(self.kubernetes.kubectl().get_program());
        let path = std::env::join_paths([
            self.plugins.path().to_owned(),
            kubectl.parent().unwrap().to_owned(),
        ]);
        Command::new(kubectl)
            .arg("clickstream")
            .args(args)
            .env("PATH", path.unwrap())
            .env("KUBECONFIG", self.kubernetes.kubeconfig())
            .output()
            .unwrap()
    }

    fn said(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = self.plugin(args);
        let mut text = String::from_utf8(output.stdout).unwrap();
        text += &String::from_utf8(output.stderr).unwrap();
        (output.status.code(), text)
    }

    fn apply(&self, object: &Value) {
        let mut kubectl = self.kubernetes.kubectl();
        kubectl.args(["apply", "-f", "-"]);
        let child = kubectl.stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        let mut child = child.unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(object.to_string().as_bytes()).unwrap();
        drop(stdin);
        assert!(child.wait().unwrap().success());
    }

    /// As the operator writes it.
    fn status(&self, kind: &str, namespace: &str, name: &str, status: Value) {
        let patch = json!({ "status": status }).to_string();
        let mut kubectl = self.kubernetes.kubectl();
        kubectl.args(["patch", kind, name, "-n", namespace, "--subresource=status"]);
        let output = kubectl
            .args(["--type=merge", "-p", &patch])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
}

fn query(namespace: &str, name: &str, filter: &str) -> Value {
    json!({
        "apiVersion": "clickstream.dev/v1alpha1", "kind": "ClickstreamQuery",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"pipelineRef": {"name": "shop"}, "filter": filter},
    })
}

fn pipeline(namespace: &str) -> Value {
    json!({
        "apiVersion": "clickstream.dev/v1alpha1", "kind": "ClickstreamPipeline",
        "metadata": {"name": "shop", "namespace": namespace},
        "spec": {
            "kafka": {"bootstrapServers": ["kafka:9092"]},
            "sourceTopics": [{"name": "events"}],
            "postgres": {"secretRef": {"name": "database"}},
        },
    })
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message,
           "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

#[test]
fn what_is_not_ready_is_explained_and_listed() {
    let bed = Bed::new("words");
    bed.apply(&pipeline("words"));
    for name in ["carts", "bad", "new"] {
        bed.apply(&query("words", name, "event.type == \"cart\""));
    }
    let down = condition(
        "KafkaReady",
        "False",
        "KafkaUnavailable",
        "no broker answers",
    );
    bed.status("csp", "words", "shop", json!({
        "observedGeneration": 1,
        "worker": {"replicas": 2, "ready": 1, "desired": 2, "selector": "a=b"},
        "conditions": [down, condition("Ready", "False", "KafkaUnavailable", "no broker answers")],
    }));
    bed.status(
        "csq",
        "words",
        "carts",
        json!({
            "observedGeneration": 1, "viewers": 3, "matchRate": "35/s",
            "conditions": [condition("Ready", "True", "Ready", "every worker matches it")],
        }),
    );
    bed.status("csq", "words", "bad", json!({
        "observedGeneration": 1,
        "conditions": [
            condition("Programmed", "Unknown", "PipelineNotReady", "its database is not known yet"),
            condition("Ready", "Unknown", "PipelineNotReady", "its database is not known yet"),
        ],
    }));
    let (code, text) = bed.said(&["status", "-n", "words"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(
        text,
        "PIPELINE   WORKERS   HANDLERS   QUERIES   READINESS\n\
         shop       1/2       -          -         not ready: kafka unavailable\n\n\
         QUERY   PIPELINE   VIEWERS   MATCHES   READINESS\n\
         bad     shop       -         -         unknown: pipeline not ready\n\
         carts   shop       3         35/s      ready\n\
         new     shop       -         -         not looked at yet\n"
    );
    let (code, text) = bed.said(&["status", "-A"]);
    assert!(
        code == Some(0) && text.contains("words       carts   shop"),
        "{text}"
    );

    let (code, text) = bed.said(&["explain", "csq/carts", "-n", "words"]);
    assert_eq!(
        (code, text.as_str()),
        (Some(0), "csq/carts in `words` is ready.\n")
    );
    let (code, text) = bed.said(&["explain", "csq/bad", "-n", "words"]);
    assert_eq!(code, Some(3), "{text}");
    for part in [
        "csq/bad in `words` is unknown: pipeline not ready.",
        "  Programmed: not known, PipelineNotReady\n      its database is not known yet\n",
        "Its pipeline, too:\ncsp/shop in `words` is not ready: kafka unavailable.",
        "  KafkaReady: no, KafkaUnavailable\n      no broker answers\n    That is: The brokers do not answer.",
    ] {
        assert!(text.contains(part), "{text}");
    }
    // A change that nobody has looked at.
    bed.apply(&query("words", "carts", "event.type == \"other\""));
    let (code, text) = bed.said(&["explain", "csq/carts", "-n", "words"]);
    assert!(code == Some(3) && text.contains("was changed"), "{text}");
    let (code, text) = bed.said(&["explain", "csq/none", "-n", "words"]);
    assert!(
        code == Some(1) && text.contains("\"none\" not found"),
        "{text}"
    );
    let (code, text) = bed.said(&["explain", "pod/none"]);
    assert!(
        code == Some(2) && text.contains("neither `csq` nor `csp`"),
        "{text}"
    );
}

#[test]
fn a_query_is_followed_by_its_address() {
    let bed = Bed::new("watch");
    bed.apply(&query("watch", "carts", "event.type == \"cart\""));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "http://{}/?query=watch/carts",
        listener.local_addr().unwrap()
    );
    bed.status("csq", "watch", "carts", json!({"url": url}));
    let server = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let lines = BufReader::new(&stream).lines().map(Result::unwrap);
        let request: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nid: t/0/1\ndata: {\"n\":1}\n\n";
        stream.write_all(answer.as_bytes()).unwrap();
        request[0].clone()
    });
    let args = [
        "tail",
        "csq/carts",
        "-n",
        "watch",
        "--transport",
        "sse",
        "--count",
        "1",
        "--rate",
        "7",
    ];
    let output = bed.plugin(&args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "{\"n\":1}\n");
    let asked = server.join().unwrap();
    assert!(
        asked.contains("query=watch%2Fcarts") && asked.contains("rate=7"),
        "{asked}"
    );

    // Inside the cluster only: there is no Service to forward to, and kubectl's words say so.
    let inside = "http://shop-handler.watch.svc/?query=watch/carts";
    bed.status("csq", "watch", "carts", json!({"url": inside}));
    let (code, text) = bed.said(&["tail", "csq/carts", "-n", "watch", "--count", "1"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("\"shop-handler\" not found"), "{text}");
    assert!(
        text.contains("forwards no port to service `shop-handler` in `watch`"),
        "{text}"
    );
}
