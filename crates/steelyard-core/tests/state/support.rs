//! The small language of these tests.

use rand::SeedableRng;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use steelyard_core::document;
use steelyard_core::key::hash;
use steelyard_core::policy::{Candidates, Facts, KEYED, Phase, Policy, Prospect, Reads, Rotation};
use steelyard_core::pool::{Options, Pick, Pool};
use steelyard_core::random::Generator;
use steelyard_core::seeker::Seeker;
use steelyard_core::snapshot::{Resolved, Snapshot, parse};
use steelyard_core::time::Nanos;

/// The generator of a statistical test. The seed is fixed, so that the test is the same on every run, unless
/// `STEELYARD_SEED` says otherwise; it is printed where a test fails.
#[expect(clippy::disallowed_methods, reason = "tests are replayed through the environment")]
pub fn generator() -> Generator {
    let seed = std::env::var("STEELYARD_SEED").map_or(7, |seed| seed.parse().expect("the seed is a number"));
    println!("STEELYARD_SEED={seed}");
    Generator::seed_from_u64(seed)
}

/// Asserts that counts follow shares: a chi-square test that a true one fails once in a thousand seeds.
pub fn assert_follows(counts: &[u64], shares: &[f64]) {
    let total: u64 = counts.iter().sum();
    let whole: f64 = shares.iter().sum();
    let mut chi_square = 0.0;
    let mut cells = 0;
    for (&count, &share) in counts.iter().zip(shares) {
        let expected = total as f64 * share / whole;
        if share == 0.0 {
            assert_eq!(count, 0, "a share of 0 is never chosen: {counts:?}");
            continue;
        }
        chi_square += (count as f64 - expected).powi(2) / expected;
        cells += 1;
    }
    // Wilson and Hilferty: the cube root of chi-square over its freedom is nearly normal; 3.09 is the 0.999 point.
    let freedom = f64::from(cells - 1);
    let spread = 2.0 / (9.0 * freedom);
    let bound = freedom * (1.0 - spread + 3.09 * spread.sqrt()).powi(3);
    assert!(
        chi_square < bound,
        "chi-square is {chi_square:.1}, at most {bound:.1}: {counts:?} for {shares:?}"
    );
}

/// Endpoints of which everything can be said.
#[derive(Debug, Clone, Default)]
pub struct Stand {
    pub ids: Vec<u32>,
    pub weights: Vec<u32>,
    pub eligible: Vec<bool>,
    pub costs: Vec<f32>,
    pub in_flight: Vec<u32>,
    pub factors: Vec<f32>,
    pub generation: u64,
    pub key: Option<u64>,
    pub session: Option<usize>,
    taken: RefCell<Vec<usize>>,
}

impl Stand {
    /// Eligible endpoints of these weights that all cost the same.
    pub fn new(weights: &[u32]) -> Self {
        Self {
            ids: (0..weights.len() as u32).collect(),
            weights: weights.to_vec(),
            eligible: vec![true; weights.len()],
            costs: vec![1.0; weights.len()],
            in_flight: vec![0; weights.len()],
            factors: vec![1.0; weights.len()],
            generation: 1,
            key: None,
            session: None,
            taken: RefCell::default(),
        }
    }

    /// An endpoint joins at the end.
    pub fn join(&mut self, id: u32, weight: u32) {
        self.ids.push(id);
        self.weights.push(weight);
        self.eligible.push(true);
        self.costs.push(1.0);
        self.in_flight.push(0);
        self.factors.push(1.0);
        self.generation += 1;
    }

    /// The endpoint at this index leaves.
    pub fn leave(&mut self, index: usize) {
        self.ids.remove(index);
        self.weights.remove(index);
        self.eligible.remove(index);
        self.costs.remove(index);
        self.in_flight.remove(index);
        self.factors.remove(index);
        self.generation += 1;
    }

    /// The id of whoever is picked; it must have been taken, and been eligible.
    pub fn pick(&self, policy: &Policy, rotation: &Rotation, rng: &mut Generator) -> Option<u32> {
        self.taken.borrow_mut().clear();
        let index = policy.pick(self, rotation, rng)?;
        assert_eq!(*self.taken.borrow(), [index], "exactly the one picked is taken");
        assert!(self.eligible[index], "only who is eligible is picked");
        Some(self.ids[index])
    }
}

impl Candidates for Stand {
    fn len(&self) -> usize {
        self.ids.len()
    }

    fn id(&self, index: usize) -> u32 {
        self.ids[index]
    }

    fn weight(&self, index: usize) -> u32 {
        self.weights[index]
    }

    fn factor(&self, index: usize) -> f32 {
        self.factors[index]
    }

    fn eligible(&self, index: usize) -> bool {
        self.eligible[index] && self.weights[index] > 0
    }

    fn cost(&self, index: usize) -> f32 {
        self.costs[index]
    }

    fn now(&self) -> Nanos {
        millis(0)
    }

    fn time_cost(&self, index: usize) -> f32 {
        self.costs[index]
    }

    fn peak_cost(&self, index: usize) -> f32 {
        self.costs[index]
    }

    fn facts(&self, index: usize, _reads: Reads) -> Facts {
        Facts { in_flight: f64::from(self.costs[index]), ..Facts::default() }
    }

    fn in_flight(&self, index: usize) -> u32 {
        self.in_flight[index]
    }

