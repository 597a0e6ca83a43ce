//! How long to wait before an object that failed is tried again: its own failures count, nobody else's.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

/// After the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// However often it fails.
const LAST: Duration = Duration::from_secs(300);

/// Failures in a row, by object. Entries go with success and with the object.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: Mutex<HashMap<String, u32>>,
}

impl Backoff {
    /// Counts a failure of the object with this uid and says how long to wait: doubling from 1 s to 5 min, and a random
    /// part of up to half of that less, so that objects that fail together do not come back together.
    pub fn failed(&self, uid: &str) -> Duration {
        let mut failures = self.failures.lock();
        let count = failures.entry(uid.to_owned()).or_insert(0);
        *count = count.saturating_add(1);
        delay(*count, rand::random_range(0.5..=1.0))
    }

    /// The object did not fail, or is gone.
    pub fn forget(&self, uid: &str) {
        self.failures.lock().remove(uid);
    }
}

/// `share` of the full delay after `failures` failures in a row.
fn delay(failures: u32, share: f64) -> Duration {
    let doubled = FIRST.saturating_mul(
        1u32.checked_shl(failures.saturating_sub(1))
            .unwrap_or(u32::MAX),
    );
    doubled.min(LAST).mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_bound() {
        let full: Vec<u64> = (1..=40).map(|n| delay(n, 1.0).as_secs()).collect();
        assert_eq!(full[..4], [1, 2, 4, 8]);
        assert!(full[10..].iter().all(|seconds| *seconds == 300), "{full:?}");
        assert_eq!(delay(3, 0.5), Duration::from_secs(2));
    }

    #[test]
    fn success_starts_again_and_leaves_nothing_behind() {
        let backoff = Backoff::default();
        for _ in 0..10 {
            backoff.failed("a");
        }
        assert!(
            backoff.failed("b") <= Duration::from_secs(1),
            "another object"
        );
        backoff.forget("a");
        backoff.forget("b");
        assert!(backoff.failures.lock().is_empty());
    }
}
