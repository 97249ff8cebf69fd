//! Load over TLS: requests on keep-alive connections, or one handshake and one request for each connection.
//!
//! `tlsload --to ADDRESS --ca FILE --mode keepalive|full|resumed [--connections 64] [--warmup 1] [--seconds 5]
//! [--rate N]` prints `begin` when what counts begins, and then a line of JSON; `--mode idle` holds that many
//! connections, which have carried one request each, from `ready` until standard input ends.

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use steelyard_bench_tools::arguments::Arguments;

type Stream = BufReader<StreamOwned<ClientConnection, TcpStream>>;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const LAST_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

struct Load {
    to: SocketAddr,
    config: Arc<ClientConfig>,
    /// Requests a second; 0 = as many as go.
    rate: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let mode: String = arguments.need("mode")?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(arguments.need::<String>("ca")?)?)?;
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    if mode == "full" {
        config.resumption = Resumption::disabled();
    }
    let rate = arguments.get("rate")?.unwrap_or(0.0);
    let load = Load { to: arguments.need("to")?, config: Arc::new(config), rate };
    let mut streams = Vec::new();
    if mode == "keepalive" || mode == "idle" {
        for _ in 0..arguments.get("connections")?.unwrap_or(64) {
            let mut stream = load.connect()?;
            stream.get_mut().write_all(REQUEST)?;
            answer(&mut stream)?;
            streams.push(stream);
        }
    }
    if mode == "idle" {
        println!("ready");
        // Held until nobody needs them any more.
        std::io::stdin().read_to_end(&mut Vec::new())?;
        return Ok(());
    }
    load.run(&mut streams, arguments.get("warmup")?.unwrap_or(1.0))?;
    println!("begin");
    let from = Instant::now();
    let requests = load.run(&mut streams, arguments.get("seconds")?.unwrap_or(5.0))?;
    let seconds = from.elapsed().as_secs_f64();
    println!(
        "{}",
        serde_json::json!({"requests": requests, "seconds": seconds, "rps": requests as f64 / seconds})
    );
    Ok(())
}

impl Load {
    fn connect(&self) -> Result<Stream, Box<dyn Error>> {
        let socket = TcpStream::connect(self.to)?;
        socket.set_nodelay(true)?;
        let connection = ClientConnection::new(Arc::clone(&self.config), ServerName::try_from("localhost")?)?;
        Ok(BufReader::new(StreamOwned::new(connection, socket)))
    }

    /// Requests on all streams, or on as many connections of their own, for so long.
    fn run(&self, streams: &mut [Stream], seconds: f64) -> Result<u64, Box<dyn Error>> {
        let from = Instant::now();
        let mut requests = 0;
        while from.elapsed().as_secs_f64() < seconds {
            if streams.is_empty() {
                let mut stream = self.connect()?;
                stream.get_mut().write_all(LAST_REQUEST)?;
                answer(&mut stream)?;
                requests += 1;
            }
            for stream in &mut *streams {
                stream.get_mut().write_all(REQUEST)?;
            }
            for stream in &mut *streams {
                answer(stream)?;
                requests += 1;
            }
            if self.rate > 0.0 {
                let due = Duration::from_secs_f64(requests as f64 / self.rate);
                std::thread::sleep(due.saturating_sub(from.elapsed()));
            }
        }
        Ok(requests)
    }
}

/// Reads one answer, which must be a 200.
fn answer(stream: &mut Stream) -> Result<(), Box<dyn Error>> {
    let mut line = String::new();
    let mut length = 0;
    stream.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 200") {
        return Err(format!("not a 200: {line:?}").into());
    }
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let field = line.trim_end().to_ascii_lowercase();
        if field.is_empty() {
            break;
        }
        if let Some(value) = field.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(())
}
