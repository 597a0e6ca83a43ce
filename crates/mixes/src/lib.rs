//! Seeded filters and events, on which the matching engine is tested and measured.
//!
//! A pure generator: the same mix, seed and count give the same texts and bytes on every machine, now and
//! later, so that a figure or a failure can be named by its seed. Never a normal dependency.
//!
//! | mix | filters | events |
//! |---|---|---|
//! | [`Mix::S`] | what people ask of a shop: 1 to 4 of 18 fields, `==`, `in`, ranges; at most 0.2 % of events each | a shop's, 1.1 KB |
//! | [`Mix::E`] | S without ranges | as S |
//! | [`Mix::B`] | 2 to 4 clauses none of which is rare; at most 0.5 % of events each | as S |
//! | [`Mix::T`] | `startsWith`, `endsWith`, `contains`, `matches`, alone and with others | as S |
//! | [`Mix::L`] | `&&`, `||`, `!`, `?:`, `has`, `size`, `exists`, indexing; absent fields, wrong types | small and hostile |
//! | [`Mix::N`] | numbers of every kind and size, escapes, unicode | small and hostile, with repeated keys |

mod logic;
mod numbers;
mod random;
mod shop;
mod texts;

pub use random::Random;

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mix {
    /// Realistic: most filters have a clause that few events meet.
    S,
    /// S without ranges.
    E,
    /// Hard: no clause of a filter is rare.
    B,
    /// Searches in texts.
    T,
    /// Logic and errors.
    L,
    /// Numbers and spellings.
    N,
}

impl Mix {
    /// Every mix.
    pub const EACH: [Mix; 6] = [Mix::S, Mix::E, Mix::B, Mix::T, Mix::L, Mix::N];

    /// `count` filters as CEL. A longer list begins with the shorter one of the same seed.
    #[must_use]
    pub fn filters(self, seed: u64, count: usize) -> Vec<String> {
        let mut random = Random::new(seed ^ 0xf117_e125);
        let shop = shop::Shop::new();
        (0..count)
            .map(|_| match self {
                Mix::S => shop.realistic(&mut random, true),
                Mix::E => shop.realistic(&mut random, false),
                Mix::B => shop.broad(&mut random),
                Mix::T => texts::filter(&shop, &mut random),
                Mix::L => logic::filter(&mut random),
                Mix::N => numbers::filter(&mut random),
            })
            .collect()
    }

    /// `count` events as JSON objects, all of one shape for S, E, B and T.
    #[must_use]
    pub fn events(self, seed: u64, count: usize) -> Vec<Vec<u8>> {
        self.events_of_shapes(seed, count, 1)
    }

    /// Like [`events`](Self::events), but those of S, E, B and T have `shapes` shapes: which fields there are
    /// besides those that filters ask for, and the order of objects.
    #[must_use]
    pub fn events_of_shapes(self, seed: u64, count: usize, shapes: u64) -> Vec<Vec<u8>> {
        let mut random = Random::new(seed ^ 0xe0e_275);
        let shop = shop::Shop::new();
        (0..count)
            .map(|_| match self {
                Mix::S | Mix::E | Mix::B | Mix::T => {
                    let shape = random.below(shapes.max(1));
                    shop.event(&mut random, shape)
                }
                Mix::L => logic::event(&mut random),
                Mix::N => numbers::event(&mut random),
            })
            .map(String::into_bytes)
            .collect()
    }
}
