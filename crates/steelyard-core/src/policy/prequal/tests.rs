//! The formula of reuse, the pool of replies, and what a pick makes of them.

use super::*;

const NOW: Nanos = Nanos::from_millis(5_000);

fn rules(endpoints: usize) -> Rules {
    Rules::new(&document::Policy::default(), &vec![1; endpoints])
}

/// A ledger with these replies of endpoints 0, 1, ...: requests in flight, and milliseconds.
fn ledger(rules: &Rules, replies: &[(u32, f32)]) -> Ledger {
    let Probes { ledger, .. } = Probes::new(7);
    let mut ledger = ledger.into_inner().unwrap();
    for (id, &(in_flight, latency_ms)) in replies.iter().enumerate() {
        let report = Report { in_flight, latency_s: latency_ms / 1e3 };
        ledger.take_in(rules, id as u32, (id, None), report, NOW);
    }
    ledger
}

fn ids(ledger: &Ledger) -> Vec<u32> {
    (0..ledger.replies.len()).map(|position| ledger.replies.get(position).id).collect()
}

#[test]
fn a_full_pool_evicts_the_oldest() {
    let ledger = ledger(&rules(100), &[(1, 1.0); 20]);
    assert_eq!(ids(&ledger), (4..20).collect::<Vec<_>>());
}

#[test]
fn the_fraction_of_the_reuse_is_rounded_at_random_and_keeps_its_mean() {
    let (rules, mut sum) = (rules(100), 0);
    let mut ledger = ledger(&rules, &[]);
    for _ in 0..20_000 {
        ledger.take_in(&rules, 0, (0, None), Report { in_flight: 0, latency_s: 0.0 }, NOW);
        let newest = ledger.replies.len() - 1;
        let uses = ledger.replies.get(newest).uses_left;
        assert!(uses == 1 || uses == 2);
        sum += uses;
    }
    let mean = f64::from(sum) / 20_000.0;
    assert!((mean - 1.3158).abs() < 0.01, "{mean}");
}

#[test]
fn removals_alternate_between_the_oldest_and_the_worst() {
    let mut ledger = ledger(&rules(100), &[(1, 9.0), (2, 1.0), (8, 1.0), (9, 1.0), (1, 5.0), (1, 7.0)]);
    let removed = |ledger: &mut Ledger| {
        let before = ids(ledger);
        ledger.removals_due = 1.0;
        ledger.remove(4.0);
        before.into_iter().find(|id| !ids(ledger).contains(id)).unwrap()
    };
    // The oldest; the hot one with the most; the oldest; the last hot one; the oldest is now 4.
    let order: Vec<u32> = (0..5).map(|_| removed(&mut ledger)).collect();
    assert_eq!(order, [0, 3, 1, 2, 4]);
}

#[test]
fn where_none_is_hot_the_worst_is_the_slowest() {
    let ledger = ledger(&rules(100), &[(1, 9.0), (2, 1.0), (3, 12.0)]);
    assert_eq!(ledger.worst(4.0), 2);
}

#[test]
fn a_reply_is_removed_when_its_uses_are_spent() {
    let rules = rules(10);
    let mut ledger = ledger(&rules, &[(0, 1.0), (0, 1.0)]);
    for use_number in 1..=16 {
        assert_eq!(ledger.replies.len(), 2, "{use_number}");
        ledger.use_up(0);
    }
    assert_eq!(ids(&ledger), [1]);
}
