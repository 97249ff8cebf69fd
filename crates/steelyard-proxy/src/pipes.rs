//! Pipes through which the kernel passes bytes from one socket to another without showing them to anybody (splice(2)).
//!
//! Each worker keeps a few; one is held only while bytes are in it.

use crate::sys;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

/// What a pipe is to hold. The kernel allows an ordinary process this much for each by default, and 64 MiB for all.
const PIPE_BYTES: usize = 1 << 20;
/// Pipes that a worker keeps for reuse.
const KEPT_MAX: usize = 16;
/// Pipes that are lent at once: what slow receivers leave in them is the kernel's memory.
const LENT_MAX: usize = 128;

/// A worker's pipes that nobody uses at the moment.
#[derive(Debug, Clone, Default)]
pub struct Pipes(Rc<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    free: RefCell<Vec<Ends>>,
    lent: Cell<usize>,
}

#[derive(Debug)]
struct Ends {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Drop for Ends {
    fn drop(&mut self) {
        sys::connection_closes(&self.reader);
        sys::connection_closes(&self.writer);
    }
}

impl Ends {
    fn new() -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A fork that kept them would keep what is in them.
        sys::connection_opened(&reader);
        sys::connection_opened(&writer);
        // One that may not be as large still does, only more slowly.
        let _ = fcntl_setpipe_size(&writer, PIPE_BYTES);
        Ok(Self { reader, writer })
    }
}

impl Pipes {
    /// Lends an empty pipe; fails where enough are lent already, or the process has no descriptors left.
    pub fn lend(&self) -> io::Result<Pipe> {
        if self.0.lent.get() >= LENT_MAX {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let kept = self.0.free.borrow_mut().pop();
        let ends = kept.map_or_else(Ends::new, Ok)?;
        self.0.lent.set(self.0.lent.get() + 1);
        Ok(Pipe { ends: Some(ends), held: 0, home: self.clone() })
    }
}

/// A lent pipe. It goes home when it is dropped, unless something is left in it.
#[derive(Debug)]
pub struct Pipe {
    /// There until it is dropped.
    ends: Option<Ends>,
    /// Bytes that are in it.
    held: usize,
    home: Pipes,
}

impl Pipe {
    /// Bytes that are in it.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Takes in what a socket has received, at most so many bytes; 0 at its end.
    pub fn take_in(&mut self, socket: &impl AsFd, bytes_max: usize) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let count = splice(socket, None, &ends.writer, None, bytes_max.min(PIPE_BYTES), flags)?;
        self.held += count;
        Ok(count)
    }

    /// Gives a socket what it takes of what is in here.
    pub fn give_out(&mut self, socket: &impl AsFd) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let count = splice(&ends.reader, None, socket, None, self.held, flags)?;
        self.held -= count;
        Ok(count)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.home.0.lent.set(self.home.0.lent.get() - 1);
        let mut free = self.home.0.free.borrow_mut();
        if self.held == 0 && free.len() < KEPT_MAX {
            free.extend(self.ends.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_goes_in_comes_out_and_an_emptied_pipe_goes_home() {
        let pipes = Pipes::default();
        let (mut near, inner) = UnixStream::pair().unwrap();
        let (outer, mut far) = UnixStream::pair().unwrap();
        near.write_all(b"through the kernel").unwrap();
        let mut pipe = pipes.lend().unwrap();
        assert_eq!(pipe.take_in(&inner, 7).unwrap(), 7);
        assert_eq!(pipe.held(), 7);
        assert_eq!(pipe.give_out(&outer).unwrap(), 7);
        let mut room = [0; 7];
        far.read_exact(&mut room).unwrap();
        assert_eq!(&room, b"through");
        drop(pipe);
        assert_eq!((pipes.0.free.borrow().len(), pipes.0.lent.get()), (1, 0));
    }

    #[test]
    fn a_pipe_with_something_in_it_is_lent_to_nobody_else() {
        let pipes = Pipes::default();
        let (mut near, inner) = UnixStream::pair().unwrap();
        near.write_all(b"secret").unwrap();
        let mut pipe = pipes.lend().unwrap();
        pipe.take_in(&inner, 100).unwrap();
        drop(pipe);
        assert!(pipes.0.free.borrow().is_empty());
    }

    #[test]
    fn they_are_bounded() {
        let pipes = Pipes::default();
        let lent: Vec<_> = (0..LENT_MAX).map(|_| pipes.lend().unwrap()).collect();
        assert!(pipes.lend().is_err());
        drop(lent);
        assert_eq!(pipes.0.free.borrow().len(), KEPT_MAX);
        assert!(pipes.lend().is_ok());
    }
}
