//! A pool in one snapshot: its members and rules, over the state that outlives snapshots.

mod build;
mod census;
mod choice;
mod health;
mod learning;
mod levels;
mod reports;
mod shared;
mod view;
mod weights;

pub use build::{Options, Resolved};
pub use choice::Pick;
pub use shared::Shared;

use crate::document;
use crate::endpoint::{Endpoint, Threshold};
use crate::key::{KeySource, KeyView};
use crate::load::Decay;
use crate::policy::Policy;
use crate::prepared::Prepared;
use crate::reported;
use crate::seeker::Seeker;
use crate::session::Sessions;
use crate::slow_start::SlowStart;
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering, lock};
use crate::time::Nanos;
use census::Census;
use std::sync::Arc;
use view::{Seat, View};
use weights::Weights;

/// Phantoms decay over the pool's smoothed success time, within these bounds.
const PHANTOM_S_MIN: f32 = 0.001;
const PHANTOM_S_MAX: f32 = 10.0;
/// Before any success there is none to go by.
const PHANTOM_S_FIRST: f32 = 0.1;

/// The time constant of peaks where none is configured; Finagle's own.
const PEAK_DECAY_S: f32 = 10.0;
/// What an endpoint costs that carries requests and has never answered, in seconds: more than any that has. Finagle's
/// penalty, likewise far beyond any real time.
const UNANSWERED_S: f32 = 1e6;

/// One endpoint with what this snapshot says of it.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its live state.
    pub endpoint: Arc<Endpoint>,
    /// The address as it was configured: a host name keeps its name.
    pub configured: Arc<str>,
    /// 0 takes no new requests.
    pub weight: u32,
    draining: bool,
    /// Whether it is new where others have been.
    joins: bool,
    /// Its place among the levels of the pool.
    level: u8,
    /// The lower one is used first.
    pub priority: u32,
    /// Where it stands.
    pub zone: Option<Arc<str>>,
    /// Whether that is the own zone.
    is_near: bool,
}

/// Endpoints that are wanted alike, with what the policy has worked out for them. See [`crate::level`].
#[derive(Debug)]
pub struct Level {
    /// The lower one is used first.
    pub priority: u32,
    /// Whether they stand in other zones than the own one.
    pub foreign: bool,
    policy: Policy,
    /// What holds now: the verdicts that picks accept and the share of the load. Of this snapshot alone: a request that
    /// holds an older one knows other members.
    now: AtomicU32,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A response that is no failure.
    Success,
    /// The endpoint failed; the word says how, for people.
    Failure(&'static str),
    /// Neither: the client went away, or nobody said.
    Cancelled,
}

/// A pool in one snapshot.
#[derive(Debug)]
pub struct Pool {
    config: document::Pool,
    generation: u64,
    members: Vec<Member>,
    /// The members as picks read them, in the same order.
    seats: Box<[Seat]>,
    /// In the order in which they are wanted; there is at least one.
    levels: Box<[Level]>,
    /// How many members each level has of each verdict.
    census: Mutex<Census>,
    /// What TLS needs, once it has been loaded.
    pub prepared: Prepared,
    key: Option<KeySource>,
    sessions: Option<Sessions>,
    threshold: Threshold,
    /// How peaks of response times decay.
    peak_decay: Decay,
    slow_start: Option<SlowStart>,
    /// Until when someone is in slow start, and for ever once weights have been learned: one look tells a pick that
    /// there is neither.
    starting_until: AtomicU64,
    /// What endpoints report in their responses, where that is looked for.
    reports: Option<reported::Rules>,
    weights: Weights,
    pub(crate) shared: Arc<Shared>,
}

impl Pool {
    /// An endpoint's address as it was configured.
    pub fn configured(&self, endpoint: &Arc<Endpoint>) -> &str {
        let same = |member: &&Member| Arc::ptr_eq(&member.endpoint, endpoint);
        self.members.iter().find(same).map_or("", |member| &member.configured)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Its configuration.
    pub fn config(&self) -> &document::Pool {
        &self.config
    }

    /// The snapshot it belongs to.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Its endpoints.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Its threshold.
    pub fn threshold(&self) -> &Threshold {
        &self.threshold
    }

    /// Requests that wait now.
    pub fn queued(&self) -> usize {
        self.shared.queue.len()
    }

    /// How many may wait.
    pub(crate) fn queue_size(&self) -> usize {
        self.config.queue.size.map_or(0, |size| size as usize)
    }

    /// What outlives snapshots.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// A request that looks for an endpoint here, with what the policy goes by.
    pub fn seeker(&self, view: &impl KeyView) -> Seeker {
        let mut seeker = Seeker::of(self.key.as_ref().and_then(|source| source.key(view)));
        seeker.session = self.sessions.as_ref().and_then(|sessions| sessions.find(view));
        seeker
    }

    /// Whether it keeps sessions.
    pub(crate) fn keeps_sessions(&self) -> bool {
        self.sessions.is_some()
    }

    /// The Set-Cookie that a response of this endpoint is to carry; empty where there is none to set, or where the
    /// client has it. `tls` says whether the client came over TLS.
    pub fn set_cookie(&self, seeker: &Seeker, endpoint: &Endpoint, tls: bool) -> Vec<u8> {
        match &self.sessions {
            Some(sessions) if seeker.session != Some(endpoint.name()) => {
                sessions.set_cookie(endpoint.name(), tls)
            }
            _ => Vec::new(),
        }
    }

    /// Counts a request that has come for this pool.
    pub fn count_request(&self) {
        self.count_requests(1);
    }

    /// Counts several at once. Only [`Pool::may_retry`] goes by how many there were.
    pub fn count_requests(&self, count: u64) {
        self.shared.requests.fetch_add(count, Ordering::Relaxed);
    }

    /// Whether a retry is within the budget; if so it is spent.
    pub fn may_retry(&self, now: Nanos) -> bool {
        lock(&self.shared.budget).withdraw(self.shared.requests.load(Ordering::Relaxed), now)
    }

    /// How it chooses; the levels differ only in for whom.
    fn policy(&self) -> &Policy {
        &self.levels[0].policy
    }

    fn member_of(&self, endpoint: &Endpoint) -> Option<&Member> {
        self.place_of(endpoint).map(|place| &self.members[place])
    }

    /// The index of an endpoint. It knows its place in the newest snapshot; an older one may have it elsewhere.
    fn place_of(&self, endpoint: &Endpoint) -> Option<usize> {
        let is_here = |member: &Member| member.endpoint.id() == endpoint.id();
        let place = endpoint.place();
        if self.members.get(place).is_some_and(is_here) {
            return Some(place);
        }
        self.members.iter().position(is_here)
    }
}
