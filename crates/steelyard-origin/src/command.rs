//! The command `steelyard-origin`: an origin in the foreground until SIGTERM or SIGINT.

use std::io::{self, Write};

use tokio::signal::unix::{SignalKind, signal};

use crate::options::Options;
use crate::origin::{Origin, StartError};

const USAGE: &str = "\
usage: steelyard-origin [--listen 127.0.0.1:0] [--name NAME] [--delay 10ms] [--concurrency N] [--status 503]
                        [--body-bytes 62] [--workers 1] [--fault KIND] [--idle-timeout 5s] [--port-file PATH]

A small HTTP/1.1 origin that can be told to misbehave, by option and by the path of each request.
KIND is a path of that kind without its first slash: reset, short/10, hang, status/503, drip/10/50, garbage...";

/// Serves until a signal; the exit status is 0, 1 when it failed and 2 for wrong usage.
#[must_use]
pub fn run(arguments: &[String]) -> u8 {
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        // With standard output gone there is nobody to help.
        let _ = writeln!(io::stdout(), "{USAGE}");
        return 0;
    }
    match serve(arguments) {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(io::stderr(), "steelyard-origin: {error}");
            if let StartError::Options(_) = error {
                let _ = writeln!(io::stderr(), "{USAGE}");
                return 2;
            }
            1
        }
    }
}

fn serve(arguments: &[String]) -> Result<(), StartError> {
    let options = Options::from_flags(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        // Handlers first: whoever has read the port may signal at once.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut origin = Origin::start(&options)?;
        announce(&origin)?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        origin.close();
        Ok(())
    })
}

fn announce(origin: &Origin) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "listening on {}", origin.address())?;
    output.flush()
}
