//! Every interleaving of the shared state, by loom: slots, queue hand-over, snapshot swap.
//!
//! Run by `scripts/loom`, in a build of their own, because loom replaces the atomics.

use crate::document;
use crate::endpoint::{Address, Endpoint, Threshold};
use crate::health::Health;
use crate::policy::Phase;
use crate::pool::{Options, Pick, Pool, Resolved};
use crate::queue::{Grant, Ticket};
use crate::random::Generator;
use crate::sample;
use crate::seeker::Seeker;
use crate::time::Nanos;
use loom::thread;
use rand::SeedableRng;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Wake, Waker};

const NOW: Nanos = Nanos::from_millis(1_000);

/// Switches between threads that loom may force in one run. Two find nearly every known kind of race, three are
/// the most that end within a minute.
const PREEMPTIONS_MAX: usize = 3;

fn model(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.check(body);
}

/// A pool of endpoints without probes, each with this threshold of requests in flight.
fn pool(endpoints: usize, threshold: u32, generation: u64, previous: Option<&Pool>) -> Arc<Pool> {
    let mut config: document::Pool = sample::pool("app", &[]);
    config.health.interval_ms = None;
    config.threshold.requests = Some(threshold);
    let members = (0..endpoints)
        .map(|index| Resolved {
            configured: "".into(),
            address: Address::Unix(index.to_string().into()),
            weight: 1,
            drain: false,
            priority: 0,
            zone: None,
            foreign: false,
            near: false,
        })
        .collect();
    let options = Options { workers: 0, phase: Phase::Zero, seed: 0 };
    let before = previous.map(|pool| Arc::clone(pool.shared()));
    Arc::new(Pool::build(&config, generation, members, before, &options).unwrap())
}

fn admit(pool: &Pool) -> Pick {
    pool.admit(NOW, &mut Generator::seed_from_u64(1), &Seeker::default())
}

/// Takes the only slot of the only endpoint.
fn occupy(pool: &Pool) {
    assert_eq!(admit(pool), Pick::Taken(0));
}

/// A waker that says whether it was used. It is no part of the model, so loom need not look at it.
#[derive(Default)]
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A place in the queue, and the bell that tells when there is something to claim.
struct Waiter {
    ticket: Ticket,
    bell: Arc<Bell>,
}

fn enqueue(pool: &Arc<Pool>) -> Waiter {
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let ticket = pool.enqueue(NOW, Seeker::default(), waker).expect("there is room");
    Waiter { ticket, bell }
}

/// Whether the waiter was woken, which must be so exactly when there is a slot for it.
fn served(pool: &Pool, waiter: &Waiter) -> bool {
    let woken = waiter.bell.0.load(Ordering::SeqCst);
    let granted = matches!(pool.claim(waiter.ticket, Waker::noop()), Some(Grant::Slot(_)));
    assert_eq!(woken, granted, "woken is granted");
    granted
}

fn in_flight(pool: &Pool) -> u32 {
    pool.members().iter().map(|member| member.endpoint.in_flight()).sum()
}

#[test]
fn no_slot_is_taken_above_the_threshold() {
    model(|| {
        let endpoint = Arc::new(Endpoint::new(0, Address::Unix("a".into()), 0, Health::new(false)));
        let held = Arc::new(AtomicU32::new(0));
        let worker = || {
            let (endpoint, held) = (Arc::clone(&endpoint), Arc::clone(&held));
            move || {
                let threshold = Threshold { requests: 2, ..Threshold::OFF };
                if endpoint.take(&threshold, NOW) {
                    // Counted beside the model: loom runs one thread at a time.
                    assert!(held.fetch_add(1, Ordering::SeqCst) < 2, "three hold two slots");
                    thread::yield_now();
                    held.fetch_sub(1, Ordering::SeqCst);
                    endpoint.give();
                }
            }
        };
        let others = [thread::spawn(worker()), thread::spawn(worker())];
        worker()();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(endpoint.in_flight(), 0);
    });
}

#[test]
fn an_endpoint_out_for_latency_is_tried_by_one_at_a_time() {
    model(|| {
        let endpoint = Arc::new(Endpoint::new(0, Address::Unix("a".into()), 0, Health::new(false)));
        let threshold = Threshold { latency_s: 0.5, ..Threshold::OFF };
        endpoint.teach(1.0, &threshold, NOW);
        let other = {
            let endpoint = Arc::clone(&endpoint);
            thread::spawn(move || endpoint.take(&threshold, NOW))
        };
        let taken = endpoint.take(&threshold, NOW);
        assert!(taken != other.join().unwrap(), "exactly one tries");
        assert_eq!(endpoint.in_flight(), 1);
    });
}

