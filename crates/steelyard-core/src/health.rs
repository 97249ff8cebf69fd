//! Whether an endpoint may be used: the verdict, derived from probe result, ejection and drain.
//!
//! The three facts are independent: a good probe does not end an ejection early, and a drain hides neither.

use crate::time::Nanos;

/// Failures in a row that eject an endpoint.
pub const FAILURES_TO_EJECT: u32 = 3;
/// The first ejection; each further one lasts twice as long.
const EJECTION_FIRST: Nanos = Nanos::from_millis(5_000);
/// No ejection lasts longer. An endpoint that has stayed in for this long starts again at the first.
const EJECTION_MAX: Nanos = Nanos::from_millis(60_000);

/// What follows from probe result, ejection and drain. The order is the bit order of an accept mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Used first.
    Healthy = 0,
    /// Never probed: used while none is healthy.
    Unknown = 1,
    /// Unhealthy or ejected: used when no other is left and the pool fails open.
    Down = 2,
    /// Draining: takes no new request.
    Draining = 3,
}

impl Verdict {
    pub(crate) fn from_bits(bits: u32) -> Self {
        match bits {
            0 => Self::Healthy,
            1 => Self::Unknown,
            2 => Self::Down,
            _ => Self::Draining,
        }
    }
}

/// What the last decisive probes said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probed {
    /// No answer yet; one will decide.
    Never,
    /// Good.
    Good,
    /// Bad.
    Bad,
}

/// How many probes in a row change the result.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Good ones that make a bad endpoint good.
    pub rise: u32,
    /// Bad ones that make a good endpoint bad.
    pub fall: u32,
}

/// The three facts, and what timing them needs.
#[derive(Debug)]
pub struct Health {
    /// Whether it is probed at all.
    probes: bool,
    probed: Probed,
    /// Probes in a row that disagree with `probed`.
    streak: u32,
    /// What the last probe said, for people.
    last_probe: String,
    /// When the next probe is due.
    pub next_probe: Nanos,
    ejected_until: Option<Nanos>,
    ejections: u32,
    returned: Nanos,
    /// Why it was ejected, for people.
    ejected_for: &'static str,
    draining: bool,
}

impl Health {
    /// Before any probe; without probes (`probes == false`) it counts as good.
    pub fn new(probes: bool) -> Self {
        Self {
            probes,
            probed: if probes { Probed::Never } else { Probed::Good },
            streak: 0,
            last_probe: String::new(),
            next_probe: Nanos(0),
            ejected_until: None,
            ejections: 0,
            returned: Nanos(0),
            ejected_for: "",
            draining: false,
        }
    }

    /// What follows from the three facts.
    pub fn verdict(&self) -> Verdict {
        if self.draining { Verdict::Draining } else { self.standing() }
    }

    /// What follows from probe result and ejection alone: the verdict that the end of a drain would leave.
    pub fn standing(&self) -> Verdict {
        match (self.ejected_until, self.probed) {
            (Some(_), _) | (_, Probed::Bad) => Verdict::Down,
            (_, Probed::Never) => Verdict::Unknown,
            (_, Probed::Good) => Verdict::Healthy,
        }
    }

    /// Whether it is unhealthy or ejected, drained or not.
    pub fn is_down(&self) -> bool {
        self.ejected_until.is_some() || self.probed == Probed::Bad
    }

    /// The name of the verdict that people see, and why it is so.
    pub fn explain(&self, now: Nanos) -> (&'static str, String) {
        let probe = match (self.probed, self.last_probe.as_str()) {
            (Probed::Never, _) => "not probed yet".to_owned(),
            (_, "") => "no probes".to_owned(),
            (_, said) => format!("probe: {said}"),
        };
        match (self.draining, self.ejected_until, self.probed) {
            (true, _, _) => ("draining", "drained by hand".to_owned()),
            (_, Some(until), _) => {
                let left_s = until.since(now).0.div_ceil(1_000_000_000);
                ("ejected", format!("{}; returns in {left_s} s", self.ejected_for))
            }
            (_, _, Probed::Bad) => ("unhealthy", probe),
            (_, _, Probed::Never) => ("unknown", probe),
            (_, _, Probed::Good) => ("healthy", probe),
        }
    }

