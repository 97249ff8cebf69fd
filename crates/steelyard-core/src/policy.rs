//! How a pool chooses: a closed set of policies over one view of the endpoints.
//!
//! A policy sees its candidates through [`Candidates`], so that the same code runs over the live atomics of the
//! proxy and over whatever the simulator shows it.

pub mod bounded_hash;
mod compare;
mod join_idle_queue;
mod keyed;
mod least_load;
mod least_request;
mod least_time;
pub mod maglev;
mod p2c;
mod peak_ewma;
mod prequal;
mod random;
mod rendezvous;
pub mod ring_hash;
mod rotation;
mod round_robin;
mod scored;
mod sticky;
mod weighted;
mod weighted_random;

pub use prequal::{PROBES_PER_REQUEST_MAX, Source, reuse};
pub use rotation::{Phase, Rotation};
pub use scored::{Facts, Reads};

use crate::document::{self, Load};
use crate::native::Native;
use crate::random::{mix, unit};
use crate::time::Nanos;
use bounded_hash::Bounded;
use keyed::Keyed;
use rand::Rng;
use ring_hash::Ring;
use std::ops::Range;
use weighted::Cycle;
use weighted_random::Alias;

/// The names of the policies.
pub const NAMES: [&str; 16] = [
    "round_robin",
    "random",
    "weighted",
    "weighted_random",
    "least_request",
    "least_load",
    "p2c",
    "peak_ewma",
    "least_time",
    "ring_hash",
    "maglev",
    "rendezvous",
    "bounded_hash",
    "sticky",
    "join_idle_queue",
    "prequal",
];

/// The name under which a policy written in Python crosses; people call it by its module and function.
pub const SCORED: &str = "scored";
/// The same where the function is not compiled: what it says comes in as learned weights, and these are taken in turn.
pub const INTERPRETED: &str = "interpreted";
/// Those that go by a key, and are nothing without one.
pub const KEYED: [&str; 4] = ["ring_hash", "maglev", "rendezvous", "bounded_hash"];

/// Draws that look for an eligible candidate before a scan does.
const DRAWS_MAX: usize = 8;

/// The endpoints of a pool as a policy sees them. Indices are `0..len()`.
pub trait Candidates {
    /// How many there are.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Unique in the pool for the life of the process.
    fn id(&self, index: usize) -> u32;
    /// The weight, configured or learned; only its proportion to that of others means something.
    fn weight(&self, index: usize) -> u32;
    /// The part of its weight that counts now: below 1 while it is in slow start, never 0. Costs have it in them
    /// already.
    fn factor(&self, _index: usize) -> f32 {
        1.0
    }
    /// Whether a request with this salt goes to it though it may be in slow start: of all salts the part that
    /// [`factor`](Self::factor) says. The salt is the key of the request where a policy goes by keys: as the factor
    /// grows a key moves here once and stays.
    fn starts(&self, index: usize, salt: u64) -> bool {
        let factor = self.factor(index);
        factor >= 1.0 || mix(salt) < factor
    }
    /// Whether any may be in slow start: where not, nobody need be asked for its factor.
    fn any_starts(&self) -> bool {
        true
    }
    /// Whether everybody of a weight above 0 may take any request and none has phantoms, so that nobody need be asked.
    fn all_serve(&self) -> bool {
        false
    }
    /// Whether it may take a request now.
    fn eligible(&self, index: usize) -> bool;
    /// (1 + requests in flight + phantoms) / weight x factor.
    fn cost(&self, index: usize) -> f32;
    /// The same where [all serve](Self::all_serve): made of numbers alone. `None` with a weight of 0.
    fn plain_cost(&self, index: usize) -> Option<f32> {
        (self.weight(index) > 0).then(|| self.cost(index))
    }
    /// Looks at some of them, one after the other.
    fn look_at(&self, indices: Range<usize>, mut look: impl FnMut(&Self, usize))
    where
        Self: Sized,
    {
        indices.for_each(|index| look(self, index));
    }
    /// Requests in flight.
    fn in_flight(&self, index: usize) -> u32;
    /// Whether this request must not go there, though others may: it has been there, or looks in another level.
    fn excluded(&self, _index: usize) -> bool {
        false
    }
    /// Recent failures, as requests that are not there.
    fn phantoms(&self, _index: usize) -> f32 {
        0.0
    }
    /// How its load is learned, for `prequal`.
    fn source(&self, _index: usize) -> Source {
        Source::Reports
    }
    /// What the pool compares as load: [`cost`](Self::cost), or one of the following.
    fn measure(&self) -> Load {
        Load::Requests
    }
    /// The smoothed response time / weight.
    fn latency_load(&self, index: usize) -> f32 {
        self.cost(index)
    }
    /// The load that it reports / weight.
    fn reported_load(&self, index: usize) -> f32 {
        self.cost(index)
    }
    /// Bytes per second / weight.
    fn bytes_load(&self, index: usize) -> f32 {
        self.cost(index)
    }
    /// Time to the first byte x (1 + requests in flight) / weight.
    fn time_cost(&self, index: usize) -> f32;
    /// The decayed peak of response times x (1 + requests in flight) / weight. Looking at it lets it decay.
    fn peak_cost(&self, index: usize) -> f32;
    /// What a policy written in Python may look at; what it does not read may be 0.
    fn facts(&self, index: usize, reads: Reads) -> Facts;
    /// The endpoint that the request's session is with, where it may take the request now.
    fn session(&self) -> Option<usize>;
    /// The key of the request, for policies that go by one.
    fn key(&self) -> Option<u64>;
    /// Takes a slot. It may fail though `eligible` said yes, when another thread was faster.
    fn take(&self, index: usize) -> bool;
    /// Takes a slot where nothing is in flight. Fails otherwise, also when another thread was faster.
    fn take_idle(&self, index: usize) -> bool {
        self.in_flight(index) == 0 && self.take(index)
    }
    /// The moment of the pick.
    fn now(&self) -> Nanos;
    /// A number that grows with every snapshot; it tells [`Rotation`] when the set may have changed.
    fn generation(&self) -> u64;
}

