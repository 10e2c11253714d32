//! The three agents of the digest, as any agent would be written: a client, a worker,
//! a handler per capability.
//!
//! - `reader` offers `read` (files to documents) and `verify` (the finished digest
//!   against the files);
//! - `analyst` offers `analyse` (key terms and key sentences of one shard);
//! - `writer` offers `write` (the digest).
//!
//! Invariant: agents read below their root only, whatever a plan says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quarterdeck_client::{
    CancellationToken, Client, Config, Ended, Error, Payload, StepContext, StepError, Worker, WorkerState,
};
use serde::Deserialize;
use tokio::task::JoinSet;

use super::analyse::{Analysis, Weights, analyse};
use super::compose::{Digest, compose};
use super::files;
use super::split::{Manifest, manifest, sha256};
use super::verify::{self, Report};

/// Media type of the digest.
const MARKDOWN: &str = "text/markdown; charset=utf-8";
/// Reason of the failure that is made on purpose.
pub const OUTAGE: &str = "SIMULATED_OUTAGE";

/// Input of `read`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReadInput {
    /// Below the agents' root.
    #[serde(default)]
    directory: String,
    /// Paths to narrow it to; empty for all.
    #[serde(default)]
    include: Vec<String>,
    /// Shards to deal the documents to.
    shards: u32,
}

/// Input of `analyse`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AnalyseInput {
    /// Which of the shards, from 1.
    shard: u32,
    /// Fail the first attempt, to show a retry.
    #[serde(default)]
    simulate_outage: bool,
}

/// Agents at work, until they are stopped.
pub struct Agents {
    running: JoinSet<(&'static str, Result<Ended, Error>)>,
    shutdown: CancellationToken,
}

impl Agents {
    /// Connects the three, each with a connection of its own, and waits until all have a session.
    ///
    /// # Errors
    /// Nobody answers, or the credential is no agent's.
    pub async fn start(config: &Config, project: &str, root: &Path) -> Result<Self, Error> {
        let root = Arc::new(root.to_owned());
        let mut agents = Self { running: JoinSet::new(), shutdown: CancellationToken::new() };
        for name in ["reader", "analyst", "writer"] {
            let client = Client::connect(config.clone()).await?;
            let builder = Worker::builder(&client, name).version(env!("CARGO_PKG_VERSION")).project(project);
            let here = Arc::clone(&root);
            let there = Arc::clone(&root);
            let worker = match name {
                "reader" => builder
                    .slots(2)
                    .on("read", move |step| read(step, Arc::clone(&here)))
                    .on("verify", move |step| verify_step(step, Arc::clone(&there))),
                "analyst" => {
                    builder.slots(4).on("analyse", move |step| analyse_step(step, Arc::clone(&here)))
                }
                _ => builder.slots(2).on("write", write),
            }
            .build()?;
            agents.launch(name, worker).await?;
        }
        Ok(agents)
    }

    async fn launch(&mut self, name: &'static str, worker: Worker) -> Result<(), Error> {
        let mut status = worker.status();
        let shutdown = self.shutdown.clone();
        self.running.spawn(async move { (name, worker.run(shutdown).await) });
        let connected = async {
            let settled = |state: WorkerState| state != WorkerState::Connecting;
            // Fails only where the worker is gone; `ended` says why then.
            let _ = status.wait_for(|status| settled(status.state)).await;
        };
        connected.await;
        match self.running.try_join_next() {
            Some(Ok((_, Err(error)))) => Err(error),
            _ => Ok(()),
        }
    }

    /// Waits until one agent ends on its own.
    pub async fn ended(&mut self) -> Option<(&'static str, Result<Ended, Error>)> {
        self.running.join_next().await.and_then(Result::ok)
    }

    /// Lets them finish what they hold and say goodbye.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        while self.running.join_next().await.is_some() {}
    }
}

/// Runs blocking work off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StepError> + Send + 'static,
) -> Result<T, StepError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(StepError::fail("AGENT_PANIC", error.to_string())))
}

/// The directory that a path in a plan means: below the root, links resolved.
fn directory(root: &Path, wanted: &str) -> Result<PathBuf, StepError> {
    let outside = || {
        let words = format!("{wanted} is not below {}, where these agents may read", root.display());
        StepError::not_retryable("OUTSIDE_ROOT", words)
    };
    let missing =
        |error: std::io::Error| StepError::not_retryable("NO_DIRECTORY", format!("{wanted}: {error}"));
    let root = root.canonicalize().map_err(missing)?;
    let real = root.join(wanted).canonicalize().map_err(missing)?;
    if real.starts_with(&root) { Ok(real) } else { Err(outside()) }
}

