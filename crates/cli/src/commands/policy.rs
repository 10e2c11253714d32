//! `quarterdeck policy ..`: works on files, without a server; what asks one is in
//! `policy_server`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use quarterdeck_risk::model::Verdict;
use quarterdeck_risk::policy::{
    DEFAULT, Effect, Example, FILE_MAX, Judgement, Named as _, Policy, PolicyError, Problem, SCHEMA, Summary,
};
use serde_json::{Value, json};

use super::policy_server;
use crate::connect::{Globals, unreadable};
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// Letters of an example's action that the table shows.
const SHOWN: usize = 80;

/// The commands of this group.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Load a policy file: say what is wrong with it, or list its policies and examples.
    ///
    /// A file loads only if every example in it holds.
    Check {
        /// The policy file; `-` is standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print the shipped policy, as a file to begin with.
    ShowDefault,
    /// Print every name that a policy can use.
    ShowSchema,
    #[command(flatten)]
    Server(policy_server::Command),
}

/// Runs a command of this group.
pub async fn run(command: &Command, globals: &Globals) -> Result<ExitCode, Failure> {
    match command {
        Command::Server(command) => return policy_server::run(command, globals).await,
        Command::Check { file } => check(file, globals.format)?,
        Command::ShowDefault => output::emit(DEFAULT.trim_end())?,
        Command::ShowSchema => output::emit(SCHEMA.trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads and compiles a policy file.
pub fn load(path: &Path) -> Result<Policy, Failure> {
    let unreadable = |error| unreadable(path, "the policy file", &error);
    let input: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(std::io::stdin()),
        false => Box::new(File::open(path).map_err(unreadable)?),
    };
    let mut bytes = Vec::new();
    // One byte too many is enough to be told that it is too long.
    input.take(FILE_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::usage("the policy file is no UTF-8 text")
            .at(path.display().to_string())
            .fix("save it as UTF-8")
    })?;
    Policy::compile(&text).map_err(|error| wrong(path, &error))
}

fn check(path: &Path, format: Format) -> Result<(), Failure> {
    let policy = load(path)?;
    let judged: Vec<(&Example, Judgement)> =
        policy.examples().iter().map(|example| (example, policy.judge(&example.facts))).collect();
    let digest = hex(policy.digest());
    if format == Format::Json {
        let policies: Vec<Summary<'_>> = policy.summaries().collect();
        let examples: Vec<Value> =
            judged.iter().map(|(example, judged)| of_example(example, judged)).collect();
        return output::json(&json!({ "digest": digest, "policies": policies, "examples": examples }));
    }
    let rows: Vec<Vec<String>> = policy.summaries().map(|policy| row(&policy)).collect();
    let (policies, examples) = (rows.len(), judged.len());
    output::emit(&output::table(&["LINE", "POLICY", "EFFECT", "ACTIONS", "ASKS FOR"], rows))?;
    if !judged.is_empty() {
        let rows = judged.iter().map(|(example, judged)| example_row(example, judged)).collect();
        output::emit("")?;
        output::emit(&output::table(&["LINE", "VERDICT", "DECIDED BY", "WHERE", "ACTION"], rows))?;
    }
    output::say(&format!(
        "{}: {policies} policies, {examples} examples hold, SHA-256 {digest}",
        path.display()
    ));
    Ok(())
}

/// What is wrong with a file, as file:line and fix.
fn wrong(path: &Path, error: &PolicyError) -> Failure {
    let place = |problem: &Problem| match problem.line {
        0 => path.display().to_string(),
        line => format!("{}:{line}", path.display()),
    };
    if let [one] = error.problems.as_slice() {
        return Failure::usage(one.fault.to_string()).at(place(one)).fix(one.fault.fix());
    }
    let what = format!("the policy file is wrong in {} places", error.problems.len());
    error.problems.iter().fold(Failure::new(Exit::Usage, what), |failure, problem| {
        failure
            .detail(format!("{}: {}", place(problem), problem.fault))
            .detail(format!("  fix: {}", problem.fault.fix()))
    })
}

fn row(policy: &Summary<'_>) -> Vec<String> {
    let effect = match policy.effect {
        Effect::Permit => "permit",
        Effect::Forbid => "forbid",
    };
    let steps: Vec<&str> = policy.steps.iter().map(|step| step.name()).collect();
    vec![policy.line.to_string(), policy.id.to_owned(), effect.to_owned(), steps.join(", "), asks(policy)]
}

fn asks(policy: &Summary<'_>) -> String {
    let asked = policy.obligations;
    let counted = |count: u32, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let mut words = Vec::new();
    words.extend(policy.level.map(|level| format!("at least {}", level.name())));
    words.extend(asked.approvals.map(|count| counted(count, "approval")));
    words.extend(asked.roles.iter().map(|roles| {
        let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
        format!("of {}", roles.join(" or "))
    }));
    words.extend(asked.deny_threshold.map(|count| format!("ends with {}", counted(count, "denial"))));
    words.extend(asked.pending.map(|seconds| format!("waits {}", span(seconds))));
    words.extend(asked.grant.map(|seconds| format!("counts {}", span(seconds))));
    words.extend((!asked.escalation.is_empty()).then(|| format!("{} levels", asked.escalation.len())));
    words.join(", ")
}

/// As policies write it: `90s`, `10m`, `8h`.
fn span(seconds: u64) -> String {
    let units = [(3600, 'h'), (60, 'm')];
    match units.iter().find(|(unit, _)| seconds.is_multiple_of(*unit)) {
        Some((unit, letter)) => format!("{}{letter}", seconds / unit),
        None => format!("{seconds}s"),
    }
}

fn verdict(judged: &Judgement) -> String {
    match judged.verdict {
        Verdict::Auto => "auto".to_owned(),
        Verdict::Ask => format!("ask {}", judged.terms.approvals),
        Verdict::Deny => "deny".to_owned(),
    }
}

fn deciders(judged: &Judgement) -> Vec<&str> {
    judged.reasons.iter().map(|reason| reason.policy.as_str()).filter(|id| !id.is_empty()).collect()
}

fn example_row(example: &Example, judged: &Judgement) -> Vec<String> {
    let line: String = example.text.lines().next().unwrap_or_default().chars().take(SHOWN).collect();
    let more = if line == example.text { "" } else { " .." };
    let text = format!("{}: {}{more}", example.kind, seen(&line));
    let circumstances = example.circumstances.clone();
    vec![example.line.to_string(), verdict(judged), deciders(judged).join(", "), circumstances, text]
}

/// Letters that hide, or turn others around, as what they are.
fn seen(text: &str) -> String {
    let plain = |letter: char| matches!(letter, '\\' | '"' | '\'');
    let letters = text.chars().map(|letter| match plain(letter) {
        true => letter.to_string(),
        false => letter.escape_debug().to_string(),
    });
    letters.collect()
}

fn of_example(example: &Example, judged: &Judgement) -> Value {
    json!({
        "line": example.line,
        "circumstances": example.circumstances,
        "kind": example.kind,
        "text": example.text,
        "verdict": judged.verdict,
        "level": judged.level,
        "terms": judged.terms,
        "reasons": judged.reasons,
    })
}

fn hex(digest: [u8; 32]) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slip_is_told_with_its_place_and_its_fix() {
        let error = Policy::compile("\n@id(\"a\") @aprovers(\"2\") forbid(principal, action, resource);")
            .expect_err("a fault");
        let text = wrong(Path::new("team.cedar"), &error).render(false);
        for part in ["there is no annotation `@aprovers`", "where: team.cedar:2", "fix:   known are @id"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn several_slips_are_told_at_once() {
        let error =
            Policy::compile("forbid(principal, action, resource);\nforbid(principal, action, resource);")
                .expect_err("faults");
        let text = wrong(Path::new("team.cedar"), &error).render(false);
        for part in
            ["wrong in 2 places", "team.cedar:1: this policy has no name", "team.cedar:2: ", "fix: write @id"]
        {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn letters_that_hide_are_shown() {
        assert_eq!(seen("a\\b \"c\" é"), "a\\b \"c\" é");
        assert_eq!(seen("\u{202e}\u{1b}[31m"), "\\u{202e}\\u{1b}[31m");
    }

    #[test]
    fn times_are_written_as_in_policies() {
        let written: Vec<String> = [90, 600, 5400, 28_800, 86_400].map(span).to_vec();
        assert_eq!(written, ["90s", "10m", "90m", "8h", "24h"]);
    }

    #[test]
    fn a_file_that_is_not_there_is_wrong_usage() {
        let failure = load(Path::new("/nowhere/team.cedar")).expect_err("a failure");
        assert_eq!(failure.exit, Exit::Usage);
    }
}
