//! What an endpoint keeps of the keys that it has served: the least recently used one goes.

use std::collections::HashMap;

/// The keys that one endpoint keeps.
#[derive(Debug)]
pub(crate) struct Cache {
    entries: usize,
    places: HashMap<u32, u32>,
    line: Vec<Entry>,
    newest: u32,
    oldest: u32,
}

/// One key, between the one used before it and the one used after it.
#[derive(Debug, Clone, Copy)]
struct Entry {
    key: u32,
    older: u32,
    newer: u32,
}

/// Nobody.
const NONE: u32 = u32::MAX;

impl Cache {
    /// Nothing is kept yet; there is room for at least one key.
    pub fn new(entries: u32) -> Self {
        let entries = entries.max(1) as usize;
        Self { entries, places: HashMap::new(), line: Vec::new(), newest: NONE, oldest: NONE }
    }

    /// A request of this key is served; says whether the key was there. Now it is.
    pub fn serve(&mut self, key: u32) -> bool {
        let found = self.places.get(&key).copied();
        let place = match found {
            Some(place) if place == self.newest => return true,
            Some(place) => {
                self.take_out(place);
                place
            }
            None if self.line.len() < self.entries => {
                self.line.push(Entry { key, older: NONE, newer: NONE });
                self.line.len() as u32 - 1
            }
            None => {
                let place = self.oldest;
                self.take_out(place);
                self.places.remove(&self.line[place as usize].key);
                place
            }
        };
        self.places.insert(key, place);
        self.line[place as usize] = Entry { key, older: self.newest, newer: NONE };
        if let Some(before) = self.line.get_mut(self.newest as usize) {
            before.newer = place;
        } else {
            self.oldest = place;
        }
        self.newest = place;
        found.is_some()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::new(self.entries as u32);
    }

    fn take_out(&mut self, place: u32) {
        let Entry { older, newer, .. } = self.line[place as usize];
        match self.line.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.line.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::{Stream, generator};
    use std::collections::VecDeque;
    use steelyard_core::random::below;

    #[test]
    fn it_keeps_the_keys_that_were_used_last() {
        for entries in [1, 2, 7, 50] {
            let (mut cache, mut model) = (Cache::new(entries), VecDeque::new());
            let mut rng = generator(7, 0, Stream::Keys, 0);
            for step in 0..5_000 {
                let key = below(&mut rng, 60) as u32;
                let was_there = model.iter().position(|&kept| kept == key).map(|place| model.remove(place));
                assert_eq!(cache.serve(key), was_there.is_some(), "step {step} of {entries}");
                model.push_back(key);
                if model.len() > entries as usize {
                    model.pop_front();
                }
                if step == 2_500 {
                    cache.clear();
                    model.clear();
                }
            }
        }
    }
}
