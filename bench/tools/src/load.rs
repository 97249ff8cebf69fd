//! Load: as much as goes (closed loop) or at one fixed rate, of requests on connections that stay, or of handshakes
//! on new ones.
//!
//! At a fixed rate request `i` is due at `i / rate`, whatever happened to those before it, and its latency
//! runs from that moment: a stall is charged to every request it delays (no coordinated omission).

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use serde::Serialize;

use crate::client::{Client, Inbox, READ_BYTES, Speaks, Way};
use crate::latency::{Latencies, Summary};
use crate::tls::{Negotiated, Tls};

const NANOSECONDS: f64 = 1e9;
const EVENTS_MAX: usize = 256;
const TIMER: u64 = u64::MAX;

/// What is to be done.
pub struct Plan {
    /// How connections are made.
    pub way: Way,
    /// How many there are at once.
    pub connections: usize,
    /// Requests under way at once on each.
    pub streams: usize,
    /// What each request is, in HTTP/1.1.
    pub request: Vec<u8>,
    /// Before anything counts.
    pub warmup_s: f64,
    /// What counts.
    pub seconds: f64,
    /// Requests per second; absent, each connection sends its next request when it has its answer.
    pub rate: Option<f64>,
}

/// What was seen in the time that counts.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names are the definitions")]
pub struct Report {
    pub requests: usize,
    pub errors: u64,
    pub seconds: f64,
    pub rps: f64,
    pub body_bytes: u64,
    pub latency: Summary,
    /// Due and not yet sent when the time ended: more than a few means that the rate was not reached.
    pub backlog: u64,
    /// The share of its core that the generator itself used.
    pub own_share: f64,
    pub tls: Option<Negotiated>,
}

/// Runs the plan; `begin` is called once, when the time that counts begins.
pub fn run(plan: &Plan, begin: impl FnOnce() -> io::Result<()>) -> io::Result<Report> {
    let mut load = Load::open(plan)?;
    load.until(plan.warmup_s)?;
    begin()?;
    load.restart();
    let (from, used) = (load.now(), own_cpu_s());
    load.until(plan.warmup_s + plan.seconds)?;
    let seconds = (load.now() - from) as f64 / NANOSECONDS;
    let own_share = (own_cpu_s() - used) / seconds;
    Ok(load.report(seconds, own_share))
}

struct Load<'a> {
    plan: &'a Plan,
    zero: Instant,
    epoll: OwnedFd,
    timer: OwnedFd,
    clients: Vec<Option<Client>>,
    /// Connections that can take a request, as often as they can; first in, first out, so that all have their share.
    idle: VecDeque<usize>,
    /// Connections that have noted requests and not sent them.
    noted: Vec<usize>,
    inbox: Inbox,
    /// Requests sent so far: the index of the next on the schedule.
    sent: u64,
    latencies: Latencies,
    errors: u64,
    scratch: Vec<u8>,
}

