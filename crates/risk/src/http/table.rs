//! What is known of methods, addresses, paths and services, from `data/http.toml`.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::OnceLock;

use ipnet::IpNet;
use serde::Deserialize;

use crate::model::EffectKind;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    pub methods: Methods,
    pub addresses: Addresses,
    pub headers: Headers,
    pub parameters: Parameters,
    pub words: Words,
    /// Paths behind which a service keeps secrets: names, `*` for one.
    pub secret_path: Vec<String>,
    /// The same of paths that answer with the names of secrets only.
    pub names_path: Vec<String>,
    /// The same of paths at whose end even a question sets something off.
    pub order_path: Vec<String>,
    /// The same of what is only closed or left by a deletion.
    pub passing_path: Vec<String>,
    pub procedures: Procedures,
    pub service: Vec<Service>,
    pub api: Vec<Api>,
}

#[derive(Default, Deserialize)]
pub struct Methods {
    pub read: HashSet<String>,
    pub delete: HashSet<String>,
    pub override_headers: HashSet<String>,
    pub override_parameters: HashSet<String>,
}

#[derive(Default, Deserialize)]
pub struct Addresses {
    pub metadata_hosts: HashSet<String>,
    pub metadata_networks: Vec<IpNet>,
    pub private_networks: Vec<IpNet>,
    pub loopback_networks: Vec<IpNet>,
    pub loopback_hosts: HashSet<String>,
    pub mirrors: Vec<String>,
    pub drops: Vec<String>,
    pub docs: HashSet<String>,
    pub production: HashSet<String>,
}

#[derive(Default, Deserialize)]
pub struct Headers {
    pub credentials: HashSet<String>,
    pub metadata: HashSet<String>,
    pub paths: HashSet<String>,
    pub origins: HashSet<String>,
}

#[derive(Default, Deserialize)]
pub struct Parameters {
    pub secret: HashSet<String>,
    pub secret_body: HashSet<String>,
    pub action: HashSet<String>,
    pub object: HashSet<String>,
    pub rights: HashSet<String>,
    pub dry: HashSet<String>,
}

/// Names of remote procedures.
#[derive(Default, Deserialize)]
pub struct Procedures {
    /// First words of those that only ask.
    pub asks: HashSet<String>,
    /// Those that answer with secrets all the same.
    pub secrets: HashSet<String>,
}

#[derive(Default, Deserialize)]
pub struct Words {
    pub destroy: HashSet<String>,
    pub orders: HashSet<String>,
    pub spend: HashSet<String>,
    pub publish: HashSet<String>,
    pub rights: HashSet<String>,
    pub persist: HashSet<String>,
    pub deploy: HashSet<String>,
    pub asks: HashSet<String>,
    pub secrets: HashSet<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub ports: Vec<u16>,
    pub kind: EffectKind,
    pub why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    hosts: Vec<String>,
    methods: Vec<String>,
    path: String,
    pub kind: EffectKind,
    pub why: String,
}

impl Table {
    pub fn get() -> &'static Self {
        static TABLE: OnceLock<Table> = OnceLock::new();
        TABLE.get_or_init(|| Self::parse().unwrap_or_default())
    }

    /// The shipped table; a test proves that it parses.
    pub fn parse() -> Result<Self, toml::de::Error> {
        toml::from_str(include_str!("../../data/http.toml"))
    }

    /// The known interface that a call goes to.
    pub fn api(&self, host: &str, method: &str, path: &[String]) -> Option<&Api> {
        self.api.iter().find(|api| {
            api.hosts.iter().any(|known| under(host, known))
                && api.methods.iter().any(|known| known == method)
                && fits(&api.path, path)
        })
    }

    pub fn service(&self, port: u16) -> Option<&Service> {
        self.service.iter().find(|service| service.ports.contains(&port))
    }
}

/// Whether a host is a domain or lies under it.
pub fn under(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|head| head.is_empty() || head.ends_with('.'))
}

pub fn within(networks: &[IpNet], address: &IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

/// Whether one of the patterns fits names of a path that follow one another.
pub fn lies_within(patterns: &[String], names: &[String]) -> bool {
    let fits = |(part, name): (&&str, &String)| *part == "*" || *part == name;
    patterns.iter().any(|pattern| {
        let parts: Vec<&str> = pattern.split('/').collect();
        names.windows(parts.len()).any(|window| parts.iter().zip(window).all(fits))
    })
}

/// Whether one of the patterns fits the last names of a path.
pub fn ends_in(patterns: &[String], names: &[String]) -> bool {
    patterns.iter().any(|pattern| {
        let count = pattern.split('/').count();
        names
            .len()
            .checked_sub(count)
            .and_then(|from| names.get(from..))
            .is_some_and(|tail| fits(pattern, tail))
    })
}

fn fits(pattern: &str, path: &[String]) -> bool {
    let mut names = path.iter();
    for part in pattern.split('/') {
        match (part, names.next()) {
            ("**", _) => return true,
            ("*", Some(_)) => {}
            (part, Some(name)) if part == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

/// A name of a path as the tables write it: small letters, `_` for `-`.
pub fn word(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

/// The first word of `deleteUser`, `delete_user`, `DeleteUser`, `delete-user`.
pub fn verb(name: &str) -> String {
    let mut verb = String::new();
    for letter in name.chars().take(64) {
        let ends =
            !letter.is_alphanumeric() || (letter.is_uppercase() && verb.chars().any(char::is_alphabetic));
        if ends && !verb.is_empty() && !(letter.is_uppercase() && name.chars().all(|c| !c.is_lowercase())) {
            break;
        }
        if letter.is_alphanumeric() {
            verb.extend(letter.to_lowercase());
        }
    }
    verb
}
