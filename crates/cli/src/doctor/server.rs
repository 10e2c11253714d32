//! Checks of the server at `--address`: each stands on the one before.

use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::api::operations::v1::{ListKeysRequest, ListProjectsRequest};
use quarterdeck_client::{Client, Error, Health};

use super::finding::Finding;
use crate::connect::{Address, Globals, Listener, probe};
use crate::failure::Failure;

/// All checks of the server.
pub async fn server(globals: &Globals) -> Vec<Finding> {
    const SKIPPED: &[&str] = &["protocol", "live", "ready", "credential", "role"];
    let mut findings = Vec::new();
    let Some(address) = Address::parse(&globals.address) else {
        let words = format!("{} is no address", globals.address);
        findings.push(Finding::fail("address", words, "write it as http://host:port or https://host:port"));
        return skip(findings, SKIPPED);
    };
    let (reached, protocol) = connection(globals, &address, probe(&address).await);
    findings.push(reached);
    match protocol {
        Some(finding) if finding.fix.is_empty() => findings.push(finding),
        other => {
            findings.extend(other);
            let done = findings.len() - 1;
            return skip(findings, &SKIPPED[done..]);
        }
    }
    let client = match connect(globals).await {
        Ok(client) => client,
        Err(failure) => {
            findings.push(Finding::fail("live", failure.what, failure.fix.join("; or ")));
            return skip(findings, &SKIPPED[2..]);
        }
    };
    for role in ["live", "ready"] {
        findings.push(health(&client, role).await);
    }
    match globals.credential() {
        Ok(Some(_)) => findings.extend(credential(&client).await),
        Ok(None) => {
            let fix = "export QUARTERDECK_API_KEY=<key>; `quarterdeck dev` prints one";
            findings.push(Finding::warn("credential", "none was given", fix));
            findings = skip(findings, &["role"]);
        }
        Err(failure) => {
            findings.push(Finding::fail("credential", failure.what, failure.fix.join("; or ")));
            findings = skip(findings, &["role"]);
        }
    }
    findings
}

