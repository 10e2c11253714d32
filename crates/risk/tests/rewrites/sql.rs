//! Other writings of the same statements.

use crate::Rewrite;

pub fn all(text: &str) -> Vec<Rewrite> {
    let mut all = around(text);
    all.extend(within(text));
    all.extend(grammar(text));
    all
}

/// The text with its parts outside of quotes changed.
fn outside(text: &str, change: &dyn Fn(char) -> String) -> String {
    let (mut out, mut quote) = (String::new(), None);
    for letter in text.chars() {
        match quote {
            Some(open) => {
                out.push(letter);
                if letter == open {
                    quote = None;
                }
            }
            None if "'\"`$".contains(letter) => {
                quote = Some(letter);
                out.push(letter);
            }
            None => out.push_str(&change(letter)),
        }
    }
    out
}

fn around(text: &str) -> Vec<Rewrite> {
    let bare = text.trim().trim_end_matches(';');
    vec![
        ("comment before", format!("/* nightly job */ {text}")),
        ("line comment before", format!("-- nightly job\n{text}")),
        ("comment behind", format!("{bare} /* done */")),
        ("line comment behind", format!("{text} -- done")),
        ("no semicolon", bare.to_owned()),
        ("semicolon", format!("{bare};")),
        ("semicolons", format!(";;{bare};;")),
        ("statement before", format!("SELECT 1; {text}")),
        ("statement behind", format!("{bare}; SELECT 1;")),
        ("statements around", format!("SELECT 1;\n{bare};\nSELECT 2;")),
        ("transaction", format!("BEGIN; {bare}; COMMIT;")),
        ("transaction of another kind", format!("START TRANSACTION;\n{bare};\nCOMMIT")),
        ("twice", format!("{bare}; {bare};")),
        ("lines", format!("\n\n{text}\n\n")),
        ("setting before", format!("SET statement_timeout = 0; {text}")),
    ]
}

fn within(text: &str) -> Vec<Rewrite> {
    let blank =
        |with: &'static str| outside(text, &move |c| if c == ' ' { with.to_owned() } else { c.to_string() });
    let mixed = std::cell::Cell::new(false);
    let alternate = |c: char| {
        mixed.set(!mixed.get());
        if mixed.get() { c.to_lowercase().to_string() } else { c.to_uppercase().to_string() }
    };
    vec![
        ("comments for blanks", blank("/**/")),
        ("comments with words", blank(" /* SELECT */ ")),
        ("lines for blanks", blank("\n")),
        ("tabs", blank("\t")),
        ("two blanks", blank("  ")),
        ("carriage returns", blank("\r\n")),
        ("line comments", blank(" -- x\n")),
        ("capitals", outside(text, &|c| c.to_uppercase().to_string())),
        ("small letters", outside(text, &|c| c.to_lowercase().to_string())),
        ("mixed letters", outside(text, &alternate)),
    ]
}

/// Words before the name of a table.
const BEFORE: [&str; 5] = ["FROM", "TABLE", "INTO", "UPDATE", "EXISTS"];

fn grammar(text: &str) -> Vec<Rewrite> {
    let words: Vec<&str> = text.split(' ').collect();
    let name = |word: &str| word.trim_end_matches([';', ',']).to_owned();
    let plain = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let place = words.windows(2).position(|pair| BEFORE.contains(&pair[0]) && plain(&name(pair[1])));
    let mut all = Vec::new();
    if let Some(at) = place.map(|at| at + 1) {
        let named = name(words[at]);
        let with = |other: String| {
            let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            words[at] = words[at].replacen(&named, &other, 1);
            words.join(" ")
        };
        all.push(("quoted name", with(format!("\"{named}\""))));
        all.push(("schema", with(format!("public.{named}"))));
        all.push(("quoted schema", with(format!("\"public\".\"{named}\""))));
    }
    let first = words.first().map(|word| word.to_uppercase()).unwrap_or_default();
    let bare = text.trim().trim_end_matches(';');
    if matches!(first.as_str(), "DELETE" | "UPDATE") && !bare.contains(';') {
        all.push(("common table", format!("WITH other AS (SELECT 1) {bare}")));
        all.push(("explain analyze", format!("EXPLAIN ANALYZE {bare}")));
        all.push((
            "within a common table",
            format!("WITH gone AS ({bare} RETURNING *) SELECT count(*) FROM gone"),
        ));
    }
    all
}
