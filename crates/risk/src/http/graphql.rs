//! What a GraphQL document does: enough of its grammar to tell queries from mutations.

/// The operations of a document.
#[derive(Debug, PartialEq, Eq)]
pub enum Operation {
    /// Queries and subscriptions only.
    Asks,
    /// Fields at the head of its mutations.
    Changes(Vec<String>),
    Unclear,
}

/// Names and braces up to this many are looked at.
const TOKENS_MAX: usize = 20_000;

pub fn operation(document: &str) -> Operation {
    let Some(tokens) = tokens(document) else { return Operation::Unclear };
    let (mut depth, mut round, mut mutation, mut seen) = (0_u32, 0_u32, false, false);
    let mut fields = Vec::new();
    let mut mutates = false;
    for (at, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" if round == 0 => {
                depth += 1;
                seen = true;
            }
            "}" if round == 0 => {
                depth = depth.saturating_sub(1);
                mutation &= depth > 0;
            }
            "(" => round += 1,
            ")" => round = round.saturating_sub(1),
            "mutation" if depth == 0 && round == 0 => {
                mutation = true;
                mutates = true;
            }
            name if mutation && depth == 1 && round == 0 && !name.starts_with(['@', ':', '$', '{', '}']) => {
                let alias = tokens.get(at + 1).is_some_and(|next| next == ":");
                if !alias {
                    fields.push(name.to_owned());
                }
            }
            _ => {}
        }
    }
    match (seen, mutates) {
        (false, _) => Operation::Unclear,
        (true, true) => Operation::Changes(fields),
        (true, false) => Operation::Asks,
    }
}

/// Names and marks without comments and texts; `None` where there are too many.
fn tokens(document: &str) -> Option<Vec<String>> {
    let mut tokens = Vec::new();
    let mut letters = document.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '#' => {
                letters.by_ref().find(|c| *c == '\n');
            }
            '"' => skip_text(&mut letters),
            c if c.is_alphanumeric() || c == '_' => {
                let mut name = String::from(c);
                while let Some(next) = letters.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    name.push(next);
                }
                tokens.push(name);
            }
            '{' | '}' | '(' | ')' | ':' => tokens.push(letter.to_string()),
            _ => {}
        }
        if tokens.len() > TOKENS_MAX {
            return None;
        }
    }
    Some(tokens)
}

fn skip_text(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                letters.next();
            }
            '"' | '\n' => return,
            _ => {}
        }
    }
}
