//! Replications of all policies, spread over threads. What is found does not depend on how many there are.

use crate::plan::Plan;
use crate::report::{Report, report};
use crate::run::run;
use crate::tally::Tally;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// How often whoever waits is asked whether to go on.
const PATIENCE: Duration = Duration::from_millis(100);

/// Simulates every policy, with as many threads as this process has cores.
///
/// `go_on` is called on the calling thread with how many runs are done, of how many: after each, and at least ten times
/// a second. When it says no, the simulation is called off and there is no report.
pub fn simulate(plan: &Plan, mut go_on: impl FnMut(usize, usize) -> bool) -> Option<Report> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    simulate_on(plan, threads, &mut go_on)
}

/// The same with so many threads.
pub fn simulate_on(
    plan: &Plan,
    threads: usize,
    go_on: &mut impl FnMut(usize, usize) -> bool,
) -> Option<Report> {
    let (policies, replications) = (plan.labels.len(), plan.replications as usize);
    let total = policies * replications;
    let work = Work { plan, policies, total, next: AtomicUsize::new(0), called_off: AtomicBool::new(false) };
    let mut tallies: Vec<Vec<Option<Tally>>> = vec![vec![None; replications]; policies];
    let mut seconds = 0.0;
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..threads.clamp(1, total.max(1)) {
            let (work, sender) = (&work, sender.clone());
            scope.spawn(move || work.run(&sender));
        }
        drop(sender);
        let mut done = 0;
        loop {
            match receiver.recv_timeout(PATIENCE) {
                Ok((task, tally, took)) => {
                    tallies[task % policies][task / policies] = Some(tally);
                    seconds += took;
                    done += 1;
                }
                Err(RecvTimeoutError::Timeout) => {}
                // Every run is done, or has been called off.
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if !go_on(done, total) {
                work.called_off.store(true, Ordering::Relaxed);
            }
        }
    });
    let whole: Option<Vec<Vec<Tally>>> = tallies.into_iter().map(|one| one.into_iter().collect()).collect();
    whole.map(|tallies| report(plan, tallies, seconds))
}

/// What the threads share.
struct Work<'p> {
    plan: &'p Plan,
    policies: usize,
    total: usize,
    next: AtomicUsize,
    called_off: AtomicBool,
}

impl Work<'_> {
    fn run(&self, found: &Sender<(usize, Tally, f64)>) {
        loop {
            let task = self.next.fetch_add(1, Ordering::Relaxed);
            if task >= self.total || self.called_off.load(Ordering::Relaxed) {
                return;
            }
            let start = Instant::now();
            let replication = (task / self.policies) as u32;
            let Some(tally) = run(self.plan, task % self.policies, replication, &self.called_off) else {
                return;
            };
            // The receiver is there until all of its senders are gone.
            let _ = found.send((task, tally, start.elapsed().as_secs_f64()));
        }
    }
}
