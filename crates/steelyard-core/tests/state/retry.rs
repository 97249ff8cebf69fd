//! The retry budget: under any failures the load grows by a fifth and ten a second, and no more.

use crate::support::millis;
use proptest::prelude::*;
use steelyard_core::retry::Budget;

proptest! {
    #[test]
    fn retries_stay_within_a_fifth_of_the_requests_and_ten_a_second(
        // Spans of steady traffic: seconds, requests a millisecond, retries wanted for each request.
        spans in proptest::collection::vec((1u64..20, 0u64..8, 0u64..4), 1..8),
    ) {
        let mut budget = Budget::new(Some(0.2));
        let (mut now_ms, mut requests, mut retries) = (0u64, 0u64, 0u64);
        for (seconds, rate, wanted) in spans {
            for _ in 0..seconds * 100 {
                now_ms += 10;
                requests += rate;
                for _ in 0..rate * wanted {
                    retries += u64::from(budget.withdraw(requests, millis(now_ms)));
                }
            }
            let elapsed_s = now_ms as f64 / 1e3;
            let bound = 0.2 * requests as f64 + 10.0 * elapsed_s + 10.0 + 1.0;
            prop_assert!(retries as f64 <= bound, "{} retries of {} requests in {} s", retries, requests, elapsed_s);
        }
    }

    #[test]
    fn the_reserve_is_granted_however_few_requests_there_are(every_ms in 110u64..2_000) {
        let mut budget = Budget::new(Some(0.2));
        for step in 1..100 {
            prop_assert!(budget.withdraw(step, millis(step * every_ms)), "step {}", step);
        }
    }
}

#[test]
fn requests_are_forgotten_after_ten_seconds_or_so() {
    let mut budget = Budget::new(Some(0.2));
    assert!(budget.withdraw(0, millis(0)));
    // 1,000 requests in a second are worth some 190 retries; a minute later next to none of them.
    assert!(budget.withdraw(1_000, millis(1_000)));
    let granted = (0..1_000).take_while(|_| budget.withdraw(1_000, millis(61_000))).count();
    assert!((10..=12).contains(&granted), "{granted}: the reserve of a second, and little more");
}