    /// Takes in one probe. `said` is what people will read.
    pub fn record_probe(&mut self, good: bool, said: String, rules: Rules) {
        self.last_probe = said;
        let (agrees, needed) = match self.probed {
            Probed::Never => (false, 1),
            Probed::Good => (good, rules.fall),
            Probed::Bad => (!good, rules.rise),
        };
        self.streak = if agrees { 0 } else { self.streak + 1 };
        if self.streak >= needed {
            self.probed = if good { Probed::Good } else { Probed::Bad };
            self.streak = 0;
        }
    }

    /// Switches probes on or off, and then forgets what they said. Asked of each endpoint, not of its pool: one may
    /// have been away when the others were switched.
    pub fn set_probes(&mut self, probes: bool) {
        if self.probes == probes {
            return;
        }
        self.probes = probes;
        self.probed = if probes { Probed::Never } else { Probed::Good };
        self.streak = 0;
        self.last_probe.clear();
        self.next_probe = Nanos(0);
    }

    /// Whether it is out, until [`Health::end_ejection`] says otherwise.
    pub fn is_ejected(&self) -> bool {
        self.ejected_until.is_some()
    }

    /// Puts it out for a while; says whether it was in.
    pub fn eject(&mut self, why: &'static str, now: Nanos) -> bool {
        if self.ejected_until.is_some() {
            return false;
        }
        if now.since(self.returned) >= EJECTION_MAX {
            self.ejections = 0;
        }
        let length = Nanos(EJECTION_FIRST.0 << self.ejections.min(6)).min(EJECTION_MAX);
        self.ejections += 1;
        self.ejected_until = Some(now.plus(length));
        self.ejected_for = why;
        true
    }

    /// Ends an ejection whose time has come; says whether it did.
    pub fn end_ejection(&mut self, now: Nanos) -> bool {
        let over = self.ejected_until.is_some_and(|until| until <= now);
        if over {
            self.ejected_until = None;
            self.returned = now;
        }
        over
    }

    /// Begins or ends a drain.
    pub fn set_draining(&mut self, draining: bool) {
        self.draining = draining;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const RULES: Rules = Rules { rise: 2, fall: 3 };

    fn seconds(s: u64) -> Nanos {
        Nanos::from_millis(s * 1000)
    }

    #[test]
    fn one_answer_decides_for_an_endpoint_never_probed() {
        for good in [true, false] {
            let mut health = Health::new(true);
            assert_eq!(health.verdict(), Verdict::Unknown);
            health.record_probe(good, String::new(), RULES);
            assert_eq!(health.verdict(), if good { Verdict::Healthy } else { Verdict::Down });
        }
    }

    #[test]
    fn later_changes_need_rise_and_fall_in_a_row() {
        let mut health = Health::new(true);
        for (good, expected) in [
            (true, Verdict::Healthy),
            (false, Verdict::Healthy),
            (false, Verdict::Healthy),
            (true, Verdict::Healthy),
            (false, Verdict::Healthy),
            (false, Verdict::Healthy),
            (false, Verdict::Down),
            (true, Verdict::Down),
            (false, Verdict::Down),
            (true, Verdict::Down),
            (true, Verdict::Healthy),
        ] {
            health.record_probe(good, String::new(), RULES);
            assert_eq!(health.verdict(), expected);
        }
    }

    #[test]
    fn ejections_double_to_a_minute_and_start_again_after_a_quiet_one() {
        let mut health = Health::new(false);
        let mut now = seconds(100);
        for expected in [5, 10, 20, 40, 60, 60] {
            assert!(health.eject("failures", now));
            assert!(!health.eject("failures", now), "an ejected endpoint is not ejected again");
            assert!(!health.end_ejection(now.plus(seconds(expected - 1))));
            now = now.plus(seconds(expected));
            assert!(health.end_ejection(now));
            assert_eq!(health.verdict(), Verdict::Healthy);
        }
        now = now.plus(seconds(60));
        health.eject("failures", now);
        assert!(health.end_ejection(now.plus(seconds(5))));
    }

    #[test]
    fn a_good_probe_does_not_end_an_ejection_and_drain_hides_neither() {
        let mut health = Health::new(true);
        health.record_probe(true, String::new(), RULES);
        health.eject("failures", seconds(1));
        health.record_probe(true, String::new(), RULES);
        assert_eq!(health.verdict(), Verdict::Down);
        health.set_draining(true);
        assert_eq!(health.verdict(), Verdict::Draining);
        health.set_draining(false);
        assert_eq!(health.verdict(), Verdict::Down);
    }
}
