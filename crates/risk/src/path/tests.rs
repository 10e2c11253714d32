use proptest::prelude::*;

use super::table::{Table, compile};
use super::*;
use crate::model::{Context, EffectKind, Level};
use crate::weigh::weigh;

fn level(operation: Operation, path: &str) -> Level {
    let context = Context::default();
    weigh(&super::operation(operation, path, &context), &context).0
}

fn check(operation: Operation, asked: bool, paths: &[&str]) {
    for path in paths {
        assert_eq!(level(operation, path) > Level::Low, asked, "{operation:?} {path}");
    }
}

#[test]
fn the_shipped_table_parses_and_all_its_globs_compile() {
    let table = Table::parse().expect("data/paths.toml");
    assert!(table.globs().count() > 300);
    for glob in table.globs() {
        assert!(compile(glob).is_ok(), "{glob}");
    }
}

#[test]
fn one_place_has_one_writing() {
    let rows = [
        ("src/./a//b/../c", "/home/agent/project/src/a/c"),
        ("../../../../../../etc/hosts", "/etc/hosts"),
        ("~/x", "/home/agent/x"),
        ("~root/.ssh", "/root/.ssh"),
        ("$HOME/x", "/home/agent/x"),
        ("${PWD}/x", "/home/agent/project/x"),
        ("file:///etc/%73hadow", "/etc/shadow"),
        ("file://localhost/etc/hosts", "/etc/hosts"),
        ("/proc/self/root/etc/hosts", "/etc/hosts"),
        ("/proc/1/cwd/x", "/home/agent/project/x"),
        ("/private/etc/hosts", "/etc/hosts"),
        ("s3://bucket/a/../b", "s3://bucket/b"),
        ("/etc/\u{200b}shadow", "/etc/shadow"),
        ("\u{ff0f}etc\u{ff0f}shadow", "/etc/shadow"),
        ("C:\\Users\\x\\..\\y", "C:/Users/y"),
        ("//etc///hosts", "/etc/hosts"),
    ];
    for (written, expected) in rows {
        assert_eq!(canonical(written, &Context::default()).as_deref(), Some(expected), "{written}");
    }
    assert_eq!(canonical("$ELSEWHERE/x", &Context::default()), None);
}

#[test]
fn a_place_is_somebodys() {
    let rows = [
        ("src/main.rs", Scope::Project),
        (".", Scope::Project),
        (".git/config", Scope::Guard),
        (".github/workflows/ci.yml", Scope::Guard),
        ("../neighbour/x", Scope::Home),
        ("/home/agent/project2/x", Scope::Home),
        ("/Users/else/x", Scope::Home),
        ("/root/x", Scope::Home),
        ("/tmp/x", Scope::Temp),
        ("/tmp", Scope::System),
        ("/var/tmp/a/b", Scope::Temp),
        ("/dev/null", Scope::Temp),
        ("/dev/sda", Scope::System),
        ("/mnt/share/x", Scope::Remote),
        ("s3://bucket/x", Scope::Remote),
        ("/", Scope::System),
        ("/usr/bin/env", Scope::System),
        ("$SOMEWHERE/x", Scope::Unknown),
    ];
    for (path, expected) in rows {
        assert_eq!(locate(path, &Context::default()).scope, expected, "{path}");
    }
}

#[test]
fn relative_paths_begin_where_the_action_does() {
    let context = Context { cwd: "/etc".to_owned(), ..Context::default() };
    assert!(locate("shadow", &context).secret);
    assert_eq!(locate("hosts", &context).scope, Scope::System);
}

#[test]
fn secrets_are_read_by_nobody_unseen() {
    let paths = [
        "services/api/.env.staging",
        ".env.local.bak",
        "~/.ssh/id_ecdsa",
        "/home/else/.ssh/id_rsa",
        "certs/tls.key",
        "~/.aws/credentials",
        "~/.azure/accessTokens.json",
        "~/.config/gcloud/credentials.db",
        "/etc/gshadow",
        "/proc/1/environ",
        "~/.gnupg/secring.gpg",
        "~/.bash_history",
        "infra/terraform.tfstate",
        "kubeconfig",
        "/run/secrets/db_password",
        "~/.mozilla/firefox/x.default/logins.json",
        "config/master.key",
        "~/.pgpass",
        "deploy/secrets.yml",
        "backup/wallet.dat",
        "~/.docker/config.json",
        "release.keystore",
        "ops/vault.yml",
        "/etc/ssl/private/site.pem",
        "~/.ss*/id_*",
        "/etc/sh?dow",
        "~/.SSH/ID_RSA",
        "app/credentials.json",
        "/etc/./sudoers",
        "~/Library/Keychains/login.keychain-db",
        "gha-service-account.json",
        "/etc/shado[w]",
    ];
    check(Operation::Read, true, &paths);
}

