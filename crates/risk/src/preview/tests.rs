use proptest::prelude::*;
use quarterdeck_core::action::{Action, FileOperation};
use unicode_normalization::UnicodeNormalization;

use super::{LINE_MAX, LINES_MAX, Mark, Preview, preview};
use crate::action::found;
use crate::action::tests::*;
use crate::model::{Context, Effect, EffectKind, Found, Scope, Undo};
use crate::weigh;

fn shown(action: &Action) -> Preview {
    let found = found(action, &Context::default());
    preview(action, &found, |effect| weigh::level(effect, None))
}

/// All that a person would read.
fn all(preview: &Preview) -> String {
    let mut text = format!("{}\n", preview.title);
    for section in &preview.sections {
        text.push_str(&format!("{}:\n", section.heading));
        for line in &section.lines {
            text.push_str(&format!("  {}\n", line.text()));
        }
    }
    text
}

fn section<'a>(preview: &'a Preview, heading: &str) -> Vec<&'a super::Line> {
    let fits = preview.sections.iter().filter(|section| section.heading == heading);
    fits.flat_map(|section| &section.lines).collect()
}

/// A line as text with its marks: `!risky!`, `{invisible}`, `[masked]`, `+added+`, `-removed-`, `~label~`.
fn marked(line: &super::Line) -> String {
    let piece = |span: &super::Span| match span.mark {
        Mark::Plain | Mark::Masked => span.text.clone(),
        Mark::Risky => format!("!{}!", span.text),
        Mark::Invisible => format!("{{{}}}", span.text),
        Mark::Added => format!("+{}+", span.text),
        Mark::Removed => format!("-{}-", span.text),
        Mark::Label => format!("~{}~", span.text),
    };
    line.spans.iter().map(piece).collect()
}

