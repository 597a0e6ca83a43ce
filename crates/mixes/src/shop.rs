//! The events of a shop, and filters over them with a known share of events.

use std::fmt::Write as _;

use crate::random::Random;

/// Texts numbered by how common they are, by Zipf's law with exponent 1.
struct Words {
    path: &'static str,
    /// The word of this rank.
    word: fn(usize) -> String,
    /// Probability of a rank or a lower one.
    upto: Vec<f64>,
}

impl Words {
    fn new(path: &'static str, count: usize, word: fn(usize) -> String) -> Self {
        let mut upto = Vec::with_capacity(count);
        let mut sum = 0.0;
        for rank in 0..count {
            sum += 1.0 / (rank as f64 + 1.0);
            upto.push(sum);
        }
        upto.iter_mut().for_each(|upto| *upto /= sum);
        Self { path, word, upto }
    }

    fn draw(&self, random: &mut Random) -> usize {
        let at = random.unit();
        self.upto
            .partition_point(|&upto| upto <= at)
            .min(self.upto.len() - 1)
    }

    fn share(&self, rank: usize) -> f64 {
        self.upto[rank] - if rank > 0 { self.upto[rank - 1] } else { 0.0 }
    }
}

/// Numbers by their quantile.
struct Numbers {
    path: &'static str,
    at: fn(f64) -> f64,
    decimals: usize,
}

impl Numbers {
    fn text(&self, quantile: f64) -> String {
        format!("{:.*}", self.decimals, (self.at)(quantile))
    }
}

/// One comparison and the share of events that meet it.
struct Clause {
    field: usize,
    text: String,
    share: f64,
}

pub(crate) struct Shop {
    words: Vec<Words>,
    numbers: Vec<Numbers>,
}

/// Of the share of events below which a clause is rare.
const RARE: f64 = 0.004;

/// Fields of few values, and those of numbers.
const FEW_VALUES: [usize; 12] = [0, 2, 3, 7, 8, 9, 10, 13, 14, 15, 16, 17];

const KINDS: [&str; 12] = [
    "page_view",
    "click",
    "search",
    "add_to_cart",
    "remove_from_cart",
    "checkout",
    "purchase",
    "login",
    "logout",
    "share",
    "review",
    "refund",
];

const COUNTRIES: [&str; 20] = [
    "US", "DE", "FR", "GB", "IN", "BR", "JP", "CA", "AU", "ES", "IT", "NL", "SE", "PL", "MX", "KR",
    "CH", "AT", "BE", "DK",
];

fn kind(rank: usize) -> String {
    KINDS
        .get(rank)
        .map_or_else(|| format!("custom_{rank}"), |kind| (*kind).to_owned())
}

fn country(rank: usize) -> String {
    COUNTRIES
        .get(rank)
        .map_or_else(|| format!("X{rank}"), |country| (*country).to_owned())
}

/// The path of a page, its words common ones.
pub(crate) fn page(rank: usize) -> String {
    const AREAS: [&str; 8] = [
        "hotels", "flights", "cars", "help", "account", "deals", "cruises", "blog",
    ];
    const PLACES: [&str; 16] = [
        "berlin", "paris", "london", "new-york", "rome", "tokyo", "oslo", "madrid", "vienna",
        "prague", "lima", "cairo", "delhi", "sydney", "dublin", "zurich",
    ];
    format!(
        "/{}/{}/{}-{rank}.html",
        AREAS[rank % 8],
        PLACES[(rank / 8) % 16],
        ["offer", "detail", "list", "review"][(rank / 128) % 4]
    )
}

