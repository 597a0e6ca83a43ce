//! The folder `examples`: every command of its README shows what the README says it does.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::Command;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// Every `$ command` of the blocks marked `console`, with the lines under it.
fn commands(readme: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if inside && let Some(command) = line.strip_prefix("$ ") {
            commands.push((command.to_owned(), String::new()));
        } else if inside && let Some((_, output)) = commands.last_mut() {
            output.push_str(line);
            output.push('\n');
        }
    }
    commands
}

#[test]
fn every_command_shows_what_the_readme_says() {
    let readme = std::fs::read_to_string(examples().join("README.md")).unwrap();
    let commands = commands(&readme);
    assert_eq!(commands.len(), 4);
    let program = Path::new(env!("CARGO_BIN_EXE_clickstream"));
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    for (command, expected) in commands {
        let output = Command::new("bash")
            .args(["-c", &format!("{command} 2>&1")])
            .env("PATH", &path)
            .current_dir(examples())
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            expected,
            "{command}"
        );
    }
}
