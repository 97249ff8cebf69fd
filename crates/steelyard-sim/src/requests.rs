//! The requests that are under way: a slab of them, named by number and by stamp.

use steelyard_core::queue::Ticket;
use steelyard_core::seeker::Seeker;
use steelyard_core::time::Nanos;

/// A request in one state: with the next one this name is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamped {
    pub id: u32,
    pub stamp: u32,
}

/// One request.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub arrived: Nanos,
    /// What it takes at speed 1.
    pub demand_s: f64,
    /// The batch that it is measured in; `None` during the warm-up.
    pub batch: Option<u32>,
    pub balancer: u32,
    /// The snapshot of its balancer that it began with.
    pub snapshot: u32,
    /// Its key, and the endpoints tried before.
    pub seeker: Seeker,
    /// The number of its key, where keys mean anything.
    pub key: u32,
    /// Attempts so far, connect failures aside.
    pub tries: u32,
    /// Whether any attempt has failed.
    pub repeated: bool,
    /// While it waits in its pool's queue.
    pub ticket: Option<Ticket>,
    /// Since when.
    pub queued: Nanos,
    /// While an attempt runs: where, and since when.
    pub endpoint: u32,
    pub sent: Nanos,
    stamp: u32,
    life: u32,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    slab: Vec<Request>,
    free: Vec<u32>,
}

impl Requests {
    /// A place for a request, as its last holder left it but for the stamps: whoever asks fills it in.
    pub fn begin(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.slab.push(Request::default());
            self.slab.len() as u32 - 1
        })
    }

    /// Ends a request: its place is free, and its names are void.
    pub fn end(&mut self, id: u32) {
        let request = self.get_mut(id);
        request.stamp = request.stamp.wrapping_add(1);
        request.life = request.life.wrapping_add(1);
        if !request.seeker.excludes_none() {
            request.seeker = Seeker::default();
        }
        self.free.push(id);
    }

    pub fn get(&self, id: u32) -> &Request {
        &self.slab[id as usize]
    }

    pub fn get_mut(&mut self, id: u32) -> &mut Request {
        &mut self.slab[id as usize]
    }

    /// Requests that have not ended.
    pub fn len(&self) -> usize {
        self.slab.len() - self.free.len()
    }

    /// Every request, ended ones included.
    pub fn ids(&self) -> impl Iterator<Item = u32> + use<> {
        0..self.slab.len() as u32
    }

    /// A new state begins; the name of the one before is void.
    pub fn move_on(&mut self, id: u32) -> Stamped {
        let request = self.get_mut(id);
        request.stamp = request.stamp.wrapping_add(1);
        Stamped { id, stamp: request.stamp }
    }

    pub fn is_current(&self, name: Stamped) -> bool {
        self.get(name.id).stamp == name.stamp
    }

    /// The name of a request for as long as it lives.
    pub fn life(&self, id: u32) -> Stamped {
        Stamped { id, stamp: self.get(id).life }
    }

    pub fn lives(&self, name: Stamped) -> bool {
        self.get(name.id).life == name.stamp
    }
}
