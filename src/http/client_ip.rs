//! Who calls: the peer, or whom a trusted proxy says it stands for.

use std::net::IpAddr;

use ipnet::IpNet;

/// The client's address. `forwarded` is `X-Forwarded-For`: every proxy appends whom it heard, so it is read from the
/// right, past the proxies that are trusted; what a client wrote itself stands further left and counts for nothing.
pub(super) fn client_ip(peer: IpAddr, forwarded: Option<&str>, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|net| net.contains(ip));
    let mut client = peer;
    for part in forwarded.unwrap_or_default().rsplit(',') {
        if !is_trusted(&client) {
            break;
        }
        // A name that is no address ends the chain: whoever wrote it is the last one known.
        let Ok(next) = part.trim().parse() else { break };
        client = next;
    }
    client
}

/// Whether a channel with these networks may call from there; without any, from anywhere.
pub(super) fn is_admitted(client: IpAddr, networks: Option<&Vec<IpNet>>) -> bool {
    networks.is_none_or(|networks| networks.iter().any(|net| net.contains(&client)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trusted_proxys_word_counts_and_only_as_far_as_the_chain_is_trusted() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let trusted: Vec<IpNet> = ["127.0.0.1/32", "10.0.0.0/8"].iter().map(|n| n.parse().unwrap()).collect();
        for (peer, forwarded, expected) in [
            ("203.0.113.9", Some("198.51.100.1"), "203.0.113.9"),
            ("127.0.0.1", None, "127.0.0.1"),
            ("127.0.0.1", Some("198.51.100.1"), "198.51.100.1"),
            ("127.0.0.1", Some("6.6.6.6, 198.51.100.1"), "198.51.100.1"),
            ("127.0.0.1", Some("6.6.6.6, 198.51.100.1, 10.1.2.3"), "198.51.100.1"),
            ("127.0.0.1", Some("nonsense"), "127.0.0.1"),
            ("127.0.0.1", Some("10.1.2.3"), "10.1.2.3"),
        ] {
            assert_eq!(client_ip(ip(peer), forwarded, &trusted), ip(expected), "{peer} {forwarded:?}");
        }
        let networks = vec!["198.51.100.0/24".parse().unwrap()];
        assert!(is_admitted(ip("198.51.100.1"), Some(&networks)) && is_admitted(ip("203.0.113.9"), None));
        assert!(!is_admitted(ip("203.0.113.9"), Some(&networks)));
    }
}
