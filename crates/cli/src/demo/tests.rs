//! The four steps together, without agents.

use std::collections::BTreeMap;
use std::path::Path;

use super::analyse::{Analysis, Weights, analyse};
use super::compose::compose;
use super::run::{Job, run};
use super::split::manifest;
use super::{files, verify};

#[test]
fn a_digest_of_real_documents_passes_its_own_verification() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let found = files::read_directory(&root, &[]).unwrap();
    let sources: BTreeMap<_, _> =
        found.files.iter().map(|file| (file.path.clone(), file.text.clone())).collect();
    let manifest = manifest(&root.to_string_lossy(), found.files, found.skipped, 4);
    let weights = Weights::of(&manifest);
    let analyses: Vec<Analysis> = (1..=4)
        .map(|shard| Analysis {
            documents: manifest
                .documents
                .iter()
                .filter(|document| document.shard == shard)
                .map(|document| analyse(document, &sources[&document.path], &weights))
                .collect(),
        })
        .collect();
    let digest = compose(&manifest, &analyses);
    let report = verify::verify(&digest.markdown, &manifest, &sources);
    let report = report.unwrap();
    assert_eq!(report.files as usize, manifest.documents.len());
    assert_eq!(report.statements, digest.citations);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_leaves_a_checked_digest_and_figures_that_agree() {
    let mut digests = Vec::new();
    for subject in
        ["The ledger keeps every booking of the day", "A lighthouse warns ships of the nearby rocks"]
    {
        let directory = tempfile::tempdir().unwrap();
        let text =
            format!("# Notes\n\n{subject} until the evening comes. Nothing else is written in this place.\n");
        std::fs::write(directory.path().join("notes.md"), text).unwrap();
        let output = directory.path().join("digest.md");
        let job = Job {
            directory: directory.path().canonicalize().unwrap(),
            include: Vec::new(),
            output: output.clone(),
        };
        let summary = Box::pin(run(&job)).await.unwrap_or_else(|failure| panic!("{}", failure.render(false)));
        assert!(summary.complete(), "{summary:?}");
        assert_eq!((summary.steps, summary.attempts, summary.retries), (7, 8, 1));
        assert!(summary.stored > 15 && summary.report.citations > 0, "{summary:?}");
        let digest = std::fs::read_to_string(output).unwrap();
        assert!(digest.contains(&format!("{subject} until the evening comes. [1: notes.md:3]")), "{digest}");
        digests.push(digest);
    }
    assert_ne!(digests[0], digests[1], "another directory gives another digest");
}
