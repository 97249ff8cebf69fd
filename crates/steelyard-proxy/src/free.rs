//! Free lists: what a request borrows from its worker and gives back, so that the common path allocates nothing.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// Items that a list keeps for reuse.
const KEPT_MAX: usize = 256;
/// The capacity, in elements, above which an item is dropped rather than kept.
const CAPACITY_MAX: usize = 32 * 1024;

/// A worker's vectors that nobody uses at the moment.
#[derive(Debug)]
pub struct FreeList<T>(Rc<RefCell<Vec<Vec<T>>>>);

impl<T> Clone for FreeList<T> {
    /// The same list.
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Default for FreeList<T> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<T> FreeList<T> {
    /// Lends an empty vector.
    pub fn lend(&self) -> Lent<T> {
        let vector = self.0.borrow_mut().pop().unwrap_or_default();
        Lent { vector, home: Rc::clone(&self.0) }
    }
}

/// A lent vector; it goes home, emptied, when it is dropped.
#[derive(Debug)]
pub struct Lent<T> {
    vector: Vec<T>,
    home: Rc<RefCell<Vec<Vec<T>>>>,
}

impl<T> Deref for Lent<T> {
    type Target = Vec<T>;
    fn deref(&self) -> &Vec<T> {
        &self.vector
    }
}

impl<T> DerefMut for Lent<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.vector
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        let mut free = self.home.borrow_mut();
        if self.vector.capacity() <= CAPACITY_MAX && free.len() < KEPT_MAX {
            self.vector.clear();
            free.push(std::mem::take(&mut self.vector));
        }
    }
}
