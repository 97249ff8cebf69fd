//! What endpoints teach: smoothed times and decaying sums, against their closed forms.

use crate::support::{millis, pool};
use proptest::prelude::*;
use steelyard_core::load::{Decaying, LATENCY_TIME_CONSTANT_S, Smoothed};
use steelyard_core::pool::Outcome;
use steelyard_core::time::Nanos;

const DAY_MS: u64 = 86_400_000;

proptest! {
    #[test]
    fn the_smoothed_time_is_the_closed_form_and_stays_among_its_samples(
        samples in proptest::collection::vec((1u64..20_000, 0.001f32..10.0), 1..40),
    ) {
        let smoothed = Smoothed::default();
        let mut now_ms = 0;
        let mut expected: Option<f64> = None;
        let (mut least, mut most) = (f32::INFINITY, 0.0f32);
        for (gap_ms, sample_s) in samples {
            now_ms += gap_ms;
            smoothed.record(sample_s, millis(now_ms));
            let kept = (-(gap_ms as f64) / 1e3 / f64::from(LATENCY_TIME_CONSTANT_S)).exp();
            expected = Some(expected.map_or(f64::from(sample_s), |value| {
                value * kept + f64::from(sample_s) * (1.0 - kept)
            }));
            least = least.min(sample_s);
            most = most.max(sample_s);
        }
        let value = smoothed.get().unwrap();
        prop_assert!((f64::from(value) / expected.unwrap() - 1.0).abs() < 1e-3, "{} {:?}", value, expected);
        prop_assert!((least * 0.999..=most * 1.001).contains(&value));
    }

    #[test]
    fn a_decaying_sum_is_the_closed_form(
        amounts in proptest::collection::vec((0u64..3_000, 0.0f32..1e6), 1..40),
        later_ms in 0u64..5_000,
    ) {
        let sum = Decaying::default();
        let mut now_ms = 0;
        let mut expected = 0.0;
        for (gap_ms, amount) in amounts {
            now_ms += gap_ms;
            sum.add(amount, millis(now_ms), 1.0);
            expected = expected * (-(gap_ms as f64) / 1e3).exp() + f64::from(amount);
        }
        expected *= (-(later_ms as f64) / 1e3).exp();
        let value = f64::from(sum.get(millis(now_ms + later_ms), 1.0));
        prop_assert!((value - expected).abs() <= expected * 1e-2 + 1e-3, "{} instead of {}", value, expected);
    }

    #[test]
    fn nothing_that_has_faded_comes_back_days_later(days in 1u64..40, hours in 0u64..24) {
        let sum = Decaying::default();
        sum.add(1e9, millis(0), 1.0);
        let later = millis(days * DAY_MS + hours * 3_600_000);
        prop_assert!(sum.get(later, 1.0) < 1.0, "{}", sum.get(later, 1.0));
    }
}

#[test]
fn after_days_without_samples_the_next_one_counts_whole() {
    for days in 1..40 {
        let smoothed = Smoothed::default();
        smoothed.record(5.0, millis(0));
        smoothed.record(1.0, millis(days * DAY_MS));
        let value = smoothed.get().unwrap();
        assert!((value - 1.0).abs() < 1e-3, "{value} after {days} days");
    }
}

#[test]
fn a_cancelled_request_teaches_only_what_is_longer_than_expected() {
    let pool = pool("least_request", &[1], |_| {});
    let endpoint = &pool.members()[0].endpoint;
    let lasted = |ms: u64| Some(millis(ms).since(millis(0)));
    let smoothed_ms = || (endpoint.smoothed_s().unwrap() * 1e3).round() as u32;
    pool.learn(endpoint, Outcome::Success, lasted(100), millis(0));
    pool.learn(endpoint, Outcome::Cancelled, lasted(50), millis(10_000));
    assert_eq!(smoothed_ms(), 100);
    pool.learn(endpoint, Outcome::Cancelled, None, millis(10_000));
    assert_eq!(smoothed_ms(), 100);
    pool.learn(endpoint, Outcome::Failure("reset"), lasted(1), millis(10_000));
    assert_eq!(smoothed_ms(), 100, "a fast failure does not look fast");
    pool.learn(endpoint, Outcome::Cancelled, lasted(1_000), millis(10_000));
    assert!(smoothed_ms() > 100);
}

#[test]
fn an_endpoint_never_used_has_no_time() {
    assert_eq!(Smoothed::default().get(), None);
    assert!(Decaying::default().is_zero());
    assert!(Decaying::default().get(Nanos(0), 1.0) <= 0.0);
}