/// One policy with what it has precomputed for one set of weights.
#[derive(Debug)]
pub enum Policy {
    /// Each in turn.
    RoundRobin,
    /// Each with equal probability.
    Random,
    /// In turn, in proportion to weight, smoothly.
    Weighted(Option<Cycle>),
    /// At random in proportion to weight.
    WeightedRandom(Alias),
    /// The fewest requests in flight per weight.
    LeastRequest(Option<Alias>),
    /// The least of the pool's load per weight.
    LeastLoad(Option<Alias>),
    /// The cheaper of two drawn by weight.
    PowerOfTwo(Alias),
    /// The lower peak of response times of two drawn by weight.
    PeakEwma(Alias),
    /// The shortest time that the next request is likely to take.
    LeastTime(Option<Alias>),
    /// The lowest score by a compiled function.
    Scored(Native, Option<Alias>),
    /// The owner of the next point on a ring.
    RingHash(Keyed<Ring>),
    /// The owner of an entry of a table.
    Maglev(Keyed<maglev::Table>),
    /// The best lot of all.
    Rendezvous(Keyed<()>),
    /// The next owner on a ring that is below its share of what is in flight.
    BoundedHash(Keyed<Bounded>),
    /// Where the session is; the fewest requests in flight per weight for one that begins.
    Sticky(Option<Alias>),
    /// Whoever has been idle for the longest.
    JoinIdleQueue(Alias),
    /// The endpoint that says of itself that it carries little, or is fast.
    Prequal(prequal::Rules),
}

/// What a policy is told of an endpoint when its tables are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prospect {
    /// The configured weight, or a learned one in parts; 0 takes no requests.
    pub weight: u32,
    /// The same on every instance: the hash of the endpoint's name.
    pub name: u64,
}

/// The largest pool of which all endpoints are compared; above, two are.
pub const SCAN_MAX: usize = 64;

impl Policy {
    /// The policy that the configuration names, with what it needs to know of the endpoints beforehand; `None` when there
    /// is no such name.
    pub fn build(config: &document::Policy, endpoints: &[Prospect]) -> Option<Self> {
        Self::build_of_parts(config, endpoints, 1.0)
    }

