//! One decision maker: the core's pool, called as the proxy calls it. Nothing else in the simulator touches a pool.
//!
//! The order of calls is that of the proxy's `forward.rs`, `forward/slot.rs`, `forward/admission.rs` and `control.rs`;
//! what they do between two waits happens here at one virtual moment.

mod delayed;

use crate::plan::{Plan, compose};
use crate::streams::{self, Stream};
use delayed::{Delayed, News};
use rand::SeedableRng;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use steelyard_core::document::Document;
use steelyard_core::endpoint::Endpoint;
use steelyard_core::health::Verdict;
use steelyard_core::policy::Phase;
use steelyard_core::pool::{Options, Outcome, Pick, Pool};
use steelyard_core::queue::{Grant, Ticket};
use steelyard_core::random::Generator;
use steelyard_core::report::Report;
use steelyard_core::seeker::Seeker;
use steelyard_core::snapshot::{Resolved, Snapshot};
use steelyard_core::time::Nanos;

/// A pool of one snapshot.
#[derive(Debug)]
struct Stage {
    pool: Arc<Pool>,
    /// The number of the endpoint that each member is, in order.
    numbers: Vec<u32>,
    /// Only a threshold on latency looks at responses that have begun.
    counts_begun: bool,
}

/// One balancer with a pool of its own. Endpoints are told by their number in the scenario.
#[derive(Debug)]
pub struct Balancer<'p> {
    /// With every endpoint that is ever there.
    document: &'p Document,
    options: Options,
    /// Of those that talk to a part of the endpoints each: which one this is, counted from the first of them.
    index: u32,
    ejects: bool,
    current: Option<Snapshot>,
    stages: Vec<Stage>,
    endpoints: Vec<Option<Arc<Endpoint>>>,
    /// The number of an endpoint by the id that core gave it.
    numbers: Vec<u32>,
    rng: Generator,
    /// Requests in the queue, the oldest first.
    waiting: VecDeque<(u32, Ticket)>,
    delayed: Option<Delayed>,
    /// Requests that the pool has not been told of: only retries go by how many there were.
    uncounted: u64,
}

/// A request as its balancer sees it.
#[derive(Debug, Clone, Copy)]
pub struct Seeking<'r> {
    /// The snapshot that it began with.
    pub snapshot: u32,
    /// Its key, and the endpoints that it has tried.
    pub seeker: &'r Seeker,
}

/// A slot of an endpoint, as its request holds it.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// The snapshot that the request began with.
    pub snapshot: u32,
    /// The endpoint.
    pub endpoint: u32,
    /// Since the request was sent; `None` where it never was.
    pub lasted: Option<Nanos>,
    /// Whether the endpoint has begun to answer.
    pub begun: bool,
}

/// What came of asking for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// A slot of this endpoint is taken.
    Slot(u32),
    /// Each is at its threshold.
    Full,
    /// None could serve it.
    Nobody,
}

/// What is chosen once for each balancer of a replication.
pub fn options(seed: u64, replication: u32, balancer: u32) -> Options {
    let seed = streams::seed(seed, replication, Stream::Shared, balancer);
    Options { workers: 1, phase: Phase::Random, seed }
}

impl<'p> Balancer<'p> {
    /// A balancer with the endpoints that are `present`.
    pub fn new(
        plan: &'p Plan,
        policy: usize,
        replication: u32,
        index: u32,
        present: &[bool],
        now: Nanos,
    ) -> Self {
        let mut new = Self {
            document: &plan.documents[policy],
            options: options(plan.seed, replication, index),
            index,
            ejects: plan.ejection,
            current: None,
            stages: Vec::new(),
            endpoints: vec![None; present.len()],
            numbers: Vec::new(),
            rng: Generator::seed_from_u64(streams::seed(plan.seed, replication, Stream::Picks, index)),
            waiting: VecDeque::new(),
            delayed: (plan.information_delay > Nanos(0)).then(|| Delayed::new(plan.information_delay)),
            uncounted: 0,
        };
        new.configure(present, now);
        new
    }

