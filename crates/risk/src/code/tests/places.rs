//! Files, databases and addresses whose place is known.

use super::*;

#[test]
fn what_lies_in_a_known_place_is_judged_by_it() {
    check(
        L::Python,
        false,
        &[
            "ROOT = Path(__file__).resolve().parent\nfor name in ('build', 'dist'):\n    shutil.rmtree(ROOT / name)",
            "def test_x(tmp_path):\n    shutil.rmtree(tmp_path / 'run')",
            "for p in Path('build').rglob('*.o'):\n    p.unlink()",
            "db = sqlite3.connect(':memory:')\ndb.execute('DELETE FROM t')",
            "runs = [['ruff', 'check'], ['mypy', 'src']]\nx = [c for c in runs if subprocess.run(c).returncode]",
            "pickle.loads(pickle.dumps(x))",
            "os.kill(pid, 0)",
            "s = socket.socket()\ns.bind(('127.0.0.1', 0))",
            "ThreadingHTTPServer(('127.0.0.1', 0), Handler)",
        ],
    );
    check(
        L::JavaScript,
        false,
        &[
            "let d;\nbeforeEach(() => { d = fs.mkdtempSync('x'); });\nafterEach(() => fs.rmSync(d, { recursive: true }));",
            "expect(require('child_process').exec).not.toHaveBeenCalled()",
        ],
    );
    check(L::TypeScript, false, &["export const A = ({ n }: Props) => <b onClick={() => go(n)}>{n}</b>;"]);
    check(L::TypeScript, false, &["const rows = await sql<User[]>`SELECT a FROM t WHERE b = ${c}`;"]);
    check(L::Ruby, false, &["FileUtils.rm_rf(Rails.root.join('tmp', 'cache'))"]);
    check(
        L::Go,
        false,
        &["func TestX(t *testing.T) {\n\tos.RemoveAll(filepath.Join(t.TempDir(), \"old\"))\n}"],
    );
    check(
        L::Rust,
        false,
        &["let t = tempfile::tempdir().unwrap();\nstd::fs::remove_dir_all(t.path()).unwrap();"],
    );
}

#[test]
fn a_place_that_is_not_certain_is_asked() {
    check(
        L::Python,
        true,
        &[
            "for p in Path('/srv').rglob('*.log'):\n    p.unlink()",
            "shutil.rmtree(Path(__file__).parent / name)",
            "shutil.rmtree(Path(__file__).parents[4])",
            "db = sqlite3.connect('app.db')\ndb.execute('DELETE FROM t')",
            "os.kill(pid, 9)",
            "s.connect(('10.0.0.5', 4444))",
            "s.bind(('0.0.0.0', 80))",
            "for p in psutil.process_iter():\n    p.kill()",
            "api.delete_namespaced_deployment(n, 'shop')",
        ],
    );
    check(
        L::JavaScript,
        true,
        &[
            "let d;\nfunction a() { d = '/srv'; }\nfunction b() { d = fs.mkdtempSync('x'); fs.rmSync(d, { recursive: true }); }\nfs.rmSync(d, { recursive: true })",
        ],
    );
    check(L::Rust, true, &["unsafe { std::mem::transmute::<*const u8, &T>(p) }"]);
}
