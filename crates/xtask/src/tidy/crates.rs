//! Who may depend on whom. The directions are what keeps the layers apart, so
//! they are written down once, here, and a new edge is a decision.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

const PREFIX: &str = "quarterdeck-";

/// A crate and the crates of ours that it may name.
const EDGES: [(&str, &[&str]); 15] = [
    ("api", &[]),
    ("core", &[]),
    ("risk", &["core"]),
    ("store", &["core"]),
    ("engine", &["core", "risk", "store"]),
    ("adapters", &["core", "store", "engine"]),
    ("sim", &["core", "risk", "store", "engine"]),
    ("server", &["api", "core", "risk", "store", "engine", "adapters"]),
    ("client", &["api"]),
    // It puts the parts together, and opens the store for `migrate` and `doctor`. It
    // speaks through the client, so it never names the contract.
    ("cli", &["client", "server", "adapters", "engine", "store", "risk", "core"]),
    // It measures the layers one by one, and puts servers together as `cli` does.
    ("bench", &["api", "client", "server", "adapters", "engine", "risk", "store", "core", "harness"]),
    ("tests", &["api", "client", "harness"]),
    // It judges real servers by the simulator's checkers, from the log in the database.
    ("chaos", &["client", "harness", "sim", "store", "core"]),
    ("harness", &[]),
    ("xtask", &["api"]),
];

/// Crates of ours whose own tests may also use the harness.
const TESTED_WITH_SERVERS: [&str; 5] = ["store", "adapters", "server", "client", "cli"];

/// A library and the only crates of ours that may name it.
const RESERVED: [(&str, &[&str]); 3] =
    [("sqlx", &["store"]), ("redis", &["adapters"]), ("cedar-policy", &["risk"])];

/// A library, the crates that must do without it (tests apart), and why.
const FORBIDDEN: [(&str, &[&str], &str); 6] = [
    ("tokio", &["core"], "the rules know no effects"),
    ("async-trait", &["core"], "the rules know no effects"),
    ("rand", &["core", "store"], "randomness is an argument"),
    ("tonic", &["core", "store", "engine", "adapters"], "only the edge knows the contract"),
    ("prost", &["core", "store", "engine", "adapters"], "only the edge knows the contract"),
    (
        "anyhow",
        &["api", "core", "store", "engine", "adapters", "server", "client"],
        "libraries have typed errors",
    ),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `dev`, `build`, or nothing.
    kind: Option<String>,
}

pub fn check(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root)
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("`cargo metadata` failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    Ok(metadata.packages.iter().flat_map(findings).collect())
}

fn findings(package: &Package) -> Vec<String> {
    let Some(name) = package.name.strip_prefix(PREFIX) else {
        return vec![format!("package {}: its name does not begin with {PREFIX}", package.name)];
    };
    let Some((_, allowed)) = EDGES.iter().find(|(known, _)| *known == name) else {
        return vec![format!("package {}: add it to EDGES in crates/xtask/src/tidy/crates.rs", package.name)];
    };
    package.dependencies.iter().filter_map(|dependency| refused(name, allowed, dependency)).collect()
}

fn refused(name: &str, allowed: &[&str], dependency: &Dependency) -> Option<String> {
    let for_tests = dependency.kind.as_deref() == Some("dev");
    let other = dependency.name.as_str();
    let why = if let Some(ours) = other.strip_prefix(PREFIX) {
        let harness = for_tests && ours == "harness" && TESTED_WITH_SERVERS.contains(&name);
        // A crate may name itself to turn a feature on for its tests.
        let itself = for_tests && ours == name;
        (!harness && !itself && !allowed.contains(&ours)).then(|| format!("it may name {allowed:?}"))
    } else if let Some((_, owners)) = RESERVED.iter().find(|(library, _)| *library == other) {
        (!owners.contains(&name)).then(|| format!("only {owners:?} may"))
    } else {
        let rule = FORBIDDEN.iter().find(|(library, _, _)| *library == other);
        rule.filter(|(_, without, _)| !for_tests && without.contains(&name))
            .map(|(_, _, why)| (*why).to_owned())
    };
    why.map(|why| format!("{PREFIX}{name} must not depend on {other}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depends(name: &str, other: &str, kind: Option<&str>) -> usize {
        let dependency = Dependency { name: other.to_owned(), kind: kind.map(str::to_owned) };
        findings(&Package { name: name.to_owned(), dependencies: vec![dependency] }).len()
    }

    #[test]
    fn the_layers_stay_apart() {
        let cases = [
            ("quarterdeck-engine", "quarterdeck-store", None, 0),
            ("quarterdeck-store", "quarterdeck-engine", None, 1),
            ("quarterdeck-store", "quarterdeck-engine", Some("dev"), 1),
            ("quarterdeck-cli", "quarterdeck-api", None, 1),
            ("quarterdeck-store", "sqlx", None, 0),
            ("quarterdeck-tests", "sqlx", Some("dev"), 1),
            ("quarterdeck-engine", "redis", None, 1),
            ("quarterdeck-core", "tokio", None, 1),
            ("quarterdeck-core", "tokio", Some("dev"), 0),
            ("quarterdeck-store", "quarterdeck-harness", Some("dev"), 0),
            ("quarterdeck-store", "quarterdeck-harness", None, 1),
            ("quarterdeck-new", "serde", None, 1),
            ("other", "serde", None, 1),
        ];
        for (name, other, kind, expected) in cases {
            assert_eq!(depends(name, other, kind), expected, "{name} -> {other} {kind:?}");
        }
    }
}
