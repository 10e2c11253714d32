//! Backslash escapes: of `$'...'`, `echo -e`, `printf` and `tr`.

use super::stream::CARRY_MAX;

/// Replaces the escapes of a text. `octal_zero`: octal needs a leading zero, as in `echo -e`.
pub fn unescape(text: &str, octal_zero: bool) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut bytes: Vec<u8> = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        at += 1;
        if c != '\\' {
            flush(&mut bytes, &mut out);
            out.push(c);
            continue;
        }
        let Some(&kind) = chars.get(at) else {
            flush(&mut bytes, &mut out);
            out.push('\\');
            break;
        };
        at += 1;
        match kind {
            'x' => match number(&chars, &mut at, 16, 2) {
                Some(value) => bytes.push(u8::try_from(value).unwrap_or(b'?')),
                None => out.push_str("\\x"),
            },
            'u' | 'U' => {
                flush(&mut bytes, &mut out);
                let most = if kind == 'u' { 4 } else { 8 };
                let value = number(&chars, &mut at, 16, most).and_then(char::from_u32);
                out.push(value.unwrap_or('?'));
            }
            '0'..='7' => {
                let leading = octal_zero && kind == '0';
                if !leading {
                    at -= 1;
                }
                let value = number(&chars, &mut at, 8, 3).unwrap_or(0);
                bytes.push(u8::try_from(value & 0xff).unwrap_or(b'?'));
            }
            _ => {
                flush(&mut bytes, &mut out);
                simple(kind, &mut out);
            }
        }
    }
    flush(&mut bytes, &mut out);
    out
}

/// Bytes that were written one by one are a text together.
fn flush(bytes: &mut Vec<u8>, out: &mut String) {
    if !bytes.is_empty() {
        out.push_str(&String::from_utf8_lossy(bytes));
        bytes.clear();
    }
}

fn simple(kind: char, out: &mut String) {
    let plain = match kind {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'a' => '\u{7}',
        'b' => '\u{8}',
        'e' | 'E' => '\u{1b}',
        'f' => '\u{c}',
        'v' => '\u{b}',
        '\\' | '\'' | '"' | '?' => kind,
        _ => {
            out.push('\\');
            kind
        }
    };
    out.push(plain);
}

fn number(chars: &[char], at: &mut usize, radix: u32, most: usize) -> Option<u32> {
    let mut value = None;
    for _ in 0..most {
        let Some(digit) = chars.get(*at).and_then(|c| c.to_digit(radix)) else { break };
        value = Some(value.unwrap_or(0) * radix + digit);
        *at += 1;
    }
    value
}

/// What `printf` prints; `None` where the format asks for more than text and numbers.
pub fn printf(format: &str, operands: &[String]) -> Option<String> {
    let format = unescape(format, false);
    let mut rest = operands.iter();
    let mut out = String::new();
    // The format is used again until the operands are used up.
    for _ in 0..=operands.len().min(200) {
        let before = rest.len();
        if out.len() > CARRY_MAX {
            return None;
        }
        once(&format, &mut rest, &mut out)?;
        if rest.len() == 0 || rest.len() == before {
            break;
        }
    }
    Some(out)
}

fn once(format: &str, rest: &mut std::slice::Iter<'_, String>, out: &mut String) -> Option<()> {
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        while chars.next_if(|c| "-+ #0123456789.".contains(*c)).is_some() {}
        match chars.next()? {
            '%' => out.push('%'),
            's' | 'd' | 'i' | 'u' => out.push_str(rest.next().map_or("", String::as_str)),
            'b' => out.push_str(&unescape(rest.next().map_or("", String::as_str), true)),
            'c' => out.extend(rest.next().and_then(|word| word.chars().next())),
            'x' => {
                let value = rest.next()?.parse::<i64>().ok()?;
                out.push_str(&format!("{value:x}"));
            }
            'o' => {
                let value = rest.next()?.parse::<i64>().ok()?;
                out.push_str(&format!("{value:o}"));
            }
            _ => return None,
        }
    }
    Some(())
}
