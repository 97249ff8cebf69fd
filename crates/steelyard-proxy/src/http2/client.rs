//! Connections to endpoints that speak HTTP/2, or may: each worker has its own, and its requests share them stream by
//! stream.

use super::group::{Group, Opening, Waiting, late};
use super::open::{self, Rules};
use crate::connections::{KeyHasher, Security, Wanted, key};
use crate::fault::Fault;
use crate::forward::Way;
use crate::timer::{Timer, earlier};
use crate::tls::PoolTls;
use crate::worker::Worker;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::rc::Rc;
use std::sync::Arc;
use steelyard_core::endpoint::Endpoint;
use steelyard_core::time::Nanos;

/// The connections of one worker, by endpoint.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// Of most endpoints there is one group: several around a change of the rules by which they are opened, and where each
    /// client has its own.
    groups: RefCell<HashMap<usize, Vec<Rc<Group>>, BuildHasherDefault<KeyHasher>>>,
    /// How many groups are of one client alone.
    personal: Cell<usize>,
}

impl Lines {
    /// A way to an endpoint: leave to open a stream on a connection that there is, else on a new one; where the endpoint may
    /// choose and has chosen HTTP/1.1, a connection. `younger` asks for one that was opened after that moment.
    pub async fn take(
        &self,
        endpoint: &Arc<Endpoint>,
        worker: &Rc<Worker>,
        timer: &Timer,
        wanted: &Wanted<'_>,
        younger: Option<Nanos>,
    ) -> Result<Way, Fault> {
        let group = self.group(endpoint, wanted.security, wanted.whose());
        if let Some(permit) = group.permit(younger, true) {
            return Ok(Way::Http2(permit));
        }
        let give_up = earlier(timer.after(wanted.connect_ms), wanted.give_up);
        let failures = group.failures.get();
        loop {
            if let Some(permit) = group.permit(younger, false) {
                return Ok(Way::Http2(permit));
            }
            if group.older.get() {
                match take_older(&group, endpoint, worker, timer, wanted).await? {
                    Some(way) => return Ok(way),
                    // Much may have changed meanwhile.
                    None => continue,
                }
            }
            if let Some(error) = group.failed(failures) {
                return Err(Fault::Connect(error));
            }
            if group.opening.get() == Opening::No {
                open::spawn(&group, endpoint, worker, Rules::of(wanted, younger));
            }
            let waiting = Waiting::begin(&group, worker, wanted.rules, younger);
            open::wait(waiting.told(), timer, give_up).await.map_err(|_| late(&group, wanted, give_up))?;
            if let Some(connection) = waiting.handed() {
                return Ok(Way::Http1(connection));
            }
        }
    }

    fn group(&self, endpoint: &Arc<Endpoint>, security: Security<'_>, whose: u64) -> Rc<Group> {
        let mut all = self.groups.borrow_mut();
        let groups = all.entry(key(endpoint)).or_default();
        if let Some(group) = groups.iter().find(|group| group.is_under(security.tls(), whose)) {
            return Rc::clone(group);
        }
        let group = Rc::new(Group::new(security.tls(), whose));
        self.personal.set(self.personal.get() + usize::from(whose != 0));
        groups.push(Rc::clone(&group));
        group
    }

    /// Ends the connections of a client that has gone, once their streams have ended.
    pub fn forget(&self, whose: u64) {
        if self.personal.get() > 0 {
            self.leave(|_, group| group.whose == whose);
        }
    }

    fn leave(&self, is_leaving: impl Fn(usize, &Group) -> bool) {
        self.groups.borrow_mut().retain(|&endpoint, groups| {
            for group in groups.extract_if(.., |group| is_leaving(endpoint, group)) {
                self.personal.set(self.personal.get() - usize::from(group.whose != 0));
                group.leave();
            }
            !groups.is_empty()
        });
    }

    /// Whether there is a connection to an endpoint that nobody uses.
    pub fn has_idle(&self, endpoint: usize) -> bool {
        let all = self.groups.borrow();
        let mut groups = all.get(&endpoint).into_iter().flatten();
        groups.any(|group| group.lines.borrow().iter().any(|line| line.is_idle()))
    }

    /// Closes one of those, if there is one.
    pub fn close_one(&self, endpoint: usize) {
        let all = self.groups.borrow();
        for group in all.get(&endpoint).into_iter().flatten() {
            if let Some(line) = group.lines.borrow().iter().find(|line| line.is_idle()) {
                return line.retire();
            }
        }
    }

    /// Ends the connections that are not to be kept, once their streams have ended: `keep` is asked of an endpoint and of
    /// what secures them.
    pub fn retain(&self, keep: impl Fn(usize, Option<&Arc<PoolTls>>) -> bool) {
        self.leave(|endpoint, group| !keep(endpoint, group.secured_by.as_ref()));
    }
}

/// A connection of one's own, to an endpoint that chose HTTP/1.1 when it was last asked; a stream, where it chooses
/// HTTP/2 now. `None` where that has no room.
async fn take_older(
    group: &Rc<Group>,
    endpoint: &Arc<Endpoint>,
    worker: &Rc<Worker>,
    timer: &Timer,
    wanted: &Wanted<'_>,
) -> Result<Option<Way>, Fault> {
    let connection = worker.idle.take(endpoint, &worker.shared, timer, wanted).await?;
    if !connection.speaks_http2() {
        return Ok(Some(Way::Http1(connection)));
    }
    let give_up = earlier(timer.after(wanted.connect_ms), wanted.give_up);
    let idle_ms = wanted.rules.idle_timeout_ms;
    let line =
        open::begin(connection, group, worker, idle_ms, (timer, give_up)).await.map_err(Fault::Connect)?;
    group.add(line);
    Ok(group.permit(None, false).map(Way::Http2))
}