    /// The same for weights of which so many parts make a weight of 1, as where they were learned.
    pub(crate) fn build_of_parts(
        config: &document::Policy,
        endpoints: &[Prospect],
        parts: f64,
    ) -> Option<Self> {
        let weights: Vec<u32> = endpoints.iter().map(|endpoint| endpoint.weight).collect();
        let equal = weights.windows(2).all(|pair| pair[0] == pair[1]);
        let alias = || Alias::new(&weights);
        let ring_size = config.ring_size.unwrap_or(ring_hash::RING_SIZE);
        // Small pools are scanned; of larger ones two are drawn.
        let alias_if_large = || (weights.len() > SCAN_MAX).then(alias);
        Some(match config.name.as_str() {
            "round_robin" if equal => Self::RoundRobin,
            "round_robin" | "weighted" | INTERPRETED => Self::Weighted(Cycle::new(&weights)),
            "random" => Self::Random,
            "weighted_random" => Self::WeightedRandom(alias()),
            "least_request" => Self::LeastRequest(alias_if_large()),
            "least_load" => Self::LeastLoad(alias_if_large()),
            "p2c" => Self::PowerOfTwo(alias()),
            "peak_ewma" => Self::PeakEwma(alias()),
            "least_time" => Self::LeastTime(alias_if_large()),
            SCORED => {
                let score = config.score.as_ref()?;
                let alias = (score.of_two || weights.len() > SCAN_MAX).then(alias);
                Self::Scored(Native::of(score)?, alias)
            }
            "ring_hash" => Self::RingHash(Keyed::new(endpoints, Ring::new(endpoints, parts, ring_size))),
            "maglev" => {
                let size = config.table_size.unwrap_or(maglev::TABLE_SIZE);
                Self::Maglev(Keyed::new(endpoints, maglev::Table::new(endpoints, size)))
            }
            "rendezvous" => Self::Rendezvous(Keyed::new(endpoints, ())),
            "bounded_hash" => {
                let balance = config.balance.unwrap_or(bounded_hash::BALANCE);
                Self::BoundedHash(Keyed::new(endpoints, Bounded::new(endpoints, parts, ring_size, balance)))
            }
            "sticky" => Self::Sticky(alias_if_large()),
            "join_idle_queue" => Self::JoinIdleQueue(alias()),
            "prequal" => Self::Prequal(prequal::Rules::new(config, &weights)),
            _ => return None,
        })
    }

    /// The same where the candidates are only some of those that the rotation knows: turns along a cycle would be taken by
    /// others in between.
    #[must_use]
    pub fn among_others(self) -> Self {
        match self {
            Self::Weighted(_) => Self::Weighted(None),
            other => other,
        }
    }

    /// Chooses an eligible candidate and takes a slot of it; `None` when a scan found none.
    ///
    /// Each policy is a function of its own, so that a simple one does not pay for the frame of the others.
    pub fn pick(
        &self,
        candidates: &impl Candidates,
        rotation: &Rotation,
        rng: &mut impl Rng,
    ) -> Option<usize> {
        match self {
            Self::RoundRobin => round_robin::pick(candidates, rotation, rng),
            Self::Random => random::pick(candidates, rng),
            Self::Weighted(cycle) => weighted::pick(cycle.as_ref(), candidates, rotation, rng),
            Self::WeightedRandom(alias) => weighted_random::pick(alias, candidates, rng),
            Self::LeastRequest(alias) => least_request::pick(alias.as_ref(), candidates, rng),
            Self::LeastLoad(alias) => least_load::pick(alias.as_ref(), candidates, rng),
            Self::PowerOfTwo(alias) => p2c::pick(alias, candidates, rng),
            Self::PeakEwma(alias) => peak_ewma::pick(alias, candidates, rng),
            Self::LeastTime(alias) => least_time::pick(alias.as_ref(), candidates, rng),
            Self::Scored(native, alias) => scored::pick(*native, alias.as_ref(), candidates, rng),
            Self::RingHash(keyed) => ring_hash::pick(keyed, candidates, rng),
            Self::Maglev(keyed) => maglev::pick(keyed, candidates, rng),
            Self::Rendezvous(keyed) => rendezvous::pick(keyed, candidates, rng),
            Self::BoundedHash(keyed) => bounded_hash::pick(keyed, candidates, rng),
            Self::Sticky(alias) => sticky::pick(alias.as_ref(), candidates, rng),
            Self::JoinIdleQueue(alias) => join_idle_queue::pick(alias, candidates, rotation, rng),
            Self::Prequal(rules) => prequal::pick(rules, candidates, rotation, rng),
        }
    }
}

/// Whether a candidate that was drawn, or whose turn it is, takes the request: while it is in slow start, in as many
/// cases as its factor says. Only then is there one more draw.
#[inline]
fn accepts(candidates: &impl Candidates, index: usize, rng: &mut impl Rng) -> bool {
    let factor = candidates.factor(index);
    factor >= 1.0 || unit(rng) < factor
}

/// Scans for eligible candidates and takes one of them, each with a probability in proportion to its share and to its
/// factor: one in slow start that is alone is found.
#[cold]
#[inline(never)]
fn scan_and_take(
    candidates: &impl Candidates,
    rng: &mut impl Rng,
    share: impl Fn(usize) -> u32,
) -> Option<usize> {
    // A slot seen free may be gone when it is taken; every round that fails, another request got through.
    loop {
        let mut total = 0.0;
        let mut chosen = None;
        for index in (0..candidates.len()).filter(|&index| candidates.eligible(index)) {
            let weight = share(index) as f32 * candidates.factor(index);
            total += weight;
            if weight > 0.0 && unit(rng) * total < weight {
                chosen = Some(index);
            }
        }
        let index = chosen?;
        if candidates.take(index) {
            return Some(index);
        }
    }
}
