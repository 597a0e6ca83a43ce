//! The schemas, as a real API server takes them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use clickstream_testkit::kubernetes::Kubernetes;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    kind: Kind,
    #[serde(default)]
    was: Option<Value>,
    #[serde(default = "nothing")]
    set: Value,
    /// As `set`, but `null` stays `null`.
    #[serde(default)]
    raw: Option<String>,
    /// A filter of so many bytes.
    #[serde(default)]
    long: Option<usize>,
    #[serde(default)]
    refused: Option<String>,
}

fn nothing() -> Value {
    json!({})
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Pipeline,
    Query,
}

impl Kind {
    fn base(self, name: &str) -> Value {
        match self {
            Kind::Pipeline => json!({
                "apiVersion": "clickstream.dev/v1alpha1",
                "kind": "ClickstreamPipeline",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {
                    "kafka": {"bootstrapServers": ["kafka:9092"]},
                    "sourceTopics": [{"name": "events"}],
                    "postgres": {"secretRef": {"name": "database"}},
                },
            }),
            Kind::Query => json!({
                "apiVersion": "clickstream.dev/v1alpha1",
                "kind": "ClickstreamQuery",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {"pipelineRef": {"name": "shop"}, "filter": "event.type == \"purchase\""},
            }),
        }
    }
}

/// As RFC 7386 says.
fn merge(into: &mut Value, from: &Value, keep_null: bool) {
    let (Value::Object(fields), Value::Object(changes)) = (&mut *into, from) else {
        *into = from.clone();
        return;
    };
    for (name, change) in changes {
        if change.is_null() && !keep_null {
            fields.remove(name);
        } else {
            let field = fields.entry(name).or_insert(Value::Null);
            if field.is_null() && change.is_object() {
                *field = json!({});
            }
            merge(field, change, keep_null);
        }
    }
}

/// What kubectl says, and whether the API server took it.
fn send(kubernetes: &Kubernetes, verb: &[&str], object: &Value) -> (bool, String) {
    let mut kubectl = kubernetes.kubectl();
    kubectl.args(verb).args(["-f", "-"]);
    let mut child = kubectl
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(object.to_string().as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn objects_are_accepted_and_refused_as_the_table_says() {
    let kubernetes = Kubernetes::shared().unwrap();
    kubernetes.apply_crds().unwrap();
    let table = include_str!("../testdata/admission.yaml");
    let cases: Vec<Case> = serde_yaml::from_str(table).unwrap();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let mut object = case.kind.base(&format!("case-{number}"));
        let verb = match &case.was {
            None => "create",
            Some(was) => {
                merge(&mut object, was, false);
                let (made, said) = send(kubernetes, &["create"], &object);
                assert!(made, "{}: {said}", case.name);
                "apply"
            }
        };
        merge(&mut object, &case.set, false);
        if let Some(raw) = &case.raw {
            merge(&mut object, &serde_json::from_str(raw).unwrap(), true);
        }
        if let Some(bytes) = case.long {
            object["spec"]["filter"] = "a".repeat(bytes).into();
        }
        let dry: &[&str] = match verb {
            "create" => &["create", "--dry-run=server"],
            _ => &["replace", "--dry-run=server"],
        };
        let (taken, said) = send(kubernetes, dry, &object);
        let as_expected = match &case.refused {
            None => taken,
            Some(text) => !taken && said.contains(text.as_str()),
        };
        if !as_expected {
            wrong.push(format!("{}: {said}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn examples_are_accepted_by_a_bare_api_server() {
    let kubernetes = Kubernetes::shared().unwrap();
    kubernetes.apply_crds().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let said = kubernetes.apply(&examples, &["--dry-run=server"]).unwrap();
    let queries = said
        .lines()
        .filter(|line| line.starts_with("clickstreamquery."))
        .count();
    assert_eq!(queries, 6, "{said}");
    assert!(
        said.contains("clickstreampipeline.clickstream.dev/"),
        "{said}"
    );
}

#[test]
fn explain_and_columns_read_well() {
    let kubernetes = Kubernetes::shared().unwrap();
    kubernetes.apply_crds().unwrap();
    let explained = explain(kubernetes, &["csp.spec.filteredTopic.reclaimPolicy"]);
    assert!(
        explained.contains("What happens to it when the pipeline is deleted."),
        "{explained}"
    );
    let every = explain(kubernetes, &["--recursive", "csp"]);
    assert!(
        every.contains("bootstrapServers\t<[]string> -required-"),
        "{every}"
    );
}

/// The API server publishes the description of a kind a moment after it serves it.
fn explain(kubernetes: &Kubernetes, args: &[&str]) -> String {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let output = kubernetes.kubectl().arg("explain").args(args).output();
        let output = output.unwrap();
        if output.status.success() {
            return String::from_utf8(output.stdout).unwrap();
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(Instant::now() < end, "{said}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn objects_outlive_a_restart_of_the_api_server() {
    let kubernetes = Kubernetes::start().unwrap();
    kubernetes.apply_crds().unwrap();
    let query = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/query.yaml");
    kubernetes.apply(&query, &[]).unwrap();
    kubernetes.kill_api_server().unwrap();
    let gone = kubernetes.apply(&query, &[]).unwrap_err().to_string();
    assert!(gone.contains("refused"), "{gone}");
    kubernetes.start_api_server().unwrap();
    let mut get = kubernetes.kubectl();
    get.args(["get", "csq", "-o", "jsonpath={.items[*].spec}"]);
    // A field that the file leaves out has its default.
    let found = String::from_utf8(get.output().unwrap().stdout).unwrap();
    assert!(found.contains(r#""rate":100"#), "{found}");
    let mut select = kubernetes.kubectl();
    select.args([
        "get",
        "csq",
        "--field-selector",
        "spec.pipelineRef.name=shop",
    ]);
    let selected = String::from_utf8(select.output().unwrap().stdout).unwrap();
    assert!(selected.contains("mobile-purchases   shop"), "{selected}");
}