#[test]
fn what_only_sounds_secret_is_read() {
    let paths = [
        "src/secrets.rs",
        "src/secrets/mod.rs",
        ".env.sample",
        "docs/tokens.md",
        "~/.ssh/known_hosts",
        "~/.ssh/key.pub",
        "web/passwords.test.ts",
        "certs/ca.pem",
        "/etc/hosts",
        "/usr/share/dict/words",
        "tests/keys_test.go",
        "src/environment.ts",
        "public/keyboard.svg",
        "i18n/de/login.key",
        ".git/logs/HEAD",
        "*.json",
        "src/*",
        "/tmp/x",
        "package.json",
        "locales/en.json",
        "envoy.yaml",
        "docs/.env.md.example",
        "Makefile",
        "src/key.rs",
        "monkey.txt",
    ];
    check(Operation::Read, false, &paths);
}

#[test]
fn writing_what_runs_later_or_outside_is_asked() {
    let paths = [
        "~/.zshrc",
        "~/.profile",
        ".git/hooks/pre-commit",
        ".husky/pre-push",
        ".gitlab-ci.yml",
        "Jenkinsfile",
        ".circleci/config.yml",
        "/etc/cron.daily/x",
        "/etc/systemd/system/x.service",
        "~/.config/autostart/x.desktop",
        "~/Library/LaunchAgents/x.plist",
        ".devcontainer/devcontainer.json",
        ".vscode/settings.json",
        ".mcp.json",
        ".cursor/rules/x.mdc",
        "/etc/hosts",
        "/usr/bin/ls",
        "~/notes.txt",
        "../other/README.md",
        ".npmrc",
        "/etc/ld.so.preload",
        "~/.local/bin/git",
        "/dev/sda1",
        "/proc/sys/kernel/core_pattern",
        "/boot/grub/grub.cfg",
        "/mnt/backup/x",
        "$TARGET/x",
        "~/.gitconfig",
        "/opt/app/x",
        ".pre-commit-config.yaml",
        "src/..//.git/config",
        ".github/CODEOWNERS",
        "\u{430}dmin/x\u{202e}gpj.exe",
        "tmp/../../x",
        "/tmp/../etc/passwd",
        ".cargo/config.toml",
    ];
    check(Operation::Write, true, &paths);
    check(Operation::Append, true, &paths);
}

#[test]
fn work_in_the_project_is_not_asked() {
    let paths = [
        "src/lib.rs",
        "docs/ci.md",
        "target/x.o",
        ".gitignore",
        ".gitattributes",
        ".editorconfig",
        "package.json",
        "Cargo.toml",
        "tests/fixtures/a.json",
        "Dockerfile",
        "scripts/build.sh",
        "/tmp/out.txt",
        "./a/../b.txt",
        "web/index.html",
        "/home/agent/project/x.py",
        "$PWD/y.py",
        ".prettierrc",
        "README",
        "migrations/1_users.sql",
        "/dev/null",
        ".github/ISSUE_TEMPLATE/bug.md",
        "docs/secrets.md",
        "src/hooks/useThing.ts",
    ];
    check(Operation::Write, false, &paths);
    check(Operation::Append, false, &paths);
    let built = [
        "target/debug/app",
        "node_modules/x/index.js",
        "src/old.rs",
        "/tmp/x",
        "dist/bundle.js",
        "a.pyc",
        "build",
    ];
    check(Operation::Delete, false, &built);
}

#[test]
fn deleting_what_does_not_come_back_is_asked() {
    let paths = [
        ".",
        "..",
        "/",
        "~",
        "/home/agent",
        ".git",
        ".env",
        "data/users.sqlite",
        "uploads/1.png",
        "backup.dump",
        "~/x",
        "/var/log/syslog",
        "/home/agent/project",
        "./",
        "/dev/null",
        "$X",
        "terraform.tfstate",
        "src/../..",
    ];
    check(Operation::Delete, true, &paths);
}

#[test]
fn every_effect_names_its_rule() {
    let found = super::operation(Operation::Write, "~/.ssh/authorized_keys", &Context::default());
    let kinds: Vec<_> = found.effects.iter().map(|effect| effect.kind).collect();
    assert!(kinds.contains(&EffectKind::Credential) && kinds.contains(&EffectKind::Persistence));
    assert!(found.effects.iter().all(|effect| effect.rule.starts_with("path.") && !effect.why.is_empty()));
}

proptest! {
    #[test]
    fn any_path_has_an_answer(path in ".{0,200}") {
        for operation in [Operation::Read, Operation::Write, Operation::Append, Operation::Delete] {
            let found = super::operation(operation, &path, &Context::default());
            prop_assert!(!found.effects.is_empty() || !found.unresolved.is_empty());
        }
    }

    #[test]
    fn a_canonical_path_stays_as_it_is(path in "[a-z./~ ]{0,60}") {
        if let Some(once) = canonical(&path, &Context::default()) {
            prop_assert_eq!(canonical(&once, &Context::default()), Some(once.clone()));
            prop_assert!(!once.contains("//") && !once.split('/').any(|name| name == ".."));
        }
    }
}