impl<'a> Load<'a> {
    fn open(plan: &'a Plan) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        // Edge-triggered: setting the timer again clears it, so it is never read.
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN | EventFlags::ET)?;
        let mut load = Self {
            plan,
            zero: Instant::now(),
            epoll,
            timer,
            clients: Vec::new(),
            idle: (0..plan.streams).flat_map(|_| 0..plan.connections).collect(),
            noted: Vec::new(),
            inbox: Inbox::default(),
            sent: 0,
            latencies: Latencies::default(),
            errors: 0,
            scratch: vec![0; READ_BYTES],
        };
        for index in 0..plan.connections {
            let client = if load.is_fleeting() { None } else { Some(load.connect(index)?) };
            load.clients.push(client);
        }
        load.zero = Instant::now();
        Ok(load)
    }

    fn connect(&self, index: usize) -> io::Result<Client> {
        let client = Client::connect(&self.plan.way)?;
        epoll::add(&self.epoll, &client, EventData::new_u64(index as u64), EventFlags::IN)?;
        Ok(client)
    }

    /// Whether every request needs a connection of its own.
    fn is_fleeting(&self) -> bool {
        self.plan.way.speaks == Speaks::Handshake
    }

    fn now(&self) -> u64 {
        self.zero.elapsed().as_nanos() as u64
    }

    fn restart(&mut self) {
        let expected = self.plan.rate.unwrap_or(100_000.0) * self.plan.seconds;
        self.latencies = Latencies::with_capacity(expected as usize * 2);
        self.errors = 0;
        self.inbox.body_bytes = 0;
        self.plan.way.tls.iter().for_each(Tls::restart);
    }

    /// Goes on until so many seconds after the start.
    fn until(&mut self, seconds: f64) -> io::Result<()> {
        let end = (seconds * NANOSECONDS) as u64;
        let mut events = [const { MaybeUninit::uninit() }; EVENTS_MAX];
        loop {
            let next = self.send_due(end)?;
            if self.now() >= end {
                return Ok(());
            }
            self.arm(next)?;
            let (ready, _) = match epoll::wait(&self.epoll, &mut events, None) {
                Err(rustix::io::Errno::INTR) => continue,
                ready => ready?,
            };
            for event in ready {
                if event.data.u64() != TIMER {
                    self.receive(event.data.u64() as usize)?;
                }
            }
        }
    }

    /// Sends what is due and says when to look again at the latest.
    fn send_due(&mut self, end: u64) -> io::Result<u64> {
        let mut next = end;
        while let Some(index) = self.idle.pop_front() {
            let now = self.now();
            let due = self.plan.rate.map_or(now, |rate| (self.sent as f64 / rate * NANOSECONDS) as u64);
            if due > now || now >= end {
                self.idle.push_front(index);
                next = due.min(end);
                break;
            }
            self.sent += 1;
            if self.is_fleeting() {
                self.clients[index] = Some(self.connect(index)?);
            }
            if let Some(client) = &mut self.clients[index] {
                client.ask(due, &self.plan.request);
                self.noted.push(index);
            }
        }
        // What is due at once goes out at once: several streams of a connection in one piece.
        for index in std::mem::take(&mut self.noted) {
            let sent = self.clients[index].as_mut().map(Client::flush);
            if let Some(Err(_)) = sent {
                self.fail(index)?;
            }
        }
        Ok(next)
    }

    fn receive(&mut self, index: usize) -> io::Result<()> {
        // An event of a connection that ended earlier in the same batch.
        let Some(client) = &mut self.clients[index] else { return Ok(()) };
        let received = client.receive(&self.plan.way, &mut self.scratch, &mut self.inbox);
        let now = self.zero.elapsed().as_nanos() as u64;
        for due in self.inbox.answered.drain(..) {
            self.latencies.record(now.saturating_sub(due));
            self.idle.push_back(index);
            if self.plan.way.speaks == Speaks::Handshake {
                self.clients[index] = None;
            }
        }
        if received.is_err() { self.fail(index) } else { Ok(()) }
    }

    /// Counts an error and puts a new connection in the place of the old.
    fn fail(&mut self, index: usize) -> io::Result<()> {
        self.errors += 1;
        self.clients[index] = if self.is_fleeting() { None } else { Some(self.connect(index)?) };
        self.idle.retain(|idle| *idle != index);
        self.idle.extend(std::iter::repeat_n(index, self.plan.streams));
        Ok(())
    }

    /// Sets the timer to a moment of the run; one that is past fires at once.
    fn arm(&self, at: u64) -> io::Result<()> {
        let wait = at.saturating_sub(self.now()).max(1);
        let it_value =
            Timespec { tv_sec: (wait / 1_000_000_000) as i64, tv_nsec: (wait % 1_000_000_000) as i64 };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }

    fn report(self, seconds: f64, own_share: f64) -> Report {
        let due = self.plan.rate.map_or(0, |rate| (rate * self.now() as f64 / NANOSECONDS) as u64);
        let requests = self.latencies.count();
        Report {
            requests,
            errors: self.errors,
            seconds,
            rps: requests as f64 / seconds,
            body_bytes: self.inbox.body_bytes,
            latency: self.latencies.summary(),
            backlog: due.saturating_sub(self.sent),
            own_share,
            tls: self.plan.way.tls.as_ref().map(Tls::negotiated),
        }
    }
}

fn own_cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / NANOSECONDS
}
