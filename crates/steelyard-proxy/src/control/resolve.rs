//! Host names of endpoints, looked up off the workers.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use steelyard_core::snapshot::Resolved;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout_at};

/// A host and a port.
pub type Name = (String, u16);
/// What each name stands for, in order and each once; or why nobody knows.
pub type Answers = BTreeMap<Name, Result<Vec<SocketAddr>, String>>;

/// Asks the system; blocks.
type Ask = fn(&Name) -> io::Result<Vec<SocketAddr>>;

/// What is being asked of the system. A look-up cannot be called off: one that hangs keeps its place until it ends, and
/// its name is not asked for a second time meanwhile.
#[derive(Debug, Clone)]
pub struct Lookups {
    places: Arc<Semaphore>,
    asking: Arc<Mutex<BTreeSet<Name>>>,
    ask: Ask,
}

/// A name that is being asked for, until this is dropped.
struct Asking {
    name: Name,
    all: Arc<Mutex<BTreeSet<Name>>>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        lock(&self.all).remove(&self.name);
    }
}

impl Default for Lookups {
    fn default() -> Self {
        let ask: Ask = |(host, port)| Ok((host.as_str(), *port).to_socket_addrs()?.collect());
        Self { places: Arc::new(Semaphore::new(super::LOOKUPS_MAX)), asking: Arc::default(), ask }
    }
}

impl Lookups {
    /// Looks names up, side by side, for no longer than `limit`. Must be called within a runtime.
    pub async fn look_up(&self, names: BTreeSet<Name>, limit: Duration) -> Answers {
        let end = Instant::now() + limit;
        let mut running = JoinSet::new();
        for name in names {
            let lookups = self.clone();
            running.spawn(async move {
                let answer = timeout_at(end, lookups.answer(&name)).await;
                (name, answer.unwrap_or_else(|_| Err("no answer in time".to_owned())))
            });
        }
        let mut answers = Answers::new();
        while let Some(ended) = running.join_next().await {
            // A look-up that was called off leaves its name without an answer, which keeps the last one.
            answers.extend(ended);
        }
        answers
    }

    async fn answer(&self, name: &Name) -> Result<Vec<SocketAddr>, String> {
        let asking = self.begin(name).ok_or("the look-up before has not ended yet")?;
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|error| error.to_string())?;
        let ask = self.ask;
        let looked_up = spawn_blocking(move || {
            // Both are held here, where it ends, and not where somebody may have given up waiting for it.
            let (_place, asking) = (place, asking);
            ask(&asking.name)
        });
        let addresses =
            looked_up.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        in_order(addresses.into_iter())
    }

    fn begin(&self, name: &Name) -> Option<Asking> {
        let new = lock(&self.asking).insert(name.clone());
        new.then(|| Asking { name: name.clone(), all: Arc::clone(&self.asking) })
    }
}

fn lock(asking: &Mutex<BTreeSet<Name>>) -> MutexGuard<'_, BTreeSet<Name>> {
    asking.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same for a caller that has no runtime and can wait.
pub fn now(names: BTreeSet<Name>, limit: Duration) -> io::Result<Answers> {
    if names.is_empty() {
        return Ok(Answers::new());
    }
    let runtime = super::runtime()?;
    let answers = runtime.block_on(Lookups::default().look_up(names, limit));
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
    use std::sync::Condvar;
    use std::sync::atomic::{AtomicUsize, Ordering};

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

    #[test]
    fn look_ups_that_hang_are_not_asked_again_and_none_is_queued_behind_them() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        static HANGING: Mutex<bool> = Mutex::new(true);
        static CHANGED: Condvar = Condvar::new();
        #[expect(clippy::unnecessary_wraps, reason = "as the system may fail, and this one does not")]
        fn ask((_, port): &Name) -> io::Result<Vec<SocketAddr>> {
            ASKED.fetch_add(1, Ordering::SeqCst);
            let hanging = HANGING.lock().unwrap();
            drop(CHANGED.wait_while(hanging, |hanging| *hanging).unwrap());
            Ok(vec![SocketAddr::from(([10, 0, 0, 1], *port))])
        }
        let names: BTreeSet<Name> = (0..30).map(|port| ("slow".to_owned(), port)).collect();
        let lookups = Lookups { ask, ..Lookups::default() };
        let runtime = crate::control::runtime().unwrap();
        let one = BTreeSet::from([("slow".to_owned(), 0)]);
        for _ in 0..3 {
            let answers = runtime.block_on(lookups.look_up(one.clone(), Duration::from_millis(20)));
            assert!(answers.values().all(Result::is_err));
            assert_eq!(ASKED.load(Ordering::SeqCst), 1);
        }
        for _ in 0..3 {
            let answers = runtime.block_on(lookups.look_up(names.clone(), Duration::from_millis(20)));
            assert_eq!(answers.len(), names.len());
            assert!(answers.values().all(Result::is_err));
        }
        *HANGING.lock().unwrap() = false;
        CHANGED.notify_all();
        while lookups.places.available_permits() < crate::control::LOOKUPS_MAX {
            std::thread::yield_now();
        }
        assert_eq!(ASKED.load(Ordering::SeqCst), crate::control::LOOKUPS_MAX);
        let answers = runtime.block_on(lookups.look_up(names.clone(), Duration::from_secs(30)));
        assert!(answers.values().all(Result::is_ok), "{answers:?}");
    }
}