impl Shop {
    pub(crate) fn new() -> Self {
        Self {
            words: vec![
                Words::new("type", 40, kind),
                Words::new("user.id", 200_000, |rank| {
                    format!("u-{:08x}", (rank as u32).wrapping_mul(2_654_435_761))
                }),
                Words::new("user.country", 60, country),
                Words::new("user.segment", 8, |rank| format!("segment-{rank}")),
                Words::new("page.path", 5_000, page),
                Words::new("page.category", 200, |rank| format!("category {rank}")),
                Words::new("page.referrer", 500, |rank| {
                    format!("https://www.site{rank}.example/from")
                }),
                Words::new("device.type", 4, |rank| {
                    ["phone", "desktop", "tablet", "tv"][rank % 4].to_owned()
                }),
                Words::new("device.os", 6, |rank| {
                    ["android", "ios", "windows", "macos", "linux", "chromeos"][rank % 6].to_owned()
                }),
                Words::new("device.browser", 8, |rank| format!("browser-{rank}")),
                Words::new("app.version", 50, |rank| {
                    format!("{}.{}.{}", 9 - rank / 10, rank % 10, rank % 3)
                }),
                Words::new("product.sku", 20_000, |rank| format!("sku-{rank:06}")),
                Words::new("product.brand", 1_000, |rank| format!("brand {rank}")),
                Words::new("site", 12, |rank| format!("site-{rank}")),
            ],
            numbers: vec![
                Numbers {
                    path: "product.price",
                    at: |u| 1.0 + 1_999.0 * u * u * u,
                    decimals: 2,
                },
                Numbers {
                    path: "cart.total",
                    at: |u| 5_000.0 * u * u,
                    decimals: 2,
                },
                Numbers {
                    path: "latencyMs",
                    at: |u| 5.0 + 3_000.0 * u * u,
                    decimals: 0,
                },
                Numbers {
                    path: "session.depth",
                    at: |u| 1.0 + 200.0 * u * u,
                    decimals: 0,
                },
            ],
        }
    }

