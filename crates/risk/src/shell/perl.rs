//! Perl one-liners: there is no grammar, but those that only look at text are told apart.

/// Words of programs that only look at text.
const CALM: [&str; 97] = [
    "print",
    "printf",
    "say",
    "if",
    "unless",
    "else",
    "elsif",
    "and",
    "or",
    "not",
    "my",
    "our",
    "local",
    "split",
    "join",
    "length",
    "substr",
    "lc",
    "uc",
    "lcfirst",
    "ucfirst",
    "reverse",
    "sort",
    "map",
    "grep",
    "keys",
    "values",
    "each",
    "push",
    "pop",
    "shift",
    "unshift",
    "splice",
    "scalar",
    "chomp",
    "chop",
    "sprintf",
    "index",
    "rindex",
    "for",
    "foreach",
    "while",
    "until",
    "next",
    "last",
    "redo",
    "BEGIN",
    "END",
    "eof",
    "int",
    "abs",
    "sqrt",
    "hex",
    "oct",
    "ord",
    "chr",
    "sum",
    "ne",
    "eq",
    "lt",
    "gt",
    "le",
    "ge",
    "cmp",
    "x",
    "exists",
    "defined",
    "delete",
    "undef",
    "wantarray",
    "return",
    "exit",
    "use",
    "strict",
    "warnings",
    "utf8",
    "List",
    "Util",
    "max",
    "min",
    "first",
    "uniq",
    "sum0",
    "time",
    "localtime",
    "gmtime",
    "tr",
    "y",
    "pos",
    "quotemeta",
    "STDIN",
    "STDOUT",
    "STDERR",
    "die",
    "warn",
    "POSIX",
    "strftime",
];
/// Longest program that is looked at.
const TEXT_MAX: usize = 2_048;

/// Whether a program has only words that look at text, and nothing that runs any.
pub fn calm(text: &str) -> bool {
    text.len() <= TEXT_MAX
        && !text.contains('`')
        && words(text).is_some_and(|words| {
            words
                .iter()
                .all(|word| CALM.contains(&word.as_str()) || word.bytes().all(|byte| byte.is_ascii_digit()))
        })
}

/// The words of a program without its variables, texts and patterns; `None` where one of
/// these may run something, or does not end.
fn words(text: &str) -> Option<Vec<String>> {
    let letters: Vec<char> = text.chars().collect();
    let mut words = Vec::new();
    let (mut at, mut operand) = (0, true);
    while let Some(&letter) = letters.get(at) {
        at += 1;
        match letter {
            c if c.is_whitespace() => continue,
            '$' | '@' | '%' if letter != '%' || operand => {
                at = variable(&letters, at);
                operand = false;
                continue;
            }
            '"' | '\'' => {
                at = quoted(&letters, at, letter)?;
                operand = false;
                continue;
            }
            '/' if operand => {
                at = flags(&letters, quoted(&letters, at, '/')?)?;
                operand = false;
                continue;
            }
            '#' => {
                at += letters.get(at..)?.iter().position(|c| *c == '\n').unwrap_or(letters.len() - at);
                continue;
            }
            // `<FILE>` and `<$x>` read; `<*.x>` lists.
            '<' if operand => return None,
            c if c.is_alphabetic() || c == '_' => {
                let end =
                    at + letters.get(at..)?.iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
                let word: String = letters.get(at - 1..end)?.iter().collect();
                at = end;
                if let Some(parts) = patterned(&word, letters.get(at).copied()) {
                    at = pattern(&letters, at, parts)?;
                    operand = false;
                    continue;
                }
                operand = true;
                words.push(word);
                continue;
            }
            c if c.is_ascii_digit() || matches!(c, ')' | ']' | '}') => operand = c == '}',
            _ => operand = true,
        }
    }
    Some(words)
}

/// From behind a sigil to behind the name: `$x`, `$1`, `$.`, `@ARGV`, `%h`, `$#a`. A name of
/// a hash in braces is looked at as code.
fn variable(letters: &[char], from: usize) -> usize {
    let named = |c: &&char| c.is_alphanumeric() || **c == '_' || **c == ':';
    let length = letters.iter().skip(from).take_while(named).count();
    match letters.get(from) {
        Some('{' | '(' | '$' | '@') => from,
        Some(_) if length == 0 => from + 1,
        _ => from + length,
    }
}

/// Behind the mark that ends a text; `None` where the text may run something.
fn quoted(letters: &[char], from: usize, mark: char) -> Option<usize> {
    let mut at = from;
    while let Some(&letter) = letters.get(at) {
        let next = letters.get(at + 1);
        match letter {
            '\\' => at += 1,
            c if c == mark => return Some(at + 1),
            '@' | '$' if mark != '\'' && matches!(next, Some('{' | '(')) => return None,
            '(' if next == Some(&'?') && matches!(letters.get(at + 2), Some('{' | '?')) => return None,
            _ => {}
        }
        at += 1;
    }
    None
}

/// How many parts a quoting operator has.
fn patterned(word: &str, next: Option<char>) -> Option<usize> {
    let opens = next.is_some_and(|c| "/|#!,{([".contains(c));
    match word {
        "s" | "tr" | "y" if opens => Some(2),
        "m" | "qr" | "q" | "qq" | "qw" if opens => Some(1),
        _ => None,
    }
}

fn pattern(letters: &[char], from: usize, parts: usize) -> Option<usize> {
    let mark = *letters.get(from)?;
    let close = match mark {
        '{' => '}',
        '(' => ')',
        '[' => ']',
        other => other,
    };
    let mut at = quoted(letters, from + 1, close)?;
    for _ in 1..parts {
        if close != mark {
            at += letters.iter().skip(at).take_while(|c| c.is_whitespace()).count() + 1;
        }
        at = quoted(letters, at, close)?;
    }
    flags(letters, at)
}

/// Behind the letters after a pattern; `e` runs what is put in.
fn flags(letters: &[char], from: usize) -> Option<usize> {
    let length = letters.iter().skip(from).take_while(|c| c.is_ascii_lowercase()).count();
    let runs = letters.get(from..from + length)?.contains(&'e');
    (!runs).then_some(from + length)
}

#[cfg(test)]
mod tests {
    use super::calm;

    #[test]
    fn what_only_looks_at_text_is_calm() {
        for text in [
            "print if /error|warning/i",
            "s/foo/bar/g",
            "s{a}{b}g; print",
            "print \"$ARGV:$.: $_\" if m{TODO}",
            "$h{$_}++; END { print \"$_\\n\" for sort keys %h }",
            "print join(\",\", @F[0,2])",
            "tr/a-z/A-Z/",
            "print $x / 2, $y % 3",
        ] {
            assert!(calm(text), "{text}");
        }
    }

    #[test]
    fn what_runs_or_writes_is_not() {
        for text in [
            "system(\"id\")",
            "s/x/unlink $_/e",
            "print `id`",
            "exec q(sh)",
            "open F, q(>x)",
            "print \"@{[ unlink $_ ]}\"",
            "/(?{ system 1 })/",
            "unlink if /x/",
            "print <*.c>",
            "$x->method(1)",
            "print \"open",
        ] {
            assert!(!calm(text), "{text}");
        }
    }
}
