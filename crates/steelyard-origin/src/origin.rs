//! An origin that runs on threads of its own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;

use crate::connection;
use crate::options::{Options, OptionsError};
use crate::shared::{Counts, Shared, Stats};

const BACKLOG: i32 = 4096;

/// How long a worker waits before it accepts again once descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A running origin. Dropping it is closing it.
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    workers: Vec<JoinHandle<()>>,
}

/// Why an origin did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The options make no sense.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The address could not be bound.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A thread or its runtime could not be made, or the port file not be written.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl Origin {
    /// Binds, starts the threads and, once all is ready, writes the port file.
    pub fn start(options: &Options) -> Result<Self, StartError> {
        let bound = |source| StartError::Bind { address: options.listen, source };
        let listener = listen(options.listen).map_err(bound)?;
        let address = listener.local_addr().map_err(bound)?;
        let shared = Arc::new(Shared::new(options, address.port()));
        let (stop, _) = watch::channel(false);
        let mut origin = Self { address, shared, stop, workers: Vec::new() };
        for worker in 0..options.workers {
            origin.spawn(worker, listener.try_clone()?)?;
        }
        if let Some(path) = &options.port_file {
            let draft = path.with_extension("part");
            std::fs::write(&draft, format!("{}\n", address.port()))?;
            std::fs::rename(&draft, path)?;
        }
        Ok(origin)
    }

    /// The address that was bound, with its real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The counts so far.
    pub fn stats(&self) -> Stats {
        self.shared.counts.stats()
    }

    /// Stops listening, resets every connection and joins the threads. Doing so twice is harmless.
    pub fn close(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.stop.send_replace(true);
        for worker in self.workers.drain(..) {
            // A worker that panicked has said so on standard error, and is gone all the same.
            let _ = worker.join();
        }
    }

    fn spawn(&mut self, worker: usize, listener: TcpListener) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (shared, mut stop) = (Arc::clone(&self.shared), self.stop.subscribe());
        let body = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, shared) => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
            });
            // Dropping the runtime drops the connections, and each resets itself.
        };
        let name = format!("origin-{worker}");
        self.workers.push(std::thread::Builder::new().name(name).spawn(body)?);
        Ok(())
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.close();
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Lets an origin that was closed come back on its port while old connections linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                Counts::add(&shared.counts.connections);
                tokio::spawn(connection::serve(stream, Arc::clone(&shared)));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}
