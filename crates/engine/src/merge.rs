//! Making one segment of several, on a thread of its own.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::index::{Paths, Segment};
use crate::set::{Live, Wanted};

/// A merge that is under way. Dropped, it ends unseen.
pub(crate) struct Merge {
    thread: JoinHandle<(Live, Arc<Wanted>, Vec<Live>)>,
    segments: usize,
}

impl Merge {
    /// Begins to index all filters of `segments` anew, and with them their fields; `None` if the system has no
    /// thread for it.
    pub(crate) fn start(segments: Vec<Live>) -> Option<Self> {
        let count = segments.len();
        let thread = thread::Builder::new()
            .name("filter-merge".to_owned())
            .spawn(move || {
                let filters = segments.iter().flat_map(Live::filters);
                let filters = filters.map(|(key, filter)| (key, filter.clone())).collect();
                let mut paths = Paths::default();
                let base = Live::new(Segment::new(filters, &mut paths));
                (base, Arc::new(Wanted::new(paths)), segments)
            });
        thread.ok().map(|thread| Self {
            thread,
            segments: count,
        })
    }

    /// How many segments are being merged.
    pub(crate) fn segments(&self) -> usize {
        self.segments
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// The new segment, its fields, and the segments as they were that are in it. Waits for the end.
    pub(crate) fn finish(self) -> Option<(Live, Arc<Wanted>, Vec<Live>)> {
        self.thread.join().ok()
    }
}
