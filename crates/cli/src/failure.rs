//! What a person reads when something did not work: what, where, how to fix it.
//!
//! Invariant: every failure has an exit code of its kind; codes are part of the
//! command line's contract and stand in `--help`.

use std::fmt::Write as _;
use std::process::ExitCode;

use quarterdeck_client::api::errors::v1::Reason as Known;
use quarterdeck_client::{Code, Error, FieldViolation, Origin};

/// The kinds of failure, as exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Refused by the server, or done and found wanting.
    Refused = 1,
    /// The command line or a file named on it is wrong.
    Usage = 2,
    /// A server, database or port cannot be had now.
    Unavailable = 3,
}

/// A failure for people.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What went wrong, in one sentence.
    pub what: String,
    /// Address, file or flag that it is about.
    pub place: Option<String>,
    /// More lines, such as each broken field.
    pub details: Vec<String>,
    /// What to do about it, most likely first.
    pub fix: Vec<String>,
    /// Its kind.
    pub exit: Exit,
    /// Whose word it is.
    pub word: Origin,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            place: None,
            details: Vec::new(),
            fix: Vec::new(),
            exit,
            word: Origin::Client,
        }
    }

    /// Wrong usage.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// With the place it is about, unless one is known already.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place.get_or_insert(place.into());
        self
    }

    /// With a way to fix it.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix.push(fix.into());
        self
    }

    /// With one more line.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.details.push(detail.into());
        self
    }

    /// The process's exit code.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(self.exit as u8)
    }

    /// As it is written to standard error.
    pub fn render(&self, colour: bool) -> String {
        let paint = |code: &str, text: &str| {
            if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
        };
        let mut text = format!("{} {}\n", paint("1;31", "error:"), self.what);
        for detail in &self.details {
            let _ = writeln!(text, "         {detail}");
        }
        if let Some(place) = &self.place {
            let _ = writeln!(text, "  {} {place}", paint("2", "where:"));
        }
        let mut label = "fix:";
        for fix in &self.fix {
            let _ = writeln!(text, "  {}{} {fix}", paint("1;32", label), " ".repeat(6 - label.len()));
            label = "or:";
        }
        text
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let reason = error.reason_name().to_owned();
        let exit = match (error.origin, error.code) {
            (Origin::Transport, _) | (_, Code::Unavailable | Code::DeadlineExceeded) => Exit::Unavailable,
            (Origin::Client, Code::InvalidArgument) => Exit::Usage,
            _ => Exit::Refused,
        };
        let words = if error.message.is_empty() { error.code.to_string() } else { error.message.clone() };
        let what = if reason.is_empty() { words } else { format!("{words} ({reason})") };
        let mut failure = Self::new(exit, what);
        failure.word = error.origin;
        // One broken field is often the whole message already.
        let news = |violation: &&FieldViolation| !error.message.starts_with(&violation.field);
        for violation in error.fields.iter().filter(news) {
            failure.details.push(format!("{}: {}", violation.field, violation.description));
        }
        failure.fix.extend(advice(&error).map(str::to_owned));
        if let Some(wait) = error.retry_after {
            failure.fix.push(format!("try again in {}", crate::clock::span(wait)));
        }
        if !reason.is_empty() {
            failure.fix.push(format!("read docs/errors/{reason}.md"));
        }
        failure
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Refused, error.to_string())
    }
}

