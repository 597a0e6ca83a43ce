//! What `--help` says is part of the interface.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use support::run;

fn help(command: &[&str]) -> String {
    let finished = run([command, &["--help"]].concat());
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.stderr, "");
    finished.stdout
}

macro_rules! commands {
    ($($name:ident: $command:expr;)*) => {
        $(
            #[test]
            fn $name() {
                insta::assert_snapshot!(help(&$command));
            }
        )*
    };
}

commands! {
    clickstream: [];
    tail: ["tail"];
    check: ["check"];
    match_: ["match"];
    generate: ["generate"];
    demo: ["demo"];
}

#[cfg(feature = "kubectl")]
#[test]
fn as_a_plugin_it_calls_itself_by_that_name() {
    let folder = tempfile::TempDir::new().unwrap();
    let plugin = folder.path().join("kubectl-clickstream");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_clickstream"), &plugin).unwrap();
    let output = std::process::Command::new(plugin)
        .args(["check", "--help"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("Usage: kubectl clickstream check"), "{text}");
}
