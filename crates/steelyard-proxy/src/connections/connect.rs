//! How a connection to an endpoint is opened and secured.

use super::Security;
use crate::timer::{GiveUp, Timer};
use crate::tls::PoolTls;
use crate::transport::{Insecure, Transport};
use rustls::ClientConfig;
use std::io;
use std::sync::Arc;
use steelyard_core::endpoint::Address;
use tokio::net::{TcpStream, UnixStream};

/// Connects to an endpoint, which is told `first` before anything else, TLS included.
pub(crate) async fn connect(
    address: &Address,
    first: &[u8],
    security: Security<'_>,
    timer: &Timer,
    give_up: GiveUp,
) -> io::Result<Transport> {
    let connecting = async {
        Ok::<_, io::Error>(match address {
            Address::Socket(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Transport::from(stream)
            }
            Address::Unix(path) => UnixStream::connect(path).await?.into(),
        })
    };
    let mut connecting = std::pin::pin!(connecting);
    let connected = std::future::poll_fn(|cx| match connecting.as_mut().poll(cx) {
        std::task::Poll::Ready(outcome) => std::task::Poll::Ready(outcome),
        std::task::Poll::Pending => timer.poll(give_up, cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
    });
    let transport = connected.await?;
    // Into a socket's empty buffer, so that there is no wait.
    transport.write_all(first, &[], timer, None).await?;
    let (tls, config, configured) = match security {
        Security::ClearText => return Ok(transport),
        Security::Tls(tls, configured) => (tls, &tls.config, configured),
        Security::Carried(tls, configured) => (tls, &tls.config_carried, configured),
    };
    // In a box, since connections in clear text would carry it too.
    Box::pin(secure(transport, (tls, config), configured, timer, give_up)).await
}

/// Begins TLS with an endpoint, which has to prove who it is. There is no way back to clear text.
async fn secure(
    mut transport: Transport,
    (tls, config): (&PoolTls, &Arc<ClientConfig>),
    configured: &str,
    timer: &Timer,
    give_up: GiveUp,
) -> io::Result<Transport> {
    let outcome = match tls.server_name(configured) {
        Ok(name) => transport.connect_tls(Arc::clone(config), name, timer, give_up).await,
        Err(error) => Err(Insecure::Refused(error)),
    };
    let outcome = match outcome {
        Ok(()) if tls.spoken(transport.alpn()).is_none() => Err(Insecure::NoHttp2),
        Err(Insecure::Refused(error)) => Err(tls.refined(error)),
        outcome => outcome,
    };
    outcome.map_err(|why| {
        tls.handshake_failed(configured, &why);
        io::Error::from(why)
    })?;
    Ok(transport)
}
