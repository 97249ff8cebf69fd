//! How many retries a pool may afford: a share of its requests, and a few a second besides.
//!
//! Retries beyond that would amplify an overload that they cannot cure. The budget is Finagle's idea (a share of
//! recent requests plus a reserve), kept as two sums: one that decays over ten seconds, one that refills.

use crate::time::Nanos;

/// Requests are remembered over this many seconds.
const MEMORY_S: f64 = 10.0;
/// Retries a second that are granted however few requests there are.
const RESERVE_PER_SECOND: f64 = 10.0;
/// Unused reserve does not grow beyond one second's worth.
const RESERVE_MAX: f64 = RESERVE_PER_SECOND;

/// What is left to spend.
#[derive(Debug)]
pub struct Budget {
    share: Option<f64>,
    balance: f64,
    reserve: f64,
    requests_seen: u64,
    at: Nanos,
}

impl Budget {
    /// A budget of `share` retries per request; `None` = no bound.
    pub fn new(share: Option<f64>) -> Self {
        Self { share, balance: 0.0, reserve: RESERVE_MAX, requests_seen: 0, at: Nanos(0) }
    }

    /// Follows a reload.
    pub fn set_share(&mut self, share: Option<f64>) {
        self.share = share;
    }

    /// Grants one retry, or refuses. `requests` is how many requests the pool has had so far.
    pub fn withdraw(&mut self, requests: u64, now: Nanos) -> bool {
        let Some(share) = self.share else { return true };
        let elapsed_s = now.since(self.at).0 as f64 * 1e-9;
        if elapsed_s > 0.0 {
            let kept = (-elapsed_s / MEMORY_S).exp();
            let arrived = requests.saturating_sub(self.requests_seen) as f64;
            // The arrivals, spread evenly over the time since the last look, decay as they come in.
            self.balance =
                self.balance * kept + share * arrived * (MEMORY_S / elapsed_s * (1.0 - kept)).min(1.0);
            self.reserve = (self.reserve + RESERVE_PER_SECOND * elapsed_s).min(RESERVE_MAX);
            self.requests_seen = requests;
            self.at = now;
        }
        let purse = if self.balance >= 1.0 { &mut self.balance } else { &mut self.reserve };
        let granted = *purse >= 1.0;
        if granted {
            *purse -= 1.0;
        }
        granted
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn when_everything_fails_the_load_grows_by_the_share_and_the_reserve_only() {
        let mut budget = Budget::new(Some(0.2));
        let (mut requests, mut retries) = (0u64, 0u64);
        for millis in 1..=60_000u64 {
            requests += 1;
            if budget.withdraw(requests, Nanos::from_millis(millis)) {
                retries += 1;
            }
        }
        let bound = requests as f64 * 0.2 + 60.0 * RESERVE_PER_SECOND + RESERVE_MAX + 1.0;
        assert!(retries as f64 <= bound, "{retries} retries, at most {bound}");
        assert!(retries as f64 >= bound * 0.8, "{retries} retries is less than was promised");
    }

    #[test]
    fn a_long_quiet_time_saves_up_no_burst() {
        let mut budget = Budget::new(Some(0.2));
        assert!(budget.withdraw(0, Nanos::from_millis(1)));
        let later = Nanos::from_millis(10_000_000);
        let granted = (0..1_000_000).take_while(|_| budget.withdraw(1_000_000, later)).count();
        // 100 requests a second for ten seconds, a fifth of them, and the reserve.
        assert!(granted <= 211, "{granted}");
    }

    #[test]
    fn without_a_share_there_is_no_bound() {
        let mut budget = Budget::new(None);
        assert!((0..10_000).all(|_| budget.withdraw(0, Nanos(0))));
    }
}
