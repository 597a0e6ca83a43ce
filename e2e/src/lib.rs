//! What the end-to-end tests share: a pipeline of our programs on real services, load with known numbers, the data
//! set read independently of the product, and the comparison of what was sent with what was seen.

pub mod compare;
pub mod dataset;
pub mod load;
pub mod pipeline;
pub mod release;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::sync::{Mutex, MutexGuard};

/// Limit for things that take a moment on an idle machine and must happen in the end.
pub const SOON: Duration = Duration::from_secs(60);

/// One test at a time: each needs the machine for itself. Hold the guard to the end of the test.
pub async fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// Waits until `condition` gives true and returns the seconds that took.
///
/// # Errors
/// When it does not within `limit`, or fails.
pub async fn until<F: AsyncFnMut() -> Result<bool>>(
    what: &str,
    limit: Duration,
    mut condition: F,
) -> Result<f64> {
    let start = Instant::now();
    while !condition().await? {
        if start.elapsed() > limit {
            bail!("not within {limit:?}: {what}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(start.elapsed().as_secs_f64())
}
