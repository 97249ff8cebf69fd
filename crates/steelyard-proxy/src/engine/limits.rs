//! What the system gives this process: cores and descriptors.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::num::NonZero;
use std::thread::available_parallelism;

/// Descriptors kept for what is no connection: files, sockets that listen, probes, Python.
const RESERVE: u64 = 256;
/// The ports that are given out for sockets that name none.
const PORTS: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// How many those are where nobody has changed it.
const PORTS_USUAL: u32 = 28_232;
/// What is taken where the system names no limit.
const DESCRIPTORS_UNLIMITED: u64 = 1 << 20;

/// The cores this process may use: affinity and the quota of its control groups (both versions) included.
pub fn cores() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}

/// Raises the soft limit on descriptors to the hard one; returns what holds then.
pub fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit on descriptors");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(DESCRIPTORS_UNLIMITED)
}

/// The client connections that so many descriptors allow: each may need another towards an endpoint.
pub fn connections(descriptors: u64) -> u32 {
    let each_with_its_other = descriptors.saturating_sub(RESERVE.min(descriptors / 4)) / 2;
    u32::try_from(each_with_its_other).unwrap_or(u32::MAX).max(1)
}

/// The sessions of datagrams that so many connections and the ports of this machine allow: each writes to its endpoint
/// from a port of its own.
pub fn sessions(connections: u32) -> u32 {
    let range = std::fs::read_to_string(PORTS).unwrap_or_default();
    connections.min(ports_for_sessions(&range))
}

/// What may be taken of a range of ports, as the kernel writes it.
fn ports_for_sessions(range: &str) -> u32 {
    let all = ports(range).unwrap_or(PORTS_USUAL);
    // Others on this machine need ports, too, and so do our own questions to name servers.
    all - all / 4
}

/// How many ports a range has, as the kernel writes it.
fn ports(range: &str) -> Option<u32> {
    let mut ends = range.split_ascii_whitespace().map(str::parse::<u16>);
    let (low, high) = (ends.next()?.ok()?, ends.next()?.ok()?);
    (low <= high).then(|| u32::from(high - low) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_everything_else() {
        assert_eq!(connections(20_256), 10_000);
        assert_eq!(connections(64), 24);
        assert_eq!(connections(0), 1);
        assert_eq!(connections(u64::MAX), u32::MAX);
    }

    #[test]
    fn sessions_are_no_more_than_there_are_ports() {
        assert_eq!(ports("32768\t60999\n"), Some(PORTS_USUAL));
        for nonsense in ["", "32768", "60999 32768", "a b"] {
            assert_eq!(ports(nonsense), None, "{nonsense}");
        }
        assert_eq!(sessions(24), 24);
        let here = std::fs::read_to_string(PORTS).unwrap();
        assert_eq!(sessions(u32::MAX), ports_for_sessions(&here));
    }

    #[test]
    fn a_quarter_of_the_ports_is_left_to_others() {
        for (range, most) in
            [("32768\t60999\n", 21_174), ("40000 40039", 30), ("40000 40002", 3), ("", 21_174)]
        {
            assert_eq!(ports_for_sessions(range), most, "{range}");
        }
    }
}
