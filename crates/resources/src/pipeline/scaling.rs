//! How many workers and handlers there are, when the operator decides it.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Span;

/// Who decides how many there are. `Off` wants quotes in YAML, `mode: "Off"`: kubectl reads a bare one as false.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum ScalingMode {
    /// The operator.
    Auto,
    /// `replicas`; the operator says in the status and in events what it would do.
    Advise,
    /// Somebody else, such as a HorizontalPodAutoscaler on the Deployment: the operator leaves its replicas alone.
    External,
    /// `replicas`, which `kubectl scale` changes.
    #[default]
    Off,
}

/// How many workers there are.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.min <= self.max", "`min` must not be above `max`"))]
pub struct WorkerScaling {
    /// Who decides. In YAML with quotes, `mode: "Off"`: kubectl reads a bare Off as false.
    #[serde(default)]
    pub mode: ScalingMode,
    /// Never fewer.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1024))]
    pub min: i32,
    /// Never more; nor more than the source topics have partitions.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 1024))]
    pub max: i32,
    /// How busy workers should be on average: 0.1 to 1.
    #[serde(default = "seven_tenths")]
    #[schemars(
        length(max = 8),
        regex(pattern = r"^(0\.[1-9][0-9]{0,2}|1(\.0{1,3})?)$")
    )]
    pub target_utilization: String,
    /// In which time a backlog should be gone.
    #[serde(default = "ten_minutes")]
    pub catch_up: Span,
    /// How long nothing is decided after a change.
    #[serde(default = "five_minutes")]
    pub stabilization: Span,
    /// Workers are taken away down to the most that were needed within this time.
    #[serde(default = "half_an_hour")]
    pub scale_down_delay: Span,
}

/// How many handlers there are.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.min <= self.max", "`min` must not be above `max`"))]
pub struct HandlerScaling {
    /// Who decides. In YAML with quotes, `mode: "Off"`: kubectl reads a bare Off as false.
    #[serde(default)]
    pub mode: ScalingMode,
    /// Never fewer.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1024))]
    pub min: i32,
    /// Never more.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 1024))]
    pub max: i32,
    /// Connections of viewers for each handler.
    #[serde(default = "five_thousand")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub target_connections: i32,
    /// How long nothing is decided after a change.
    #[serde(default = "five_minutes")]
    pub stabilization: Span,
    /// Handlers are taken away down to the most that were needed within this time.
    #[serde(default = "half_an_hour")]
    pub scale_down_delay: Span,
}

impl Default for WorkerScaling {
    fn default() -> Self {
        WorkerScaling {
            mode: ScalingMode::default(),
            min: one(),
            max: ten(),
            target_utilization: seven_tenths(),
            catch_up: ten_minutes(),
            stabilization: five_minutes(),
            scale_down_delay: half_an_hour(),
        }
    }
}

impl Default for HandlerScaling {
    fn default() -> Self {
        HandlerScaling {
            mode: ScalingMode::default(),
            min: one(),
            max: ten(),
            target_connections: five_thousand(),
            stabilization: five_minutes(),
            scale_down_delay: half_an_hour(),
        }
    }
}

fn one() -> i32 {
    1
}

fn ten() -> i32 {
    10
}

fn five_thousand() -> i32 {
    5_000
}

fn seven_tenths() -> String {
    "0.7".to_owned()
}

fn five_minutes() -> Span {
    Span::from("5m")
}

fn ten_minutes() -> Span {
    Span::from("10m")
}

fn half_an_hour() -> Span {
    Span::from("30m")
}
