//! Whom the installation allows to be told.
//!
//! A webhook makes this server connect to wherever somebody says, from within its
//! network. So nothing is allowed but what the operator has named, and of that no
//! address of a closed network, unless it was named as such. Text is read by the rules
//! of the URL standard, so that an address cannot be disguised as another.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use url::{Host, Url};

/// Where a webhook is told: https, or http where the operator allows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(Url);

impl Address {
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err("begins with https://".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("carries no user and password: the receiver checks the signature".to_owned());
        }
        if url.fragment().is_some() {
            return Err("has no part behind a #".to_owned());
        }
        match url.host() {
            Some(Host::Domain(host)) if host.trim_end_matches('.').is_empty() => {
                Err("names no host".to_owned())
            }
            Some(_) => Ok(Self(url)),
            None => Err("names no host".to_owned()),
        }
    }

    /// All of it, normalised.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Scheme, host and port: what may be shown where the rest may be secret.
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// Where it names no host but an address.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.0.host() {
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
            Some(Host::Domain(_)) | None => None,
        }
    }

    fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }

    fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
    }
}

/// One rule of the operator's: `hooks.example`, `*.example:8443`, `10.0.0.5`, or
/// `http://127.0.0.1:8080`. Without a port it is that of the scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    plain: bool,
    host: Pattern,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Host(String),
    /// What ends with this, dot included.
    Under(String),
    Ip(IpAddr),
}

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (plain, rest) = match text.split_once("://") {
            None => (false, text),
            Some(("https", rest)) => (false, rest),
            Some(("http", rest)) => (true, rest),
            Some((scheme, _)) => {
                return Err(format!("`{scheme}` is not spoken: name a host, such as hooks.example"));
            }
        };
        let (under, rest) = rest.strip_prefix("*.").map_or((false, rest), |rest| (true, rest));
        let scheme = if plain { "http" } else { "https" };
        let url = Url::parse(&format!("{scheme}://{rest}"))
            .ok()
            .filter(|_| !rest.contains(['/', '?', '#', '@', '*']));
        let wrong = || format!("`{text}` is no host: write hooks.example, *.example:8443 or 10.0.0.5");
        let url = url.ok_or_else(wrong)?;
        let host = match url.host() {
            Some(Host::Domain(host)) if under => Pattern::Under(format!(".{}", bare(host))),
            Some(Host::Domain(host)) => Pattern::Host(bare(host).to_owned()),
            Some(Host::Ipv4(ip)) if !under => Pattern::Ip(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) if !under => Pattern::Ip(IpAddr::V6(ip)),
            _ => return Err(wrong()),
        };
        if plain && !matches!(&host, Pattern::Ip(ip) if ip.is_loopback()) {
            return Err("whoever is on the way can read and change http: use https".to_owned());
        }
        Ok(Self { plain, host, port: url.port_or_known_default().unwrap_or_default() })
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.plain { "http://" } else { "" };
        match &self.host {
            Pattern::Host(host) => write!(f, "{scheme}{host}:{}", self.port),
            Pattern::Under(end) => write!(f, "{scheme}*{end}:{}", self.port),
            Pattern::Ip(IpAddr::V6(ip)) => write!(f, "{scheme}[{ip}]:{}", self.port),
            Pattern::Ip(ip) => write!(f, "{scheme}{ip}:{}", self.port),
        }
    }
}

impl Allowed {
    fn permits(&self, address: &Address) -> bool {
        let host = match (&self.host, address.0.host()) {
            (Pattern::Host(named), Some(Host::Domain(host))) => named == bare(host),
            (Pattern::Under(end), Some(Host::Domain(host))) => {
                bare(host).strip_suffix(end.as_str()).is_some_and(|rest| !rest.is_empty())
            }
            (Pattern::Ip(ip), Some(Host::Ipv4(host))) => *ip == IpAddr::V4(host),
            (Pattern::Ip(ip), Some(Host::Ipv6(host))) => *ip == IpAddr::V6(host),
            _ => false,
        };
        host && self.plain == address.is_plain() && self.port == address.port()
    }
}

/// Everything that the operator allows; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(pub Vec<Allowed>);

impl fmt::Display for AllowList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(if rules.is_empty() { "nobody".to_owned() } else { rules.join(", ") }.as_str())
    }
}

