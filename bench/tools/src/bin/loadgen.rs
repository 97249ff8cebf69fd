//! The load generator: `loadgen --to ADDRESS [--connections 64] [--seconds 5] [--warmup 1] [--rate N]
//! [--path /]` says `begin` when counting begins and ends with a line of JSON;
//! `loadgen --to ADDRESS --idle N` holds N idle keep-alive connections until standard input ends.

use std::io::{self, Write};

use steelyard_bench_tools::arguments::Arguments;
use steelyard_bench_tools::{idle, load};

fn main() -> io::Result<()> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let to = arguments.need("to")?;
    let path = arguments.get::<String>("path")?.unwrap_or_else(|| "/".to_owned());
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: loadgen\r\nAccept: */*\r\n\r\n");
    if let Some(count) = arguments.get("idle")? {
        return idle::hold(to, count, request.as_bytes());
    }
    let plan = load::Plan {
        to,
        connections: arguments.get("connections")?.unwrap_or(64),
        request: request.into_bytes(),
        warmup_s: arguments.get("warmup")?.unwrap_or(1.0),
        seconds: arguments.get("seconds")?.unwrap_or(5.0),
        rate: arguments.get("rate")?,
    };
    let report = load::run(&plan, || say("begin"))?;
    say(&serde_json::to_string(&report)?)
}

fn say(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}
