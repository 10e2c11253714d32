//! Every reason of an error has a page, every page a reason, and what the RPCs'
//! comments promise are reasons that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use prost_reflect::{DescriptorPool, FileDescriptor};

const PAGES: &str = "docs/errors";
const PREFIX: &str = "REASON_";

pub fn check(root: &Path) -> Result<Vec<String>> {
    let pool = quarterdeck_api::descriptor_pool();
    let reasons = reasons(&pool)?;
    let mut pages = BTreeMap::new();
    let directory = root.join(PAGES);
    for entry in fs::read_dir(&directory).with_context(|| format!("cannot list {PAGES}"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(stem) = name.strip_suffix(".md") {
            pages.insert(stem.to_owned(), fs::read_to_string(entry.path())?);
        }
    }
    let index = pages.remove("README").unwrap_or_default();
    let mut findings = compare(&reasons, &pages, &index);
    findings.extend(promised(&pool, &reasons));
    Ok(findings)
}

/// Reason (without prefix) -> status code, the first word of its comment.
fn reasons(pool: &DescriptorPool) -> Result<BTreeMap<String, String>> {
    let described = pool
        .get_enum_by_name("quarterdeck.errors.v1.Reason")
        .context("the contract has no quarterdeck.errors.v1.Reason")?;
    let file = described.parent_file();
    let mut reasons = BTreeMap::new();
    for value in described.values().filter(|value| value.number() != 0) {
        let comment = comment(&file, value.path());
        let status = comment.split(':').next().unwrap_or_default().trim().to_owned();
        reasons.insert(value.name().trim_start_matches(PREFIX).to_owned(), status);
    }
    Ok(reasons)
}

fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let location = info.and_then(|info| info.location.iter().find(|location| location.path == path));
    location.map(|location| location.leading_comments().to_owned()).unwrap_or_default()
}

fn compare(reasons: &BTreeMap<String, String>, pages: &BTreeMap<String, String>, index: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for (reason, status) in reasons {
        let Some(page) = pages.get(reason) else {
            findings.push(format!("{PAGES}/{reason}.md is missing"));
            continue;
        };
        if page.lines().next() != Some(&format!("# {reason}")) {
            findings.push(format!("{PAGES}/{reason}.md: its first line is not `# {reason}`"));
        }
        if !page.contains(&format!("Status: `{status}`")) {
            findings.push(format!(
                "{PAGES}/{reason}.md: it has no line \"Status: `{status}`\", as the enum says"
            ));
        }
        if !index.contains(&format!("]({reason}.md)")) {
            findings.push(format!("{PAGES}/README.md does not link {reason}.md"));
        }
    }
    let unknown = pages.keys().filter(|page| !reasons.contains_key(*page));
    findings.extend(unknown.map(|page| format!("{PAGES}/{page}.md is about no reason of the contract")));
    findings
}

/// Words after `Reasons:` in comments that are no reasons.
fn promised(pool: &DescriptorPool, reasons: &BTreeMap<String, String>) -> Vec<String> {
    let mut unknown = BTreeSet::new();
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let comment = comment(&method.parent_service().parent_file(), method.path());
        let Some((_, list)) = comment.split_once("Reasons:") else {
            continue;
        };
        let words = list.split(|c: char| !c.is_ascii_uppercase() && c != '_').filter(|word| word.len() > 3);
        for word in words.filter(|word| !reasons.contains_key(*word)) {
            unknown.insert(format!("{}: {word} in its comment is no reason", method.full_name()));
        }
    }
    unknown.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_carry_their_status_code() {
        let reasons = reasons(&quarterdeck_api::descriptor_pool()).unwrap();
        assert_eq!(reasons.get("TASK_NOT_FOUND").map(String::as_str), Some("NOT_FOUND"));
        assert!(!reasons.contains_key("UNSPECIFIED"));
        for (reason, status) in reasons {
            assert!(status.chars().all(|c| c.is_ascii_uppercase() || c == '_'), "{reason}: {status:?}");
        }
    }

    #[test]
    fn a_missing_a_foreign_and_a_wrong_page_are_found() {
        let reasons = BTreeMap::from([("LOST".to_owned(), "ABORTED".to_owned())]);
        let page = |text: &str| BTreeMap::from([("LOST".to_owned(), text.to_owned())]);
        let index = "- [LOST](LOST.md)";
        let cases = [
            (page("# LOST\n\nStatus: `ABORTED`\n"), index, 0),
            (page("# LOST\n\nStatus: `INTERNAL`\n"), index, 1),
            (page("# Lost\n\nStatus: `ABORTED`\n"), index, 1),
            (page("# LOST\n\nStatus: `ABORTED`\n"), "", 1),
            (BTreeMap::new(), index, 1),
            (BTreeMap::from([("OTHER".to_owned(), String::new())]), index, 2),
        ];
        for (pages, index, expected) in cases {
            let found = compare(&reasons, &pages, index);
            assert_eq!(found.len(), expected, "{found:?}");
        }
    }
}
