//! The load generator.
//!
//! `loadgen --to ADDRESS [--connections 64] [--seconds 5] [--warmup 1] [--rate N] [--path /]
//! [--http 1|2] [--streams 1] [--tls CERTIFICATE.pem] [--handshakes full|resumed]` says `begin` when counting begins
//! and ends with a line of JSON; `--handshakes` makes connections instead of requests.
//! With `--idle N` it holds N idle keep-alive connections until standard input ends; with `--once yes` it makes a
//! request, and with TLS another, and tells of the answer.

use std::io::{self, Write};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use steelyard_bench_tools::arguments::Arguments;
use steelyard_bench_tools::client::{HOST, Speaks, USER_AGENT, Way};
use steelyard_bench_tools::tls::Tls;
use steelyard_bench_tools::{idle, load, once};

fn main() -> io::Result<()> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let is_once = arguments.get::<String>("once")?.is_some();
    let way = way(&arguments, is_once)?;
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\n\r\n",
        way.path
    );
    if is_once {
        return say(&serde_json::to_string(&once::ask(&way, request.as_bytes())?)?);
    }
    if let Some(count) = arguments.get("idle")? {
        return idle::hold(&way, count, request.as_bytes());
    }
    let plan = load::Plan {
        way,
        connections: arguments.get("connections")?.unwrap_or(64),
        streams: arguments.get("streams")?.unwrap_or(1),
        request: request.into_bytes(),
        warmup_s: arguments.get("warmup")?.unwrap_or(1.0),
        seconds: arguments.get("seconds")?.unwrap_or(5.0),
        rate: arguments.get("rate")?,
    };
    if plan.streams != 1 && plan.way.speaks != Speaks::Http2 {
        return Err(wrong("--streams needs --http 2"));
    }
    let report = load::run(&plan, || say("begin"))?;
    say(&serde_json::to_string(&report)?)
}

fn way(arguments: &Arguments, is_once: bool) -> io::Result<Way> {
    let handshakes: Option<String> = arguments.get("handshakes")?;
    let http = arguments.get("http")?.unwrap_or(1);
    let (speaks, alpn) = match (http, handshakes.as_deref()) {
        (1, None) => (Speaks::Http1, "http/1.1"),
        (2, None) => (Speaks::Http2, "h2"),
        (1, Some("full" | "resumed")) => (Speaks::Handshake, "http/1.1"),
        _ => return Err(wrong("--http is 1 or 2, --handshakes is full or resumed and goes with 1")),
    };
    let tls = match arguments.get::<String>("tls")? {
        Some(path) => {
            let certificate = CertificateDer::from_pem_file(path).map_err(io::Error::other)?;
            let resumes = is_once || handshakes.as_deref() == Some("resumed");
            Some(Tls::new(certificate, alpn, resumes)?)
        }
        None if speaks == Speaks::Handshake => return Err(wrong("--handshakes needs --tls")),
        None => None,
    };
    let path = arguments.get("path")?.unwrap_or_else(|| "/".to_owned());
    Ok(Way { to: arguments.need("to")?, tls, speaks, path })
}

fn wrong(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

fn say(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}
