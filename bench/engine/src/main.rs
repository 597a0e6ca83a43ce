//! Prints what matching costs on this machine, beside the peers, on one thread.

mod extract;
mod measure;
mod table;

use anyhow::Result;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Of all filters and events.
const SEED: u64 = 7;

fn main() -> Result<()> {
    extract::print()
}
