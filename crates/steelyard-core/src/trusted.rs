//! Which peers' forwarding headers are believed.

use crate::problem::Refusal;
use ipnet::IpNet;
use std::net::IpAddr;

/// Networks whose `X-Forwarded-*` and `Forwarded` fields are believed; none unless said so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trusted {
    networks: Box<[IpNet]>,
}

impl Trusted {
    /// Whether the peer is in one of the networks. An IPv4 address that arrives on a dual-stack socket
    /// (`::ffff:1.2.3.4`) is an IPv4 address.
    pub fn contains(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.networks.iter().any(|network| network.contains(&peer))
    }
}

impl FromIterator<IpNet> for Trusted {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        Self { networks: networks.into_iter().collect() }
    }
}

/// Reads `"10.0.0.0/8"`, or a single address.
pub(crate) fn network(text: &str) -> Result<IpNet, Refusal> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_canonical().into());
    }
    let network = text.parse::<IpNet>().map_err(|_| {
        Refusal::new(format!("{text:?} is no network"))
            .hint("write an address or a CIDR, as \"10.0.0.0/8\" or \"fd00::/8\"")
    })?;
    Ok(canonical(network))
}

/// The IPv4 network, where an IPv6 one spells it (`::ffff:10.0.0.0/104`).
fn canonical(network: IpNet) -> IpNet {
    match (network.network().to_canonical(), network.prefix_len().checked_sub(96)) {
        (IpAddr::V4(address), Some(length)) if matches!(network, IpNet::V6(_)) => {
            IpNet::new(address.into(), length).unwrap_or(network)
        }
        _ => network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(networks: &[&str]) -> Trusted {
        networks.iter().map(|text| network(text).unwrap()).collect()
    }

    fn contains(networks: &[&str], peer: &str) -> bool {
        trusted(networks).contains(peer.parse().unwrap())
    }

    #[test]
    fn nobody_is_trusted_unless_said_so() {
        assert!(!contains(&[], "127.0.0.1"));
    }

    #[test]
    fn networks_and_single_addresses_are_matched() {
        assert!(contains(&["10.0.0.0/8"], "10.255.0.1"));
        assert!(!contains(&["10.0.0.0/8"], "11.0.0.1"));
        assert!(contains(&["192.0.2.1"], "192.0.2.1"));
        assert!(!contains(&["192.0.2.1"], "192.0.2.2"));
        assert!(contains(&["fd00::/8", "::1"], "fd12::1"));
        assert!(!contains(&["::/0"], "10.0.0.1"));
    }

    #[test]
    fn host_bits_of_a_network_are_ignored() {
        assert!(contains(&["10.1.2.3/8"], "10.9.9.9"));
    }

    #[test]
    fn an_ipv4_peer_on_a_dual_stack_socket_is_an_ipv4_peer() {
        assert!(contains(&["10.0.0.0/8"], "::ffff:10.1.2.3"));
        assert!(!contains(&["::/0"], "::ffff:10.1.2.3"));
        assert!(contains(&["::ffff:10.0.0.0/104"], "10.1.2.3"));
        assert!(contains(&["::ffff:10.0.0.1"], "10.0.0.1"));
    }

    #[test]
    fn anything_else_is_refused_with_an_example() {
        for text in ["", "10.0.0.0/33", "localhost", "10.0.0.1:80", "10.0.0.0/", "::/129"] {
            let refusal = network(text).unwrap_err();
            assert!(refusal.message.contains("is no network"), "{text:?}: {refusal}");
            assert!(refusal.hint.unwrap().contains("10.0.0.0/8"));
        }
    }
}
