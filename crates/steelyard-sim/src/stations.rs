//! The endpoints as queueing theory knows them: servers that take requests first come first served.
//!
//! An endpoint does not notice that a balancer has given a request up: it works it off all the same.

use crate::cache::Cache;
use crate::clock::{NEVER, seconds};
use crate::events::Events;
use crate::requests::Stamped;
use crate::scenario::{self, Endpoint};
use std::collections::VecDeque;
use steelyard_core::report::Report;
use steelyard_core::time::Nanos;

/// The weight of the newest job in what jobs take.
const SERVED_SHARE: f64 = 0.1;

/// One attempt at an endpoint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job {
    pub request: Stamped,
    /// What it takes at speed 1.
    pub demand_s: f64,
    /// The number of its key, for endpoints that keep some.
    pub key: u32,
}

#[derive(Debug, Clone, Copy)]
struct Server {
    station: u32,
    job: Option<Job>,
    begun: Nanos,
    end: Nanos,
    /// The event that ends the job; no other does.
    event: u64,
}

#[derive(Debug)]
struct Station {
    first_server: u32,
    idle: Vec<u32>,
    waiting: VecDeque<Job>,
    waiting_room: usize,
    /// Nanoseconds for a second of demand.
    pace: f64,
    base_pace: f64,
    frozen: bool,
    /// How long a job takes it, smoothed, in seconds.
    served_s: f64,
    /// Nanoseconds of work done while it was measured.
    busy: u64,
}

/// Every endpoint.
#[derive(Debug)]
pub(crate) struct Stations {
    all: Vec<Station>,
    servers: Vec<Server>,
    events: Events,
    /// What each keeps of the keys that it has served; empty where none does.
    caches: Vec<Cache>,
    hit_factor: f64,
    /// Work is measured from here on.
    measured_from: Nanos,
}

impl Stations {
    pub fn new(endpoints: &[Endpoint], cache: Option<scenario::Cache>) -> Self {
        let mut servers = Vec::new();
        let stations = endpoints.iter().enumerate().map(|(index, endpoint)| {
            let first_server = servers.len() as u32;
            let server =
                Server { station: index as u32, job: None, begun: Nanos(0), end: Nanos(0), event: 0 };
            servers.extend((0..endpoint.concurrency).map(|_| server));
            Station {
                first_server,
                idle: (first_server..servers.len() as u32).rev().collect(),
                waiting: VecDeque::new(),
                waiting_room: endpoint.waiting_room.map_or(usize::MAX, |room| room as usize),
                pace: 1e9 / endpoint.speed,
                base_pace: 1e9 / endpoint.speed,
                frozen: false,
                served_s: 0.0,
                busy: 0,
            }
        });
        let all = stations.collect();
        let one = |cache: scenario::Cache| endpoints.iter().map(move |_| Cache::new(cache.entries));
        Self {
            all,
            servers,
            events: Events::default(),
            caches: cache.into_iter().flat_map(one).collect(),
            hit_factor: cache.map_or(1.0, |cache| cache.hit_factor),
            measured_from: NEVER,
        }
    }

    /// When the next job ends.
    pub fn next_at(&self) -> Nanos {
        self.events.next_at()
    }

    /// Takes a job in; says whether there was room.
    pub fn submit(&mut self, station: u32, mut job: Job, now: Nanos) -> bool {
        let at = &mut self.all[station as usize];
        if let Some(cache) = self.caches.get_mut(station as usize)
            && (!at.idle.is_empty() || at.waiting.len() < at.waiting_room)
            && cache.serve(job.key)
        {
            job.demand_s *= self.hit_factor;
        }
        match at.idle.pop() {
            Some(server) => self.begin(server, job, now),
            None if at.waiting.len() < at.waiting_room => at.waiting.push_back(job),
            None => return false,
        }
        true
    }

    /// Ends the next job and begins the one behind it; `None` when the event was void.
    pub fn finish(&mut self) -> Option<Job> {
        let event = self.events.first()?;
        let server = self.servers[event.server as usize];
        if server.event != event.number {
            self.events.pop();
            return None;
        }
        self.account(event.server, event.at);
        let station = &mut self.all[server.station as usize];
        let served_s = seconds(event.at.since(server.begun));
        station.served_s +=
            if station.served_s > 0.0 { (served_s - station.served_s) * SERVED_SHARE } else { served_s };
        if let Some(next) = station.waiting.pop_front() {
            let end = event.at.plus(span_of(next.demand_s * station.pace));
            // Its event ends the job before as well, so that the heap is gone through once.
            let number = self.events.replace(end, event.server);
            let begun = &mut self.servers[event.server as usize];
            (begun.job, begun.begun, begun.end, begun.event) = (Some(next), event.at, end, number);
        } else {
            self.events.pop();
            station.idle.push(event.server);
            let ended = &mut self.servers[event.server as usize];
            (ended.job, ended.event) = (None, 0);
        }
        server.job
    }

