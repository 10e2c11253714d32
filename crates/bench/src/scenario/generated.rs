//! Everyday actions of a given size, one of each kind: lines as agents write them, repeated
//! until the text is full.

use quarterdeck_risk::assess::Case;

/// Bytes of a text.
const SIZES: [usize; 2] = [1_024, 4_096];

/// A kind, its language, what stands before the lines, and the lines.
type Kind = (&'static str, Option<&'static str>, &'static str, &'static [&'static str]);

const KINDS: [Kind; 10] = [
    (
        "command",
        None,
        "set -euo pipefail\n",
        &[
            "cargo test -p core --no-fail-fast 2>&1 | tail -20\n",
            "for f in src/*.rs; do grep -n 'TODO' \"$f\" || true; done\n",
            "git add -A && git commit -m \"step {n}\"\n",
            "name=$(basename \"$PWD\"); echo \"$name-{n}\" >> build/log.txt\n",
            "find . -name '*.tmp' -type f -delete\n",
        ],
    ),
    ("path", None, "write src/", &["module_{n}/"]),
    (
        "http",
        None,
        "POST https://api.example.com/v1/items\nContent-Type: application/json\n\n{",
        &["\"key{n}\": \"value {n}\", "],
    ),
    (
        "sql",
        Some("postgresql"),
        "",
        &[
            "SELECT id, name FROM users WHERE id = {n} ORDER BY name LIMIT 10;\n",
            "UPDATE posts SET views = views + 1 WHERE id = {n};\n",
            "INSERT INTO log (id, what) VALUES ({n}, 'seen');\n",
        ],
    ),
    (
        "code",
        Some("python"),
        "import json, os, subprocess\n",
        &[
            "with open('data/in{n}.json') as f:\n    rows{n} = json.load(f)\n",
            "out{n} = [row['name'].strip() for row in rows{n} if row.get('id')]\n",
            "print(subprocess.run(['git', 'status', '--short'], capture_output=True).stdout)\n",
        ],
    ),
    (
        "code",
        Some("javascript"),
        "const fs = require('fs');\n",
        &[
            "const a{n} = JSON.parse(fs.readFileSync('package.json', 'utf8'));\n",
            "console.log(Object.keys(a{n}.scripts).map((key) => key + ' {n}').join(', '));\n",
        ],
    ),
    (
        "code",
        Some("typescript"),
        "import fs from 'fs';\n",
        &["export function f{n}(a: number, b: string): string { return `${b}-${a + {n}}`; }\n"],
    ),
    (
        "code",
        Some("go"),
        "package main\nimport \"fmt\"\n",
        &["func f{n}(a int) int { if a > {n} { return a * 2 }; fmt.Println(a); return {n} }\n"],
    ),
    (
        "code",
        Some("rust"),
        "use std::fs;\n",
        &["fn f{n}(a: usize) -> usize { let v: Vec<usize> = (0..a).map(|x| x + {n}).collect(); v.len() }\n"],
    ),
    (
        "code",
        Some("ruby"),
        "require 'json'\n",
        &["def f{n}(rows)\n  rows.select { |row| row['id'] == {n} }.map { |row| row['name'] }\nend\n"],
    ),
];

pub fn cases() -> Vec<Case> {
    let each = |size: usize| KINDS.iter().map(move |kind| case(kind, size));
    SIZES.into_iter().flat_map(each).collect()
}

fn case((kind, language, head, lines): &Kind, size: usize) -> Case {
    let mut text = (*head).to_owned();
    for (number, line) in lines.iter().cycle().enumerate() {
        let line = line.replace("{n}", &number.to_string());
        if text.len() + line.len() + 1 > size {
            break;
        }
        text.push_str(&line);
    }
    if *kind == "http" {
        text.truncate(text.trim_end_matches(", ").len());
        text.push('}');
    }
    let id = format!("{} {size} bytes", language.unwrap_or(kind));
    Case { id, kind: (*kind).to_owned(), text, lang: language.map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_the_size_that_they_say() {
        for case in cases() {
            let size: usize = case.id.split(' ').nth(1).unwrap().parse().unwrap();
            assert!(case.text.len() <= size && case.text.len() + 200 > size, "{}", case.id);
        }
    }
}
