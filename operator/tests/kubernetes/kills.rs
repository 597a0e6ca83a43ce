//! An operator that is killed between any two writes leaves something that the next one goes on with.

use clickstream_registry::{Registry as _, StandingName};
use clickstream_resources::{ClickstreamPipeline, ClickstreamQuery};
use clickstream_testkit::kafka::Kafka;
use serde_json::{Value, json};

use crate::bed::{Bed, until};
use crate::proxy::Proxy;
use crate::sink::partitions;

/// A pipeline and a query, each with a topic that is made for it and goes with it.
async fn make(bed: &Bed, source: &str) {
    let filtered = json!({"partitions": 4, "reclaimPolicy": "Delete"});
    let pipeline = json!({"sourceTopics": [{"name": source}], "filteredTopic": filtered});
    bed.pipeline("shop", pipeline).await;
    let kafka = json!({"topic": sink(bed), "management": "Managed", "partitions": 2, "reclaimPolicy": "Delete"});
    bed.query("carts", json!({"sink": {"kafka": kafka}})).await;
}

fn sink(bed: &Bed) -> String {
    format!("{}-sink", bed.namespace)
}

fn filtered(bed: &Bed) -> String {
    format!("clickstream-{}.shop", bed.namespace)
}

async fn pipeline(bed: &Bed) -> Option<ClickstreamPipeline> {
    bed.api().get_opt("shop").await.unwrap()
}

async fn query(bed: &Bed) -> Option<ClickstreamQuery> {
    bed.api().get_opt("carts").await.unwrap()
}

/// What an object says of itself: `TYPE=STATUS REASON`.
fn told(object: &impl serde::Serialize) -> Vec<String> {
    let object = serde_json::to_value(object).unwrap();
    let conditions = object["status"]["conditions"].as_array();
    let text = |c: &Value, field: &str| c[field].as_str().unwrap().to_owned();
    let conditions = conditions.into_iter().flatten();
    conditions
        .map(|c| {
            let (kind, status) = (text(c, "type"), text(c, "status"));
            format!("{kind}={status} {}", text(c, "reason"))
        })
        .collect()
}

/// Whether all is as it should be, and the operator that runs has looked at both to the end.
async fn settled(bed: &Bed) -> Option<()> {
    bed.play_kubelet().await;
    for kind in ["ClickstreamPipeline", "ClickstreamQuery"] {
        let labels = format!("kind=\"{kind}\",result=\"ok\"");
        let looks = bed.operators[0].metric("operator_reconciles_total", &labels);
        if looks.await.ok()? == 0.0 {
            return None;
        }
    }
    let says = |said: Vec<String>, wanted: &str| said.iter().any(|said| said == wanted);
    let ready = says(told(&pipeline(bed).await), "Ready=True Ready");
    (ready && says(told(&query(bed).await), "Ready=False NoWorkers")).then_some(())
}

/// Starts one operator after the other, each of which is killed before its second write (the first one before its
/// first), until `done` while one lives. Answers how many were killed.
async fn live(
    bed: &mut Bed,
    proxy: &Proxy,
    mut after: impl AsyncFnMut(&Bed),
    done: impl AsyncFn(&Bed) -> Option<()>,
) -> usize {
    let namespace = bed.namespace.clone();
    for killed in 0..100 {
        proxy.allow_writes(Some(killed.min(1)));
        bed.start_operator(&["--watch-namespaces", &namespace])
            .await;
        let whole = tokio::select! {
            () = proxy.held() => false,
            () = until("done, or a write is held", async || done(bed).await) => true,
        };
        bed.operators.pop().unwrap().process().kill().unwrap();
        if whole {
            return killed;
        }
        after(bed).await;
    }
    let writes = proxy.seen("", "").into_iter().filter(|seen| seen.writes());
    let last: Vec<_> = writes
        .map(|seen| format!("{} {}", seen.verb, seen.path))
        .collect();
    panic!("no end, but {:#?}", &last[last.len().saturating_sub(8)..]);
}

/// All that an operator made and said, but for what differs from namespace to namespace and from time to time.
fn picture(bed: &Bed) -> Vec<Value> {
    let mut get = bed.kubernetes.kubectl();
    get.args(["get", "csp,csq,deploy,svc,sa,cm,pdb", "-o", "json", "-n"]);
    let shown = get.arg(&bed.namespace).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let shown = shown.replace(&bed.namespace, "NAMESPACE");
    let mut shown: Value = serde_json::from_str(&shown).unwrap();
    let mut items = std::mem::take(shown["items"].as_array_mut().unwrap());
    for item in &mut items {
        if !item["apiVersion"]
            .as_str()
            .unwrap()
            .starts_with("clickstream.dev/")
        {
            item["status"] = Value::Null;
        }
        strip(item);
    }
    items
}

fn strip(value: &mut Value) {
    const OWN: [&str; 10] = [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "lastTransitionTime",
        "queryId",
        "clusterIP",
        "clusterIPs",
        // Both depend on the pipeline's uid.
        "clickstream.dev/applied",
        "clickstream.dev/settings",
        "managedFields",
    ];
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !OWN.contains(&name.as_str()));
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_that_is_killed_before_any_write_leaves_nothing_half_done() {
    let source = Kafka::shared().unwrap().unique_topic("source", 3).await;
    let source = source.unwrap();
    let undisturbed = Bed::new().await;
    make(&undisturbed, &source).await;
    let mut bed = Bed::without_operator().await;
    let proxy = bed.proxy().await;
    make(&bed, &source).await;

    // Whoever waits for an object must not take one without conditions for a finished one.
    let mut first = [None, None];
    let look = async |bed: &Bed| {
        let said = [told(&pipeline(bed).await), told(&query(bed).await)];
        for (first, said) in first.iter_mut().zip(said) {
            if first.is_none() && !said.is_empty() {
                *first = Some(said);
            }
        }
    };
    let killed = live(&mut bed, &proxy, look, settled).await;
    assert!(killed > 10, "{killed}");
    for said in first {
        let said = said.unwrap();
        assert!(
            said.contains(&"Ready=Unknown Pending".to_owned()),
            "{said:?}"
        );
    }
    until("the other, too", async || settled(&undisturbed).await).await;
    assert_eq!(picture(&bed), picture(&undisturbed));
    let registry = bed.registry("shop");
    assert_eq!(registry.list().await.unwrap().len(), 1);
    let name = StandingName {
        namespace: bed.namespace.clone(),
        name: "carts".into(),
    };
    let row = registry.standing(&name).await.unwrap().unwrap();
    assert_eq!(row.sink_topic, Some(sink(&bed)));
    assert_eq!(partitions(&sink(&bed)).await, 2);
    assert_eq!(partitions(&filtered(&bed)).await, 4);

    let nothing = async |_: &Bed| {};
    bed.delete::<ClickstreamQuery>("carts").await;
    live(&mut bed, &proxy, nothing, async |bed| {
        let gone = query(bed).await.is_none();
        (gone && registry.list().await.unwrap().is_empty()).then_some(())
    })
    .await;
    assert_eq!(partitions(&sink(&bed)).await, 0);
    bed.delete::<ClickstreamPipeline>("shop").await;
    live(&mut bed, &proxy, nothing, async |bed| {
        pipeline(bed).await.is_none().then_some(())
    })
    .await;
    assert_eq!(partitions(&filtered(&bed)).await, 0);
}