    fn session(&self) -> Option<usize> {
        self.session.filter(|&index| self.eligible[index])
    }

    fn key(&self) -> Option<u64> {
        self.key
    }

    fn take(&self, index: usize) -> bool {
        self.taken.borrow_mut().push(index);
        true
    }

    fn generation(&self) -> u64 {
        self.generation
    }
}

/// The policy of this name with its settings left alone; endpoints are named by their place.
pub fn policy(name: &str, weights: &[u32]) -> Policy {
    let config = document::Policy { name: name.into(), ..document::Policy::default() };
    policy_of(&config, (0..).zip(weights.iter().copied()))
}

/// A policy over endpoints of these ids, which name them, and weights.
pub fn policy_of(config: &document::Policy, endpoints: impl IntoIterator<Item = (u32, u32)>) -> Policy {
    let prospects: Vec<Prospect> = endpoints
        .into_iter()
        .map(|(id, weight)| Prospect { weight, name: hash(&id.to_le_bytes()) })
        .collect();
    Policy::build(config, &prospects).expect("the policy is known")
}

/// The first `count` picks, endpoint 0 written `a`.
pub fn sequence(policy: &str, weights: &[u32], count: usize) -> String {
    let stand = Stand::new(weights);
    let policy = self::policy(policy, weights);
    let (rotation, mut rng) = (Rotation::new(Phase::Zero, &mut generator()), generator());
    (0..count)
        .map(|_| char::from(b'a' + stand.pick(&policy, &rotation, &mut rng).expect("one is eligible") as u8))
        .collect()
}

/// How often each endpoint is picked in `count` picks.
pub fn counts(stand: &Stand, policy: &Policy, rng: &mut Generator, count: usize) -> Vec<u64> {
    let rotation = Rotation::new(Phase::Zero, &mut generator());
    let mut counts = vec![0; stand.len()];
    for _ in 0..count {
        counts[stand.pick(policy, &rotation, rng).expect("one is eligible") as usize] += 1;
    }
    counts
}

pub fn millis(millis: u64) -> Nanos {
    // Not at the origin, where nothing has happened yet.
    Nanos::from_millis(1_000_000 + millis)
}

/// The document of one pool without probes, for [`pools`].
pub fn pool_document(policy: &str, weights: &[u32]) -> Value {
    let endpoints: Vec<_> = weights
        .iter()
        .enumerate()
        .map(|(index, weight)| json!({"address": format!("10.0.0.{}:80", index + 1), "weight": weight, "drain": false}))
        .collect();
    let key = KEYED.contains(&policy).then_some("address");
    let secret = (policy == "sticky").then_some("00112233445566778899aabbccddeeff");
    json!({
        "name": "app", "policy": {"name": policy, "key": key, "secret": secret}, "endpoints": endpoints, "fail_open": true,
        "threshold": {"requests": null, "latency_ms": null, "bytes_per_second": null},
        "queue": {"size": 1024, "timeout_ms": null},
        "health": {"path": null, "host": null, "interval_ms": null, "timeout_ms": 1, "rise": 2, "fall": 3,
                   "expect_status": [[200, 399]]},
        "connections": {"idle_timeout_ms": null, "idle_max": 64, "max": null},
        "timeouts": {"connect_ms": null, "response_ms": null, "idle_ms": null, "tunnel_ms": null,
                     "total_ms": null},
        "retry": {"attempts": 2, "on": [], "body_bytes_max": 0, "budget": 0.2},
    })
}

/// A snapshot of that pool alone; `own_zone` in it is that of the whole document.
pub fn snapshot(pool: &Value, previous: Option<&Snapshot>) -> Snapshot {
    let mut pool = pool.clone();
    let zone = pool.as_object_mut().expect("a pool is a table").remove("own_zone");
    let document = json!({
        "workers": null, "zone": zone, "drain_timeout_ms": 1, "routes": [], "pools": [pool],
        "listeners": [{
            "name": "web", "bind": [":0"], "pool": pool["name"], "trusted_proxies": [], "allow_encoded_slash": false,
            "limits": {"connections": null, "header_bytes_max": 65536, "header_count_max": 100,
                       "target_bytes_max": 8192},
            "timeouts": {"request_header_ms": null, "request_body_ms": null, "idle_ms": null},
        }],
    });
    let document = parse(&document.to_string()).expect("the document has its shape");
    let options = Options { workers: 1, phase: Phase::Zero, seed: 0 };
    let snapshot =
        Snapshot::build(&document, previous, &Resolved::default(), &options).expect("the document is sound");
    snapshot.pools[0].activate(millis(0));
    snapshot
}

/// A live pool of this policy, with the document changed.
pub fn pool(policy: &str, weights: &[u32], change: impl FnOnce(&mut Value)) -> Arc<Pool> {
    let mut document = pool_document(policy, weights);
    change(&mut document);
    Arc::clone(&snapshot(&document, None).pools[0])
}

/// Admits a request that excludes nobody.
pub fn admit(pool: &Pool, now: Nanos, rng: &mut Generator) -> Pick {
    pool.admit(now, rng, &Seeker::default())
}

/// A waker that counts.
#[derive(Debug, Default)]
pub struct Bell(AtomicUsize);

impl Bell {
    pub fn waker() -> (Arc<Self>, Waker) {
        let bell = Arc::new(Self::default());
        (Arc::clone(&bell), Waker::from(bell))
    }

    pub fn rung(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