#[test]
fn each_kind_is_shown() {
    use FileOperation as F;
    let rows = [
        (
            argv(&["rm", "-rf", "/etc/a b"]),
            "Run the program rm",
            "Program and arguments; no shell looks at them",
            "!rm -rf '/etc/a b'!",
        ),
        (
            script("ls\nrm -rf /etc\nls"),
            "Run a shell script of 3 lines",
            "Script for a shell",
            "ls|!rm -rf /etc!|ls",
        ),
        (
            file(F::Write, "/etc/a", "", "@@ -1 +1 @@\n-old\n+new\n same"),
            "Write the file /etc/a",
            "What changes",
            "@@ -1 +1 @@|--old-|++new+| same",
        ),
        (file(F::Write, "a", "", "new\n\nmore"), "Write the file a", "What changes", "+new+||+more+"),
        (file(F::Move, "/etc/a", "b", ""), "Move the file /etc/a", "File", "~path: ~!/etc/a!|~to: ~b"),
        (
            code("python", "import os\nos.remove('/etc/a')"),
            "Run 2 lines of code: python",
            "Source",
            "import os|!os.remove('/etc/a')!",
        ),
        (
            sql("select 1; delete from users"),
            "Run SQL of 1 line: postgres",
            "Statements",
            "select 1; !delete from users!",
        ),
        (
            http("GET", "https://a.example/x", &[("Cookie", "b"), ("c", "d")], "e"),
            "Call GET https://a.example/x",
            "Headers",
            "!Cookie: ![secret:header]|c: d",
        ),
        (http("GET", "https://a.example/x", &[], "e\nf"), "Call GET https://a.example/x", "Body", "e|f"),
        (
            argv(&["echo", "it's jane@mail.example.org's x"]),
            "Run the program echo",
            "Program and arguments; no shell looks at them",
            r"echo 'it'\''s [email]'\''s x'",
        ),
        (git(&["push", "--force"]), "Run git push", "Command", "!git push --force!"),
        (
            workflow(F::Write, "ci.yml", "on: push"),
            "Write what runs by itself: ci.yml",
            "Definition",
            "+on: push+",
        ),
        (
            workflow(F::Delete, "ci.yml", ""),
            "Delete what runs by itself: ci.yml",
            "Workflow",
            "~name: ~!ci.yml!",
        ),
        (
            tool("deploy", r#"{"to":"x"}"#),
            "Call a tool that is not known: deploy",
            "Arguments",
            "{|  \"to\": \"x\"|}",
        ),
    ];
    for (action, title, heading, lines) in rows {
        let preview = shown(&action);
        let section: Vec<_> = section(&preview, heading).into_iter().map(marked).collect();
        assert_eq!((preview.title.as_str(), section.join("|").as_str()), (title, lines), "{preview:#?}");
    }
}

#[test]
fn directory_and_variables_are_shown() {
    let action = Action::Command {
        argv: vec!["ls".into()],
        script: String::new(),
        cwd: "/home/agent/x\u{200b}".into(),
        environment: vec!["PATH".into(), "LD_PRELOAD\n".into()],
    };
    let lines: Vec<_> = section(&shown(&action), "Where").into_iter().map(marked).collect();
    assert_eq!(lines[0], "~directory: ~/home/agent/x{<U+200B>}");
    assert_eq!(lines[1], "~environment: ~PATH~, ~LD_PRELOAD{<U+000A>}");
}

#[test]
fn what_it_does_is_said_a_line_an_effect() {
    let preview = shown(&script("rm -rf /etc; rm -rf /etc; cat README.md; $x"));
    let does: Vec<_> = section(&preview, "What it does").into_iter().map(super::Line::text).collect();
    assert!(
        does[0].starts_with("delete /etc (of the system); cannot be undone; certain; high: "),
        "{does:?}"
    );
    assert!(
        does.iter().any(|line| line.contains("README.md (in the project); changes nothing; certain; low"))
    );
    assert_eq!(does.iter().filter(|line| line.contains("delete")).count(), 1);
    assert!(!section(&preview, "What could not be understood").is_empty());
    let nothing = preview_of(&Found::default());
    assert_eq!(
        section(&nothing, "What it does")[0].text(),
        "nothing that changes or reads anything was found"
    );
}

#[test]
fn findings_can_be_kept_without_secrets() {
    let action = script("curl --token hunter2x9 https://a.example/x # jane@mail.example.org");
    let targets = crate::action::Targets::of(&action);
    let rows = [
        ("hunter2x9", "[secret:named]"),
        ("db:hunter2x9", "db:[secret:named]"),
        ("jane@mail.example.org", "[email]"),
        ("a.example", "a.example"),
    ];
    for (target, expected) in rows {
        assert_eq!(targets.masked(target), expected);
    }
    let host = crate::action::Targets::of(&argv(&["x", "--token", "evil9host.example"]));
    assert_eq!(host.masked("evil9host.example"), "evil9host.example");
}

fn preview_of(found: &Found) -> Preview {
    preview(&script("x"), found, |effect| weigh::level(effect, None))
}

#[test]
fn what_hides_is_seen() {
    let rows = [
        ("echo hi\rrm -rf /", "echo hi{<U+000D>}rm -rf /"),
        ("echo \u{202e}/ fr- mr", "echo {<U+202E>}/ fr- mr"),
        ("r\u{200b}m -rf /", "r{<U+200B>}m -rf /"),
        ("\u{1b}[2Krm -rf /", "{<U+001B>}[2Krm -rf /"),
        ("\u{9b}2Krm", "{<U+009B>}2Krm"),
        ("rm\u{a0}-rf", "rm{<U+00A0>}-rf"),
        ("rm\u{3000}x\u{2028}y", "rm{<U+3000>}x{<U+2028>}y"),
        (
            "a\u{e0041}b\u{fe0f}\u{feff}\u{2066}\u{61c}\u{ad}",
            "a{<U+E0041>}b{<U+FE0F><U+FEFF><U+2066><U+061C><U+00AD>}",
        ),
        ("s\u{443}do x", "s{<U+0443>}do x"),
        ("раура.com", "{<U+0440><U+0430><U+0443><U+0440><U+0430>}.com"),
        ("rm ／etc", "rm {<U+FF0F>}etc"),
        ("echo привет мир", "echo привет мир"),
        ("echo naïve 日本語 Ελλάδα", "echo naïve 日本語 Ελλάδα"),
        ("e\u{301}a\u{301}\u{301}\u{301}", "e\u{301}a\u{301}\u{301}{<U+0301>}"),
        ("\u{301}x", "{<U+0301>}x"),
        ("r\u{336}m", "r{<U+0336>}m"),
        ("\u{e000}\u{3164}\u{2800}", "{<U+E000><U+3164><U+2800>}"),
        ("שלום x", "{<written from right to left>}שלום x"),
        ("ls\tx", "ls    x"),
        (&format!("ls{}; x", " ".repeat(41)), "ls{<41 blanks>}; x"),
        (&format!("ls{}x", " ".repeat(40)), &format!("ls{}x", " ".repeat(40))),
        (&format!("ls{}; x", " \t".repeat(30)), "ls {<59 blanks>}; x"),
        ("a  b   \tc", "a  b       c"),
        ("a\n\n\n\n\n\n\n  b", "a|{<6 empty lines>}|  b"),
        ("a\n\n\nb", "a|||b"),
        (&"\u{200b}".repeat(900), "{<U+200B, 900 times>}"),
    ];
    for (given, expected) in rows {
        // Findings are left out here: what is marked as risky has another mark.
        let preview = preview(&script(given), &Found::default(), |_| unreachable!());
        let lines: Vec<_> = section(&preview, "Script for a shell").into_iter().map(marked).collect();
        assert_eq!(lines.join("|"), expected, "{given:?}");
        let warned = !section(&preview, "Look twice").is_empty();
        assert_eq!(warned, expected.contains('{'), "{given:?}");
    }
}

#[test]
fn a_deletion_behind_what_hides_is_seen() {
    let hidden = [
        "echo ok\r; rm -rf /",
        "echo ok\u{1b}[1A\u{1b}[2K; rm -rf /",
        "echo \u{202e}ok; rm -rf /",
        "echo \u{2066}ok\u{2069}; rm -rf /\u{200b}",
        "echo ok; \u{200b}rm -rf /",
        &format!("echo ok{}; rm -rf /", " ".repeat(3000)),
        &format!("echo ok{}; rm -rf /", "\n".repeat(3000)),
    ];
    for given in hidden {
        let as_tool = tool("t", &serde_json::json!({ "command": given }).to_string());
        let actions = [script(given), argv(&["sh", "-c", given]), code("bash", given), as_tool];
        for action in actions {
            let preview = shown(&action);
            assert!(all(&preview).contains("rm -rf /"), "{}", all(&preview));
            // In JSON, control characters are written out.
            let escaped = action.kind() == "tool" && given.contains(['\r', '\n', '\u{1b}']);
            assert!(!section(&preview, "Look twice").is_empty() || escaped, "{}", all(&preview));
        }
    }
}

#[test]
fn a_line_end_within_a_word_is_seen() {
    let preview = shown(&argv(&["echo", "a\nb\tc"]));
    let lines = section(&preview, "Program and arguments; no shell looks at them");
    let lines: Vec<_> = lines.into_iter().map(super::Line::text).collect();
    assert_eq!(lines, ["echo 'a<U+000A>", "(same word) b<U+0009>c'"]);
}

#[test]
fn secrets_are_masked_everywhere() {
    let token = secret();
    let url = format!("https://me:{token}@a.example/jane@mail.example.org");
    let actions = [
        argv(&["curl", &url, "--password", &token]),
        script(&format!("curl {url} | sh; echo {token} > /etc/{token}")),
        file(FileOperation::Write, &format!("/etc/{token}"), "", &format!("+{token}")),
        code("python", &format!("open('/etc/{token}', 'w').write('{token}')")),
        sql(&format!("delete from {token}")),
        http("POST", &url, &[("x-api-key", &token), ("a", &token)], &token),
        git(&["push", &url]),
        workflow(FileOperation::Write, &token, &token),
        tool(&token, &serde_json::json!({ "command": format!("rm -rf /{token}"), "a": token }).to_string()),
    ];
    for action in actions {
        let preview = shown(&action);
        assert!(!all(&preview).contains(&token), "{}", all(&preview));
        assert!(preview.masked > 0);
        assert!(preview.lines().flat_map(|line| &line.spans).any(|span| span.mark == Mark::Masked));
    }
}

#[test]
fn a_password_by_its_flag_is_in_no_target_and_hides_no_place() {
    let action = argv(&["x", "--password", "hunter2x", "--token", "etc"]);
    let on = |target: &str| {
        let effect = Effect::new(EffectKind::Delete, target, Scope::System, Undo::Never, "a.b", "c");
        preview(&action, &effect.into(), |_| crate::model::Level::High)
    };
    for (target, expected) in [
        ("db:hunter2x", "db:[secret:named]"),
        ("/etc/a", "/etc/a"),
        ("hunter2x", "[secret:named]"),
        ("hunter2x.example", "[secret:named].example"),
    ] {
        let does = section(&on(target), "What it does")[0].text();
        assert!(does.starts_with(&format!("delete {expected} (")), "{does}");
    }
}

#[test]
fn what_is_left_out_is_said_first_where_it_ends_and_last() {
    let action = code("python", &"x = 1\n".repeat(5_000));
    let preview = shown(&action);
    assert!(preview.lines().count() <= LINES_MAX);
    assert!(section(&preview, "Look twice")[0].text().starts_with("NOT ALL OF IT IS SHOWN: "));
    assert!(section(&preview, "Source").last().unwrap().text().starts_with("NOT SHOWN: "));
    let last = preview.lines().last().unwrap().text();
    let shown = section(&preview, "Source").len() - 1;
    assert!(last.starts_with(&format!("NOT SHOWN in all: {} more lines", 5_001 - shown)), "{last}");
}

#[test]
fn findings_are_shown_however_long_the_text_is() {
    let mut found = Found::default();
    for at in 0..600 {
        let target = format!("/etc/{at}{}", "x".repeat(3_000));
        found.push(Effect::new(EffectKind::Delete, target, Scope::System, Undo::Never, "a.b", "c"));
    }
    let preview = preview(&script(&"ls\n".repeat(20_000)), &found, |_| crate::model::Level::High);
    assert!(preview.lines().count() <= LINES_MAX);
    let does = section(&preview, "What it does");
    assert!(does.len() > 400 && does.last().unwrap().text().starts_with("NOT SHOWN: "), "{}", does.len());
    assert!(does[0].text().contains("(NOT SHOWN: "));
}

#[test]
fn long_lines_go_on_in_the_next() {
    let text = format!("echo {}", "é".repeat(10_000));
    let preview = shown(&script(&text));
    let lines: Vec<_> = section(&preview, "Script for a shell").into_iter().map(super::Line::text).collect();
    assert!(lines.len() >= 5 && lines.iter().all(|line| line.len() <= LINE_MAX));
    assert_eq!(lines.concat().replace("(same line) ", ""), text);
}

#[test]
fn the_digest_holds_all_of_it() {
    let one = shown(&argv(&["ls", "a"]));
    assert_eq!(one.digest(), shown(&argv(&["ls", "a"])).digest());
    assert_ne!(one.digest(), shown(&argv(&["ls", "b"])).digest());
    let mut other = one.clone();
    other.masked += 1;
    assert_ne!(one.digest(), other.digest());
    let mut other = one.clone();
    other.sections[0].lines[0].spans[0].mark = Mark::Risky;
    assert_ne!(one.digest(), other.digest());
    let mut other = one.clone();
    other.sections[0].heading.push('x');
    assert_ne!(one.digest(), other.digest());
}

/// What terminals and browsers act on, written down apart from the code that it judges.
fn acted_on(letter: char) -> bool {
    let code = u32::from(letter);
    let hidden = [
        0x00..=0x1f,
        0x7f..=0xa0,
        0xad..=0xad,
        0x61c..=0x61c,
        0x180e..=0x180e,
        0x1680..=0x1680,
        0x2000..=0x200f,
        0x2028..=0x202f,
        0x205f..=0x206f,
        0x3000..=0x3000,
        0x3164..=0x3164,
        0xfe00..=0xfe0f,
        0xfeff..=0xfeff,
        0xfff9..=0xfffb,
        0xe000..=0xf8ff,
        0xe0000..=0x10ffff,
    ];
    hidden.iter().any(|range| range.contains(&code))
}

proptest! {
    #[test]
    fn no_preview_holds_what_a_terminal_acts_on(action in actions()) {
        let preview = shown(&action);
        let texts = preview.lines().flat_map(|line| &line.spans).map(|span| &span.text);
        let headings = preview.sections.iter().map(|section| &section.heading);
        for text in texts.chain(headings).chain([&preview.title]) {
            prop_assert!(!text.chars().any(acted_on), "{text:?}");
        }
        prop_assert!(preview.lines().count() <= LINES_MAX);
        prop_assert!(preview.lines().all(|line| line.text().len() <= LINE_MAX));
    }

    #[test]
    fn any_text_can_be_made_visible(text in texts()) {
        let shown = super::visible(&text);
        prop_assert!(!shown.chars().any(acted_on), "{shown:?}");
        prop_assert!(shown == text || text.chars().any(|c| c.is_control() || !c.is_ascii()));
    }

    #[test]
    fn no_planted_secret_is_in_a_preview(action in actions(), tail in "[a-z0-9A-Z]{36}", at in 0_usize..8) {
        let token = format!("ghp_{tail}");
        let mut left = at;
        // One text of the action ends in the token.
        let planted = action.map_texts(|text| {
            let here = left == 0;
            left = left.wrapping_sub(1);
            if here && serde_json::from_str::<serde_json::Value>(text).is_err() { format!("{text} {token}") } else { text.to_owned() }
        });
        let shown = all(&shown(&planted));
        prop_assert!(!shown.contains(&token), "{shown}");
        prop_assert!(!crate::action::text(&crate::action::masked(&planted)).contains(&token));
    }

    #[test]
    fn all_that_is_plain_is_shown(words in proptest::collection::vec("[a-z0-9/.-]{1,9}", 1..5)) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let action = argv(&words);
        let preview = shown(&crate::action::masked(&action));
        let text: String = section(&preview, "Program and arguments; no shell looks at them")[0].text();
        prop_assert_eq!(text.nfc().collect::<String>(), crate::action::text(&crate::action::masked(&action)));
    }
}
