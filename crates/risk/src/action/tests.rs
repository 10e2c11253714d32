use proptest::prelude::*;
use quarterdeck_core::action::{Action, FileOperation};

use super::{found, json, masked, text};
use crate::model::{Context, EffectKind, Level};
use crate::weigh;

pub fn argv(words: &[&str]) -> Action {
    let argv = words.iter().map(|word| (*word).to_owned()).collect();
    Action::Command { argv, script: String::new(), cwd: String::new(), environment: Vec::new() }
}

pub fn script(text: &str) -> Action {
    let (argv, cwd, environment) = (Vec::new(), String::new(), Vec::new());
    Action::Command { argv, script: text.into(), cwd, environment }
}

pub fn file(operation: FileOperation, path: &str, destination: &str, diff: &str) -> Action {
    Action::File { path: path.into(), operation, destination: destination.into(), diff: diff.into() }
}

pub fn http(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Action {
    let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Action::Http { method: method.into(), url: url.into(), headers, body: body.into() }
}

pub fn git(words: &[&str]) -> Action {
    Action::Git { arguments: words.iter().map(|word| (*word).to_owned()).collect(), cwd: String::new() }
}

pub fn code(language: &str, source: &str) -> Action {
    Action::Code { language: language.into(), source: source.into() }
}

pub fn sql(text: &str) -> Action {
    Action::Sql { dialect: "postgres".into(), text: text.into() }
}

pub fn workflow(operation: FileOperation, name: &str, definition: &str) -> Action {
    Action::Workflow { name: name.into(), operation, definition: definition.into() }
}

pub fn tool(name: &str, arguments: &str) -> Action {
    Action::Tool { name: name.into(), arguments: arguments.into() }
}

/// Made up when the test runs, so that no scanner finds a secret in this file.
pub fn secret() -> String {
    format!("ghp_{}", "a8Zk3QxR7mB2vN9tLw5Jp1Hc6YdS4gFe0uTq")
}

fn level(action: &Action) -> Level {
    weigh::total(&found(action, &Context::default()), &Context::default())
}

/// What findings of this rule point at.
fn pointed(action: &Action, rule: &str) -> Vec<String> {
    let found = found(action, &Context::default());
    let effects = found.effects.iter().map(|effect| (&effect.rule, &effect.span));
    let gaps = found.unresolved.iter().map(|gap| (&gap.rule, &gap.span));
    let text = text(action);
    let fits = effects.chain(gaps).filter(|(name, _)| name.as_str() == rule);
    fits.map(|(_, span)| text[span.clone()].to_owned()).collect()
}

#[test]
fn the_text_is_what_would_be_typed() {
    let rows = [
        (argv(&["rm", "-rf", "a b", "it's", "", "$x"]), r"rm -rf 'a b' 'it'\''s' '' '$x'"),
        (script("ls | wc"), "ls | wc"),
        (file(FileOperation::Write, "a.txt", "", "+new"), "write a.txt\n+new"),
        (file(FileOperation::Move, "a", "b c", ""), "move a -> b c"),
        (code("python", "print(1)"), "print(1)"),
        (sql("select 1"), "select 1"),
        (
            http("POST", "https://a.b/c", &[("x", "y"), ("z", "")], "{}"),
            "POST https://a.b/c\nx: y\nz: \n\n{}",
        ),
        (git(&["commit", "-m", "a b"]), "git commit -m 'a b'"),
        (workflow(FileOperation::Write, "ci.yml", "on: push"), "write ci.yml\non: push"),
        (
            tool("t", r#"{"a":[1,{"b":"A"}],"c":{}}"#),
            "t\n{\n  \"a\": [\n    1,\n    {\n      \"b\": \"A\"\n    }\n  ],\n  \"c\": {}\n}",
        ),
        (tool("t", "no json"), "t\nno json"),
    ];
    for (action, expected) in rows {
        assert_eq!(text(&action), expected);
    }
}

#[test]
fn spans_point_at_what_is_meant() {
    use FileOperation as F;
    let token = secret();
    let with_secret = |head: &str| format!("{head}{token}\n");
    let bearer = format!("Bearer {token}");
    let rows = [
        (script("echo hi; rm -rf /etc"), "path.delete.outside", "rm -rf /etc"),
        (argv(&["rm", "-rf", "/etc/a b"]), "path.delete.outside", "rm -rf '/etc/a b'"),
        (argv(&["it's", "é"]), "shell.unknown_program", r"'it'\''s' é"),
        (file(F::Delete, "/etc/passwd", "", ""), "path.delete.outside", "/etc/passwd"),
        (file(F::Move, "x", "/etc/passwd", ""), "path.write.outside", "/etc/passwd"),
        (file(F::Move, "/etc/passwd", "x", ""), "path.delete.outside", "/etc/passwd"),
        (file(F::Write, "é.txt", "", &with_secret("a\nkey ")), "file.secret", &token),
        (
            code("python", "x = 1\nimport os\nos.system('rm -rf /etc')"),
            "path.delete.outside",
            "os.system('rm -rf /etc')",
        ),
        (code("cobol", "é"), "code.language", "é"),
        (sql("select 'é'; delete from users"), "sql.delete.all", "delete from users"),
        (
            http("GET", "https://a.example/?q=é", &[("x", "1"), ("Authorization", &bearer)], ""),
            "http.header.credential",
            &format!("Authorization: {bearer}"),
        ),
        (http("POST", "https://a.example/x", &[], &token), "http.body.secret", &token),
        (
            http("GET", "http://169.254.169.254/latest", &[("a", "b")], ""),
            "http.metadata",
            "GET http://169.254.169.254/latest",
        ),
        (
            http("GET", "https://a.example/x", &[("a", "b\r\nHost: c")], ""),
            "http.broken",
            "GET https://a.example/x\na: b\r\nHost: c",
        ),
        (git(&["push", "--force", "a b"]), "program.git", "git push --force 'a b'"),
        (
            workflow(F::Write, ".github/workflows/ci.yml", "on: push"),
            "workflow.write",
            ".github/workflows/ci.yml",
        ),
        (workflow(F::Write, "nightly", &with_secret("key: ")), "file.secret", &token),
        (tool("deploy", "{}"), "tool.unknown", "deploy"),
        (
            tool("t", r#"{"a":"\u0041","command":"echo \"é\u0022\n; rm -rf /etc"}"#),
            "path.delete.outside",
            "rm -rf /etc",
        ),
        (
            tool("t", r#"{"command":["rm","-rf","/etc"]}"#),
            "path.delete.outside",
            "rm\",\n    \"-rf\",\n    \"/etc",
        ),
        (tool("t", r#"{"path":"/etc/passwd"}"#), "path.write.outside", "/etc/passwd"),
        (tool("t", r#"{"sql":"drop table users"}"#), "sql.drop", "drop table users"),
        (tool("t", r#"{"query":"drop table users"}"#), "sql.drop", "drop table users"),
        (tool("t", r#"{"url":"http://169.254.169.254/"}"#), "http.metadata", "http://169.254.169.254/"),
        (
            tool("t", r#"{"code":"import os\nos.remove('/etc/passwd')"}"#),
            "path.delete.outside",
            "os.remove('/etc/passwd')",
        ),
    ];
    for (action, rule, expected) in rows {
        let pointed = pointed(&action, rule);
        let all = found(&action, &Context::default());
        assert!(pointed.iter().any(|text| text == expected), "{rule} {expected:?}: {pointed:?} of {all:#?}");
    }
}

#[test]
fn a_level_for_each_kind() {
    use FileOperation as F;
    let rows = [
        (argv(&["ls", "-l"]), Level::Low),
        (argv(&["rm", "-rf", "/"]), Level::High),
        (argv(&["echo", "; rm -rf /"]), Level::Low),
        (script("ls | wc -l"), Level::Low),
        (file(F::Read, "src/main.rs", "", ""), Level::Low),
        (file(F::Write, "src/main.rs", "", "+x"), Level::Low),
        (file(F::Write, "src/main.rs", "", &secret()), Level::High),
        (file(F::Move, "src/a.rs", "/etc/a", ""), Level::High),
        (file(F::Move, "/home/agent/.ssh/id_rsa", "a", ""), Level::High),
        (code("python", "print(1)"), Level::Low),
        (code("bash", "rm -rf /"), Level::High),
        (code("cobol", "x"), Level::Medium),
        (sql("select 1"), Level::Low),
        (git(&["status"]), Level::Low),
        (git(&["push", "--force"]), Level::Medium),
        (http("GET", "https://a.example/x", &[], ""), Level::Low),
        (workflow(F::Read, ".github/workflows/ci.yml", ""), Level::Low),
        (workflow(F::Write, "nightly", "on: push"), Level::High),
        (workflow(F::Delete, "nightly", ""), Level::High),
        (workflow(F::Append, "nightly", ""), Level::High),
        (workflow(F::Move, "nightly", ""), Level::High),
        (tool("read_file", "{}"), Level::Medium),
        (tool("t", r#"{"path":"src/a.rs"}"#), Level::Medium),
        (tool("t", r#"{"cmd":"rm -rf /"}"#), Level::High),
        (tool("t", r#"{"deep":[{"steps":[{"command":["rm","-rf","/"]}]}]}"#), Level::High),
        (tool("t", r#"{"commands":["ls -l","rm -rf /"]}"#), Level::High),
        (tool("t", r#"{"cmd":"\u0072\u006d -rf /"}"#), Level::High),
        (tool("t", r#"{"cmd":"ls","cmd":"rm -rf /"}"#), Level::High),
        (tool("search", r#"{"query":"how to drop a table"}"#), Level::Medium),
    ];
    for (action, expected) in rows {
        assert_eq!(level(&action), expected, "{}: {:#?}", text(&action), found(&action, &Context::default()));
    }
}

#[test]
fn the_directory_counts() {
    let at = |cwd: &str| Action::Command {
        argv: ["rm", "-rf", "target"].map(str::to_owned).to_vec(),
        script: String::new(),
        cwd: cwd.into(),
        environment: Vec::new(),
    };
    for (cwd, expected) in [
        ("", Level::Low),
        ("crates", Level::Low),
        ("/home/agent/project/sub", Level::Low),
        ("..", Level::High),
        ("/etc", Level::High),
        ("crates/../../..", Level::High),
        ("$SOMEWHERE", Level::High),
        ("proj\u{200b}ect", Level::Medium),
    ] {
        assert_eq!(level(&at(cwd)), expected, "{cwd}");
    }
}

#[test]
fn a_variable_that_runs_code_asks() {
    let with = |name: &str| Action::Command {
        argv: vec!["ls".into()],
        script: String::new(),
        cwd: String::new(),
        environment: vec!["PATH".into(), name.into()],
    };
    assert_eq!(level(&with("HOME")), Level::Low);
    for name in ["LD_PRELOAD", "BASH_ENV", "BASH_FUNC_ls%%", "NODE_OPTIONS"] {
        assert_eq!(level(&with(name)), Level::Medium, "{name}");
    }
}

#[test]
fn what_is_too_long_is_a_gap() {
    let long = http("GET", "https://a.example", &[("a", &"x".repeat(70_000))], "");
    let found = found(&long, &Context::default());
    assert_eq!(found.unresolved[0].rule, "limit.text");
    assert_eq!(found.unresolved[0].span, 0..text(&long).len());
    let many = format!("{{\"path\":[{}]}}", vec!["\"a\""; 60].join(","));
    assert_eq!(pointed(&tool("t", &many), "limit.arguments").len(), 1);
}

#[test]
fn secrets_are_masked_where_they_stand() {
    let token = secret();
    let rows = [
        (argv(&["curl", "--token", "hunter"]), "curl --token '[secret:named]'"),
        (argv(&["x", "--password=hunter", "y"]), "x '--password=[secret:named]' y"),
        (argv(&["x", "--password", "-rf", "/"]), "x --password -rf /"),
        (argv(&["x", "--no-password", "y"]), "x --no-password y"),
        (argv(&["x", "--password-file", "y"]), "x --password-file y"),
        (argv(&["mkdir", "-p", "hunter"]), "mkdir -p hunter"),
        (argv(&["sudo", "mysql", "-phunter", "-u", "root"]), "sudo mysql '-p[secret:named]' -u root"),
        (argv(&["sshpass", "-p", "hunter", "ssh"]), "sshpass -p '[secret:named]' ssh"),
        (argv(&["docker", "login", "-p", "hunter"]), "docker login -p '[secret:named]'"),
        (argv(&["curl", "-u", "me:hunter"]), "curl -u 'me:[secret:named]'"),
        (argv(&["curl", "-H", "Authorization: Basic x"]), "curl -H 'Authorization: [secret:named]'"),
        (argv(&["env", "DB_PASSWORD=hunter", "x"]), "env 'DB_PASSWORD=[secret:named]' x"),
        (argv(&["env", "DB_PASSWORD=$X", "bypass=1", "PWD=/etc"]), "env 'DB_PASSWORD=$X' bypass=1 PWD=/etc"),
        (
            argv(&["it's", "a'jane@mail.example.org'b'jim@mail.example.org"]),
            r"'it'\''s' 'a'\''[email]'\''b'\''[email]'",
        ),
        (git(&["clone", "--token", "hunter"]), "git clone --token '[secret:named]'"),
        (script("x --token 'hunter' && ls"), "x --token '[secret:named]' && ls"),
        (script("x --token $(rm -rf /)"), "x --token $(rm -rf /)"),
        (script("x --token \"a $(rm -rf /)\""), "x --token \"a $(rm -rf /)\""),
        (script("x --token; rm"), "x --token; rm"),
        (script(r"x --token $'a\' --password 'b; rm -rf /'"), r"x --token $'a\' --password 'b; rm -rf /'"),
        (
            http("GET", "https://a.example", &[("COOKIE", "a"), ("X-Api-Key", "b"), ("accept", "c")], ""),
            "GET https://a.example\nCOOKIE: [secret:header]\nX-Api-Key: [secret:header]\naccept: c",
        ),
        (
            http("POST", "https://a.example", &[], r#"{"password":"hunter"}"#),
            "POST https://a.example\n\n{\"password\":\"[secret:named]\"}",
        ),
        (file(FileOperation::Write, "a", "", &format!("a {token} b")), "write a\na [secret:github-token] b"),
        (sql("select 'jane@mail.example.org'"), "select '[email]'"),
        (workflow(FileOperation::Write, "w", &token), "write w\n[secret:github-token]"),
        (script(&format!("echo {}\u{200b}{}", &token[..10], &token[10..])), "echo [secret:github-token]"),
    ];
    for (action, expected) in rows {
        let masked = masked(&action);
        assert_eq!(text(&masked), expected);
        assert_eq!(super::masked(&masked), masked, "again: {expected}");
    }
}

#[test]
fn arguments_of_tools_stay_json() {
    let token = secret();
    let rows = [
        (r#"{"a": 1}"#.to_owned(), r#"{"a": 1}"#),
        (
            format!(r#"{{"a": "{token}", "b": 12345678901234567890}}"#),
            r#"{"a":"[secret:github-token]","b":12345678901234567890}"#,
        ),
        (
            r#"{"password": "hunter", "tokens": "x"}"#.to_owned(),
            r#"{"password":"[secret:named]","tokens":"x"}"#,
        ),
        (r#"{"card": 4111111111111111}"#.to_owned(), r#"{"card":"[card]"}"#),
        (r#"["jane\u0040mail.example.org\n"]"#.to_owned(), r#"["[email]\n"]"#),
        (
            format!(r#"{{"{token}": 1, "{token}": 2}}"#),
            r#"{"[secret:github-token]":1,"[secret:github-token]":2}"#,
        ),
        (format!(r#"["gh\u0070_{}"]"#, &token[4..]), r#"["[secret:github-token]"]"#),
        (r#"["\ud800", "jane@mail.example.org"]"#.to_owned(), r#"["\ud800","[email]"]"#),
    ];
    for (given, expected) in rows {
        assert_eq!(json::masked(&given), expected);
        assert_eq!(json::masked(expected), expected);
    }
}

#[test]
fn nested_json_grows_by_a_factor() {
    let deep = "[".repeat(30_000) + &"]".repeat(30_000);
    assert!(text(&tool("t", &deep)).len() < 70_000);
    let keyed = format!("{{\"{}\":{}{}}}", "k".repeat(20_000), "[".repeat(20_000), "]".repeat(20_000));
    found(&tool("t", &keyed), &Context::default());
}

/// Texts that are made of what actions are made of.
pub fn texts() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just(" ".to_owned()),
        Just("\n".to_owned()),
        Just("\t".to_owned()),
        Just("'".to_owned()),
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just("rm -rf /".to_owned()),
        Just("--token".to_owned()),
        Just("é\u{202e}".to_owned()),
        Just("\u{1b}[2K\r".to_owned()),
        Just("jane@mail.example.org".to_owned()),
        Just(" ".repeat(50)),
        Just("\n".repeat(9)),
        Just("раура".to_owned()),
        "\\PC{1,6}",
        any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

pub fn actions() -> impl Strategy<Value = Action> {
    let operation = prop_oneof![
        Just(FileOperation::Read),
        Just(FileOperation::Write),
        Just(FileOperation::Append),
        Just(FileOperation::Delete),
        Just(FileOperation::Move),
    ];
    let many = || proptest::collection::vec(texts(), 1..4);
    (0..9, operation, many(), texts(), texts(), texts()).prop_map(|(kind, operation, many, a, b, c)| {
        match kind {
            0 => Action::Command { argv: many, script: String::new(), cwd: b, environment: vec![c] },
            1 => Action::Command { argv: Vec::new(), script: format!("x{a}"), cwd: b, environment: vec![c] },
            2 => Action::File { path: a, operation, destination: b, diff: c },
            3 => Action::Code { language: "python".into(), source: a },
            4 => Action::Sql { dialect: b, text: a },
            5 => Action::Http {
                method: a,
                url: format!("https://{b}"),
                headers: many.into_iter().map(|v| (c.clone(), v)).collect(),
                body: c,
            },
            6 => Action::Git { arguments: many, cwd: b },
            7 => Action::Workflow { name: a, operation, definition: b },
            _ => Action::Tool {
                name: a,
                arguments: serde_json::json!({"command": b, "path": [c], "x": many}).to_string(),
            },
        }
    })
}

proptest! {
    #[test]
    fn spans_lie_in_the_text(action in actions()) {
        let found = found(&action, &Context::default());
        let text = text(&action);
        let effects = found.effects.iter().map(|effect| &effect.span);
        for span in effects.chain(found.unresolved.iter().map(|gap| &gap.span)) {
            prop_assert!(text.get(span.clone()).is_some(), "{span:?} of {text:?}");
        }
    }

    #[test]
    fn what_is_found_and_masked_is_the_same_each_time(action in actions()) {
        let context = Context::default();
        prop_assert_eq!(found(&action, &context), found(&action, &context));
        let once = masked(&action);
        prop_assert_eq!(once.kind(), action.kind());
        prop_assert_eq!(masked(&once), once);
    }

    #[test]
    fn a_change_of_what_runs_by_itself_is_never_low(name in texts(), definition in texts()) {
        for operation in [FileOperation::Write, FileOperation::Append, FileOperation::Delete, FileOperation::Move] {
            prop_assert!(level(&workflow(operation, &name, &definition)) > Level::Low);
        }
    }

    #[test]
    fn a_tool_is_never_low(action in (texts(), texts()).prop_map(|(name, value)| tool(&name, &serde_json::json!({"command": value}).to_string()))) {
        prop_assert!(level(&action) > Level::Low);
    }
}

#[test]
fn a_secret_in_a_file_is_a_credential() {
    let found = found(&file(FileOperation::Write, "src/a.rs", "", &secret()), &Context::default());
    assert!(found.effects.iter().any(|effect| effect.kind == EffectKind::Credential));
}
