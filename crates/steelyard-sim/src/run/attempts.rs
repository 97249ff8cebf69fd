//! A request on its way: the story that the proxy's `forward.rs` tells, with the waits cut out.

use super::Run;
use crate::balancer::{Admission, Held, Seeking};
use crate::clock::NEVER;
use crate::requests::{Request, Stamped};
use crate::stations::Job;
use steelyard_core::time::Nanos;

/// Why an attempt did not go well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection was refused.
    Connect,
    /// The endpoint was stopped before it had answered.
    Reset,
    /// It answered with an error.
    ServerError,
    /// It did not answer in time.
    ResponseTimeout,
    /// The time for the whole request is over.
    TotalTimeout,
}

impl Fault {
    /// As the proxy words it.
    fn in_short(self) -> &'static str {
        match self {
            Self::Connect => "refused or unreachable",
            Self::Reset => "closed the connection before answering",
            Self::ServerError => "answered with errors of its own",
            Self::ResponseTimeout => "did not answer in time",
            Self::TotalTimeout => "took longer than the whole request may",
        }
    }
}

fn seeking(request: &Request) -> Seeking<'_> {
    Seeking { snapshot: request.snapshot, seeker: &request.seeker }
}

impl Run<'_> {
    /// Looks for a slot and sends the request, until it is under way, waits in the queue, or has ended.
    pub(super) fn seek(&mut self, id: u32) {
        loop {
            let request = self.requests.get(id);
            let balancer = &mut self.balancers[request.balancer as usize];
            let admission = balancer.admit(seeking(request), self.now);
            if balancer.wants_loads() {
                self.ask_for_loads(request.balancer as usize);
            }
            match admission {
                Admission::Slot(endpoint) if self.send(id, endpoint) => {}
                Admission::Slot(_) => return,
                Admission::Full => return self.line_up(id),
                Admission::Nobody => return self.end(id, false),
            }
        }
    }

    /// No time passes: what a balancer knows of the loads is as old as the proxy's would be without a network.
    #[inline(never)]
    fn ask_for_loads(&mut self, balancer: usize) {
        let balancer = &mut self.balancers[balancer];
        for number in balancer.loads_wanted() {
            let answers = self.conditions[number as usize].answers();
            balancer.take_load(number, self.stations.report(number).filter(|_| answers), self.now);
        }
    }

    #[inline(never)]
    fn line_up(&mut self, id: u32) {
        let request = self.requests.get(id);
        let balancer = &mut self.balancers[request.balancer as usize];
        let ticket = balancer.enqueue(id, seeking(request), self.now);
        if ticket.is_none() {
            return self.end(id, false);
        }
        let request = self.requests.get_mut(id);
        request.ticket = ticket;
        request.queued = self.now;
        let name = self.requests.move_on(id);
        let requests = &self.requests;
        let late = self.queue.set(name, self.now, |name| requests.is_current(name));
        self.next_late = self.next_late.min(late);
        if self.plan.times.loads_return_in_time {
            self.watch();
        }
    }

    /// Serves those of a balancer who have been given something meanwhile.
    #[inline]
    pub(super) fn settle(&mut self, balancer: usize) {
        if self.balancers[balancer].anyone_waits() {
            self.settle_waiting(balancer);
        }
    }

    #[inline(never)]
    fn settle_waiting(&mut self, balancer: usize) {
        while let Some((id, granted)) = self.balancers[balancer].granted(self.now) {
            self.leave_line(id);
            match granted {
                None => self.end(id, false),
                Some(endpoint) => {
                    if self.send(id, endpoint) {
                        self.seek(id);
                    }
                }
            }
        }
    }

    fn leave_line(&mut self, id: u32) {
        let request = self.requests.get_mut(id);
        request.ticket = None;
        self.tally.waited(request.batch, self.now.since(request.queued));
    }

    /// Sends a request to an endpoint of which it holds a slot. Says whether that failed at once and the request is
    /// to be tried elsewhere.
    fn send(&mut self, id: u32, endpoint: u32) -> bool {
        let request = self.requests.get_mut(id);
        request.endpoint = endpoint;
        request.sent = self.now;
        self.tally.attempt(request.batch, endpoint, request.repeated);
        let (demand_s, key) = (request.demand_s, request.key);
        if let Some(choices) = &mut self.choices {
            choices.push((self.now, endpoint));
        }
        let name = self.requests.move_on(id);
        let (requests, condition) = (&self.requests, self.conditions[endpoint as usize]);
        let is_current = |name: Stamped| requests.is_current(name);
        if condition.stopped {
            return self.fault(id, Fault::Connect);
        }
        if condition.fails_fast && !condition.hangs {
            self.next_late = self.next_late.min(self.fast.set(name, self.now, is_current));
        } else if !self.stations.submit(endpoint, Job { request: name, demand_s, key }, self.now) {
            return self.fault(id, Fault::ServerError);
        }
        self.next_late = self.next_late.min(self.response.set(name, self.now, is_current));
        false
    }

    pub(super) fn end_of_service(&mut self) {
        let Some(job) = self.stations.finish() else { return };
        self.tally.events += 1;
        if !self.requests.is_current(job.request) {
            return;
        }
        let id = job.request.id;
        let held = self.held(id, true, true);
        let index = self.requests.get(id).balancer as usize;
        let balancer = &mut self.balancers[index];
        balancer.answered(held, self.now);
        balancer.release(held, self.now);
        self.keep_session(id);
        self.end(id, true);
        self.settle(index);
    }

    /// An answer carries the cookie that says where the client's next requests go.
    fn keep_session(&mut self, id: u32) {
        if let Some(sessions) = &mut self.sessions {
            let request = self.requests.get(id);
            let name = self.balancers[request.balancer as usize].name_of(request.endpoint);
            sessions.insert(request.key, name);
        }
    }

    fn held(&self, id: u32, sent: bool, begun: bool) -> Held {
        let request = self.requests.get(id);
        let lasted = sent.then(|| self.now.since(request.sent));
        Held { snapshot: request.snapshot, endpoint: request.endpoint, lasted, begun }
    }

    /// An attempt has failed. Says whether the request is to be tried elsewhere; otherwise it has ended.
    #[inline(never)]
    pub(super) fn fault(&mut self, id: u32, fault: Fault) -> bool {
        let connecting = fault == Fault::Connect;
        let held = self.held(id, !connecting, fault == Fault::ServerError);
        let rules = &self.plan.retry;
        let request = self.requests.get_mut(id);
        let balancer = &mut self.balancers[request.balancer as usize];
        balancer.failed(held, fault.in_short(), self.now);
        // Decided while the endpoint's own answer could still be passed on.
        let repeats_error = fault == Fault::ServerError
            && request.tries + 1 < rules.attempts
            && rules.server_error
            && balancer.may_repeat_error(held, &request.seeker, self.now);
        balancer.release(held, self.now);
        balancer.exclude(held.endpoint, &mut request.seeker);
        request.tries += u32::from(!connecting);
        request.repeated = true;
        let mut in_budget =
            || request.tries < rules.attempts && balancer.may_retry(request.snapshot, self.now);
        let again = match fault {
            Fault::Connect => rules.connect,
            Fault::ServerError => repeats_error,
            Fault::Reset => rules.reset && in_budget(),
            Fault::ResponseTimeout => rules.timeout && in_budget(),
            Fault::TotalTimeout => false,
        };
        self.watch();
        if !again {
            if fault == Fault::ServerError {
                self.keep_session(id);
            }
            self.end(id, false);
        }
        again
    }

    fn fault_and_retry(&mut self, id: u32, fault: Fault) {
        let balancer = self.requests.get(id).balancer as usize;
        if self.fault(id, fault) {
            self.seek(id);
        }
        self.settle(balancer);
    }

    /// An endpoint has stopped: whoever waited for it learns so.
    pub(super) fn lose(&mut self, jobs: Vec<Job>) {
        for job in jobs {
            if self.requests.is_current(job.request) {
                self.fault_and_retry(job.request.id, Fault::Reset);
            }
        }
    }

    fn end(&mut self, id: u32, good: bool) {
        let request = self.requests.get_mut(id);
        self.tally.end(request.batch.take(), self.now.since(request.arrived), good);
        self.requests.end(id);
    }

    /// When the next request runs out of time, or gets the error of an endpoint that fails fast.
    #[inline(never)]
    pub(super) fn next_deadline(&self) -> Nanos {
        let waits = self.fast.next_at().min(self.response.next_at());
        waits.min(self.queue.next_at()).min(self.total.next_at())
    }

    #[inline(never)]
    pub(super) fn deadline(&mut self) {
        let now = self.now;
        let (line, fault) = if self.fast.next_at() == now {
            (&mut self.fast, Some(Fault::ServerError))
        } else if self.response.next_at() == now {
            (&mut self.response, Some(Fault::ResponseTimeout))
        } else if self.queue.next_at() == now {
            (&mut self.queue, None)
        } else {
            return self.total_deadline();
        };
        let Some(name) = line.take().filter(|name| self.requests.is_current(*name)) else { return };
        match fault {
            Some(fault) => {
                self.tally.events += u64::from(fault == Fault::ServerError);
                self.fault_and_retry(name.id, fault);
            }
            None => self.leave(name.id),
        }
    }

    fn total_deadline(&mut self) {
        let Some(name) = self.total.take().filter(|name| self.requests.lives(*name)) else { return };
        if self.requests.get(name.id).ticket.is_some() {
            self.leave(name.id);
        } else {
            self.fault_and_retry(name.id, Fault::TotalTimeout);
        }
    }

    /// It has waited in the queue for as long as it may.
    fn leave(&mut self, id: u32) {
        let request = self.requests.get(id);
        let (index, snapshot) = (request.balancer as usize, request.snapshot);
        let Some(ticket) = request.ticket else { return };
        self.leave_line(id);
        self.balancers[index].leave(snapshot, ticket, self.now);
        self.end(id, false);
        self.settle(index);
    }

    /// Ticks begin, since an endpoint may not be well.
    pub(super) fn watch(&mut self) {
        if self.next_tick == NEVER {
            self.next_tick = super::control::tick_after(self.now);
            self.next_rare = self.next_rare.min(self.next_tick);
        }
    }
}