fn skip(mut findings: Vec<Finding>, checks: &[&'static str]) -> Vec<Finding> {
    findings.extend(checks.iter().map(|check| Finding::skipped(check, "because of the above")));
    findings
}

/// Whether somebody answers, and whether it speaks as the address says.
fn connection(globals: &Globals, address: &Address, heard: Listener) -> (Finding, Option<Finding>) {
    const CHECK: &str = "protocol";
    let reached = Finding::ok("address", format!("{} answers", address.authority()));
    let other = |scheme: &str| format!("--address {scheme}://{}", address.authority());
    match heard {
        Listener::Nobody(words) => {
            let fix = "start a server (`quarterdeck dev`), or name another one with --address";
            (Finding::fail("address", format!("nobody answers at {}: {words}", globals.address), fix), None)
        }
        Listener::Plain if address.tls => (
            reached,
            Some(Finding::fail(CHECK, "the server speaks plaintext, the address says https", other("http"))),
        ),
        Listener::Tls if !address.tls => {
            let fix = format!("{} --ca-file <certificate of its authority>", other("https"));
            (reached, Some(Finding::fail(CHECK, "the server speaks TLS, the address says http", fix)))
        }
        Listener::Stranger => {
            let fix = "name the gRPC port (7443 unless told otherwise)";
            (reached, Some(Finding::fail(CHECK, "what answers there does not speak gRPC", fix)))
        }
        Listener::Plain => (reached, Some(Finding::ok(CHECK, "HTTP/2 without TLS"))),
        Listener::Tls | Listener::Silent if address.tls => (reached, Some(Finding::ok(CHECK, "TLS"))),
        Listener::Tls | Listener::Silent => {
            let fix = "look at the server's log; is it busy, or another program?";
            (reached, Some(Finding::fail(CHECK, "it accepts connections and says nothing", fix)))
        }
    }
}

async fn connect(globals: &Globals) -> Result<Client, Failure> {
    Ok(globals.client().await?.without_retries())
}

async fn health(client: &Client, role: &'static str) -> Finding {
    match client.health(role).await {
        Ok(Health::Serving) => Finding::ok(role, "serving"),
        Ok(_) => Finding::fail(role, "not serving", "look at the server's log and its database"),
        Err(error) => Finding::fail(role, error.to_string(), "is it a Quarterdeck server?"),
    }
}

/// What the credential is good for, by what it is refused.
async fn credential(client: &Client) -> Vec<Finding> {
    const CHECK: &str = "credential";
    let projects = client.list_projects_page(ListProjectsRequest::default()).await;
    let agent_only = match &projects {
        Err(error) if error.is(Reason::RoleMissing) => true,
        Err(error) => {
            let fix = Failure::from(error.clone()).fix.join("; or ");
            return skip(vec![Finding::fail(CHECK, error.to_string(), fix)], &["role"]);
        }
        Ok(_) => false,
    };
    let valid = Finding::ok(CHECK, "valid");
    if agent_only {
        return vec![valid, Finding::ok("role", "agent only: works on steps, and may not look at tasks")];
    }
    let names: Vec<String> = projects
        .map(|page| page.projects.into_iter().map(|project| project.name).collect())
        .unwrap_or_default();
    let covers = if names.is_empty() { "no project".to_owned() } else { names.join(", ") };
    let admin: Result<_, Error> = client.list_keys_page(ListKeysRequest::default()).await;
    let role = match admin {
        Ok(_) => Finding::ok("role", format!("admin of {covers}")),
        Err(error) if error.is(Reason::RoleMissing) => {
            Finding::ok("role", format!("no admin; covers {covers}"))
        }
        Err(error) => Finding::warn("role", error.to_string(), "try again"),
    };
    vec![valid, role]
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use crate::output::Format;

    fn globals(address: &str) -> Globals {
        Globals {
            address: address.to_owned(),
            api_key: None,
            api_key_file: None,
            project: None,
            ca_file: None,
            allow_plaintext: false,
            format: Format::Table,
        }
    }

    #[test]
    fn a_mismatch_of_tls_and_plaintext_is_told_with_the_right_address() {
        for (url, heard, fix) in [
            ("https://h:1", Listener::Plain, "--address http://h:1"),
            ("http://h:1", Listener::Tls, "--address https://h:1 --ca-file"),
        ] {
            let address = Address::parse(url).unwrap();
            let (reached, protocol) = connection(&globals(url), &address, heard);
            let protocol = protocol.unwrap();
            assert_eq!((reached.state, protocol.state), (State::Ok, State::Fail));
            assert!(protocol.fix.starts_with(fix), "{}", protocol.fix);
        }
    }

    #[test]
    fn a_fitting_listener_is_fine_and_a_silent_one_is_not() {
        let state = |url: &str, heard| {
            let address = Address::parse(url).unwrap();
            connection(&globals(url), &address, heard).1.map(|finding| finding.state)
        };
        assert_eq!(state("http://h:1", Listener::Plain), Some(State::Ok));
        assert_eq!(state("https://h:1", Listener::Tls), Some(State::Ok));
        assert_eq!(state("http://h:1", Listener::Silent), Some(State::Fail));
        assert_eq!(state("http://h:1", Listener::Stranger), Some(State::Fail));
        assert_eq!(state("http://h:1", Listener::Nobody(String::new())), None);
    }

    #[tokio::test]
    async fn checks_that_cannot_be_made_are_said_to_be_skipped() {
        let findings = server(&globals("no address")).await;
        assert_eq!(findings.len(), 6);
        assert_eq!(findings[0].state, State::Fail);
        assert!(findings[1..].iter().all(|finding| finding.state == State::Skipped));
        // Port 1 of the loopback: nobody is there.
        let findings = server(&globals("http://127.0.0.1:1")).await;
        assert_eq!(findings.len(), 6, "{findings:?}");
        assert_eq!(findings[0].state, State::Fail);
    }
}
