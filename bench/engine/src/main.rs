//! Prints what matching costs on this machine, beside the peers, all on one thread: medians of five rounds in
//! which everything has its turn. Times are printed, never judged; a run fails when results differ.
//!
//! `clickstream-bench-engine [extract] [growth] [peers] [regexes] [updates]`: all of them when none is named.

mod extract;
mod matching;
mod measure;
mod peers;
mod table;
mod translate;
mod updates;

use anyhow::Result;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Of all filters and events.
const SEED: u64 = 7;

/// Measures and prints one table or more.
type Part = fn() -> Result<()>;

fn main() -> Result<()> {
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let wants = |part: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == part);
    println!("{}, seed {SEED}\n", processor());
    let parts: [(&str, Part); 5] = [
        ("extract", extract::print),
        ("growth", matching::growth),
        ("peers", matching::peers),
        ("regexes", matching::regular_expressions),
        ("updates", updates::print),
    ];
    for (name, print) in parts {
        if wants(name) {
            print()?;
        }
    }
    Ok(())
}

/// What the machine calls itself.
fn processor() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{}, {cores} cores, load before {}",
        model.unwrap_or(std::env::consts::ARCH),
        load.split(' ').next().unwrap_or("unknown")
    )
}

/// A time for people.
fn nanoseconds(time: f64) -> String {
    match time {
        ..1e4 => format!("{time:.0} ns"),
        ..1e7 => format!("{:.1} us", time / 1e3),
        _ => format!("{:.1} ms", time / 1e6),
    }
}
