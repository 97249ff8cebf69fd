//! What the data plane has made for a part of a snapshot: kept with it, so that both are swapped in one step.

use std::any::Any;
use std::fmt;
use std::sync::OnceLock;

/// Set once, before the snapshot is in force. The core never looks inside.
#[derive(Default)]
pub struct Prepared(OnceLock<Box<dyn Any + Send + Sync>>);

impl Prepared {
    /// Puts it in its place; a second time changes nothing.
    pub fn set<T: Send + Sync + 'static>(&self, value: T) {
        let _ = self.0.set(Box::new(value));
    }

    /// What was put there, if it is of this kind.
    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.0.get()?.downcast_ref()
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "Prepared" } else { "Prepared(nothing)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_there_first_stays() {
        let prepared = Prepared::default();
        assert_eq!(prepared.get::<u32>(), None);
        prepared.set(1u32);
        prepared.set(2u32);
        assert_eq!(prepared.get(), Some(&1u32));
        assert_eq!(prepared.get::<u64>(), None);
        assert_eq!(format!("{prepared:?}"), "Prepared");
    }
}
