//! From an action to what is asked: analysers, then policy, then standing grants.
//!
//! Invariant: the agent's own words are never looked at; what cannot be resolved is
//! asked; a policy's no is stronger than any standing grant.

use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use lru::LruCache;
use quarterdeck_core::action::Action;
use quarterdeck_core::approval::{Assessment, Escalation, Finding, Reason, Terms, Verdict};
use quarterdeck_core::key::Role;
use quarterdeck_core::policy::Standing;
use quarterdeck_core::{Digest, GrantId, Span, Timestamp};
use quarterdeck_risk::action as analyser;
use quarterdeck_risk::model::{Context, Environment, Found};
use quarterdeck_risk::policy::{self, Asker, Facts, Pattern, Policy};
use quarterdeck_risk::preview::Preview;

use crate::engine::Shared;
use crate::error::{Error, Result};

/// Compiled policies kept in memory.
const CACHED_MAX: NonZeroUsize = NonZeroUsize::new(256).unwrap();
/// Findings that are recorded; the level comes from all of them.
const FINDINGS_MAX: usize = 50;
/// Directory that counts as a project's where none is stated.
const DIRECTORY: &str = "/workspace";

/// Policies compiled lately, by their text: the same for every replica of the process.
static COMPILED: LazyLock<Mutex<LruCache<Digest, Arc<Policy>>>> =
    LazyLock::new(|| Mutex::new(LruCache::new(CACHED_MAX)));

/// Who wants an action.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who<'a> {
    pub project: &'a str,
    /// Empty where no agent has it yet.
    pub agent: &'a str,
    pub capability: &'a str,
}

/// All that is known of an action before anybody is asked.
#[derive(Clone, Debug)]
pub struct Judged {
    pub digest: Digest,
    /// The action itself, to be kept apart.
    pub content: (Digest, Bytes),
    /// The action with its secrets masked.
    pub shown: Action,
    pub preview: Preview,
    pub found: Found,
    pub facts: Facts,
    pub assessment: Assessment,
    pub terms: Terms,
    /// A standing grant that covers it.
    pub covered_by: Option<GrantId>,
}

/// The policy with this text; the shipped one where it is empty.
pub(crate) fn compiled(source: &str) -> Result<Arc<Policy>> {
    let digest = Digest::of_content(source.as_bytes());
    let known = |cache: &mut LruCache<Digest, Arc<Policy>>| cache.get(&digest).cloned();
    if let Some(known) = known(&mut COMPILED.lock().unwrap_or_else(PoisonError::into_inner)) {
        return Ok(known);
    }
    // Outside the lock: it takes milliseconds, and its examples are assessed.
    let compiled = Policy::compile(if source.is_empty() { policy::DEFAULT } else { source });
    let compiled = Arc::new(compiled.map_err(|error| Error::PolicyInvalid(error.to_string()))?);
    COMPILED.lock().unwrap_or_else(PoisonError::into_inner).put(digest, Arc::clone(&compiled));
    Ok(compiled)
}

/// Reads the analysers' tables and compiles the shipped policy, whose examples are assessed:
/// some 50 ms, which the first to ask would wait for otherwise.
pub(crate) fn warm() -> Result<()> {
    quarterdeck_risk::redact::text("");
    compiled("").map(drop)
}

impl Shared {
    /// What the analysers and the project's policy say of an action.
    pub(crate) fn judge(&self, action: &Action, who: Who<'_>, standing: &Standing) -> Result<Judged> {
        let policy = compiled(&standing.settings.source)?;
        self.judge_by(&policy, action, who, standing)
    }

    /// The same by another policy.
    pub(crate) fn judge_by(
        &self,
        policy: &Policy,
        action: &Action,
        who: Who<'_>,
        standing: &Standing,
    ) -> Result<Judged> {
        action.check().map_err(|error| Error::ActionInvalid(error.to_string()))?;
        let context = context(standing);
        let found = analyser::found(action, &context);
        let asker =
            Asker { agent: who.agent, agent_type: who.capability, project: who.project, kind: action.kind() };
        let facts = Facts::of(&found, &context, &asker);
        let judgement = policy.judge(&facts);
        let covered_by = match judgement.verdict == Verdict::Ask && judgement.grantable {
            true => covering(standing, who.agent, &found, &facts, self.time.now()),
            false => None,
        };
        let written = serde_json::to_vec(action)
            .map_err(|error| Error::Internal(format!("an action cannot be written: {error}")))?;
        Ok(Judged {
            digest: action.digest(),
            content: (Digest::of_content(&written), written.into()),
            shown: analyser::masked(action),
            preview: preview(action, &found, &context),
            assessment: Assessment {
                level: judgement.level,
                verdict: judgement.verdict,
                complete: facts.complete,
                findings: findings(action, &found),
                reasons: judgement.reasons.iter().map(reason).collect(),
                analyser: analyser::ANALYSER.to_owned(),
                facts: serde_json::to_string(&facts).unwrap_or_default(),
            },
            terms: terms(&judgement.terms),
            found,
            facts,
            covered_by,
        })
    }

