//! The queue against a model: first come first served, nothing lost, nobody overtaken, whatever is cancelled.

use crate::support::{Bell, admit, generator, millis, pool, pool_document, snapshot};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::Arc;
use steelyard_core::endpoint::Endpoint;
use steelyard_core::pool::{Pick, Pool};
use steelyard_core::queue::{Grant, Ticket};
use steelyard_core::random::Generator;
use steelyard_core::seeker::Seeker;

/// One request that waits.
struct Waiting {
    ticket: Ticket,
    bell: Arc<Bell>,
}

/// A pool, the slots that are held, and who waits, in the order of arrival.
struct Scene {
    pool: Arc<Pool>,
    slots: usize,
    held: Vec<Arc<Endpoint>>,
    waiting: VecDeque<Waiting>,
    rng: Generator,
}

#[derive(Debug, Clone)]
enum Step {
    Arrive,
    Release(usize),
    /// Whoever waits at this place goes away, granted or not.
    Cancel(usize),
    /// Whoever was woken takes what it was given.
    Claim(usize),
}

impl Scene {
    fn new(endpoints: usize, threshold: usize) -> Self {
        let pool = pool("least_request", &vec![1; endpoints], |document| {
            document["threshold"]["requests"] = threshold.into();
        });
        let slots = endpoints * threshold;
        Self { pool, slots, held: Vec::new(), waiting: VecDeque::new(), rng: generator() }
    }

    fn arrive(&mut self) {
        match admit(&self.pool, millis(0), &mut self.rng) {
            Pick::Taken(index) => {
                let unserved = self.waiting.iter().any(|waiting| waiting.bell.rung() == 0);
                assert!(!unserved, "a newcomer overtook somebody who waits");
                self.held.push(Arc::clone(&self.pool.members()[index].endpoint));
            }
            Pick::Full => {
                let (bell, waker) = Bell::waker();
                let ticket = self.pool.enqueue(millis(0), Seeker::default(), waker).expect("there is room");
                self.waiting.push_back(Waiting { ticket, bell });
            }
            Pick::Nobody => panic!("every endpoint is healthy"),
        }
    }

    fn release(&mut self, which: usize) {
        if !self.held.is_empty() {
            let endpoint = self.held.swap_remove(which % self.held.len());
            self.pool.release(&endpoint, millis(0));
        }
    }

    fn cancel(&mut self, which: usize) {
        if !self.waiting.is_empty() {
            let waiting = self.waiting.remove(which % self.waiting.len()).unwrap();
            self.pool.leave(waiting.ticket, millis(0));
        }
    }

    fn claim(&mut self, which: usize) {
        if self.waiting.is_empty() {
            return;
        }
        let place = which % self.waiting.len();
        let (_, waker) = Bell::waker();
        let waiting = &self.waiting[place];
        if waiting.bell.rung() == 0 {
            return;
        }
        match self.pool.claim(waiting.ticket, &waker) {
            Some(Grant::Slot(endpoint)) => self.held.push(endpoint),
            other => panic!("woken for {other:?}"),
        }
        self.waiting.remove(place);
    }

