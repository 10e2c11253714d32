//! Whom a URL reaches, however it writes the address.

use std::net::{IpAddr, Ipv4Addr};

use url::{Host, Url};

use super::table::{Table, under, within};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This machine.
    Loopback,
    /// Addresses of a closed network.
    Private,
    /// A service that hands out the machine's credentials.
    Metadata,
    /// Anybody's box: whoever sends here shows it to strangers.
    Drop,
    Public,
}

/// Whom the URL reaches, and why its writing is odd, if it is.
pub struct Address {
    pub reach: Reach,
    pub host: String,
    pub odd: Option<&'static str>,
}

impl Address {
    /// `raw`: the URL as it was written, before it was normalised.
    pub fn of(url: &Url, raw: &str) -> Self {
        let host = url.host_str().unwrap_or_default().trim_end_matches('.').to_lowercase();
        let written = authority(raw);
        let (reach, odd) = match url.host() {
            Some(Host::Ipv4(address)) => {
                (of_ip(IpAddr::V4(address)), disguised(&written, &address.to_string()))
            }
            Some(Host::Ipv6(address)) => match inner(address) {
                Some(inner) => {
                    (of_ip(IpAddr::V4(inner)), Some("an IPv4 address is written within an IPv6 address"))
                }
                None => (of_ip(IpAddr::V6(address)), None),
            },
            _ => (of_name(&host), odd_name(&host, &written)),
        };
        Self { reach, host, odd: odd.or_else(|| deceptive(url, raw)) }
    }
}

fn of_ip(address: IpAddr) -> Reach {
    let known = &Table::get().addresses;
    match &address {
        address if within(&known.metadata_networks, address) => Reach::Metadata,
        address if within(&known.loopback_networks, address) => Reach::Loopback,
        address if within(&known.private_networks, address) => Reach::Private,
        _ => Reach::Public,
    }
}

/// An IPv4 address that an IPv6 address stands for: mapped, compatible, NAT64, 6to4.
fn inner(address: std::net::Ipv6Addr) -> Option<Ipv4Addr> {
    if address.is_loopback() || address.is_unspecified() {
        return None;
    }
    let segments = address.segments();
    let four = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => four(high, low),
        [0, 0, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => four(high, low),
        [0x2002, high, low, ..] => four(high, low),
        _ => None,
    }
}

fn of_name(host: &str) -> Reach {
    let known = &Table::get().addresses;
    if known.metadata_hosts.contains(host) {
        return Reach::Metadata;
    }
    if known.loopback_hosts.contains(host) || host.ends_with(".localhost") {
        return Reach::Loopback;
    }
    if known.mirrors.iter().any(|domain| under(host, domain)) {
        return embedded(host).map_or(Reach::Private, of_ip);
    }
    if known.drops.iter().any(|domain| under(host, domain)) {
        return Reach::Drop;
    }
    let first = host.split('.').next().unwrap_or_default();
    match first == "metadata" && host.ends_with(".internal") {
        true => Reach::Metadata,
        false => Reach::Public,
    }
}

/// The address within `10-0-0-5.nip.io`, `a.169.254.169.254.sslip.io`.
fn embedded(host: &str) -> Option<IpAddr> {
    let numbers = host.split(['.', '-']).collect::<Vec<_>>();
    let address = numbers.windows(4).find_map(|part| part.join(".").parse::<Ipv4Addr>().ok())?;
    Some(IpAddr::V4(address))
}

fn odd_name(host: &str, written: &str) -> Option<&'static str> {
    if Table::get().addresses.mirrors.iter().any(|domain| under(host, domain)) {
        return Some("the name answers with an address that is written in it");
    }
    let plain = written.trim_end_matches('.');
    if plain.contains('%') {
        return Some("the host is written with percent signs");
    }
    if !plain.is_ascii() || host.split('.').any(|part| part.starts_with("xn--")) {
        return Some("the host holds letters that may look like others");
    }
    None
}

/// Decimal, octal, hexadecimal and shortened writings of an IPv4 address.
fn disguised(written: &str, plain: &str) -> Option<&'static str> {
    (written.trim_end_matches('.') != plain).then_some("the address is written so that it is not recognised")
}

/// Characters before the host that make another host seem to be called.
fn deceptive(url: &Url, raw: &str) -> Option<&'static str> {
    let head = raw.split(['?', '#']).next().unwrap_or(raw);
    if head.contains('\\') || raw.chars().any(|c| c.is_control()) {
        return Some("the URL holds backslashes or control characters");
    }
    (url.username().contains('.') || url.username().contains("%2f") || url.username().contains("%2F"))
        .then_some("what looks like the host is only a user's name")
}

/// The host as it was written.
fn authority(raw: &str) -> String {
    let rest = raw.split_once("//").map_or(raw, |(_, rest)| rest);
    let rest = rest.split(['/', '?', '#', '\\']).next().unwrap_or(rest);
    let rest = rest.rsplit('@').next().unwrap_or(rest);
    if rest.starts_with('[') {
        return rest.split(']').next().unwrap_or(rest).to_lowercase();
    }
    rest.split(':').next().unwrap_or(rest).to_lowercase()
}
