//! Which replies a session's client can still expect. Datagrams get lost, and nothing tells which one a reply is to: only how
//! many are missing, and for how long so many have been.

use steelyard_core::time::Nanos;

/// Where it is not known how many replies are to come, one that has not come for so long is none.
const REPLY_MAX: Nanos = Nanos::from_millis(5_000);

/// What there is to expect in the sessions of a listener.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Promise {
    /// So many replies for each datagram of the client's, where that is known.
    pub responses: Option<u32>,
    /// How long nothing may move, and so many may be missing.
    pub idle: Option<Nanos>,
}

/// What was written in a session, and what is missing.
#[derive(Debug, Default)]
pub(super) struct Owed {
    asked: u64,
    answered: u64,
    /// Replies that are not expected any more.
    lost: u64,
    /// When any of this last changed.
    moved: Nanos,
    window: Window,
    /// The first datagram of the client's after the last that came back.
    unanswered: Option<Nanos>,
}

/// The fewest replies that have been missing at once for some time.
#[derive(Debug, Default)]
struct Window {
    since: Nanos,
    least: u64,
    /// For how long of that it was as few.
    least_for: Nanos,
}

impl Owed {
    /// Whether the client has written anything that went to an endpoint.
    pub fn has_begun(&self) -> bool {
        self.asked > 0
    }

    /// Whether anything has come back.
    pub fn is_answered(&self) -> bool {
        self.answered > 0
    }

    /// The client has written.
    pub fn ask(&mut self, count: u64, promise: Promise, now: Nanos) {
        self.pass(promise, now);
        if self.missing(promise) == 0 {
            self.window = Window { since: now, least: u64::MAX, least_for: Nanos(0) };
        }
        self.asked += count;
        self.unanswered.get_or_insert(now);
        self.window.note(self.missing(promise));
    }

    /// The endpoint has.
    pub fn answer(&mut self, count: u64, promise: Promise, now: Nanos) {
        self.pass(promise, now);
        self.answered += count;
        self.unanswered = None;
        self.window.note(self.missing(promise));
    }

    /// Whether as many datagrams have come back as were promised, but for what is lost.
    pub fn is_complete(&self, promise: Promise) -> bool {
        promise.responses.is_some() && self.missing(promise) == 0
    }

    /// Whether a reply is expected.
    pub fn is_due(&self, promise: Promise, now: Nanos) -> bool {
        match promise.responses {
            Some(_) => self.missing(promise) > 0,
            None => self.unanswered.is_some_and(|since| now.since(since) < REPLY_MAX),
        }
    }

    /// Whether the client writes and nothing comes back, as in a protocol that goes one way.
    pub fn is_one_sided(&self, promise: Promise, now: Nanos) -> bool {
        promise.responses.is_none() && self.unanswered.is_some_and(|since| now.since(since) >= REPLY_MAX)
    }

    fn missing(&self, promise: Promise) -> u64 {
        let each = u64::from(promise.responses.unwrap_or(0));
        self.asked.saturating_mul(each).saturating_sub(self.answered).saturating_sub(self.lost)
    }

    /// Time has passed since something moved. A reply that is lost is missing whenever all others have come, which is most
    /// of the time; where there are always many under way, it is but at moments that as few are as ever.
    fn pass(&mut self, promise: Promise, now: Nanos) {
        let missing = self.missing(promise);
        let window = &mut self.window;
        if missing == window.least {
            window.least_for = window.least_for.plus(now.since(self.moved));
        }
        self.moved = now;
        let age = now.since(window.since);
        if promise.idle.is_some_and(|idle| age >= idle) {
            if window.least_for.0 >= age.0 / 2 {
                self.lost += window.least.min(missing);
            }
            self.window = Window { since: now, least: self.missing(promise), least_for: Nanos(0) };
        }
    }
}

impl Window {
    fn note(&mut self, missing: u64) {
        if missing < self.least {
            (self.least, self.least_for) = (missing, Nanos(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Promise = Promise { responses: Some(1), idle: Some(Nanos::from_millis(5_000)) };
    const UNKNOWN: Promise = Promise { responses: None, ..ONE };

    fn at(millis: u64) -> Nanos {
        Nanos::from_millis(1_000_000 + millis)
    }

    #[test]
    fn it_is_complete_once_all_have_come() {
        let two = Promise { responses: Some(2), ..ONE };
        let mut owed = Owed::default();
        owed.ask(2, two, at(0));
        owed.answer(3, two, at(1));
        assert!(!owed.is_complete(two) && owed.is_due(two, at(1)));
        owed.answer(1, two, at(2));
        assert!(owed.is_complete(two) && !owed.is_due(two, at(2)));
    }

    #[test]
    fn what_is_lost_is_missing_for_no_longer_than_a_reply_may_take() {
        let mut owed = Owed::default();
        owed.ask(1, ONE, at(0));
        for second in 1..5 {
            owed.ask(1, ONE, at(1_000 * second));
            owed.answer(1, ONE, at(1_000 * second + 10));
            assert!(!owed.is_complete(ONE), "the first may still be answered after {second} s");
        }
        owed.ask(1, ONE, at(5_000));
        assert!(!owed.is_complete(ONE), "this one has only just been written");
        owed.answer(1, ONE, at(5_010));
        assert!(owed.is_complete(ONE));
    }

    #[test]
    fn many_that_are_under_way_are_not_lost() {
        let mut owed = Owed::default();
        owed.ask(3, ONE, at(0));
        for second in 1..40 {
            owed.ask(1, ONE, at(1_000 * second));
            owed.answer(1, ONE, at(1_000 * second + 900));
            assert!(!owed.is_complete(ONE));
        }
        assert_eq!(owed.lost, 0);
    }

    #[test]
    fn an_endpoint_that_is_silent_loses_nothing_while_its_client_goes_on() {
        let mut owed = Owed::default();
        for second in 0..40 {
            owed.ask(1, ONE, at(1_000 * second));
        }
        assert!(owed.lost < 40 && owed.is_due(ONE, at(40_000)));
    }

    #[test]
    fn where_no_number_is_known_the_silence_of_the_other_side_decides() {
        let mut owed = Owed::default();
        owed.ask(1, UNKNOWN, at(0));
        assert!(owed.is_due(UNKNOWN, at(4_999)) && !owed.is_one_sided(UNKNOWN, at(4_999)));
        // That it goes on writing makes a reply no likelier.
        owed.ask(1, UNKNOWN, at(4_000));
        assert!(!owed.is_due(UNKNOWN, at(5_000)) && owed.is_one_sided(UNKNOWN, at(5_000)));
        owed.answer(1, UNKNOWN, at(6_000));
        assert!(!owed.is_due(UNKNOWN, at(60_000)) && !owed.is_one_sided(UNKNOWN, at(60_000)));
        assert!(!owed.is_complete(UNKNOWN));
    }
}
