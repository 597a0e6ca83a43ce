//! The program `clickstream`; also installed as `kubectl-clickstream`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    clickstream::run()
}
