//! Host names of endpoints, looked up off the workers.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use steelyard_core::snapshot::Resolved;
use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// A host and a port.
pub type Name = (String, u16);
/// What each name stands for, in order and each once; or why nobody knows.
pub type Answers = BTreeMap<Name, Result<Vec<SocketAddr>, String>>;

/// Looks names up, side by side, for no longer than `limit`. Must be called within a runtime.
pub async fn look_up(names: BTreeSet<Name>, limit: Duration) -> Answers {
    let end = Instant::now() + limit;
    let mut running = JoinSet::new();
    for (host, port) in &names {
        let name = (host.clone(), *port);
        running.spawn(async move {
            let answer = match timeout_at(end, lookup_host((name.0.as_str(), name.1))).await {
                Ok(Ok(addresses)) => in_order(addresses),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("no answer in time".to_owned()),
            };
            (name, answer)
        });
    }
    let mut answers = Answers::new();
    while let Some(ended) = running.join_next().await {
        // A look-up that was called off leaves its name without an answer, which keeps the last one.
        answers.extend(ended);
    }
    answers
}

/// The same for a caller that has no runtime and can wait.
pub fn now(names: BTreeSet<Name>, limit: Duration) -> io::Result<Answers> {
    if names.is_empty() {
        return Ok(Answers::new());
    }
    let runtime = super::runtime()?;
    let answers = runtime.block_on(look_up(names, limit));
    // A look-up that hangs in the system cannot be called off; it ends alone.
    runtime.shutdown_background();
    Ok(answers)
}

fn in_order(addresses: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, String> {
    let addresses: BTreeSet<SocketAddr> = addresses.collect();
    if addresses.is_empty() {
        return Err("the name has no address".to_owned());
    }
    Ok(addresses.into_iter().collect())
}

/// Lays answers over what is known, for these names and no others: a failed or empty answer keeps the last one.
/// Returns also why names failed.
pub fn merge(known: &Resolved, names: BTreeSet<Name>, answers: Answers) -> (Resolved, Vec<(String, String)>) {
    let mut resolved = Resolved::default();
    let mut failed = Vec::new();
    let mut answers = answers;
    for (host, port) in names {
        let name = (host, port);
        let answer = answers.remove(&name);
        let (host, port) = name;
        let addresses = match answer {
            Some(Ok(addresses)) => addresses,
            Some(Err(why)) => {
                failed.push((format!("{host}:{port}"), why));
                known.get(&host, port).to_vec()
            }
            None => known.get(&host, port).to_vec(),
        };
        resolved.insert(host, port, addresses);
    }
    (resolved, failed)
}

/// Whether any of these names stands for something else.
pub fn differ(names: &BTreeSet<Name>, a: &Resolved, b: &Resolved) -> bool {
    names.iter().any(|(host, port)| a.get(host, *port) != b.get(host, *port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 80))
    }

    fn names() -> BTreeSet<Name> {
        BTreeSet::from([("a".to_owned(), 80), ("b".to_owned(), 80)])
    }

    fn known() -> Resolved {
        let mut known = Resolved::default();
        known.insert("a".to_owned(), 80, vec![address(1)]);
        known.insert("b".to_owned(), 80, vec![address(2)]);
        known.insert("gone".to_owned(), 80, vec![address(3)]);
        known
    }

    #[test]
    fn a_failed_answer_keeps_the_last_set_and_a_good_one_replaces_it() {
        let answers = Answers::from([
            (("a".to_owned(), 80), Err("no answer in time".to_owned())),
            (("b".to_owned(), 80), Ok(vec![address(4), address(5)])),
        ]);
        let (resolved, failed) = merge(&known(), names(), answers);
        assert_eq!(resolved.get("a", 80), [address(1)]);
        assert_eq!(resolved.get("b", 80), [address(4), address(5)]);
        assert_eq!(resolved.get("gone", 80), []);
        assert_eq!(failed, [("a:80".to_owned(), "no answer in time".to_owned())]);
        assert!(differ(&names(), &known(), &resolved));
    }

    #[test]
    fn no_answer_at_all_changes_nothing() {
        let (resolved, failed) = merge(&known(), names(), Answers::new());
        assert!(!differ(&names(), &known(), &resolved));
        assert!(failed.is_empty());
    }

    #[test]
    fn addresses_are_put_in_order_so_that_a_rotating_answer_is_no_change() {
        let answer = in_order([address(2), address(1), address(2)].into_iter());
        assert_eq!(answer, Ok(vec![address(1), address(2)]));
        assert!(in_order(std::iter::empty()).is_err());
    }

    #[test]
    fn a_name_of_this_machine_is_looked_up() {
        let names = BTreeSet::from([("localhost".to_owned(), 80)]);
        let answers = now(names, Duration::from_secs(30)).unwrap();
        let found = answers[&("localhost".to_owned(), 80)].as_ref().unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80), "{found:?}");
    }
}
