//! How many there are, decided from what pods say. The test plays workers and handlers as far as `/metrics` goes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use clickstream_resources::ClickstreamPipeline;
use clickstream_resources::condition::{Reason, Type};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::bed::{Bed, until};

/// What the pods of a namespace say. There are three partitions.
#[derive(Default)]
struct Stage {
    began: Option<Instant>,
    /// Records per second of each partition that come, and that are read.
    arrive: [f64; 3],
    read: [f64; 3],
    /// How many came and were read before these were last changed.
    before: [(f64, f64); 3],
    /// Whether workers are busy all the time, and the more of them there are, the less they read.
    crowded: bool,
    connections: f64,
    silent: bool,
    /// Names of pods by component.
    pods: BTreeMap<&'static str, Vec<String>>,
}

impl Stage {
    fn seconds(&self) -> f64 {
        self.began
            .map_or(0.0, |began| began.elapsed().as_secs_f64())
    }

    /// Records that came into a partition, and that were read.
    fn records(&self, partition: usize) -> (f64, f64) {
        let (came, read) = self.before[partition];
        let of = |rates: &[f64; 3]| rates[partition] * self.seconds();
        (came + of(&self.arrive), read + of(&self.read))
    }

    fn set_rates(&mut self, arrive: [f64; 3], read: [f64; 3]) {
        self.before = [0, 1, 2].map(|partition| self.records(partition));
        (self.began, self.arrive, self.read) = (Some(Instant::now()), arrive, read);
    }

    fn set_pods(&mut self, pods: BTreeMap<&'static str, Vec<String>>) {
        let workers = |pods: &BTreeMap<_, Vec<String>>| pods.get("worker").map_or(0, Vec::len);
        let (former, now) = (workers(&self.pods), workers(&pods));
        if self.crowded && former != now {
            let each = 30.0 / (now * now).max(1) as f64;
            self.set_rates(self.arrive, [each; 3]);
        }
        self.pods = pods;
    }

    /// A thread reads 100 records per second.
    fn metrics(&self, pod: &str) -> String {
        let place = |component: &str| {
            let all = self.pods.get(component)?;
            Some((all.iter().position(|name| name == pod)?, all.len()))
        };
        if let Some((_, of)) = place("handler") {
            return format!(
                "handler_subscriptions 0\nhandler_connections{{door=\"stomp\"}} {}\n",
                self.connections / of as f64
            );
        }
        let Some((number, of)) = place("worker") else {
            return String::new();
        };
        let (mut text, mut records) = (String::new(), 0.0);
        for partition in (0..3).filter(|partition| partition % of == number) {
            let (came, read) = self.records(partition);
            records += read;
            text += &format!(
                "worker_lag_records{{topic=\"t\",partition=\"{partition}\"}} {}\nworker_next_offset{{topic=\"t\",partition=\"{partition}\"}} {read}\n",
                came - read
            );
        }
        let busy = if self.crowded {
            // More than there are, because the operator's clock is another one.
            1.2 * self.seconds()
        } else {
            records / 100.0
        };
        text + &format!(
            "worker_records_total {records}\nworker_busy_seconds_total {busy}\nworker_consumers 1\n"
        )
    }
}

type Shared = Arc<parking_lot::Mutex<Stage>>;

