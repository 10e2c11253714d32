//! Other writings of the same program.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Rewrite;

pub fn all(lang: &str, text: &str) -> Vec<Rewrite> {
    match lang {
        "python" => python(text),
        "javascript" | "typescript" => javascript(text),
        _ => compiled(lang, text),
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// A text in quotes, every letter of it escaped.
fn escaped(text: &str) -> String {
    let letters: String = text.chars().map(|letter| format!("\\u{:04x}", u32::from(letter))).collect();
    format!("\"{letters}\"")
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text")
}

/// Where the first plain literal lies: quote, start and end of what is in it.
fn literal(text: &str) -> Option<(char, usize, usize)> {
    let mut from = 0;
    while let Some(at) = text[from..].find(['\'', '"']).map(|at| from + at) {
        let quote = text[at..].chars().next()?;
        let start = at + 1;
        let end = start + text[start..].find(quote)?;
        let inner = &text[start..end];
        let plain = inner.len() > 2 && inner.is_ascii() && !inner.contains(['\\', '\n', '{', '%']);
        let key = text[end + 1..].trim_start().starts_with(':');
        let prefixed = text[..at].ends_with(|c: char| c.is_alphanumeric()) || text[..at].ends_with("from ");
        if plain && !key && !prefixed && !module(text, at) {
            return Some((quote, start, end));
        }
        from = end + 1;
    }
    None
}

/// Names of modules stay: not every loader takes an expression.
fn module(text: &str, at: usize) -> bool {
    let line = text[..at].rsplit('\n').next().unwrap_or_default();
    line.trim_start().starts_with("import ") || text[..at].ends_with("require(")
}

fn replaced(text: &str, with: impl Fn(char, &str) -> String) -> Option<String> {
    let (quote, start, end) = literal(text)?;
    Some(format!("{}{}{}", &text[..start - 1], with(quote, &text[start..end]), &text[end + 1..]))
}

/// Every `name.` of a module as another writing of it.
fn members(text: &str, name: &str, other: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(&format!("{name}.")) {
        let (head, tail) = rest.split_at(at);
        let whole = !head.ends_with(|c: char| c.is_alphanumeric() || "_.'\"/".contains(c));
        out.push_str(head);
        out.push_str(if whole { other } else { name });
        rest = &tail[name.len()..];
    }
    out + rest
}

fn python(text: &str) -> Vec<Rewrite> {
    let body = indented(text);
    let coded = STANDARD.encode(text);
    let code = quoted(text);
    let halves = {
        let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
        format!("{} + {}", quoted(&text[..middle]), quoted(&text[middle..]))
    };
    let mut all = vec![
        ("function", format!("def go():\n{body}\ngo()\n")),
        ("function with parameters", format!("def go(a, b=None, *c):\n{body}\ngo(1)\n")),
        ("function that is never called", format!("def go():\n{body}")),
        ("async function", format!("import asyncio\nasync def go():\n{body}\nasyncio.run(go())\n")),
        ("method", format!("class A:\n    def go(self):\n{}\nA().go()\n", indented(&body))),
        ("class body", format!("class A:\n{body}")),
        ("main guard", format!("if __name__ == '__main__':\n{body}")),
        ("if", format!("if True:\n{body}")),
        ("else", format!("if False:\n    pass\nelse:\n{body}")),
        ("try", format!("try:\n{body}\nexcept Exception:\n    pass\n")),
        ("finally", format!("try:\n    pass\nfinally:\n{body}")),
        ("for", format!("for _ in range(1):\n{body}")),
        ("while", format!("while True:\n{body}\n    break\n")),
        ("with", format!("import contextlib\nwith contextlib.suppress(Exception):\n{body}")),
        ("exec", format!("exec({code})")),
        ("exec of escapes", format!("exec({})", escaped(text))),
        ("exec of halves", format!("exec({halves})")),
        ("exec of a variable", format!("c = {code}\nexec(c)")),
        ("exec of base64", format!("import base64\nexec(base64.b64decode('{coded}'))")),
        ("exec of compiled", format!("exec(compile({code}, 'x', 'exec'))")),
        ("exec by another name", format!("e = exec\ne({code})")),
        ("exec of builtins", format!("__builtins__.exec({code})")),
        ("exec by getattr", format!("import builtins\ngetattr(builtins, 'ex' + 'ec')({code})")),
        ("comments", format!("# nightly job\n\n{text}\n# done\n")),
        ("document text", format!("\"\"\"Cleans up.\"\"\"\n{text}\n")),
        ("blank lines", format!("\n\n\n{text}\n\n\n")),
        ("statements around", format!("x = 1\nprint(x)\n{text}\ny = x + 1\n")),
        ("typed variables", format!("count: int = 0\n{text}\n")),
    ];
    let rows = [
        (
            "split literal",
            replaced(text, |q, inner| format!("{q}{}{q} + {q}{}{q}", &inner[..2], &inner[2..])),
        ),
        (
            "adjacent literals",
            replaced(text, |q, inner| format!("{q}{}{q} {q}{}{q}", &inner[..2], &inner[2..])),
        ),
        (
            "literal by join",
            replaced(text, |q, inner| format!("''.join([{q}{}{q}, {q}{}{q}])", &inner[..2], &inner[2..])),
        ),
        ("f-text", replaced(text, |q, inner| format!("f{q}{inner}{q}"))),
        ("escaped literal", replaced(text, |_, inner| escaped(inner))),
        ("literal in parentheses", replaced(text, |q, inner| format!("({q}{inner}{q})"))),
        (
            "decoded literal",
            replaced(text, |q, inner| {
                format!("__import__('base64').b64decode({q}{}{q}).decode()", STANDARD.encode(inner))
            }),
        ),
        (
            "literal by a variable",
            replaced(text, |_, _| "it_is".to_owned()).and_then(|changed| {
                let (_, start, end) = literal(text)?;
                Some(format!("it_is = {}\n{changed}", quoted(&text[start..end])))
            }),
        ),
    ];
    all.extend(rows.into_iter().filter_map(|(way, text)| Some((way, text?))));
    let imported = ["os", "subprocess", "shutil", "pickle", "yaml", "requests", "socket", "sqlite3"];
    if let Some(name) = imported.into_iter().find(|name| text.contains(&format!("{name}."))) {
        let bare = text.replace(&format!("import {name};"), "").replace(&format!("import {name}\n"), "");
        let other = |before: &str, with: &str| format!("{before}\n{}", members(&bare, name, with));
        all.extend([
            ("alias of a module", other(&format!("import {name} as m1"), "m1")),
            ("__import__", other("", &format!("__import__('{name}')"))),
            ("importlib", other("import importlib", &format!("importlib.import_module('{name}')"))),
            ("module in a variable", other(&format!("import {name}\nm1 = {name}"), "m1")),
            ("module by halves", other("", &format!("__import__('{}' + '{}')", &name[..1], &name[1..]))),
        ]);
    }
    all
}

fn javascript(text: &str) -> Vec<Rewrite> {
    let (imports, rest): (Vec<&str>, Vec<&str>) =
        text.split_inclusive(';').partition(|part| part.trim_start().starts_with("import "));
    let (imports, rest) = (imports.concat(), rest.concat());
    let inside = |before: &str, after: &str| format!("{imports}\n{before}\n{rest}\n{after}");
    let code = quoted(&rest);
    let coded = STANDARD.encode(&rest);
    let mut all = vec![
        ("function", inside("function go(req, res, userSource) {", "}\ngo();")),
        ("function that is never called", inside("function go() {", "}")),
        ("arrow", inside("const go = () => {", "};\ngo();")),
        ("function at once", inside("(function () {", "})();")),
        ("arrow at once", inside("(() => {", "})();")),
        ("async arrow", inside("(async () => {", "})();")),
        ("method", inside("class A { go() {", "} }\nnew A().go();")),
        ("object's method", inside("const a = { go() {", "} };\na.go();")),
        ("block", inside("{", "}")),
        ("if", inside("if (true) {", "}")),
        ("else", inside("if (false) {} else {", "}")),
        ("try", inside("try {", "} catch (e) {}")),
        ("finally", inside("try {} finally {", "}")),
        ("for", inside("for (let i = 0; i < 1; i++) {", "}")),
        ("do", inside("do {", "} while (false);")),
        ("switch", inside("switch (1) { case 1: {", "} }")),
        ("timer", inside("setTimeout(() => {", "}, 0);")),
        ("promise", inside("Promise.resolve().then(() => {", "});")),
        ("callback", inside("[1].forEach(function () {", "});")),
        ("comments", format!("// nightly job\n/* x */\n{text}\n// done")),
        ("blank lines", format!("\n\n{text}\n\n")),
        ("strict", format!("'use strict';\n{text}")),
        ("statements around", format!("const x1 = 1;\n{text}\nconsole.log(x1);")),
        ("eval", format!("{imports}\neval({code});")),
        ("indirect eval", format!("{imports}\n(0, eval)({code});")),
        ("eval of a variable", format!("{imports}\nconst c1 = {code};\neval(c1);")),
        ("eval of base64", format!("{imports}\neval(Buffer.from('{coded}', 'base64').toString());")),
        ("Function", format!("{imports}\nnew Function({code})();")),
        ("global eval", format!("{imports}\nglobalThis['ev' + 'al']({code});")),
    ];
    let rows = [
        (
            "split literal",
            replaced(text, |q, inner| format!("{q}{}{q} + {q}{}{q}", &inner[..2], &inner[2..])),
        ),
        ("template", replaced(text, |_, inner| format!("`{inner}`"))),
        (
            "literal by join",
            replaced(text, |q, inner| format!("[{q}{}{q}, {q}{}{q}].join('')", &inner[..2], &inner[2..])),
        ),
        ("escaped literal", replaced(text, |_, inner| escaped(inner))),
        ("literal in parentheses", replaced(text, |q, inner| format!("({q}{inner}{q})"))),
    ];
    all.extend(rows.into_iter().filter_map(|(way, text)| Some((way, text?))));
    for name in ["fs", "child_process", "vm", "cp"] {
        let dotted = format!("{name}.");
        if text.contains(&dotted) && !text.contains(&format!("'{dotted}")) {
            let at = text.find(&dotted).unwrap_or_default() + dotted.len();
            let end = at + text[at..].find(|c: char| !c.is_alphanumeric()).unwrap_or_default();
            let (method, head, tail) = (&text[at..end], &text[..at - 1], &text[end..]);
            all.push(("member in brackets", format!("{head}['{method}']{tail}")));
            all.push(("member by halves", format!("{head}['{}' + '{}']{tail}", &method[..2], &method[2..])));
            all.push(("optional member", format!("{head}?.{method}{tail}")));
        }
    }
    all
}

/// What compiled languages allow anywhere: comments, blanks, blocks and other literals.
fn compiled(lang: &str, text: &str) -> Vec<Rewrite> {
    let semicolons = |piece: &str| text.replacen("; ", &format!(";{piece}"), 1);
    let mut all = vec![
        ("line comment before", format!("// nightly job\n{text}")),
        ("comment before", format!("/* nightly job */ {text}")),
        ("comment behind", format!("{text} // done")),
        ("comment on the last line", format!("{text}\n// done\n")),
        ("blank lines", format!("\n\n{text}\n\n")),
        ("comment of two lines", format!("/* nightly\n   job */\n{text}")),
        ("comment behind on two lines", format!("{text}\n/* done\n */")),
        ("blank behind", format!("{text}  ")),
        ("tab before", format!("\t{text}")),
        ("blanks before", format!("    {text}")),
        ("line end", format!("{text}\n")),
        ("carriage return", format!("{text}\r\n")),
        ("several comments", format!("// a\n// b\n/* c\n d */\n{text}")),
        ("comment with code", format!("// exec.Command(\"ls\")\n{text}")),
        ("line after a statement", semicolons("\n")),
        ("comment after a statement", semicolons(" /* x */ ")),
        ("two lines after a statement", semicolons("\n\n")),
        ("blank before parentheses", text.replacen('(', " (", 1)),
        ("blank within parentheses", text.replacen('(', "( ", 1)),
        ("comment within parentheses", text.replacen('(', "( /* x */ ", 1)),
        ("comment before the end of parentheses", text.replacen(')', " /* x */ )", 1)),
        (
            "block before",
            if lang == "rust" { format!("fn one() {{}}\n{text}") } else { format!("var one = 1\n{text}") },
        ),
        (
            "block behind",
            if lang == "rust" { format!("{text}\nfn two() {{}}") } else { format!("{text}\nvar two = 2") },
        ),
        ("line comment between", text.replacen("; ", "; // x\n", 1)),
        (
            "constant before",
            if lang == "rust" {
                format!("const ONE: u8 = 1;\n{text}")
            } else {
                format!("const one = 1\n{text}")
            },
        ),
    ];
    if let Some(text) =
        replaced(
            text,
            |_, inner| if lang == "rust" { format!("r#\"{inner}\"#") } else { format!("`{inner}`") },
        )
    {
        all.push(("raw literal", text));
    }
    if let Some(text) =
        replaced(text, |_, inner| format!("\"\\x{:02x}{}\"", inner.as_bytes()[0], &inner[1..]))
    {
        all.push(("escaped literal", text));
    }
    all
}
