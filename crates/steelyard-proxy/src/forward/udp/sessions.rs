//! Sessions by address pair, each in the order in which it was last used among those of its standing.

use slab::Slab;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Index, IndexMut};
use steelyard_core::time::Nanos;

/// No place.
const NONE: u32 = u32::MAX;

/// Between whom a session is, as the system tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pair {
    /// The client.
    pub client: SocketAddr,
    /// The address of ours that it writes to; `None` = there is only one.
    pub local: Option<IpAddr>,
}

/// What is known of a session's client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing: its address may be forged, and it may never be heard of again.
    Stranger,
    /// It has written again after a reply.
    Known,
}

#[derive(Debug)]
struct Entry<T> {
    pair: Pair,
    /// Tells it apart from who had its place before.
    serial: u32,
    standing: Standing,
    touched: Nanos,
    before: u32,
    after: u32,
    value: T,
}

/// The ends of one order.
#[derive(Debug, Clone, Copy)]
struct Order {
    oldest: u32,
    newest: u32,
}

/// Sessions of one socket. Everything but [`Sessions::retain`] takes the same time however many there are.
#[derive(Debug)]
pub struct Sessions<T> {
    places: HashMap<Pair, u32>,
    entries: Slab<Entry<T>>,
    orders: [Order; 2],
    serials: u32,
}

impl<T> Default for Sessions<T> {
    fn default() -> Self {
        let orders = [Order { oldest: NONE, newest: NONE }; 2];
        Self { places: HashMap::new(), entries: Slab::new(), orders, serials: 0 }
    }
}

impl<T> Index<usize> for Sessions<T> {
    type Output = T;
    fn index(&self, place: usize) -> &T {
        &self.entries[place].value
    }
}

impl<T> IndexMut<usize> for Sessions<T> {
    fn index_mut(&mut self, place: usize) -> &mut T {
        &mut self.entries[place].value
    }
}

impl<T> Sessions<T> {
    /// The place of the session of this pair.
    pub fn find(&self, pair: &Pair) -> Option<usize> {
        self.places.get(pair).map(|&place| place as usize)
    }

    /// Between whom it is.
    pub fn pair(&self, place: usize) -> Pair {
        self.entries[place].pair
    }

    /// Enters a session of a pair that has none.
    pub fn insert(&mut self, pair: Pair, now: Nanos, value: T) -> usize {
        self.serials = self.serials.wrapping_add(1);
        let (serial, standing) = (self.serials, Standing::Stranger);
        let entry = Entry { pair, serial, standing, touched: now, before: NONE, after: NONE, value };
        let place = self.entries.insert(entry);
        self.places.insert(pair, place as u32);
        self.append(place);
        place
    }

    /// What names this session for as long as the process lives.
    pub fn token(&self, place: usize) -> u64 {
        u64::from(self.entries[place].serial) << 32 | place as u64
    }

    /// The place of the session that has this token, unless it has ended.
    pub fn named(&self, token: u64) -> Option<usize> {
        let place = (token & u64::from(u32::MAX)) as usize;
        let entry = self.entries.get(place)?;
        (entry.serial == (token >> 32) as u32).then_some(place)
    }

    /// Something has moved in it.
    pub fn touch(&mut self, place: usize, now: Nanos) {
        self.detach(place);
        self.entries[place].touched = now;
        self.append(place);
    }

    /// Its client is known from here on.
    pub fn know(&mut self, place: usize) {
        if self.entries[place].standing == Standing::Stranger {
            self.detach(place);
            self.entries[place].standing = Standing::Known;
            self.append(place);
        }
    }

    /// The session of a standing in which nothing has moved for the longest time, and since when.
    pub fn oldest(&self, standing: Standing) -> Option<(usize, Nanos)> {
        let place = self.orders[standing as usize].oldest;
        (place != NONE).then(|| (place as usize, self.entries[place as usize].touched))
    }

    /// Takes a session out.
    pub fn remove(&mut self, place: usize) -> T {
        self.detach(place);
        let entry = self.entries.remove(place);
        self.places.remove(&entry.pair);
        entry.value
    }

    /// The places of all that `which` says, given when something last moved in each.
    pub fn all(&self, which: impl Fn(&T, Nanos) -> bool) -> Vec<usize> {
        let chosen = self.entries.iter().filter(|(_, entry)| which(&entry.value, entry.touched));
        chosen.map(|(place, _)| place).collect()
    }

    /// Every session.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, entry)| &entry.value)
    }

    /// Every session, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().map(|(_, entry)| &mut entry.value)
    }

    fn append(&mut self, place: usize) {
        let order = &mut self.orders[self.entries[place].standing as usize];
        let last = std::mem::replace(&mut order.newest, place as u32);
        if last == NONE {
            order.oldest = place as u32;
        } else {
            self.entries[last as usize].after = place as u32;
        }
        let entry = &mut self.entries[place];
        (entry.before, entry.after) = (last, NONE);
    }

    fn detach(&mut self, place: usize) {
        let Entry { before, after, standing, .. } = self.entries[place];
        let order = &mut self.orders[standing as usize];
        if before == NONE {
            order.oldest = after;
        } else {
            self.entries[before as usize].after = after;
        }
        if after == NONE {
            order.newest = before;
        } else {
            self.entries[after as usize].before = before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Standing::{Known, Stranger};

    fn pair(port: u16) -> Pair {
        Pair { client: ([127, 0, 0, 1], port).into(), local: None }
    }

    fn ports(sessions: &mut Sessions<u16>, standing: Standing) -> Vec<u16> {
        let mut ports = Vec::new();
        while let Some((place, _)) = sessions.oldest(standing) {
            ports.push(sessions.remove(place));
        }
        ports
    }

    #[test]
    fn the_oldest_is_the_one_that_was_not_used_for_longest() {
        let mut sessions = Sessions::default();
        let places: Vec<_> = (0..5).map(|n| sessions.insert(pair(n), Nanos(u64::from(n)), n)).collect();
        sessions.touch(places[0], Nanos(10));
        sessions.touch(places[2], Nanos(11));
        sessions.touch(places[2], Nanos(12));
        assert_eq!(sessions.oldest(Stranger), Some((places[1], Nanos(1))));
        sessions.remove(places[3]);
        assert_eq!(ports(&mut sessions, Stranger), [1, 4, 0, 2]);
        assert_eq!(sessions.iter().count(), 0);
    }

    #[test]
    fn each_standing_has_an_order_of_its_own() {
        let mut sessions = Sessions::default();
        let places: Vec<_> = (0..4).map(|n| sessions.insert(pair(n), Nanos(u64::from(n)), n)).collect();
        sessions.know(places[2]);
        sessions.know(places[0]);
        sessions.know(places[0]);
        sessions.touch(places[2], Nanos(9));
        assert_eq!(ports(&mut sessions, Stranger), [1, 3]);
        assert_eq!(ports(&mut sessions, Known), [0, 2]);
    }

    #[test]
    fn a_token_does_not_name_who_came_later_to_the_same_place() {
        let mut sessions = Sessions::default();
        let place = sessions.insert(pair(1), Nanos(1), 1);
        let token = sessions.token(place);
        assert_eq!(sessions.named(token), Some(place));
        sessions.remove(place);
        assert_eq!(sessions.named(token), None);
        assert_eq!(sessions.insert(pair(2), Nanos(2), 2), place);
        assert_eq!(sessions.named(token), None);
        assert_eq!(sessions.find(&pair(1)), None);
        assert_eq!(sessions.find(&pair(2)), Some(place));
    }
}