    /// An action that is kept apart, checked against the digest that it must have.
    pub(crate) async fn stored_action(&self, content: Digest, digest: Digest) -> Result<Action> {
        let bytes = self.stored(content).await?;
        let action: Action = serde_json::from_slice(&bytes)
            .map_err(|error| Error::Internal(format!("a stored action cannot be read: {error}")))?;
        match action.digest() == digest {
            true => Ok(action),
            false => Err(Error::Internal(format!("the action stored as {content} is not {digest}"))),
        }
    }
}

/// What people are shown of an action.
pub(super) fn preview(action: &Action, found: &Found, context: &Context) -> Preview {
    let level = |effect: &quarterdeck_risk::model::Effect| {
        quarterdeck_risk::weigh::level(effect, context.environment)
    };
    quarterdeck_risk::preview::preview(action, found, level)
}

/// Where a project's actions happen.
pub(crate) fn context(standing: &Standing) -> Context {
    let project = match standing.settings.directory.as_str() {
        "" => DIRECTORY.to_owned(),
        directory => directory.to_owned(),
    };
    let environment = match standing.settings.environment.as_str() {
        "development" => Some(Environment::Development),
        "staging" => Some(Environment::Staging),
        "production" => Some(Environment::Production),
        _ => None,
    };
    Context { cwd: project.clone(), project, environment, ..Context::default() }
}

fn covering(
    standing: &Standing,
    agent: &str,
    found: &Found,
    facts: &Facts,
    now: Timestamp,
) -> Option<GrantId> {
    let covers = |pattern: &str| {
        serde_json::from_str::<Pattern>(pattern)
            .is_ok_and(|pattern| pattern.covers(found, facts.kind, facts.environment))
    };
    standing.grants_for(agent, now).find(|grant| covers(&grant.pattern)).map(|grant| grant.id)
}

fn reason(reason: &policy::Reason) -> Reason {
    Reason { policy: reason.policy.clone(), why: reason.text.clone() }
}

/// Roles that may decide on an approval by now, in the policy's words.
pub(super) fn role_words(approval: &quarterdeck_core::approval::Approval) -> Vec<String> {
    let roles = quarterdeck_core::approval::seat::roles(approval);
    roles.iter().map(|role| crate::keys::role_name(*role).to_lowercase()).collect()
}

/// The policy's terms in the words of the rules.
pub(crate) fn terms(asked: &policy::Terms) -> Terms {
    let seconds = |seconds: u64| Span::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    let roles = |names: &[String]| names.iter().filter_map(|name| role(name)).collect();
    Terms {
        approvals: asked.approvals.max(1),
        denials: asked.deny_threshold.max(1),
        roles: roles(&asked.roles),
        pending: seconds(asked.pending),
        grant: seconds(asked.grant),
        escalation: asked
            .escalation
            .iter()
            .map(|level| Escalation { after: seconds(level.after_seconds), roles: roles(&level.roles) })
            .collect(),
    }
}

fn role(name: &str) -> Option<Role> {
    match name {
        "approver" => Some(Role::Approver),
        "admin" => Some(Role::Admin),
        _ => None,
    }
}

fn findings(action: &Action, found: &Found) -> Vec<Finding> {
    let targets = analyser::Targets::of(action);
    let place = |span: &std::ops::Range<usize>| (span.start as u32, span.end as u32);
    let word = |value: serde_json::Result<serde_json::Value>| {
        value.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let redact = |text: &str| quarterdeck_risk::redact::text(text);
    let gaps = found.unresolved.iter().map(|gap| Finding {
        rule: gap.rule.clone(),
        why: redact(&gap.why),
        span: place(&gap.span),
        effect: String::new(),
        target: String::new(),
        scope: String::new(),
        undo: String::new(),
        possible: false,
    });
    let effects = found.effects.iter().map(|effect| Finding {
        rule: effect.rule.clone(),
        why: redact(&effect.why),
        span: place(&effect.span),
        effect: word(serde_json::to_value(effect.kind)),
        target: targets.masked(&effect.target),
        scope: word(serde_json::to_value(effect.scope)),
        undo: word(serde_json::to_value(effect.undo)),
        possible: effect.certainty == quarterdeck_risk::model::Certainty::Possible,
    });
    gaps.chain(effects).take(FINDINGS_MAX).collect()
}

/// Observed effects that the action's own do not explain. An observed path is
/// explained by the same one, or one that it lies below, with an effect of that kind;
/// reading is always explained by changing.
pub(super) fn surplus(
    action: &Action,
    standing: &Standing,
    observed: &[quarterdeck_core::approval::Effect],
) -> Vec<quarterdeck_core::approval::Effect> {
    let context = context(standing);
    let found = analyser::found(action, &context);
    let explained = |seen: &quarterdeck_core::approval::Effect| {
        found.effects.iter().any(|effect| {
            let kind = serde_json::to_value(effect.kind).ok();
            let same = kind.as_ref().and_then(|kind| kind.as_str()) == Some(seen.kind.as_str());
            let place = quarterdeck_risk::path::locate(&seen.target, &context);
            let below = |path: &str| {
                path == effect.target
                    || path
                        .strip_prefix(effect.target.trim_end_matches('/'))
                        .is_some_and(|rest| rest.starts_with('/'))
            };
            (same || seen.kind == "read") && (seen.target == effect.target || below(&place.path))
        })
    };
    observed.iter().filter(|seen| !explained(seen)).cloned().collect()
}
