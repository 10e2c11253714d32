//! What `serve`, `dev` and `demo` share at their start and end.

use quarterdeck_server::StartError;

use crate::failure::{Exit, Failure};

/// A server that did not start, for people.
pub fn start_failure(error: StartError) -> Failure {
    match error {
        StartError::PortTaken { address } => {
            Failure::new(Exit::Unavailable, format!("port {} is taken by another program", address.port()))
                .at(address.to_string())
                .fix(format!("find and stop it: ss -ltnp 'sport = :{}'", address.port()))
                .fix("use another port: --listen 127.0.0.1:0 takes a free one (--metrics-listen likewise)")
        }
        StartError::Store { problem, mend } => {
            Failure::new(Exit::Unavailable, problem).at("the database").fix(mend)
        }
        StartError::Config(error) => {
            let (place, fix) = match error.setting {
                "engine" => {
                    ("--session-lease, --renew-every", "--session-lease 15s --renew-every 5s".to_owned())
                }
                "credentials" => ("--bootstrap-secret-file", error.mend),
                "metrics address" => ("--metrics-listen", format!("{} (--metrics-public)", error.mend)),
                other => (other, error.mend),
            };
            Failure::usage(error.problem).at(place).fix(fix)
        }
        error @ (StartError::CannotListen { .. } | StartError::Engine(_)) => {
            from_words(Exit::Unavailable, &error.to_string())
        }
        error @ StartError::Contract(_) => from_words(Exit::Refused, &error.to_string()),
        error => from_words(Exit::Usage, &error.to_string()),
    }
}

/// Errors of the server say what and where in their first sentence, and how to mend it after.
fn from_words(exit: Exit, words: &str) -> Failure {
    match words.split_once(". ") {
        Some((what, fix)) => Failure::new(exit, what).fix(fix),
        None => Failure::new(exit, words),
    }
}

/// Ready when the process is asked to stop: Ctrl-C, or SIGTERM from whoever runs it.
pub async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                biased;
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    // Without a way to hear the signal there is nothing but waiting for ever.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_itself_and_a_way_out() {
        let failure = start_failure(StartError::PortTaken { address: ([127, 0, 0, 1], 7443).into() });
        let text = failure.render(false);
        assert!(text.contains("port 7443 is taken") && text.contains("--listen 127.0.0.1:0"), "{text}");
        assert_eq!(failure.exit, Exit::Unavailable);
    }

    #[test]
    fn words_of_the_server_are_split_into_what_and_fix() {
        let failure = from_words(Exit::Usage, "the secret in /s is weak. Make one with `openssl`.");
        assert_eq!(failure.what, "the secret in /s is weak");
        assert_eq!(failure.fix, vec!["Make one with `openssl`."]);
    }
}
