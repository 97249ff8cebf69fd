//! Unix listeners: one socket, its descriptor duplicated for each worker, and the file that names it.

use super::{BACKLOG, Failure};
use crate::sys;
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// A listening unix socket. Its file is removed when it is dropped, unless another has taken the place.
#[derive(Debug)]
pub struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and number of the file that we made.
    file: (u64, u64),
}

impl UnixSocket {
    /// Binds a path and listens. A file that a dead process left there is removed; one on which somebody answers,
    /// or that is no socket, is an error.
    pub fn bind(path: &Path) -> Result<Self, Failure> {
        remove_stale(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        // From here on the file is ours: it goes again if anything else fails.
        let metadata = fs::symlink_metadata(path)?;
        let socket =
            Self { listener: socket.into(), path: path.to_owned(), file: (metadata.dev(), metadata.ino()) };
        rustix::net::listen(&socket.listener, BACKLOG).map_err(io::Error::from)?;
        sys::close_in_forks(&socket.listener);
        Ok(socket)
    }

    /// A descriptor of the same socket for one worker.
    pub fn share(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.file);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the file of a unix socket");
        }
    }
}

fn remove_stale(path: &Path) -> Result<(), Failure> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if !metadata.file_type().is_socket() {
        return Err(taken("there is a file that is no socket", "move it away or choose another path"));
    }
    if is_alive(path)? {
        return Err(taken("another process answers there", "stop it or choose another path"));
    }
    Ok(fs::remove_file(path)?)
}

/// Whether anybody listens. A full backlog, or a socket of another kind, is somebody too.
fn is_alive(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.raw_os_error() == Some(Errno::CONNREFUSED.raw_os_error()) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Ok(true),
    }
}

fn taken(message: &str, hint: &'static str) -> Failure {
    let source = io::Error::from_raw_os_error(Errno::ADDRINUSE.raw_os_error());
    Failure { source, message: Some(message.to_owned()), hint: Some(hint) }
}
