//! The four steps together, without agents.

use std::collections::BTreeMap;
use std::path::Path;

use super::analyse::{Analysis, Weights, analyse};
use super::compose::compose;
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
