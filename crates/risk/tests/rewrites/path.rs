//! Other writings of the same path.

use crate::Rewrite;

const HOME: &str = "/home/agent";
const PROJECT: &str = "/home/agent/project";

/// The path from the root, where its writing says so; else `None`.
fn absolute(path: &str) -> Option<String> {
    match path {
        "~" => Some(HOME.to_owned()),
        _ if path.starts_with("~/") => Some(format!("{HOME}/{}", &path[2..])),
        _ if path.starts_with("$HOME/") => Some(format!("{HOME}/{}", &path[6..])),
        _ if path.starts_with('/') => Some(path.to_owned()),
        _ if path.starts_with("file:///") => Some(path[7..].to_owned()),
        _ if path.starts_with(['~', '$', '%']) || path.contains("://") || path.contains('\\') => None,
        _ => Some(format!("{PROJECT}/{path}")),
    }
}

pub fn all(text: &str) -> Vec<Rewrite> {
    let (word, path) = text.split_once(' ').unwrap_or((text, ""));
    let with = |path: String| format!("{word} {path}");
    let mut all = vec![
        ("capitals of the operation", format!("{} {path}", word.to_uppercase())),
        ("first capital", format!("{}{} {path}", word[..1].to_uppercase(), &word[1..])),
        ("two blanks", format!("{word}  {path}")),
        ("tab", format!("{word}\t{path}")),
        ("blank behind", format!("{text} ")),
        ("line end", format!("{text}\n")),
        ("line ends around", format!("\n{text}\n\n")),
        ("many blanks", format!("  {word}    {path}  ")),
        ("blank before", format!(" {text}")),
    ];
    let dotted = |piece: &str| path.replacen('/', piece, 1);
    if path.contains('/') && !path.contains("://") {
        all.extend([
            ("double slash", with(dotted("//"))),
            ("dot", with(dotted("/./"))),
            ("there and back", with(dotted("/x/../"))),
            ("three slashes", with(dotted("///"))),
            ("dots and slashes", with(dotted("/.//./"))),
            ("all slashes doubled", with(path.replace('/', "//"))),
            ("all slashes with dots", with(path.replace('/', "/./"))),
        ]);
    }
    if let Some(full) = absolute(path) {
        all.extend(from_root(&full, &with));
    }
    all
}

fn from_root(full: &str, with: &dyn Fn(String) -> String) -> Vec<Rewrite> {
    let mut all = vec![
        ("from the root", with(full.to_owned())),
        ("from the root by a detour", with(format!("/tmp/..{full}"))),
        ("above the root", with(format!("/../..{full}"))),
        ("relative", with(format!("../../../..{full}"))),
        ("relative with a dot", with(format!("./../../../{full}"))),
        ("file URL", with(format!("file://{full}"))),
        ("file URL with a host", with(format!("file://localhost{full}"))),
        ("process's root", with(format!("/proc/self/root{full}"))),
        ("process's directory", with(format!("/proc/self/cwd/../../..{full}"))),
        ("two slashes at the root", with(format!("/{full}"))),
        ("dot at the root", with(format!("/.{full}"))),
        ("through the temporary directory", with(format!("/tmp/a/../..{full}"))),
    ];
    if let Some(rest) = full.strip_prefix(HOME).filter(|rest| rest.is_empty() || rest.starts_with('/')) {
        all.extend([
            ("tilde", with(format!("~{rest}"))),
            ("HOME", with(format!("$HOME{rest}"))),
            ("HOME in braces", with(format!("${{HOME}}{rest}"))),
            ("tilde and back", with(format!("~/x/..{rest}"))),
            ("the agent's tilde", with(format!("~agent{rest}"))),
        ]);
    }
    if let Some(rest) = full.strip_prefix(PROJECT) {
        all.extend([
            ("PWD", with(format!("$PWD{rest}"))),
            ("dot before", with(format!(".{rest}"))),
            ("tilde plus", with(format!("~+{rest}"))),
        ]);
    }
    all
}
