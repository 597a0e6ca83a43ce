//! Matching makes nothing on the heap once it is warm, and a filter's index is small.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use clickstream_engine::{Filter, FilterSet, Record, Scratch};
use clickstream_mixes::Mix;

/// The system's allocator, counting the allocations of each thread.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    COUNT.set(COUNT.get() + 1);
}

#[expect(
    unsafe_code,
    reason = "every call is handed to the system's allocator as it came"
)]
// SAFETY: `System` keeps the contract of `GlobalAlloc`, and the count touches no memory but its own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the same.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn set_of(filters: impl IntoIterator<Item = String>) -> FilterSet {
    let mut set = FilterSet::new();
    for (key, filter) in (0..).zip(filters) {
        set.insert(key, Filter::parse(&filter).unwrap());
    }
    set.clone()
}

/// Allocations while `set` is held against `events` for the second time, and its matches.
fn allocations(set: &FilterSet, events: &[Vec<u8>]) -> (u64, usize) {
    let mut scratch = Scratch::default();
    let mut keys = Vec::new();
    let (mut counted, mut matches) = (0, 0);
    for _ in 0..2 {
        let before = COUNT.get();
        matches = 0;
        for event in events {
            keys.clear();
            set.matching(&Record::of_value(event), &mut scratch, &mut keys)
                .unwrap();
            matches += keys.len();
        }
        counted = COUNT.get() - before;
    }
    (counted, matches)
}

#[test]
fn warm_matching_allocates_nothing() {
    assert!(COUNT.get() > 0, "the count works");
    for mix in [Mix::S, Mix::E, Mix::B, Mix::T] {
        let set = set_of(mix.filters(3, 2_000));
        let (counted, matches) = allocations(&set, &mix.events_of_shapes(4, 500, 20));
        assert_eq!(counted, 0, "{mix:?}");
        assert!(matches > 0, "{mix:?}");
    }
}

#[test]
fn logic_over_fields_and_lists_allocates_nothing() {
    let filters = [
        "!has(event.voucher) && event.cart.items > 2",
        "event.user.returning || event.page.category == 'category 1'",
        "!(event.site == 'site-1' || event.latencyMs > 100)",
        "event.product.tags.exists(tag, tag == 'sale') && event.cart.coupon == null",
        "4 in event.product.tags",
        "size(event.product.tags) == 3 && size(event.page.path) > 10",
        "event.nothing.here == 1 || event.product.price < 1000.0",
        "event.device.type == 'tv' ? event.cart.items == 1 : event.cart.items == 2",
        "event.page.title.startsWith('Offers & more\\nfor') && event.app.build >= 0u",
        "event.page.referrer.matches('site[0-9]+') && event.page.path < '/d'",
    ];
    let set = set_of(filters.map(str::to_owned));
    let (counted, matches) = allocations(&set, &Mix::S.events_of_shapes(5, 500, 20));
    assert_eq!(counted, 0);
    assert!(matches > 2_000, "{matches}");
}

#[test]
fn the_index_takes_few_bytes_for_each_filter() {
    for mix in [Mix::S, Mix::B] {
        let count = 20_000;
        let set = set_of(mix.filters(6, count));
        let each = set.index_bytes() / count;
        assert!(each <= 256, "{mix:?}: {each} bytes");
    }
}
