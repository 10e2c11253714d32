//! Other writings of the same call.

use crate::Rewrite;

struct Parts<'a> {
    method: &'a str,
    scheme: &'a str,
    host: &'a str,
    /// Path and query.
    path: &'a str,
    /// What follows the URL on its line, and the lines behind.
    rest: &'a str,
    lines: Vec<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let (first, lines) = text.split_once('\n').unwrap_or((text, ""));
        let (method, after) = first.split_once(' ')?;
        let (url, rest) = after.split_once(' ').unwrap_or((after, ""));
        let (scheme, behind) = url.split_once("://")?;
        let at = behind.find(['/', '?']).unwrap_or(behind.len());
        let (host, path) = behind.split_at(at);
        Some(Self { method, scheme, host, path, rest, lines: lines.lines().collect() })
    }

    fn text(&self, method: &str, scheme: &str, host: &str, path: &str) -> String {
        let mut text = format!("{method} {scheme}://{host}{path}");
        if !self.rest.is_empty() {
            text = format!("{text} {}", self.rest);
        }
        self.lines.iter().fold(text, |text, line| format!("{text}\n{line}"))
    }
}

pub fn all(text: &str) -> Vec<Rewrite> {
    let Some(parts) = Parts::of(text) else { return Vec::new() };
    let mut all = addresses(&parts);
    all.extend(paths(&parts));
    all.extend(heads(&parts, text));
    all
}

fn addresses(parts: &Parts<'_>) -> Vec<Rewrite> {
    let Parts { method, scheme, host, path, .. } = *parts;
    let mut all = vec![
        ("capitals of the scheme", parts.text(method, &scheme.to_uppercase(), host, path)),
        ("mixed scheme", parts.text(method, &format!("H{}", &scheme[1..]), host, path)),
        ("capitals of the host", parts.text(method, scheme, &host.to_uppercase(), path)),
        ("user", parts.text(method, scheme, &format!("me@{host}"), path)),
        ("empty user", parts.text(method, scheme, &format!("@{host}"), path)),
    ];
    let port = if scheme == "https" { "443" } else { "80" };
    let named = !host.contains(':') && host.contains(|c: char| c.is_ascii_alphabetic());
    if !host.contains(':') {
        all.push(("default port", parts.text(method, scheme, &format!("{host}:{port}"), path)));
        all.push(("empty port", parts.text(method, scheme, &format!("{host}:"), path)));
    }
    if named {
        all.push(("trailing dot", parts.text(method, scheme, &format!("{host}."), path)));
        let coded = format!("%{:02x}{}", host.as_bytes()[0], &host[1..]);
        all.push(("percent signs in the host", parts.text(method, scheme, &coded, path)));
    }
    all
}

fn paths(parts: &Parts<'_>) -> Vec<Rewrite> {
    let Parts { method, scheme, host, path, .. } = *parts;
    let with = |path: String| parts.text(method, scheme, host, &path);
    let (plain, query) = path.split_once('?').unwrap_or((path, ""));
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    let mut all = vec![
        ("fragment", with(format!("{path}#top"))),
        (
            "detour",
            with(format!(
                "/x/..{}",
                if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
            )),
        ),
        (
            "dot at the head",
            with(format!("/.{}", if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })),
        ),
        (
            "parameter",
            with(if query.is_empty() { format!("{plain}?nocache=1") } else { format!("{path}&nocache=1") }),
        ),
    ];
    let letters: Vec<usize> =
        plain.char_indices().filter(|(_, c)| c.is_ascii_alphabetic()).map(|(at, _)| at).collect();
    let coded = |at: usize, small: bool| {
        let byte = plain.as_bytes()[at];
        let sign = if small { format!("%{byte:02x}") } else { format!("%{byte:02X}") };
        format!("{}{sign}{}{query}", &plain[..at], &plain[at + 1..])
    };
    if let (Some(first), Some(last)) = (letters.first(), letters.last()) {
        all.push(("percent sign", with(coded(*first, true))));
        all.push(("percent sign at the end", with(coded(*last, false))));
    }
    if plain.len() > 1 {
        all.push(("trailing slash", with(format!("{}/{query}", plain.trim_end_matches('/')))));
        all.push(("dots within", with(format!("{}{query}", plain.replacen('/', "/./", 2)))));
        all.push(("every letter with a percent sign", with(format!("{}{query}", spelled(plain)))));
    }
    all
}

fn spelled(path: &str) -> String {
    let each =
        |c: char| if c.is_ascii_alphabetic() { format!("%{:02X}", u32::from(c)) } else { c.to_string() };
    path.chars().map(each).collect()
}

fn heads(parts: &Parts<'_>, text: &str) -> Vec<Rewrite> {
    let Parts { method, scheme, host, path, .. } = *parts;
    let url = format!("{scheme}://{host}{path}");
    let mut all = vec![
        ("small method", parts.text(&method.to_lowercase(), scheme, host, path)),
        ("blanks", text.replacen(' ', "   ", 1)),
        ("blank before", format!("  {text}")),
        ("tab", text.replacen(' ', "\t", 1)),
        ("line end", format!("{text}\n")),
    ];
    let headers = parts.lines.iter().all(|line| line.contains(": "));
    if headers {
        let first = if parts.rest.is_empty() {
            format!("{method} {url}")
        } else {
            format!("{method} {url} {}", parts.rest)
        };
        let lines = |lines: Vec<String>| {
            lines.into_iter().fold(first.clone(), |text, line| format!("{text}\n{line}"))
        };
        let own = || parts.lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let mut more = own();
        more.insert(0, "Accept: */*".to_owned());
        all.push(("header before", lines(more.clone())));
        more.reverse();
        all.push(("headers reversed", lines(more)));
        let mut behind = own();
        behind.push("User-Agent: curl/8.5.0".to_owned());
        all.push(("header behind", lines(behind)));
        let small = |line: String| {
            line.split_once(": ").map(|(name, value)| format!("{}: {value}", name.to_lowercase()))
        };
        let mut small: Vec<String> = own().into_iter().filter_map(small).collect();
        small.push("accept: */*".to_owned());
        all.push(("small header names", lines(small)));
        if !parts.rest.is_empty() {
            let head =
                own().into_iter().fold(format!("{method} {url}"), |text, line| format!("{text}\n{line}"));
            all.push(("body behind an empty line", format!("{head}\n\n{}", parts.rest)));
        }
    }
    all
}