/// What most often helps against a reason.
fn advice(error: &Error) -> Option<&'static str> {
    let known = match &error.reason {
        quarterdeck_client::Reason::Known(known) => *known,
        _ => return None,
    };
    Some(match known {
        Known::CredentialMissing => {
            "export QUARTERDECK_API_KEY=<key>; `quarterdeck dev` prints one, `quarterdeck key create` makes one"
        }
        Known::CredentialInvalid => {
            "check QUARTERDECK_API_KEY; a key of `quarterdeck dev` is good for that server's data only"
        }
        Known::CredentialExpired | Known::CredentialRevoked => {
            "ask an administrator for a new key: quarterdeck key create --name <name> --role user"
        }
        Known::RoleMissing => "use a key that has one of the roles named above",
        Known::ProjectNotCovered | Known::ProjectNotFound => {
            "name a project of this credential with --project; `quarterdeck project list` shows them"
        }
        Known::TaskNotFound => "`quarterdeck task list` shows the tasks of a project",
        Known::SessionNotFound => "`quarterdeck agent list` shows the agents of a project",
        Known::KeyNotFound => "`quarterdeck key list` shows the keys",
        Known::TaskEnded => "`quarterdeck task retry <id>` makes a new task of a failed or cancelled one",
        Known::TaskNotRetryable => "create a new one: quarterdeck task create <PLANFILE>",
        Known::ApprovalNotFound => "`quarterdeck approvals list` shows the approvals of a project",
        Known::ApprovalEnded => "`quarterdeck approvals show <id>` says how it ended",
        Known::ApprovalPending => "wait for people: quarterdeck approvals watch",
        Known::DigestMismatch => {
            "the action is another one by now; look again: quarterdeck approvals show <id>"
        }
        Known::NotEligible => {
            "`quarterdeck approvals show <id>` says who asked and who may decide; those who asked never may"
        }
        Known::AlreadyDecided => {
            "a word once given stays; `quarterdeck approvals revoke <id>` takes a yes back"
        }
        Known::PolicyInvalid => "`quarterdeck policy check <FILE>` says where, without a server",
        Known::GrantNotFound => "`quarterdeck grants list` shows the standing grants of a project",
        Known::GrantNotPossible => {
            "some things are always asked; approve this one: quarterdeck approvals approve <id>"
        }
        Known::RevisionMismatch => "somebody changed it meanwhile; look at it again, and repeat",
        Known::RequestIdReused => "use another --request-id for another request",
        Known::StoreUnavailable => {
            "look at the server's database; `quarterdeck doctor --database-url ..` examines it"
        }
        Known::OutcomeUnknown => "repeat the command with the same --request-id",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_where_and_how_to_fix_it() {
        let failure = Failure::new(Exit::Unavailable, "port 7443 is taken")
            .at("127.0.0.1:7443")
            .fix("stop the other program")
            .fix("choose another port with --listen");
        assert_eq!(
            failure.render(false),
            "error: port 7443 is taken\n  where: 127.0.0.1:7443\n  fix:   stop the other program\n  or:    choose another port with --listen\n"
        );
        assert!(failure.render(true).contains("\u{1b}[1;31merror:\u{1b}[0m"));
        assert_eq!(failure.code(), ExitCode::from(3));
    }

    #[test]
    fn an_error_of_the_server_names_its_page_and_the_fields() {
        let error = Error {
            code: Code::InvalidArgument,
            reason: quarterdeck_client::Reason::Known(Known::PlanInvalid),
            message: "the plan has a cycle".to_owned(),
            retry_after: None,
            fields: vec![FieldViolation {
                field: "plan.steps[1].after".to_owned(),
                description: "leads back to `a`".to_owned(),
            }],
            origin: Origin::Server,
        };
        let text = Failure::from(error).render(false);
        for part in ["(PLAN_INVALID)", "plan.steps[1].after: leads back", "docs/errors/PLAN_INVALID.md"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn exit_codes_tell_refused_from_unavailable() {
        let with = |code, origin| {
            let reason = quarterdeck_client::Reason::Absent;
            let fields = Vec::new();
            let message = "words".to_owned();
            Failure::from(Error { code, reason, message, retry_after: None, fields, origin }).exit
        };
        assert_eq!(with(Code::NotFound, Origin::Server), Exit::Refused);
        assert_eq!(with(Code::Unavailable, Origin::Server), Exit::Unavailable);
        assert_eq!(with(Code::Unknown, Origin::Transport), Exit::Unavailable);
        assert_eq!(with(Code::InvalidArgument, Origin::Client), Exit::Usage);
    }
}