    fn check(&self) {
        let granted = self.waiting.iter().filter(|waiting| waiting.bell.rung() > 0).count();
        let in_order = self.waiting.iter().take(granted).all(|waiting| waiting.bell.rung() == 1);
        assert!(in_order, "those who came first are woken first, each once");
        assert_eq!(self.pool.queued(), self.waiting.len() - granted);
        let in_flight: u32 = self.pool.members().iter().map(|member| member.endpoint.in_flight()).sum();
        assert_eq!(in_flight as usize, self.held.len() + granted, "a slot is held or granted");
        if granted < self.waiting.len() {
            assert_eq!(in_flight as usize, self.slots, "nobody waits while a slot is free");
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => Just(Step::Arrive),
        3 => any::<usize>().prop_map(Step::Release),
        1 => any::<usize>().prop_map(Step::Cancel),
        3 => any::<usize>().prop_map(Step::Claim),
    ];
    proptest::collection::vec(step, 1..120)
}

proptest! {
    #[test]
    fn first_come_first_served_and_nothing_is_lost(
        endpoints in 1usize..4,
        threshold in 1usize..4,
        steps in steps(),
    ) {
        let mut scene = Scene::new(endpoints, threshold);
        for step in steps {
            match step {
                Step::Arrive => scene.arrive(),
                Step::Release(which) => scene.release(which),
                Step::Cancel(which) => scene.cancel(which),
                Step::Claim(which) => scene.claim(which),
            }
            scene.check();
        }
        // In the end everybody is served and every slot is free.
        while !(scene.held.is_empty() && scene.waiting.is_empty()) {
            scene.release(0);
            scene.claim(0);
            scene.check();
        }
        let in_flight: u32 = scene.pool.members().iter().map(|member| member.endpoint.in_flight()).sum();
        prop_assert_eq!(in_flight, 0);
    }
}

#[test]
fn a_full_queue_turns_away() {
    let pool = pool("least_request", &[1], |document| {
        document["threshold"]["requests"] = 1.into();
        document["queue"]["size"] = 2.into();
    });
    assert_eq!(admit(&pool, millis(0), &mut generator()), Pick::Taken(0));
    let enqueue = || pool.enqueue(millis(0), Seeker::default(), Bell::waker().1);
    let first = enqueue().unwrap();
    assert!(enqueue().is_some());
    assert!(enqueue().is_none());
    pool.leave(first, millis(0));
    assert!(enqueue().is_some(), "who leaves makes room");
}

#[test]
fn no_queue_is_no_waiting() {
    let pool = pool("least_request", &[1], |document| {
        document["threshold"]["requests"] = 1.into();
        document["queue"]["size"] = serde_json::Value::Null;
    });
    assert!(pool.enqueue(millis(0), Seeker::default(), Bell::waker().1).is_none());
}

#[test]
fn who_excludes_the_free_one_lets_others_pass_and_keeps_its_place() {
    let pool = pool("least_request", &[1, 1], |document| document["threshold"]["requests"] = 1.into());
    let mut rng = generator();
    for _ in 0..2 {
        assert!(matches!(admit(&pool, millis(0), &mut rng), Pick::Taken(_)));
    }
    let [a, b] = [0, 1].map(|index| Arc::clone(&pool.members()[index].endpoint));
    let mut not_a = Seeker::default();
    not_a.exclude(&a);
    let (choosy, waker) = Bell::waker();
    let ticket = pool.enqueue(millis(0), not_a, waker).unwrap();
    let (easy, waker) = Bell::waker();
    pool.enqueue(millis(0), Seeker::default(), waker).unwrap();
    pool.release(&a, millis(0));
    assert_eq!((choosy.rung(), easy.rung()), (0, 1));
    pool.release(&b, millis(0));
    assert_eq!(choosy.rung(), 1);
    let (_, waker) = Bell::waker();
    assert!(matches!(pool.claim(ticket, &waker), Some(Grant::Slot(endpoint)) if Arc::ptr_eq(&endpoint, &b)));
}

#[test]
fn a_reload_serves_those_who_wait() {
    let mut document = pool_document("least_request", &[1]);
    document["threshold"]["requests"] = 1.into();
    let first = snapshot(&document, None);
    let pool = Arc::clone(&first.pools[0]);
    assert_eq!(admit(&pool, millis(0), &mut generator()), Pick::Taken(0));
    let (early, waker) = Bell::waker();
    pool.enqueue(millis(0), Seeker::default(), waker).unwrap();

    // A raised threshold wakes the one who waits on the old snapshot.
    document["threshold"]["requests"] = 2.into();
    let second = snapshot(&document, Some(&first));
    assert_eq!(early.rung(), 1);
    assert!(Arc::ptr_eq(&pool.members()[0].endpoint, &second.pools[0].members()[0].endpoint));
    assert_eq!(pool.members()[0].endpoint.in_flight(), 2);

    // A request that is still on the old one lines up, and gets what the new one has: a new endpoint.
    let (late, waker) = Bell::waker();
    pool.enqueue(millis(0), Seeker::default(), waker).unwrap();
    assert_eq!(late.rung(), 0);
    let mut document = pool_document("least_request", &[1, 1]);
    document["threshold"]["requests"] = 2.into();
    let third = snapshot(&document, Some(&second));
    assert_eq!(late.rung(), 1);
    assert_eq!(third.pools[0].members()[1].endpoint.in_flight(), 1);
}

#[test]
fn an_ejected_endpoint_that_returns_serves_those_who_wait() {
    let pool = pool("least_request", &[1, 1], |document| document["threshold"]["requests"] = 1.into());
    let mut rng = generator();
    let broken = &pool.members()[0].endpoint;
    for _ in 0..3 {
        pool.learn(broken, steelyard_core::pool::Outcome::Failure("reset"), None, millis(0));
    }
    assert_eq!(admit(&pool, millis(0), &mut rng), Pick::Taken(1));
    assert_eq!(admit(&pool, millis(0), &mut rng), Pick::Full);
    let (bell, waker) = Bell::waker();
    pool.enqueue(millis(0), Seeker::default(), waker).unwrap();
    pool.tick(millis(4_999));
    assert_eq!(bell.rung(), 0);
    pool.tick(millis(5_000));
    assert_eq!(bell.rung(), 1);
}

#[test]
fn who_waits_in_a_pool_that_has_left_is_served_by_whoever_held_its_slot() {
    let mut document = pool_document("least_request", &[1]);
    document["threshold"]["requests"] = 1.into();
    let first = snapshot(&document, None);
    let endpoint = Arc::clone(&first.pools[0].members()[0].endpoint);
    // Held as a tunnel holds it.
    let shared = Arc::clone(first.pools[0].shared());
    assert_eq!(admit(&first.pools[0], millis(0), &mut generator()), Pick::Taken(0));
    let second = snapshot(&document, Some(&first));
    let pool = Arc::clone(&first.pools[0]);
    let (bell, waker) = Bell::waker();
    let ticket = pool.enqueue(millis(0), Seeker::default(), waker.clone()).unwrap();

    let mut other = pool_document("least_request", &[1]);
    other["name"] = "other".into();
    let without = snapshot(&other, Some(&second));
    drop((first, second));
    assert_eq!(without.live_pools().map(|pool| pool.name().to_owned()).collect::<Vec<_>>(), ["other", "app"]);
    shared.release(&endpoint, millis(0));
    assert_eq!(bell.rung(), 1);
    assert!(matches!(pool.claim(ticket, &waker), Some(Grant::Slot(_))));
    assert_eq!(without.live_pools().count(), 1, "nobody waits any more");
    assert_eq!(Arc::strong_count(&pool), 1, "and nothing holds its last snapshot");
}

#[test]
fn a_pool_that_comes_back_while_a_request_lasts_is_the_same() {
    let mut document = pool_document("least_request", &[1]);
    document["threshold"]["requests"] = 1.into();
    let mut other = document.clone();
    other["name"] = "other".into();
    let first = snapshot(&document, None);
    assert_eq!(admit(&first.pools[0], millis(0), &mut generator()), Pick::Taken(0));
    let shared = Arc::clone(first.pools[0].shared());
    let endpoint = Arc::clone(&first.pools[0].members()[0].endpoint);
    let mut gone = snapshot(&other, Some(&first));
    drop(first);
    for _ in 0..3 {
        gone = snapshot(&other, Some(&gone));
    }
    let back = snapshot(&document, Some(&gone));
    assert_eq!(admit(&back.pools[0], millis(0), &mut generator()), Pick::Full);
    let (bell, waker) = Bell::waker();
    back.pools[0].enqueue(millis(0), Seeker::default(), waker).unwrap();
    shared.release(&endpoint, millis(0));
    assert_eq!(bell.rung(), 1);

    // Once nothing of it lasts, its name is free for a new one.
    drop((back, shared, endpoint));
    let gone = snapshot(&other, Some(&gone));
    let new = snapshot(&document, Some(&gone));
    assert_eq!(admit(&new.pools[0], millis(0), &mut generator()), Pick::Taken(0));
}