impl AllowList {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a webhook may have this address.
    pub fn permits(&self, address: &Address) -> bool {
        self.0.iter().any(|allowed| allowed.permits(address))
    }

    /// Whether this is connected to, whatever name led there.
    pub fn permits_ip(&self, ip: IpAddr) -> bool {
        let named = |allowed: &Allowed| matches!(&allowed.host, Pattern::Ip(known) if *known == ip);
        is_public(ip) || self.0.iter().any(named)
    }
}

fn bare(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

/// Whether it is an address of the open internet: none of the special-purpose registries
/// of IANA (RFC 6890 and what came after), none that stands for such a one.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        || matches!(
            ip.octets(),
            // This network; shared (RFC 6598); protocol assignments; 6to4 relays;
            // benchmarks; reserved and broadcast.
            [0, ..]
                | [100, 64..=127, ..]
                | [192, 0, 0, _]
                | [192, 88, 99, _]
                | [198, 18..=19, ..]
                | [240..=255, ..]
        );
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let four = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match ip.segments() {
        // NAT64 and 6to4 lead to the IPv4 address within.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => four(high, low),
        // Protocol assignments with Teredo; documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // Global unicast is 2000::/3 and nothing else, IPv4-mapped addresses are not.
        [first, ..] => (0x2000..=0x3fff).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(rules: &[&str]) -> AllowList {
        AllowList(rules.iter().map(|rule| rule.parse().unwrap()).collect())
    }

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn only_what_is_named_is_permitted() {
        let rules =
            ["hooks.example", "*.corp.example:8443", "10.0.0.5", "http://127.0.0.1:8080", "[fd00::1]:444"];
        let list = list(&rules);
        for good in [
            "https://hooks.example/a?b=c",
            "https://HOOKS.example.:443/",
            "https://a.corp.example:8443/",
            "https://a.b.corp.example:8443/",
            "https://10.0.0.5/x",
            "https://0x0a.0.5/x",
            "http://127.0.0.1:8080/",
            "https://[fd00::1]:444/",
        ] {
            assert!(list.permits(&address(good)), "{good}");
        }
        for bad in [
            "https://hooks.example:8443/",
            "http://hooks.example/",
            "https://hooks.example.evil/",
            "https://evil-hooks.example/",
            "https://a.hooks.example/",
            "https://corp.example:8443/",
            "https://evilcorp.example:8443/",
            "https://a.corp.example/",
            "http://127.0.0.1:8081/",
            "https://127.0.0.1:8080/",
            "http://localhost:8080/",
            "https://10.0.0.6/",
        ] {
            assert!(!list.permits(&address(bad)), "{bad}");
        }
        assert!(!AllowList::default().permits(&address("https://hooks.example/")));
    }

    #[test]
    fn rules_and_addresses_that_mean_nothing_or_too_much_are_refused() {
        for bad in [
            "",
            "*",
            "*.",
            "http://hooks.example",
            "http://10.0.0.5",
            "ftp://x",
            "a/b",
            "u@h",
            "*.10.0.0.5",
            "a:99999",
            "a.*.b",
        ] {
            assert!(bad.parse::<Allowed>().is_err(), "{bad}");
        }
        for bad in [
            "",
            "hooks",
            "ftp://h/",
            "https://",
            "https://u:p@h/",
            "https://h/#x",
            "file:///etc/passwd",
            "https://./",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
        let shown = |rule: &str| rule.parse::<Allowed>().unwrap().to_string();
        assert_eq!(shown("*.Corp.example"), "*.corp.example:443");
        assert_eq!(shown("http://[::1]:9"), "http://[::1]:9");
    }

    #[test]
    fn closed_networks_are_reached_only_where_they_are_named() {
        let closed = [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::7f00:1",
            "2002:a00:1::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "fec0::1",
        ];
        let none = list(&["hooks.example"]);
        for ip in closed {
            let ip: IpAddr = ip.parse().unwrap();
            assert!(!none.permits_ip(ip), "{ip}");
            assert!(
                AllowList(vec![Allowed { plain: false, host: Pattern::Ip(ip), port: 443 }]).permits_ip(ip)
            );
        }
        for open in ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "64:ff9b::808:808"] {
            assert!(none.permits_ip(open.parse().unwrap()), "{open}");
        }
    }
}
