//! The floor for a proxy in user space: bytes are moved between a client's connection and one of its own to an
//! endpoint, and never looked at. `relay --listen ADDRESS --to ADDRESS [--to ADDRESS]`.
//!
//! One epoll set, level-triggered: a small request costs one read and one write, and so does its answer.
//! It ends both connections when one of them ends, which is enough for the load that it is measured under.

use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use steelyard_bench_tools::arguments::Arguments;

const BUFFER_BYTES: usize = 64 * 1024;
const EVENTS_MAX: usize = 256;
const LISTENER: u64 = u64::MAX;

fn main() -> io::Result<()> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let listener = TcpListener::bind(arguments.need::<SocketAddr>("listen")?)?;
    listener.set_nonblocking(true)?;
    let mut output = io::stdout();
    writeln!(output, "listening on {}", listener.local_addr()?)?;
    output.flush()?;
    let endpoints: Vec<SocketAddr> = arguments.all("to")?;
    if endpoints.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "--to is needed"));
    }
    Relay::new(listener, endpoints)?.run()
}

struct Relay {
    listener: TcpListener,
    endpoints: Vec<SocketAddr>,
    epoll: OwnedFd,
    /// The two sides of connection `n` are `2 * n` and `2 * n + 1`, so each finds the other by one bit.
    sides: Vec<Option<Side>>,
    free: Vec<usize>,
    accepted: usize,
}

struct Side {
    socket: TcpStream,
    /// What the other side sent and this one has not taken yet; empty but for a slow reader.
    pending: Vec<u8>,
}

impl Relay {
    fn new(listener: TcpListener, endpoints: Vec<SocketAddr>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        Ok(Self { listener, endpoints, epoll, sides: Vec::new(), free: Vec::new(), accepted: 0 })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = [const { MaybeUninit::uninit() }; EVENTS_MAX];
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let (ready, _) = match epoll::wait(&self.epoll, &mut events, None) {
                Err(Errno::INTR) => continue,
                ready => ready?,
            };
            for event in ready {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    side => self.serve(side as usize, event.flags, &mut buffer),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        let Ok((client, _)) = self.listener.accept() else { return Ok(()) };
        let endpoint = self.endpoints[self.accepted % self.endpoints.len()];
        self.accepted += 1;
        let Ok(server) = TcpStream::connect(endpoint) else { return Ok(()) };
        let index = self.free.pop().unwrap_or_else(|| {
            self.sides.extend([None, None]);
            self.sides.len() - 2
        });
        for (offset, socket) in [client, server].into_iter().enumerate() {
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            let token = EventData::new_u64((index + offset) as u64);
            epoll::add(&self.epoll, &socket, token, EventFlags::IN)?;
            self.sides[index + offset] = Some(Side { socket, pending: Vec::new() });
        }
        Ok(())
    }

    fn serve(&mut self, index: usize, flags: EventFlags, buffer: &mut [u8]) {
        let result =
            if flags.contains(EventFlags::OUT) { self.resume(index) } else { self.carry(index, buffer) };
        if result.is_err() {
            // Dropping a socket takes it out of the epoll set.
            self.sides[index] = None;
            self.sides[index ^ 1] = None;
            self.free.push(index & !1);
        }
    }

    /// Moves what `from` has to the other side.
    fn carry(&mut self, from: usize, buffer: &mut [u8]) -> io::Result<()> {
        // An event of a connection that ended earlier in the same batch.
        let (Some(source), Some(sink)) = (&self.sides[from], &self.sides[from ^ 1]) else { return Ok(()) };
        let count = match recv(&source.socket, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((count, _)) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let sent = attempt(&sink.socket, &buffer[..count])?;
        if sent < count {
            self.wait_for(from ^ 1, &buffer[sent..count])?;
        }
        Ok(())
    }

    /// Keeps what `index` did not take, and reads no more from the other side until it has.
    fn wait_for(&mut self, index: usize, rest: &[u8]) -> io::Result<()> {
        if let Some(side) = &mut self.sides[index] {
            side.pending.extend_from_slice(rest);
        }
        self.interest(index, EventFlags::IN | EventFlags::OUT)?;
        self.interest(index ^ 1, EventFlags::empty())
    }

    fn resume(&mut self, index: usize) -> io::Result<()> {
        let Some(side) = &mut self.sides[index] else { return Ok(()) };
        let sent = attempt(&side.socket, &side.pending)?;
        side.pending.drain(..sent);
        if side.pending.is_empty() {
            self.interest(index, EventFlags::IN)?;
            self.interest(index ^ 1, EventFlags::IN)?;
        }
        Ok(())
    }

    fn interest(&self, index: usize, flags: EventFlags) -> io::Result<()> {
        if let Some(side) = &self.sides[index] {
            epoll::modify(&self.epoll, &side.socket, EventData::new_u64(index as u64), flags)?;
        }
        Ok(())
    }
}

/// Sends what goes at once.
fn attempt(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match send(socket, bytes, SendFlags::NOSIGNAL) {
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        sent => Ok(sent?),
    }
}
