//! `quarterdeck policy get|set|explain|simulate`: the policy that a server holds.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use quarterdeck_client::api::approvals::v1::{
    Environment, ExplainPolicyRequest, ExplainPolicyResponse, GetPolicyRequest, Policy,
    SimulatePolicyRequest, SimulatePolicyResponse, UpdatePolicyRequest,
};
use quarterdeck_client::to_json;
use quarterdeck_risk::policy::FILE_MAX;
use quarterdeck_risk::preview::visible;

use crate::approval::hex;
use crate::connect::{Globals, unreadable};
use crate::edit;
use crate::failure::Failure;
use crate::output::{self, Format, lower};

/// The commands of this group that speak with a server.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show what holds in a project.
    Get {
        /// Print just the policy's text, the shipped one where none was set.
        #[arg(long)]
        source: bool,
    },
    /// Change what holds in a project; grants that were given before, and not started, end.
    Set(Set),
    /// Say what the policy makes of an action, and which rules decide.
    Explain(Explain),
    /// Decide past actions again under another policy; nothing is recorded.
    Simulate {
        /// The policy file; `-` is standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Past approvals to look at, newest first.
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(i32).range(1..=100_000))]
        limit: i32,
    },
}

/// Arguments of `policy set`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("change").required(true).multiple(true)))]
#[command(after_help = "Check the file first, without a server: quarterdeck policy check <FILE>")]
pub struct Set {
    /// The policy file; `-` is standard input.
    #[arg(long, value_name = "FILE", group = "change")]
    file: Option<PathBuf>,
    /// Go back to the shipped policy.
    #[arg(long, conflicts_with = "file", group = "change")]
    shipped: bool,
    /// What the project works on.
    #[arg(long, value_enum, value_name = "NAME", group = "change")]
    environment: Option<Declared>,
    /// Directory that counts as the project's.
    #[arg(long, value_name = "PATH", group = "change")]
    directory: Option<String>,
    /// Only where the policy's revision is still this one.
    #[arg(long, value_name = "NUMBER")]
    if_revision: Option<i64>,
    /// Makes repeating the command safe.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,
}

/// What a project works on.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[allow(missing_docs, reason = "the words are the contract's, and explained there")]
pub enum Declared {
    Development,
    Staging,
    Production,
    /// Nobody has said so.
    Undeclared,
}

/// Arguments of `policy explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An action is quarterdeck.approvals.v1.Action as ProtoJSON, such as
  {\"command\": {\"argv\": [\"rm\", \"-rf\", \"build\"]}}")]
pub struct Explain {
    /// A past action, by its approval.
    #[arg(value_name = "APPROVAL", required_unless_present = "action")]
    id: Option<String>,
    /// A new action from a file; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "id")]
    action: Option<PathBuf>,
    /// Ask the policy in this file instead of the one in force.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl From<Declared> for Environment {
    fn from(declared: Declared) -> Self {
        match declared {
            Declared::Development => Self::Development,
            Declared::Staging => Self::Staging,
            Declared::Production => Self::Production,
            Declared::Undeclared => Self::Unspecified,
        }
    }
}

