//! Libraries that speak to services, that run programs, and what whoever asks is given.

use super::*;

#[test]
fn libraries_do_what_their_programs_do() {
    check(
        L::Python,
        true,
        &[
            "repo = git.Repo('.')\nrepo.git.reset('--hard', 'origin/main')",
            "repo = git.Repo('.')\nrepo.remotes.origin.push('+HEAD:main')",
            "operator.attrgetter('call')(sys.modules['sub' + 'process'])(x, shell=True)",
            "keyring.get_password('bank', 'me')",
            "sh.sudo('ufw', 'disable')",
            "with git.Repo('.').config_writer() as c:\n    c.set_value('core', 'hooksPath', '/dev/null')",
            "socket.gethostbyname(os.environ.get('TOKEN').encode().hex()[:60] + '.x.example')",
            "log.info('%s', os.environ['DB_PASSWORD'])",
            "def mock_aws(f):\n    return f\n@mock_aws\ndef t():\n    boto3.client('s3').delete_bucket(Bucket='b')",
            "CronTab(user=True)",
            "AutoModel.from_pretrained(x, trust_remote_code=True)",
        ],
    );
    check(
        L::JavaScript,
        true,
        &[
            "const git = simpleGit();\nawait git.push('origin', 'main', ['--force'])",
            "await $`npm publish`",
            "await s3.send(new DeleteBucketCommand({ Bucket: 'x' }))",
            "await iam.send(new AttachUserPolicyCommand({ UserName: u }))",
            "await knex('accounts').truncate()",
            "app.use(express.static('/'))",
            "await rm(`${process.env.HOME}/Documents`, { recursive: true })",
            "el.innerHTML = location.hash.slice(1)",
            "app.use(cors({ origin: true, credentials: true }))",
            "[].filter.constructor(x)()",
        ],
    );
    check(L::Go, true, &["h, _ := os.UserHomeDir()\nhttp.FileServer(http.Dir(h))"]);
}

#[test]
fn what_libraries_do_within_the_project_is_not_asked() {
    check(
        L::Python,
        false,
        &[
            "repo = git.Repo('.')\nrepo.index.add(['a.py'])\nrepo.index.commit('x')",
            "repo = git.Repo('.')\nprint(repo.git.status('--short'))",
            "@mock_aws\ndef t():\n    boto3.client('s3').delete_bucket(Bucket='b')",
            "ec2 = boto3.client('ec2')\nec2.terminate_instances(InstanceIds=['i'], DryRun=True)",
            "r = fakeredis.FakeRedis()\nr.flushall()",
            "about = {}\nexec(open('src/acme/version.py').read(), about)",
        ],
    );
    check(
        L::JavaScript,
        false,
        &[
            "globSync('dist/**/*.map').forEach((m) => fs.unlinkSync(m))",
            "app.use(cors({ origin: 'https://a.example', credentials: true }))",
            "app.use(express.static('public'))",
            "await $`git status`",
            "const d = new Database(':memory:');\nd.exec('DROP TABLE t')",
        ],
    );
    check(L::Ruby, false, &["def build(&block)\n  tap { |b| b.instance_eval(&block) }\nend"]);
}