/// Gives every pod an address and somebody who answers there, and says that it is ready.
async fn play(pods: Api<Pod>, stage: Shared) {
    static NETWORKS: AtomicU8 = AtomicU8::new(1);
    let network = NETWORKS.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    let mut last = 1;
    loop {
        let Ok(list) = pods.list(&ListParams::default()).await else {
            continue;
        };
        let mut known = BTreeMap::<&'static str, Vec<String>>::new();
        for pod in list {
            let name = pod.name_any();
            let component = match pod.labels().get("app.kubernetes.io/component") {
                Some(component) if component == "worker" => "worker",
                _ => "handler",
            };
            if pod.metadata.deletion_timestamp.is_none() {
                known.entry(component).or_default().push(name.clone());
            }
            if pod.status.is_some_and(|status| status.pod_ip.is_some()) {
                continue;
            }
            last += 1;
            let ip = Ipv4Addr::new(127, 1 + (process % 200) as u8, network, last);
            let Ok(listener) = TcpListener::bind(SocketAddr::new(ip.into(), 8080)).await else {
                continue;
            };
            tokio::spawn(answer(listener, name.clone(), Arc::clone(&stage)));
            let status = json!({"status": {
                "phase": "Running",
                "podIP": ip.to_string(),
                "podIPs": [{"ip": ip.to_string()}],
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            }});
            let _ = pods
                .patch_status(&name, &PatchParams::default(), &Patch::Merge(&status))
                .await;
        }
        known.values_mut().for_each(|names| names.sort());
        stage.lock().set_pods(known);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn answer(listener: TcpListener, pod: String, stage: Shared) {
    while let Ok((mut socket, _)) = listener.accept().await {
        let (pod, stage) = (pod.clone(), Arc::clone(&stage));
        tokio::spawn(async move {
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            let (silent, body) = {
                let stage = stage.lock();
                (stage.silent, stage.metrics(&pod))
            };
            let state = if silent {
                "503 Service Unavailable"
            } else {
                "200 OK"
            };
            let text = format!(
                "HTTP/1.1 {state}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = socket.write_all(text.as_bytes()).await;
        });
    }
}

async fn replicas(bed: &Bed, name: &str) -> Option<i32> {
    bed.api::<Deployment>()
        .get_opt(name)
        .await
        .unwrap()?
        .spec?
        .replicas
}

#[tokio::test]
async fn load_adds_workers_and_handlers_and_its_end_takes_them_away() {
    let bed = Bed::new().await;
    let stage = Shared::default();
    stage.lock().set_rates([60.0; 3], [60.0; 3]);
    stage.lock().connections = 8.0;
    let player = tokio::spawn(play(bed.api(), Arc::clone(&stage)));
    let times =
        json!({"mode": "Auto", "min": 1, "max": 3, "stabilization": "1s", "scaleDownDelay": "3s"});
    let mut worker = times.clone();
    worker["targetUtilization"] = "0.5".into();
    worker["catchUp"] = "10s".into();
    let mut handler = times;
    handler["targetConnections"] = 5.into();
    bed.pipeline(
        "shop",
        json!({
            "worker": {"replicas": 1, "autoscaling": worker},
            "handler": {"replicas": 1, "autoscaling": handler},
        }),
    )
    .await;
    until("three workers and two handlers", async || {
        let both = (
            replicas(&bed, "shop-worker").await,
            replicas(&bed, "shop-handler").await,
        );
        (both == (Some(3), Some(2))).then_some(())
    })
    .await;
    let status = bed.pipeline_status("shop").await;
    let told: Vec<_> = status
        .scaling
        .iter()
        .map(|d| (d.component.as_str(), d.from, d.to, d.reason.as_str()))
        .collect();
    assert!(told.contains(&("handler", 1, 2, "Connections")), "{told:?}");
    assert!(told.contains(&("worker", 1, 2, "InputRate")), "{told:?}");
    assert!(
        status
            .scaling
            .iter()
            .all(|decision| decision.applied && decision.inputs.contains("needed"))
    );
    let events = bed.api::<Event>();
    let events = events.list(&ListParams::default()).await.unwrap();
    let scaled = events
        .items
        .into_iter()
        .filter(|event| event.reason.as_deref() == Some("Scaled"));
    let notes: Vec<_> = scaled.filter_map(|event| event.note).collect();
    for d in &status.scaling {
        let (what, from, to, reason, inputs) = (&d.component, d.from, d.to, &d.reason, &d.inputs);
        let note = format!("scaled {what}s from {from} to {to}, {reason}: {inputs}");
        assert!(notes.contains(&note), "no `{note}` among {notes:#?}");
    }
    bed.pipeline_says(
        "shop",
        Type::ScalingActive.as_str(),
        "True",
        Reason::AtMaximum.as_str(),
    )
    .await;

    stage.lock().silent = true;
    stage.lock().set_rates([0.0; 3], [0.0; 3]);
    bed.pipeline_says("shop", "ScalingActive", "False", "MetricsUnavailable")
        .await;
    // Longer than it takes to decide.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(
        replicas(&bed, "shop-worker").await,
        Some(3),
        "unknown changes nothing"
    );
    stage.lock().silent = false;
    stage.lock().connections = 0.0;
    until("one of each again", async || {
        let both = (
            replicas(&bed, "shop-worker").await,
            replicas(&bed, "shop-handler").await,
        );
        (both == (Some(1), Some(1))).then_some(())
    })
    .await;
    bed.pipeline_says("shop", "ScalingActive", "True", "Scaling")
        .await;

    // Somebody else decides.
    let external = json!({"spec": {"worker": {"autoscaling": {"mode": "External"}}}});
    bed.patch::<ClickstreamPipeline>("shop", external).await;
    bed.pipeline_says("shop", "Ready", "True", "Ready").await;
    let scale = json!({"spec": {"replicas": 2}});
    bed.patch::<Deployment>("shop-worker", scale).await;
    bed.touch::<ClickstreamPipeline>("shop").await;
    bed.pipeline_says("shop", "Ready", "True", "Ready").await;
    assert_eq!(replicas(&bed, "shop-worker").await, Some(2));
    player.abort();
}

#[tokio::test]
async fn more_workers_are_not_added_where_they_would_not_help() {
    let bed = Bed::new().await;
    let stage = Shared::default();
    // All of it comes into one partition, and more than a thread can read.
    stage
        .lock()
        .set_rates([1_000.0, 0.0, 0.0], [100.0, 0.0, 0.0]);
    let player = tokio::spawn(play(bed.api(), Arc::clone(&stage)));
    let worker = json!({
        "mode": "Auto", "min": 1, "max": 3, "catchUp": "10s",
        "stabilization": "1s", "scaleDownDelay": "1h",
    });
    bed.pipeline(
        "shop",
        json!({"worker": {"replicas": 1, "autoscaling": worker}}),
    )
    .await;
    bed.pipeline_says("shop", "ScalingActive", "True", "PartitionSkew")
        .await;
    assert_eq!(replicas(&bed, "shop-worker").await, Some(1));

    // Nobody reads it any more. The gap makes the operator forget the load so far.
    let act = async |change: &dyn Fn(&mut Stage)| {
        stage.lock().silent = true;
        bed.pipeline_says("shop", "ScalingActive", "False", "MetricsUnavailable")
            .await;
        let mut stage = stage.lock();
        change(&mut stage);
        stage.silent = false;
    };
    act(&|stage| stage.set_rates([0.0; 3], [0.0; 3])).await;
    bed.pipeline_says("shop", "ScalingActive", "True", "StuckPartition")
        .await;
    assert_eq!(replicas(&bed, "shop-worker").await, Some(1));

    // All are read, slowly, because of something that workers share: a second one is tried, and no third.
    act(&|stage| {
        stage.crowded = true;
        stage.set_rates([300.0; 3], [30.0; 3]);
    })
    .await;
    let told = bed
        .pipeline_says("shop", "ScalingActive", "True", "Ineffective")
        .await;
    assert!(told.contains("brought nothing"), "{told}");
    assert_eq!(replicas(&bed, "shop-worker").await, Some(2));
    player.abort();
}