    fn begin(&mut self, index: u32, job: Job, now: Nanos) {
        let server = &mut self.servers[index as usize];
        let station = &self.all[server.station as usize];
        server.job = Some(job);
        server.begun = now;
        server.end = now.plus(span_of(job.demand_s * station.pace));
        server.event = if station.frozen { 0 } else { self.events.push(server.end, index) };
    }

    /// What a station says of its load when a balancer asks: the jobs it has, and how long one more would take it, from
    /// what jobs have taken. Nothing while it stands still.
    pub fn report(&self, station: u32) -> Option<Report> {
        let at = &self.all[station as usize];
        let servers = self.servers_of(station);
        let concurrency = servers.len();
        let in_flight = concurrency - at.idle.len() + at.waiting.len();
        let rounds = in_flight as f64 / concurrency as f64 + 1.0;
        let report = Report { in_flight: in_flight as u32, latency_s: (at.served_s * rounds) as f32 };
        (!at.frozen).then_some(report)
    }

    /// Makes a station slower by this factor, or stand still. What it is at takes longer, too.
    pub fn set_pace(&mut self, station: u32, factor: f64, frozen: bool, now: Nanos) {
        let at = &mut self.all[station as usize];
        let ratio = at.base_pace * factor / at.pace;
        let was_frozen = at.frozen;
        at.pace = at.base_pace * factor;
        at.frozen = frozen;
        for index in self.servers_of(station) {
            if self.servers[index as usize].job.is_none() {
                continue;
            }
            if !was_frozen {
                self.account(index, now);
            }
            let server = &mut self.servers[index as usize];
            // A server that stands still counts from where it stopped.
            let since = if was_frozen { server.begun } else { now };
            let left = Nanos((server.end.since(since).0 as f64 * ratio) as u64);
            server.begun = now;
            server.end = now.plus(left);
            server.event = if frozen { 0 } else { self.events.push(server.end, index) };
        }
    }

    /// Loses every job of a station, and what it has kept.
    pub fn clear(&mut self, station: u32, now: Nanos) -> Vec<Job> {
        if let Some(cache) = self.caches.get_mut(station as usize) {
            cache.clear();
        }
        let mut lost = Vec::new();
        for index in self.servers_of(station) {
            if self.servers[index as usize].job.is_none() {
                continue;
            }
            if !self.all[station as usize].frozen {
                self.account(index, now);
            }
            let server = &mut self.servers[index as usize];
            lost.extend(server.job.take());
            server.event = 0;
            self.all[station as usize].idle.push(index);
        }
        lost.extend(self.all[station as usize].waiting.drain(..));
        lost
    }

    fn servers_of(&self, station: u32) -> std::ops::Range<u32> {
        let first = self.all[station as usize].first_server;
        let end =
            self.all.get(station as usize + 1).map_or(self.servers.len() as u32, |next| next.first_server);
        first..end
    }

    fn account(&mut self, server: u32, until: Nanos) {
        let Server { station, begun, .. } = self.servers[server as usize];
        if until > self.measured_from {
            self.all[station as usize].busy += until.since(begun.max(self.measured_from)).0;
        }
    }

    /// Begins to measure work.
    pub fn measure(&mut self, now: Nanos) {
        self.measured_from = now;
    }

    /// Measures no more; gives the nanoseconds that each station's servers have worked.
    pub fn measured(&mut self, now: Nanos) -> Vec<u64> {
        for index in 0..self.servers.len() as u32 {
            let Server { job, station, .. } = self.servers[index as usize];
            if job.is_some() && !self.all[station as usize].frozen {
                self.account(index, now);
            }
        }
        self.measured_from = NEVER;
        self.all.iter().map(|station| station.busy).collect()
    }
}

/// So many nanoseconds. A century has fewer than 2^63, which is what a processor converts at once.
fn span_of(nanos: f64) -> Nanos {
    Nanos(nanos as i64 as u64)
}