async fn read(step: StepContext, root: Arc<PathBuf>) -> Result<Payload, StepError> {
    let input: ReadInput = step.json()?;
    step.progress(0.0, "looking for documents").await;
    let manifest = blocking(move || {
        let real = directory(&root, &input.directory)?;
        let found = files::read_directory(&real, &input.include)
            .map_err(|error| StepError::fail("READ_FAILED", error.to_string()))?;
        if found.files.is_empty() {
            let words = format!("{} holds no documents", real.display());
            return Err(StepError::not_retryable("NO_DOCUMENTS", words));
        }
        Ok(manifest(&real.to_string_lossy(), found.files, found.skipped, input.shards))
    })
    .await?;
    step.progress(1.0, format!("{} documents", manifest.documents.len())).await;
    Ok(Payload::json(&manifest)?)
}

async fn analyse_step(step: StepContext, root: Arc<PathBuf>) -> Result<Payload, StepError> {
    let input: AnalyseInput = step.json()?;
    if input.simulate_outage && step.attempt() == 1 {
        return Err(StepError::fail(OUTAGE, "the plan asks the first attempt to fail"));
    }
    let manifest: Manifest = step.dependency("read").await?.parse()?;
    let base = directory(&root, &manifest.root)?;
    let weights = Arc::new(Weights::of(&manifest));
    let mine: Vec<_> =
        manifest.documents.into_iter().filter(|document| document.shard == input.shard).collect();
    let all = mine.len();
    let mut documents = Vec::with_capacity(all);
    for (done, document) in mine.into_iter().enumerate() {
        step.progress(done as f64 / all as f64, document.path.clone()).await;
        let (base, weights) = (base.clone(), Arc::clone(&weights));
        documents.push(
            blocking(move || {
                let text = unchanged(&base, &document.path, &document.sha256)?;
                Ok(analyse(&document, &text, &weights))
            })
            .await?,
        );
    }
    Ok(Payload::json(&Analysis { documents })?)
}

/// The file as the reader saw it.
fn unchanged(base: &Path, path: &str, expected: &str) -> Result<String, StepError> {
    let text = files::read_document(base, path)
        .map_err(|error| StepError::fail("READ_FAILED", error.to_string()))?;
    if sha256(&text) == expected {
        return Ok(text);
    }
    Err(StepError::not_retryable("SOURCE_CHANGED", format!("{path} has changed since it was read")))
}

async fn write(step: StepContext) -> Result<Payload, StepError> {
    let mut manifest: Option<Manifest> = None;
    let mut analyses: Vec<Analysis> = Vec::new();
    for (key, output) in step.dependencies().await? {
        match key.as_str() {
            "read" => manifest = Some(output.parse()?),
            _ => analyses.push(output.parse()?),
        }
    }
    let manifest =
        manifest.ok_or_else(|| StepError::not_retryable("PLAN_UNFIT", "this step must come after `read`"))?;
    step.progress(0.5, format!("{} shares", analyses.len())).await;
    let digest: Digest = blocking(move || Ok(compose(&manifest, &analyses))).await?;
    Ok(Payload::bytes(MARKDOWN, digest.markdown))
}

async fn verify_step(step: StepContext, root: Arc<PathBuf>) -> Result<Payload, StepError> {
    let manifest: Manifest = step.dependency("read").await?.parse()?;
    let markdown = step.dependency("write").await?.to_text()?;
    let report = blocking(move || {
        let base = directory(&root, &manifest.root)?;
        // A file that cannot be read any more is missing below, and that is a finding.
        let read = manifest.documents.iter().filter_map(|document| {
            let text = files::read_document(&base, &document.path).ok()?;
            Some((document.path.clone(), text))
        });
        let sources: BTreeMap<String, String> = read.collect();
        verify::verify(&markdown, &manifest, &sources).map_err(refuted)
    })
    .await?;
    step.progress(1.0, format!("{} citations hold", report.citations)).await;
    Ok(Payload::json::<Report>(&report)?)
}

fn refuted(problems: Vec<verify::Problem>) -> StepError {
    let listed: Vec<String> = problems.iter().take(verify::LISTED).map(ToString::to_string).collect();
    let words = format!("{} findings: {}", problems.len(), listed.join("; "));
    StepError::not_retryable("CITATION_WRONG", words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_stay_below_their_root() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("docs")).unwrap();
        assert!(directory(root.path(), "").is_ok());
        assert!(directory(root.path(), ".").is_ok());
        assert!(directory(root.path(), "docs").unwrap().ends_with("docs"));
        assert!(directory(root.path(), &root.path().to_string_lossy()).is_ok());
        for outside in ["..", "/", "/etc", "docs/../.."] {
            assert!(directory(root.path(), outside).is_err(), "{outside}");
        }
        assert!(directory(root.path(), "missing").is_err());
    }
}
