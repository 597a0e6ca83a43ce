//! The schemas, as a real API server takes them.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

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
    let mut explain = kubernetes.kubectl();
    explain.args(["explain", "csp.spec.filteredTopic.reclaimPolicy"]);
    let explained = String::from_utf8(explain.output().unwrap().stdout).unwrap();
    assert!(
        explained.contains("What happens to it when the pipeline is deleted."),
        "{explained}"
    );
    let mut every = kubernetes.kubectl();
    every.args(["explain", "--recursive", "csp"]);
    let every = String::from_utf8(every.output().unwrap().stdout).unwrap();
    assert!(
        every.contains("bootstrapServers\t<[]string> -required-"),
        "{every}"
    );
}