/// Runs a command of this group.
pub async fn run(command: &Command, globals: &Globals) -> Result<ExitCode, Failure> {
    match command {
        Command::Get { source } => {
            let request = GetPolicyRequest { project: globals.project() };
            let policy = globals.client().await?.get_policy(request).await?;
            match source {
                true => output::emit(text(&policy).trim_end())?,
                false => show(&policy, globals.format)?,
            }
        }
        Command::Set(args) => {
            let request = change(args, globals)?;
            let policy = globals.client().await?.update_policy(request).await?;
            show(&policy, globals.format)?;
        }
        Command::Explain(args) => {
            let request = ExplainPolicyRequest {
                project: globals.project(),
                action: args.action.as_deref().map(edit::read).transpose()?,
                approval_id: args.id.clone().unwrap_or_default(),
                source: args.policy.as_deref().map(read).transpose()?.unwrap_or_default(),
            };
            let answer = globals.client().await?.explain_policy(request).await?;
            match globals.format {
                Format::Json => output::json(&to_json(&answer)?)?,
                Format::Table => output::emit(&explained(&answer))?,
            }
        }
        Command::Simulate { file, limit } => {
            let (project, source) = (globals.project(), read(file)?);
            let request = SimulatePolicyRequest { project, source, limit: *limit };
            let answer = globals.client().await?.simulate_policy(request).await?;
            match globals.format {
                Format::Json => output::json(&to_json(&answer)?)?,
                Format::Table => output::emit(&simulated(&answer))?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn change(args: &Set, globals: &Globals) -> Result<UpdatePolicyRequest, Failure> {
    let file = args.file.as_deref().map(read).transpose()?;
    Ok(UpdatePolicyRequest {
        project: globals.project(),
        environment: args.environment.map(|declared| Environment::from(declared).into()),
        source: file.or_else(|| args.shipped.then(String::new)),
        project_directory: args.directory.clone(),
        request_id: args.request_id.clone(),
        if_revision_match: args.if_revision,
    })
}

fn read(path: &Path) -> Result<String, Failure> {
    let unreadable = |error| unreadable(path, "the policy file", &error);
    let mut text = String::new();
    // One byte too many is enough to be told that it is too long.
    let most = FILE_MAX as u64 + 1;
    match path == Path::new("-") {
        true => std::io::stdin().take(most).read_to_string(&mut text).map_err(unreadable)?,
        false => {
            let file = std::fs::File::open(path).map_err(unreadable)?;
            file.take(most).read_to_string(&mut text).map_err(unreadable)?
        }
    };
    Ok(text)
}

/// The text in force.
fn text(policy: &Policy) -> &str {
    if policy.source.is_empty() { &policy.shipped_source } else { &policy.source }
}

fn show(policy: &Policy, format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        return output::json(&to_json(policy)?);
    }
    let mut lines = Vec::new();
    let mut field = |name: &str, value: &str| {
        if !value.is_empty() {
            lines.push(format!("{name:13}{}", visible(value)));
        }
    };
    let own = format!("its own, {} bytes", policy.source.len());
    field("project", &policy.project);
    field("policy", if policy.source.is_empty() { "the shipped one" } else { &own });
    field("digest", &hex(&policy.digest));
    field("revision", &policy.revision.to_string());
    field("environment", &environment(policy.environment()));
    field("directory", &policy.project_directory);
    field("updated by", &policy.updated_by);
    field("updated", &policy.update_time.map_or_else(String::new, |time| time.to_string()));
    policy.suspended_agents.iter().for_each(|agent| field("suspended", agent));
    output::emit(&lines.join("\n"))
}

fn environment(environment: Environment) -> String {
    match environment {
        Environment::Unspecified => "not declared".to_owned(),
        other => lower(other.as_str_name(), "ENVIRONMENT_"),
    }
}

fn explained(answer: &ExplainPolicyResponse) -> String {
    let mut lines = Vec::new();
    if let Some(assessment) = &answer.assessment {
        let verdict = lower(assessment.verdict().as_str_name(), "VERDICT_");
        let level = lower(assessment.level().as_str_name(), "RISK_LEVEL_");
        let gaps = if assessment.complete { "" } else { ", not all of it understood" };
        lines.push(format!("{verdict}, risk {level}{gaps}"));
        let rows = assessment.findings.iter().map(|finding| {
            let words = [&finding.rule, &finding.effect, &finding.target, &finding.scope, &finding.undo];
            let mut cells: Vec<String> = words.iter().map(|word| visible(word)).collect();
            cells.push(visible(&finding.explanation));
            cells
        });
        lines.push(String::new());
        lines.push(output::table(&["RULE", "EFFECT", "TARGET", "SCOPE", "UNDO", "WHY"], rows.collect()));
    }
    if let Some(terms) = &answer.terms {
        lines.push(format!("\nasks for {} yes of {}", terms.approvals, visible(&terms.roles.join(" or "))));
    }
    let rows = answer.rules.iter().map(|rule| {
        let decided = if rule.decided { "yes" } else { "" };
        vec![visible(&rule.policy_id), rule.effect.clone(), decided.to_owned(), visible(&rule.explanation)]
    });
    lines.push(String::new());
    lines.push(output::table(&["POLICY", "EFFECT", "DECIDED", "WHY"], rows.collect()));
    lines.join("\n")
}

fn simulated(answer: &SimulatePolicyResponse) -> String {
    let mut lines = vec![format!(
        "looked at {}: {} would start by themselves, {} would be asked, {} would be denied",
        answer.looked_at, answer.to_auto, answer.to_ask, answer.to_deny
    )];
    if answer.denied_to_auto > 0 {
        let count = answer.denied_to_auto;
        lines.push(format!("CAREFUL: people had said no to {count} of those that would start by themselves"));
    }
    let rows = answer.changes.iter().map(|change| {
        let reasons: Vec<String> = change.reasons.iter().map(|reason| visible(&reason.policy_id)).collect();
        let verdict = |verdict: &str| lower(verdict, "VERDICT_");
        let (before, after) = (change.before().as_str_name(), change.after().as_str_name());
        vec![visible(&change.approval_id), verdict(before), verdict(after), reasons.join(", ")]
    });
    if !answer.changes.is_empty() {
        lines.push(output::table(&["APPROVAL", "BEFORE", "AFTER", "POLICIES"], rows.collect()));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_client::api::approvals::v1::{Assessment, ExplainedRule, Finding, PolicyChange};

    #[test]
    fn an_explanation_shows_effects_and_rules() {
        let finding =
            Finding { rule: "files.system".into(), target: "/etc\u{1b}".into(), ..Default::default() };
        let assessment = Assessment { level: 3, verdict: 2, findings: vec![finding], ..Default::default() };
        let rule = ExplainedRule { policy_id: "high".into(), decided: true, ..Default::default() };
        let answer =
            ExplainPolicyResponse { assessment: Some(assessment), rules: vec![rule], ..Default::default() };
        let text = explained(&answer);
        for part in ["ask, risk high, not all of it understood", "files.system", "/etc<U+001B>", "high    "] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn a_simulation_warns_of_what_people_had_denied() {
        let change = PolicyChange { approval_id: "apr_1".into(), before: 2, after: 1, ..Default::default() };
        let answer = SimulatePolicyResponse {
            looked_at: 9,
            to_auto: 1,
            denied_to_auto: 1,
            changes: vec![change],
            ..Default::default()
        };
        let text = simulated(&answer);
        assert!(
            text.contains("CAREFUL: people had said no to 1") && text.contains("apr_1     ask     auto"),
            "{text}"
        );
        let text = simulated(&SimulatePolicyResponse::default());
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
