//! Probes and controls: answered at once, and no part of the traffic.

use std::io;
use std::sync::atomic::Ordering;

use crate::behaviour::{Behaviour, Control};
use crate::exchange::{After, Exchange};
use crate::head::Method;
use crate::shared::Counts;

impl Exchange<'_> {
    pub(crate) async fn instrument(&mut self) -> io::Result<After> {
        self.receive().await?;
        match std::mem::replace(&mut self.head.behaviour, Behaviour::Page) {
            Behaviour::Control(control) => self.control(control),
            _ => Ok(self.probe()),
        }
    }

    fn probe(&mut self) -> After {
        let shared = self.shared;
        Counts::add(&shared.counts.probes);
        if shared.healthy.load(Ordering::Relaxed) {
            self.text(200, &[], b"ok")
        } else {
            self.text(503, &[], b"down")
        }
    }

    fn control(&mut self, control: Control) -> io::Result<After> {
        let shared = self.shared;
        if control == Control::Stats {
            let stats = serde_json::to_string(&shared.counts.stats())?;
            return Ok(self.text(200, &[], stats.as_bytes()));
        }
        if self.head.method != Method::Post {
            return Ok(self.text(405, &[("allow", "POST")], b"a control is a POST"));
        }
        match control {
            Control::Health(healthy) => shared.healthy.store(healthy, Ordering::Relaxed),
            Control::Fault(fault) => shared.set_fault(fault.map(|fault| *fault)),
            Control::Delay(delay) => shared.set_delay(delay),
            Control::Stats => {}
        }
        Ok(self.text(200, &[], b"done"))
    }
}