    /// One event of about 1,100 bytes. Shape 0 is the plain one; others leave out or add fields that no filter
    /// asks for, and exchange objects.
    pub(crate) fn event(&self, random: &mut Random, shape: u64) -> String {
        let mut word = |field: usize| {
            let words = &self.words[field];
            (words.word)(words.draw(random))
        };
        let words: Vec<String> = (0..self.words.len()).map(&mut word).collect();
        let numbers: Vec<String> = self
            .numbers
            .iter()
            .map(|numbers| numbers.text(random.unit()))
            .collect();
        let (id, other, time) = (
            random.bits(),
            random.bits(),
            1_769_860_800_000 + random.below(86_400_000),
        );
        let flag = random.chance(50);
        let quantity = 1 + random.below(5);
        let objects = [
            format!(
                r#""user":{{"id":"{}","country":"{}","segment":"{}","returning":{flag},"consent":{{"ads":true,"mail":false,"version":3}},"language":"en-GB","name":"Jo \"Jay\" Müller"}}"#,
                words[1], words[2], words[3]
            ),
            format!(
                r#""page":{{"path":"{}","category":"{}","referrer":"{}","title":"Offers \u0026 more\nfor you","query":{{"q":"late deal","page":{quantity},"sort":"price"}},"scroll":0.73}}"#,
                words[4], words[5], words[6]
            ),
            format!(
                r#""device":{{"type":"{}","os":"{}","browser":"{}","screen":{{"width":1440,"height":900,"ratio":2.0}},"agent":"Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0"}}"#,
                words[7], words[8], words[9]
            ),
            format!(
                r#""app":{{"version":"{}","build":{},"channel":"stable"}}"#,
                words[10],
                other % 90_000
            ),
            format!(
                r#""product":{{"sku":"{}","brand":"{}","price":{},"currency":"EUR","stock":{},"tags":["sale","new",{quantity}]}}"#,
                words[11],
                words[12],
                numbers[0],
                other % 70
            ),
            format!(
                r#""cart":{{"total":{},"items":{quantity},"coupon":null}}"#,
                numbers[1]
            ),
            format!(
                r#""session":{{"id":"{other:016x}","depth":{},"campaign":{{"source":"newsletter","medium":"email","id":{}}}}}"#,
                numbers[3],
                other % 500
            ),
        ];
        let mut event = format!(
            r#"{{"id":"{id:016x}{other:016x}","type":"{}","time":{time},"site":"{}","latencyMs":{}"#,
            words[0], words[13], numbers[2]
        );
        let turn = (shape % 7) as usize;
        for at in 0..objects.len() {
            let _ = write!(event, ",{}", objects[(at + turn) % objects.len()]);
            // Ten fields that are there or not.
            let bits = (shape / 7) >> at;
            if bits & 1 == 1 {
                let _ = write!(event, r#","extra{at}":{{"a":{at},"b":["x",{{"c":null}}]}}"#);
            }
        }
        for at in 7..10 {
            if (shape / 7) >> at & 1 == 1 {
                let _ = write!(event, r#","extra{at}":"{at}""#);
            }
        }
        event.push_str(r#","geo":{"lat":52.52,"lon":13.405},"ip":"192.0.2.17","v":2}"#);
        event
    }

    fn equal(&self, random: &mut Random, field: usize) -> Clause {
        let words = &self.words[field];
        let rank = words.draw(random);
        Clause {
            field,
            text: format!("event.{} == \"{}\"", words.path, (words.word)(rank)),
            share: words.share(rank),
        }
    }

    fn one_of(&self, random: &mut Random, field: usize) -> Clause {
        let words = &self.words[field];
        let mut ranks: Vec<usize> = (0..2 + random.below(3))
            .map(|_| words.draw(random))
            .collect();
        ranks.sort_unstable();
        ranks.dedup();
        let list: Vec<String> = ranks
            .iter()
            .map(|&rank| format!("\"{}\"", (words.word)(rank)))
            .collect();
        Clause {
            field,
            text: format!("event.{} in [{}]", words.path, list.join(", ")),
            share: ranks.iter().map(|&rank| words.share(rank)).sum(),
        }
    }

    fn range(&self, random: &mut Random, at: usize) -> Clause {
        let numbers = &self.numbers[at];
        let bound = random.unit();
        let (text, share) = match random.below(3) {
            0 => (
                format!("event.{} > {}", numbers.path, numbers.text(bound)),
                1.0 - bound,
            ),
            1 => (
                format!("event.{} <= {}", numbers.path, numbers.text(bound)),
                bound,
            ),
            _ => {
                let width = 0.02 + 0.3 * random.unit();
                let low = bound * (1.0 - width);
                let text = format!(
                    "event.{0} >= {1} && event.{0} < {2}",
                    numbers.path,
                    numbers.text(low),
                    numbers.text(low + width)
                );
                (text, width)
            }
        };
        Clause {
            field: self.words.len() + at,
            text,
            share,
        }
    }

    fn clause(&self, random: &mut Random, ranges: bool) -> Clause {
        let fields = self.words.len() + if ranges { self.numbers.len() } else { 0 };
        let field = random.below(fields as u64) as usize;
        if field >= self.words.len() {
            self.range(random, field - self.words.len())
        } else if random.chance(25) {
            self.one_of(random, field)
        } else {
            self.equal(random, field)
        }
    }

    /// Clauses over different fields, joined.
    fn conjunction(
        random: &mut Random,
        count: u64,
        most: f64,
        mut draw: impl FnMut(&mut Random, usize) -> Clause,
    ) -> String {
        loop {
            let mut clauses: Vec<Clause> = Vec::new();
            for at in 0..count as usize {
                let clause = draw(random, at);
                if clauses.iter().all(|other| other.field != clause.field) {
                    clauses.push(clause);
                }
            }
            let share: f64 = clauses.iter().map(|clause| clause.share).product();
            if clauses.len() == count as usize && share <= most {
                let texts: Vec<&str> = clauses.iter().map(|clause| clause.text.as_str()).collect();
                return texts.join(" && ");
            }
        }
    }

    /// Mix S, or E without ranges: 83 of 100 have a rare equality.
    pub(crate) fn realistic(&self, random: &mut Random, ranges: bool) -> String {
        let rare = random.chance(83);
        let count = if rare {
            1 + random.below(4)
        } else {
            3 + random.below(2)
        };
        Self::conjunction(random, count, 0.002, |random, at| {
            loop {
                let clause = self.clause(random, ranges && !(rare && at == 0));
                if (clause.share <= RARE) == (rare && at == 0) || (rare && at > 0) {
                    return clause;
                }
            }
        })
    }

    /// Mix B.
    pub(crate) fn broad(&self, random: &mut Random) -> String {
        let count = 2 + random.below(3);
        Self::conjunction(random, count, 0.005, |random, _| {
            loop {
                let clause = self.clause(random, true);
                if clause.share > RARE && FEW_VALUES.contains(&clause.field) {
                    return clause;
                }
            }
        })
    }

    /// A word that is drawn as in events, with its path: for searches.
    pub(crate) fn word(&self, random: &mut Random, field: usize) -> (&'static str, String) {
        let words = &self.words[field];
        (words.path, (words.word)(words.draw(random)))
    }

    /// Any clause of mix S.
    pub(crate) fn any_clause(&self, random: &mut Random) -> String {
        self.clause(random, true).text
    }
}