    /// Puts another set of endpoints in force; gives those that were not in the one before.
    pub fn configure(&mut self, present: &[bool], now: Nanos) -> Vec<u32> {
        let mut document = self.document.clone();
        let mut there = present.iter();
        document.pools[0].endpoints.retain(|_| *there.next().unwrap_or(&false));
        if let Some(subset) = &mut document.pools[0].subset {
            subset.instance += self.index;
        }
        let next = Snapshot::build(&document, self.current.as_ref(), &Resolved::default(), &self.options)
            // The plan has built it with every endpoint, and a set without any has been refused.
            .expect("a part of a sound document is sound");
        let pool = Arc::clone(&next.pools[0]);
        pool.activate(now);
        let numbers: Vec<u32> =
            pool.members().iter().map(|member| compose::number_of(member.endpoint.address())).collect();
        for (&number, member) in numbers.iter().zip(pool.members()) {
            let id = member.endpoint.id() as usize;
            self.numbers.resize(self.numbers.len().max(id + 1), 0);
            self.numbers[id] = number;
            if let Some(delayed) = &mut self.delayed {
                delayed.expect(member.endpoint.id());
            }
            self.endpoints[number as usize] = Some(Arc::clone(&member.endpoint));
        }
        let counts_begun = pool.threshold().latency_s.is_finite();
        let before: &[u32] = self.stages.last().map_or(&[], |stage| &stage.numbers);
        let joined = numbers.iter().copied().filter(|number| before.binary_search(number).is_err()).collect();
        self.stages.push(Stage { pool, numbers, counts_begun });
        self.current = Some(next);
        joined
    }

    /// The newest snapshot's number, for a request that comes now.
    pub fn snapshot(&self) -> u32 {
        self.stages.len() as u32 - 1
    }

    fn pool(&self, snapshot: u32) -> &Arc<Pool> {
        &self.stages[snapshot as usize].pool
    }

    fn newest(&self) -> &Arc<Pool> {
        self.pool(self.snapshot())
    }

    fn endpoint(&self, number: u32) -> &Arc<Endpoint> {
        // It was built before anything could be sent there.
        self.endpoints[number as usize].as_ref().expect("the endpoint has been there")
    }

    /// A request has come.
    pub fn count_request(&mut self) {
        self.uncounted += 1;
    }

    /// Asks for a slot.
    pub fn admit(&mut self, request: Seeking<'_>, now: Nanos) -> Admission {
        if self.delayed.is_some() {
            self.catch_up(now);
        }
        let stage = &self.stages[request.snapshot as usize];
        let pick = match &self.delayed {
            None => stage.pool.admit(now, &mut self.rng, request.seeker),
            Some(delayed) => stage.pool.admit_by(delayed, now, &mut self.rng, request.seeker),
        };
        match pick {
            Pick::Taken(index) => {
                let number = stage.numbers[index];
                self.note(number, News::Taken, now);
                Admission::Slot(number)
            }
            Pick::Full => Admission::Full,
            Pick::Nobody => Admission::Nobody,
        }
    }

    /// Whether the policy wants endpoints to be asked for their loads.
    pub fn wants_loads(&self) -> bool {
        self.newest().calls_for_probes()
    }

    /// The endpoints that the policy wants to be asked for their loads; each is to be answered by [`Self::take_load`].
    pub fn loads_wanted(&self) -> Vec<u32> {
        self.newest()
            .probes_wanted()
            .iter()
            .map(|member| self.numbers[member.endpoint.id() as usize])
            .collect()
    }

    /// What an endpoint says of its load; `None` when it does not answer.
    pub fn take_load(&mut self, number: u32, report: Option<Report>, now: Nanos) {
        if self.delayed.is_some() {
            return self.note(number, News::Reported(report), now);
        }
        self.newest().take_report(self.endpoint(number), report, now);
    }

    /// Learns what is old enough to be known.
    fn catch_up(&mut self, now: Nanos) {
        let newest = Arc::clone(self.newest());
        while let Some((id, report, at)) =
            self.delayed.as_mut().and_then(|delayed| delayed.catch_up(&newest, now))
        {
            newest.take_report(self.endpoint(self.numbers[id as usize]), report, at);
        }
    }

    /// Lines up; `None` when the queue is full.
    pub fn enqueue(&mut self, id: u32, request: Seeking<'_>, now: Nanos) -> Option<Ticket> {
        let pool = self.pool(request.snapshot);
        let ticket = pool.enqueue(now, request.seeker.clone(), Waker::noop().clone())?;
        self.waiting.push_back((id, ticket));
        Some(ticket)
    }

    /// Whether a request waits, or has been granted something and does not know it yet.
    pub fn anyone_waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A request that has been granted something meanwhile: an endpoint's slot, or the certainty that there is none.
    pub fn granted(&mut self, now: Nanos) -> Option<(u32, Option<u32>)> {
        let pool = &self.stages.last()?.pool;
        if self.waiting.len() <= pool.queued() {
            return None;
        }
        let mut line = self.waiting.iter().enumerate();
        let (place, grant) =
            line.find_map(|(place, &(_, ticket))| Some((place, pool.claim(ticket, Waker::noop())?)))?;
        let (id, _) = self.waiting.remove(place)?;
        let Grant::Slot(endpoint) = grant else { return Some((id, None)) };
        let number = self.numbers[endpoint.id() as usize];
        self.note(number, News::Taken, now);
        Some((id, Some(number)))
    }

