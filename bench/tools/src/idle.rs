//! Idle keep-alive connections, held while somebody reads the proxy's memory.

use std::io::{self, Read, Write};

use rustix::event::{PollFd, PollFlags, poll};

use crate::client::{Client, Inbox, READ_BYTES, Way};

/// How many requests are under way at once while the connections are opened.
const BATCH: usize = 64;

/// Opens `count` connections, makes one request on each, says `ready` and holds them until standard input
/// ends; then says how many were still open.
pub fn hold(way: &Way, count: usize, request: &[u8]) -> io::Result<()> {
    let mut clients = Vec::with_capacity(count);
    let mut scratch = vec![0; READ_BYTES];
    while clients.len() < count {
        let begin = clients.len();
        for _ in 0..BATCH.min(count - begin) {
            let mut client = Client::connect(way)?;
            client.ask(0, request);
            client.flush()?;
            clients.push(client);
        }
        for client in &mut clients[begin..] {
            await_answer(client, way, &mut scratch, &mut Inbox::default())?;
        }
    }
    let mut output = io::stdout().lock();
    writeln!(output, "ready")?;
    output.flush()?;
    io::stdin().lock().read_to_end(&mut Vec::new())?;
    let open = clients.iter().filter(|client| client.is_quiet()).count();
    writeln!(output, "{}", serde_json::json!({ "opened": count, "still_open": open }))
}

/// Waits for the one answer that is due.
pub(crate) fn await_answer(
    client: &mut Client,
    way: &Way,
    scratch: &mut [u8],
    inbox: &mut Inbox,
) -> io::Result<()> {
    while inbox.answered.is_empty() {
        poll(&mut [PollFd::new(client, PollFlags::IN)], None)?;
        client.receive(way, scratch, inbox)?;
    }
    Ok(())
}
