//! How a connection comes to speak TLS, on either side.

use super::tls::{Session, Stopped, Tls, lend};
use super::{Transport, timed_out};
use crate::timer::{GiveUp, Timer};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, ServerConfig};
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Why a connection does not speak TLS. It still carries bytes, as they are.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Insecure {
    /// The client speaks HTTP in clear text.
    #[error("a request in clear text")]
    ClearText,
    /// The handshake was all that the client, an authority, wanted.
    #[error("the handshake was a proof for an authority")]
    Proved,
    /// The handshake took too long.
    #[error("the handshake took too long")]
    TimedOut,
    /// The connection ended.
    #[error("the connection ended within the handshake")]
    Gone(#[source] io::Error),
    /// One side would not have the other.
    #[error("{0}")]
    Refused(#[from] rustls::Error),
    /// The endpoint does not agree on HTTP/2, which is all that may be spoken with it.
    #[error("it does not agree on HTTP/2 (\"h2\" of ALPN)")]
    NoHttp2,
}

impl Insecure {
    /// The same, for one more who waited for the connection.
    pub fn again(&self) -> Self {
        match self {
            Self::ClearText => Self::ClearText,
            Self::Proved => Self::Proved,
            Self::TimedOut => Self::TimedOut,
            Self::Gone(error) => Self::Gone(error.kind().into()),
            Self::Refused(error) => Self::Refused(error.clone()),
            Self::NoHttp2 => Self::NoHttp2,
        }
    }
}

impl From<Stopped> for Insecure {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Gone(error) => Self::Gone(error),
            Stopped::Refused(error) => Self::Refused(error),
        }
    }
}

impl From<Insecure> for io::Error {
    fn from(insecure: Insecure) -> Self {
        match insecure {
            Insecure::TimedOut => timed_out(),
            Insecure::Gone(error) => error,
            insecure => Self::other(insecure),
        }
    }
}

impl Transport {
    /// Lets the client begin TLS. `give_up` says until when it may take; it is asked whenever nothing moves. Nothing is
    /// held for a client before it has sent something.
    pub(crate) async fn accept_tls(
        &mut self,
        config: Arc<ServerConfig>,
        timer: &Timer,
        mut give_up: impl FnMut(&mut Context<'_>) -> GiveUp,
    ) -> Result<(), Insecure> {
        let mut session = None;
        poll_fn(|cx| match self.poll_accept(&config, &mut session, cx) {
            Poll::Pending => {
                let give_up = give_up(cx);
                timer.poll(give_up, cx).map(|()| Err(Insecure::TimedOut))
            }
            outcome @ Poll::Ready(_) => outcome,
        })
        .await?;
        // It was there, or this would not have ended well.
        let Some(session) = session else { return Err(Insecure::TimedOut) };
        self.secured(session);
        Ok(())
    }

    fn poll_accept(
        &self,
        config: &Arc<ServerConfig>,
        session: &mut Option<Session>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Insecure>> {
        if session.is_none() {
            let mut first = lend();
            let count = ready!(self.socket.poll_read(first.room(), cx)).map_err(Insecure::Gone)?;
            first.filled(count);
            match first.unread().first() {
                None => return Poll::Ready(Err(Insecure::Gone(io::ErrorKind::UnexpectedEof.into()))),
                // No record of TLS begins with a letter, every method does.
                Some(byte) if byte.is_ascii_alphabetic() => return Poll::Ready(Err(Insecure::ClearText)),
                Some(_) => {}
            }
            let connection = UnbufferedServerConnection::new(Arc::clone(config))?;
            *session = Some(Session::accepted(connection, first));
        }
        let Some(session) = session else { return Poll::Pending };
        session.poll_handshake(&self.socket, cx).map_err(Insecure::from)
    }

    /// Begins TLS with the server of this name.
    pub(crate) async fn connect_tls(
        &mut self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        timer: &Timer,
        give_up: GiveUp,
    ) -> Result<(), Insecure> {
        let mut session = Session::connected(UnbufferedClientConnection::new(config, name)?);
        poll_fn(|cx| match session.poll_handshake(&self.socket, cx) {
            Poll::Pending => timer.poll(give_up, cx).map(|()| Err(Insecure::TimedOut)),
            Poll::Ready(outcome) => Poll::Ready(outcome.map_err(Insecure::from)),
        })
        .await?;
        self.secured(session);
        Ok(())
    }

    fn secured(&mut self, session: Session) {
        self.tls = Some(Box::new(Tls::new(session)));
    }
}
