//! Paths that still hold a shell's wildcards.

/// Whether the path holds wildcards.
pub fn is(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// Whether the wildcards could stand for this path, as a shell expands them: no wildcard
/// stands for a slash or for a dot at a name's head.
///
/// A last name of nothing but wildcards stands for whatever lies there and says nothing,
/// and so does `*.json` in a project.
pub fn could(pattern: &str, path: &str) -> bool {
    let last = pattern.rsplit('/').next().unwrap_or(pattern);
    let literal = last.chars().any(|c| c.is_alphanumeric());
    let vague = last.starts_with('*') && pattern.starts_with("./");
    if !literal || vague {
        return false;
    }
    let (mut globs, mut names) = (pattern.rsplit('/'), path.rsplit('/'));
    loop {
        match (globs.next(), names.next()) {
            (Some(glob), Some(name)) if matches(glob, name) => {}
            (Some(_), Some(_)) | (None, Some(_)) => return false,
            (_, None) => return true,
        }
    }
}

/// `*`, `?` and `[...]` (taken as any letter) over one name; linear but for one step back.
fn matches(glob: &str, name: &str) -> bool {
    if name.starts_with('.') && !glob.starts_with('.') && glob != name {
        return false;
    }
    let (glob, name) = (units(glob), name.chars().collect::<Vec<_>>());
    let (mut g, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match glob.get(g) {
            Some('*') => {
                star = Some((g, n));
                g += 1;
            }
            Some(unit) if *unit == '?' || name.get(n) == Some(unit) => {
                g += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    g = at + 1;
                    n = from + 1;
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    glob.get(g..).unwrap_or_default().iter().all(|unit| *unit == '*')
}

/// The glob with each class of letters as one `?`.
fn units(glob: &str) -> Vec<char> {
    let mut units = Vec::new();
    let mut letters = glob.chars();
    while let Some(letter) = letters.next() {
        if letter == '[' {
            letters.by_ref().find(|c| *c == ']');
            units.push('?');
        } else {
            units.push(letter);
        }
    }
    units
}