#[test]
fn a_slot_freed_while_somebody_lines_up_is_not_lost() {
    model(|| {
        let pool = pool(1, 1, 1, None);
        occupy(&pool);
        let releaser = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.release(&pool.members()[0].endpoint, NOW))
        };
        let waiter = match admit(&pool) {
            Pick::Taken(_) => None,
            _ => Some(enqueue(&pool)),
        };
        releaser.join().unwrap();
        assert!(waiter.is_none_or(|waiter| served(&pool, &waiter)), "a waiter is stranded");
        assert_eq!(in_flight(&pool), 1);
    });
}

#[test]
fn two_slots_freed_at_once_serve_two_waiters() {
    model(|| {
        let pool = pool(1, 2, 1, None);
        occupy(&pool);
        occupy(&pool);
        let waiters = [enqueue(&pool), enqueue(&pool)];
        let releaser = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.release(&pool.members()[0].endpoint, NOW))
        };
        pool.release(&pool.members()[0].endpoint, NOW);
        releaser.join().unwrap();
        assert!(waiters.iter().all(|waiter| served(&pool, waiter)));
        assert_eq!(in_flight(&pool), 2);
    });
}

#[test]
fn a_newcomer_never_overtakes() {
    model(|| {
        let pool = pool(1, 1, 1, None);
        occupy(&pool);
        let waiter = enqueue(&pool);
        let releaser = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.release(&pool.members()[0].endpoint, NOW))
        };
        assert_eq!(admit(&pool), Pick::Full, "the slot belongs to the one that waits");
        releaser.join().unwrap();
        assert!(served(&pool, &waiter));
    });
}

#[test]
fn who_leaves_after_the_hand_over_passes_the_slot_on() {
    model(|| {
        let pool = pool(1, 1, 1, None);
        occupy(&pool);
        let [first, second] = [enqueue(&pool), enqueue(&pool)];
        let releaser = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.release(&pool.members()[0].endpoint, NOW))
        };
        pool.leave(first.ticket, NOW);
        releaser.join().unwrap();
        assert!(served(&pool, &second), "the slot went with the one that left");
        assert_eq!(in_flight(&pool), 1);
    });
}

#[test]
fn who_lines_up_behind_another_is_served_though_nobody_looks_for_it() {
    model(|| {
        let pool = pool(1, 1, 1, None);
        occupy(&pool);
        let first = enqueue(&pool);
        let releaser = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.release(&pool.members()[0].endpoint, NOW))
        };
        let second = enqueue(&pool);
        pool.leave(first.ticket, NOW);
        releaser.join().unwrap();
        assert!(served(&pool, &second), "the slot was free, or went with the one that left");
        assert_eq!(in_flight(&pool), 1);
    });
}

#[test]
fn who_leaves_alone_leaves_the_slot_free() {
    model(|| {
        let pool = pool(1, 1, 1, None);
        occupy(&pool);
        let waiter = enqueue(&pool);
        let releaser = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.release(&pool.members()[0].endpoint, NOW))
        };
        pool.leave(waiter.ticket, NOW);
        releaser.join().unwrap();
        assert_eq!(in_flight(&pool), 0);
        assert_eq!(pool.queued(), 0);
        occupy(&pool);
    });
}

#[test]
fn a_swap_of_snapshots_strands_nobody_who_lines_up_on_the_old_one() {
    model(|| {
        let old = pool(1, 1, 1, None);
        occupy(&old);
        let new = pool(1, 2, 2, Some(&old));
        let control = {
            let new = Arc::clone(&new);
            thread::spawn(move || new.activate(NOW))
        };
        let waiter = match admit(&old) {
            Pick::Taken(_) => panic!("the old threshold is 1"),
            _ => enqueue(&old),
        };
        control.join().unwrap();
        assert!(served(&old, &waiter), "the raised threshold did not reach the one that waits");
        assert_eq!(in_flight(&new), 2, "both snapshots count on one endpoint");
    });
}

#[test]
fn an_ejection_that_ends_while_somebody_lines_up_wakes_it() {
    model(|| {
        let pool = pool(2, 1, 1, None);
        let away = &pool.members()[0].endpoint;
        let mut health = away.health();
        health.eject("failures", Nanos(0));
        away.publish(&health);
        drop(health);
        assert_eq!(admit(&pool), Pick::Taken(1));
        let control = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.tick(Nanos::from_millis(60_000)).len())
        };
        let waiter = match admit(&pool) {
            Pick::Taken(_) => None,
            _ => Some(enqueue(&pool)),
        };
        assert_eq!(control.join().unwrap(), 1);
        assert!(waiter.is_none_or(|waiter| served(&pool, &waiter)), "a waiter is stranded");
    });
}
