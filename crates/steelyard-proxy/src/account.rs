//! What a peer may ask for beside what it is for: spent as it asks, earned as something is carried, given back by time.

use steelyard_core::time::Nanos;

/// In this time all that was spent is there again.
const RECOVERY: Nanos = Nanos::from_millis(60_000);

/// What may be spent, which comes back with time and is never more than at first. Once it is spent, that stays so.
#[derive(Debug)]
pub(crate) struct Account {
    credit: u64,
    credit_max: u64,
    since: Option<Nanos>,
    exhausted: bool,
}

impl Account {
    /// An account that holds so much at the most, and at first.
    pub fn new(credit_max: u64) -> Self {
        Self { credit: credit_max, credit_max, since: None, exhausted: false }
    }

    /// Something was carried.
    pub fn earn(&mut self, amount: u64) {
        self.credit = self.credit.saturating_add(amount).min(self.credit_max);
    }

    /// Something was asked for.
    pub fn spend(&mut self, amount: u64) {
        self.credit = self.credit.saturating_sub(amount);
        self.exhausted |= self.credit == 0;
    }

    /// Whether more was asked for than there may be.
    pub fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// Gives back what has come back with time.
    pub fn recover(&mut self, now: Nanos) {
        let Some(since) = self.since else {
            self.since = Some(now);
            return;
        };
        let back = self.credit_max.saturating_mul(now.since(since).0 / 1_000) / (RECOVERY.0 / 1_000);
        if back > 0 {
            self.earn(back);
            self.since = Some(now);
        }
    }
}
