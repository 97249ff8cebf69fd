//! The few calls to the system that no safe crate offers. All unsafe code of the engine's own side lives here.

pub mod datagrams;

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Descriptors of connections that are known to the handler of forks, 64 to a word. Beyond them, a fork keeps what it
/// inherits.
const CONNECTION_WORDS: usize = (1 << 20) / 64;

/// A bit for each descriptor that is a connection of an engine. Pages of it that no descriptor reaches are never touched.
static CONNECTIONS: [AtomicU64; CONNECTION_WORDS] = [const { AtomicU64::new(0) }; CONNECTION_WORDS];

/// Listening sockets that are known to the handler of forks. Beyond them, a fork keeps what it inherits.
const LISTENING_MAX: usize = 4096;

/// One listening socket: its descriptor, and the kernel's own number for it, by which a descriptor that was closed
/// and given to something else is told apart. 0 is no socket's number.
struct Listening {
    descriptor: AtomicI32,
    cookie: AtomicU64,
}

static LISTENING: [Listening; LISTENING_MAX] =
    [const { Listening { descriptor: AtomicI32::new(-1), cookie: AtomicU64::new(0) } }; LISTENING_MAX];

/// Lets the runtime wait until a descriptor is readable. Must be called within one.
pub fn readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: whoever owns a descriptor keeps it open; the `AsyncFd` owns it from here on, gives it to nobody, and what an
    // `OwnedFd` says it is never changes.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
}

/// Ends the process at once: no exit handlers, no destructors. For when the interpreter is stuck and would never
/// come round to ending it.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: `_exit` takes any integer, touches no memory of this process and does not return.
    unsafe { libc::_exit(status) }
}

/// Keeps SIGPIPE from this thread for good: splice(2), unlike send(2), cannot be told not to raise it, and a program that
/// wants the signal for its own pipes must not be ended by a client that went away.
pub fn block_broken_pipes() {
    // SAFETY: `signals` is initialised by sigemptyset before it is read, both calls only touch what they are given, and a
    // mask belongs to this thread alone.
    unsafe {
        let mut signals: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        libc::sigaddset(&raw mut signals, libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut());
    }
}

/// Takes a signal away from whoever handled it before (Python's own handlers, which could only run once the
/// interpreter is free), so that what is registered next is called alone.
pub fn forget_handler(signal: i32) {
    // SAFETY: the default disposition is no function of ours, so nothing can be called that is not safe in a
    // handler; an unknown signal is refused with an error, which changes nothing.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
    }
}

/// Lets every fork of this process close its copy of a listening socket. A copy would keep the socket in the
/// kernel's choice after its worker has closed it, and connections that nobody accepts would go there.
pub fn close_in_forks(socket: &impl AsFd) {
    static REGISTERED: Once = Once::new();
    static WRITER: Mutex<()> = Mutex::new(());
    REGISTERED.call_once(|| {
        // SAFETY: the handler only loads and stores atomics and calls getsockopt and close, all of which are allowed
        // between a fork and an exec. An error (no memory) leaves forks with their copies, as without this call.
        unsafe {
            libc::pthread_atfork(None, None, Some(close_all));
        }
    });
    let descriptor = socket.as_fd().as_raw_fd();
    let _writing = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
    let free = LISTENING.iter().find(|slot| {
        let known = slot.cookie.load(Ordering::Acquire);
        known == 0 || cookie(slot.descriptor.load(Ordering::Acquire)) != Some(known)
    });
    if let (Some(slot), Some(cookie)) = (free, cookie(descriptor)) {
        // A fork in the middle of this sees 0, which is no socket.
        slot.cookie.store(0, Ordering::Release);
        slot.descriptor.store(descriptor, Ordering::Release);
        slot.cookie.store(cookie, Ordering::Release);
    }
}

/// Counts a connection in: forks close their copies of it. With one, a peer would wait for an end that never comes, since
/// the connection would stay open after the engine has closed it.
pub fn connection_opened(connection: &impl AsFd) {
    if let Some((word, bit)) = place(connection) {
        CONNECTIONS[word].fetch_or(bit, Ordering::Relaxed);
    }
}

/// Counts a connection out, which is about to be closed.
pub fn connection_closes(connection: &impl AsFd) {
    if let Some((word, bit)) = place(connection) {
        CONNECTIONS[word].fetch_and(!bit, Ordering::Relaxed);
    }
}

fn place(connection: &impl AsFd) -> Option<(usize, u64)> {
    let descriptor = usize::try_from(connection.as_fd().as_raw_fd()).ok()?;
    (descriptor / 64 < CONNECTION_WORDS).then_some((descriptor / 64, 1 << (descriptor % 64)))
}

extern "C" fn close_all() {
    for (word, bits) in CONNECTIONS.iter().enumerate() {
        let mut left = bits.load(Ordering::Relaxed);
        while left != 0 {
            let descriptor = word * 64 + left.trailing_zeros() as usize;
            // SAFETY: the descriptor is that of a connection of an engine, whose owner (a worker or the control thread)
            // does not exist in a fork: nobody here will use or close it again.
            unsafe {
                libc::close(descriptor as RawFd);
            }
            left &= left - 1;
        }
        // Only where there was something: writing to every page would copy them all.
        if bits.load(Ordering::Relaxed) != 0 {
            bits.store(0, Ordering::Relaxed);
        }
    }
    close_listening();
}

fn close_listening() {
    for slot in &LISTENING {
        let known = slot.cookie.load(Ordering::Acquire);
        let descriptor = slot.descriptor.load(Ordering::Acquire);
        if known != 0 && cookie(descriptor) == Some(known) {
            // SAFETY: the descriptor is that of a listening socket of an engine, whose owners (threads, and an
            // engine that refuses use) do not exist in a fork: nobody here will use or close it again.
            unsafe {
                libc::close(descriptor);
            }
        }
    }
}

/// The kernel's number for a socket; `None` when the descriptor is closed or no socket.
fn cookie(descriptor: RawFd) -> Option<u64> {
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `cookie`, both of which outlive the call; any descriptor
    // may be asked about, an unknown one is answered with an error.
    let outcome = unsafe {
        libc::getsockopt(
            descriptor,
            libc::SOL_SOCKET,
            libc::SO_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    (outcome == 0).then_some(cookie)
}
