//! The node of a test cluster runs pods and leaves nothing behind.

use std::path::Path;
use std::process::Command;

use clickstream_testkit::kubernetes::Cluster;

/// The output of a line of shell.
fn shell(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output();
    output.map_or_else(
        |err| err.to_string(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

/// What the machine knows of a cluster: its link, its processes, its control groups, its mounts.
fn traces(host: &str, name: &str) -> [String; 4] {
    [
        shell(&format!("ip -oneline address show to {host}")),
        shell(&format!("pgrep -f '[/]{name}/'")),
        shell(&format!(
            "ls -d /sys/fs/cgroup/*/{name} /sys/fs/cgroup/{name}"
        )),
        shell(&format!("grep {name} /proc/mounts")),
    ]
}

fn settings() -> String {
    shell(
        "cd /proc/sys && cat kernel/panic kernel/panic_on_oops vm/overcommit_memory net/ipv4/ip_forward",
    )
}

#[test]
fn pods_run_and_are_gone_with_the_cluster() {
    let before = settings();
    let cluster = Cluster::start().unwrap();
    let run = |args: &[&str]| {
        let output = cluster.kubernetes().kubectl().args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
    };
    run(&[
        "run",
        "pause",
        "--image=localhost/pause:1",
        "--restart=Never",
    ]);
    run(&[
        "wait",
        "--for=condition=Ready",
        "pod/pause",
        "--timeout=120s",
    ]);
    assert_eq!(settings(), before, "the machine's own settings");

    let (host, folder) = (cluster.host().to_string(), cluster.folder().to_owned());
    let name = folder.file_name().unwrap().to_str().unwrap();
    let [link, processes, groups, mounts] = traces(&host, name);
    assert!(link.contains("clickstream"));
    assert!(processes.lines().count() >= 4, "{processes}");
    assert!(!groups.is_empty());
    assert!(
        mounts.is_empty(),
        "only the node sees what it mounts: {mounts}"
    );
    drop(cluster);
    assert_eq!(traces(&host, name), [const { String::new() }; 4]);
    assert!(!Path::new(&folder).exists());
}