    /// Gives a place in the queue up.
    pub fn leave(&mut self, snapshot: u32, ticket: Ticket, now: Nanos) {
        self.waiting.retain(|(_, waiting)| *waiting != ticket);
        self.pool(snapshot).leave(ticket, now);
    }

    /// A good answer has come, whole.
    pub fn answered(&mut self, held: Held, now: Nanos) {
        let (pool, endpoint) = (self.pool(held.snapshot), self.endpoint(held.endpoint));
        if self.counts_begun(held) {
            endpoint.response_begins();
        }
        if let Some(lasted) = held.lasted {
            pool.teach(endpoint, lasted.as_secs_f32(), now);
        }
        pool.learn(endpoint, Outcome::Success, None, now);
        if let Some(lasted) = held.lasted {
            self.note(held.endpoint, News::Taught(lasted.as_secs_f32()), now);
        }
        self.note(held.endpoint, News::Learned(Outcome::Success, None), now);
    }

    /// An attempt has failed, perhaps with an answer that says so.
    pub fn failed(&mut self, held: Held, how: &'static str, now: Nanos) {
        if self.counts_begun(held) {
            self.endpoint(held.endpoint).response_begins();
        }
        if !self.ejects {
            // So that no failure ever follows another.
            self.endpoint(held.endpoint).forget_failures();
        }
        let outcome = Outcome::Failure(how);
        self.pool(held.snapshot).learn(self.endpoint(held.endpoint), outcome, held.lasted, now);
        self.note(held.endpoint, News::Learned(outcome, held.lasted), now);
    }

    /// Whether an endpoint's error may be tried elsewhere rather than passed on; if so, that is paid for.
    pub fn may_repeat_error(&mut self, held: Held, seeker: &Seeker, now: Nanos) -> bool {
        self.pool(held.snapshot).has_another(self.endpoint(held.endpoint), seeker, now)
            && self.may_retry(held.snapshot, now)
    }

    /// Whether a retry is within the budget; if so, it is paid for.
    pub fn may_retry(&mut self, snapshot: u32, now: Nanos) -> bool {
        let uncounted = std::mem::take(&mut self.uncounted);
        let pool = self.pool(snapshot);
        pool.count_requests(uncounted);
        pool.may_retry(now)
    }

    /// Gives a slot back.
    pub fn release(&mut self, held: Held, now: Nanos) {
        if self.counts_begun(held) {
            self.endpoint(held.endpoint).response_ends();
        }
        self.pool(held.snapshot).release(self.endpoint(held.endpoint), now);
        self.note(held.endpoint, News::Given, now);
    }

    /// Adds an endpoint to those that a request has tried.
    pub fn exclude(&self, endpoint: u32, seeker: &mut Seeker) {
        seeker.exclude(self.endpoint(endpoint));
    }

    /// What the control thread does every few tens of milliseconds. Gives the endpoints whose ejection ended.
    pub fn tick(&self, now: Nanos) -> Vec<u32> {
        let returned = self.newest().tick(now);
        returned.iter().map(|member| self.numbers[member.endpoint.id() as usize]).collect()
    }

    /// Whether ticks could do anything: while all endpoints are well and nobody waits for a load to fall, none does.
    pub fn needs_ticks(&self) -> bool {
        let pool = self.newest();
        let returns_in_time = pool.threshold().latency_s.is_finite();
        (returns_in_time && pool.queued() > 0)
            || pool.members().iter().any(|member| member.endpoint.verdict() != Verdict::Healthy)
    }

    /// Takes in a probe, unless its endpoint is not there any more.
    pub fn probed(&self, endpoint: u32, good: bool, now: Nanos) {
        if self.stages.last().is_some_and(|stage| stage.numbers.binary_search(&endpoint).is_ok()) {
            self.newest().record_probe(self.endpoint(endpoint), good, String::new(), now);
        }
    }

    /// What sessions call an endpoint.
    pub fn name_of(&self, endpoint: u32) -> u64 {
        self.endpoint(endpoint).name()
    }

    /// Requests in flight at an endpoint.
    pub fn in_flight(&self, endpoint: u32) -> u32 {
        self.endpoints[endpoint as usize].as_ref().map_or(0, |endpoint| endpoint.in_flight())
    }

    fn counts_begun(&self, held: Held) -> bool {
        held.begun && self.stages[held.snapshot as usize].counts_begun
    }

    #[inline]
    fn note(&mut self, number: u32, news: News, now: Nanos) {
        if let Some(delayed) = &mut self.delayed {
            let id = self.endpoints[number as usize].as_ref().map_or(0, |endpoint| endpoint.id());
            delayed.note(id, news, now);
        }
    }
}
