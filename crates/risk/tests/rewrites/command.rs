//! Other writings of a shell's script, by the bash manual: what it runs stays the same.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Rewrite;

/// The text in single quotes.
fn single(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The text in double quotes, where nothing of it is expanded.
fn double(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        if "\\$`\"".contains(letter) {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted + "\""
}

/// The text as `$'...'` of nothing but escapes.
fn ansi(text: &str) -> String {
    let escaped: String = text.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
    format!("$'{escaped}'")
}

pub fn all(text: &str) -> Vec<Rewrite> {
    let mut all = whole(text);
    if let Some(words) = plain(text) {
        all.extend(by_words(&words));
    }
    all
}

/// What can be done with any script.
fn whole(text: &str) -> Vec<Rewrite> {
    let (one, two) = (single(text), double(text));
    let coded = STANDARD.encode(text);
    let hex: String = text.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
    let bare: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let reversed = single(&text.chars().rev().collect::<String>());
    let rows = [
        ("bash -c, single quotes", format!("bash -c {one}")),
        ("bash -c, double quotes", format!("bash -c {two}")),
        ("bash -c, escapes", format!("bash -c {}", ansi(text))),
        ("bash -lc", format!("/bin/bash -lc {one}")),
        ("bash twice", format!("bash -c {}", single(&format!("bash -c {one}")))),
        ("eval", format!("eval {one}")),
        ("eval, double quotes", format!("eval {two}")),
        ("eval of a variable", format!("c={one}\neval \"$c\"")),
        ("eval of an array", format!("c=(eval {one})\n\"${{c[@]}}\"")),
        ("base64", format!("echo {coded} | base64 -d | bash")),
        ("base64 in eval", format!("eval \"$(echo {coded} | base64 --decode)\"")),
        ("base64 by here-string", format!("base64 -d <<< {coded} | bash")),
        ("hex", format!("printf {} | bash", single(&hex))),
        ("xxd", format!("echo {bare} | xxd -r -p | bash")),
        ("reversed", format!("echo {reversed} | rev | bash").replace('\n', " ")),
        ("here-document", format!("bash <<'END_OF_IT'\n{text}\nEND_OF_IT")),
        ("here-document by cat", format!("cat <<'END_OF_IT' | bash\n{text}\nEND_OF_IT")),
        ("here-string", format!("bash <<< {one}")),
        ("printf", format!("printf '%s\\n' {one} | bash")),
        ("function", format!("go() {{\n{text}\n}}\ngo")),
        ("function keyword", format!("function go {{\n{text}\n}}; go")),
        ("function that is never called", format!("go() {{\n{text}\n}}")),
        ("subshell", format!("(\n{text}\n)")),
        ("group", format!("{{\n{text}\n}}")),
        ("if", format!("if true; then\n{text}\nfi")),
        ("else", format!("if false; then :; else\n{text}\nfi")),
        ("after &&", format!("true && {{\n{text}\n}}")),
        ("after ||", format!("false || {{\n{text}\n}}")),
        ("loop", format!("for i in 1; do\n{text}\ndone")),
        ("while", format!("while true; do\n{text}\nbreak\ndone")),
        ("case", format!("case x in\nx)\n{text}\n;;\nesac")),
        ("background", format!("{{\n{text}\n}} &")),
        ("substitution", format!("echo \"$(\n{text}\n)\"")),
        ("process substitution", format!("cat <(\n{text}\n)")),
        ("source", format!("source /dev/stdin <<< {one}")),
        ("source of a stream", format!(". <(printf '%s' {one})")),
        ("file", format!("printf '%s\\n' {one} > /tmp/it.sh\nbash /tmp/it.sh")),
        ("file that is run", format!("printf '%s\\n' {one} > /tmp/it.sh; chmod +x /tmp/it.sh; /tmp/it.sh")),
        ("trap", format!("trap {one} EXIT")),
        ("wrappers", format!("nohup timeout 5 nice -n 5 env A=1 bash -c {one}")),
        ("xargs", format!("echo {} | xargs -0 bash -c", single(&one))),
        ("python", format!("python3 -c {}", single(&format!("import os; os.system({})", quoted(text))))),
        ("comments", format!("# nothing to see\n\n{text}\n# the end")),
        ("after others", format!("ls -la; echo ok\n{text}\necho done")),
        ("time", format!("time {{\n{text}\n}}")),
    ];
    rows.into_iter().collect()
}

/// A text as Python writes one.
fn quoted(text: &str) -> String {
    let escaped: String = text.chars().map(|letter| format!("\\u{:04x}", u32::from(letter))).collect();
    format!("\"{escaped}\"")
}

/// The words of one command without anything that the shell would expand.
fn plain(text: &str) -> Option<Vec<String>> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "_./:@,+- ".contains(c);
    let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    let simple = words.first()?.chars().all(|c| c.is_ascii_lowercase());
    (text.chars().all(fine) && simple && words.len() > 1 && !words.contains(&String::new())).then_some(words)
}

/// Builtins and what else is no file.
const INTERNAL: [&str; 6] = ["eval", "exec", "export", "source", "history", "unset"];

fn by_words(words: &[String]) -> Vec<Rewrite> {
    let (name, rest) = (words[0].as_str(), words[1..].join(" "));
    let (head, tail) = name.split_at(1);
    let last = words.len() - 1;
    let with_last = |word: String| {
        let mut words = words.to_vec();
        words[last] = word;
        words.join(" ")
    };
    let end = words[last].as_str();
    let each =
        |change: &dyn Fn(&str) -> String| words.iter().map(|word| change(word)).collect::<Vec<_>>().join(" ");
    let mut all = vec![
        ("quoted program", format!("'{name}' {rest}")),
        ("doubly quoted program", format!("\"{name}\" {rest}")),
        ("backslash", format!("\\{name} {rest}")),
        ("inner backslash", format!("{head}\\{tail} {rest}")),
        ("concatenation", format!("{head}''{tail} {rest}")),
        ("doubly quoted concatenation", format!("{head}\"{tail}\" {rest}")),
        ("escapes", format!("{} {rest}", ansi(name))),
        ("variable", format!("p={name}\n$p {rest}")),
        ("variable in quotes", format!("p={name}; \"${{p}}\" {rest}")),
        ("two variables", format!("a={head}; b={tail}; $a$b {rest}")),
        ("added variable", format!("p={head}; p+={tail}; $p {rest}")),
        ("default", format!("${{nobody_set_this:-{name}}} {rest}")),
        ("exported", format!("export p={name}; $p {rest}")),
        ("indirect", format!("q={name}; p=q; ${{!p}} {rest}")),
        ("array", format!("p=({name} {rest}); \"${{p[@]}}\"")),
        ("substitution of the program", format!("$(echo {name}) {rest}")),
        ("backquotes", format!("`echo {name}` {rest}")),
        ("printf of the program", format!("$(printf '%s' {name}) {rest}")),
        ("case of letters", format!("p={}; ${{p,,}} {rest}", name.to_uppercase())),
        ("translated", format!("$(echo {} | tr A-Z a-z) {rest}", name.to_uppercase())),
        ("replaced", format!("p={head}XX{tail}; ${{p/XX/}} {rest}")),
        ("cut", format!("p={name}.old; ${{p%.old}} {rest}")),
        ("substring", format!("p=xx{name}; ${{p:2}} {rest}")),
        ("braces", format!("{{{}}}", words.join(","))),
        ("separators", format!("IFS=:; c={}; $c", words.join(":"))),
        ("line continuation", format!("{name} \\\n {rest}")),
        ("continued name", format!("{head}\\\n{tail} {rest}")),
        ("tabs", words.join("\t")),
        ("all words quoted", each(&|word| format!("'{word}'"))),
        ("all words doubly quoted", each(&|word| format!("\"{word}\""))),
        ("empty quotes", each(&|word| format!("''{word}\"\""))),
        ("quoted operand", with_last(format!("\"{end}\""))),
        ("variable for an operand", format!("f={end}; {}", with_last("$f".to_owned()))),
        ("substitution for an operand", with_last(format!("$(echo {end})"))),
        ("positional", format!("set -- {rest}; {name} \"$@\"")),
        ("assignment before", format!("LC_ALL=C {name} {rest}")),
        ("redirection before", format!("2>/dev/null {name} {rest}")),
        ("function with parameters", format!("go() {{ {name} \"$@\"; }}; go {rest}")),
        ("alias", format!("shopt -s expand_aliases\nalias zz={name}\nzz {rest}")),
    ];
    if !INTERNAL.contains(&name) {
        all.extend([
            ("command", format!("command {name} {rest}")),
            ("env", format!("env {name} {rest}")),
            ("env with a path", format!("/usr/bin/env {name} {rest}")),
            ("env -S", format!("env -S '{name} {rest}'")),
            ("sudo", format!("sudo {name} {rest}")),
            ("nohup", format!("nohup {name} {rest}")),
            ("timeout", format!("timeout 5 {name} {rest}")),
            ("nice", format!("nice -n 10 {name} {rest}")),
            ("setsid", format!("setsid {name} {rest}")),
            ("stdbuf", format!("stdbuf -oL {name} {rest}")),
            ("exec", format!("exec {name} {rest}")),
            ("full path", format!("/usr/bin/{name} {rest}")),
            ("odd path", format!("/usr/../usr//bin/./{name} {rest}")),
            ("xargs of the operands", format!("echo {rest} | xargs {name}")),
            ("xargs -I", format!("echo {end} | xargs -I% {}", with_last("%".to_owned()))),
            ("find -exec", format!("find . -maxdepth 0 -exec {name} {rest} \\;")),
            ("busybox", format!("busybox {name} {rest}")),
        ]);
    }
    all
}
