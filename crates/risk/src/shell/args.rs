//! A program's words as options and operands, as `getopt` would read them.

use super::stream::UNKNOWN;

/// One option, with its value if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opt {
    pub name: String,
    pub value: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    pub options: Vec<Opt>,
    pub operands: Vec<String>,
    /// Where each operand stands among the words.
    pub at: Vec<usize>,
}

/// How a program reads its options.
#[derive(Clone, Copy, Debug)]
pub struct Style<'a> {
    /// Options that take a value, with spaces between.
    pub values: &'a str,
    /// `-name` is one option, not four.
    pub single: bool,
    /// Options end at the first operand.
    pub stop: bool,
}

impl Style<'_> {
    fn takes(&self, name: &str) -> bool {
        self.values.split(' ').any(|value| value == name)
    }
}

impl Args {
    /// `words`: all behind the program's name.
    pub fn parse(words: &[String], style: Style<'_>) -> Self {
        let mut args = Self::default();
        let mut at = 0;
        while let Some(word) = words.get(at) {
            if word == "--" {
                for (offset, word) in words.iter().enumerate().skip(at + 1) {
                    args.operand(word, offset);
                }
                break;
            }
            let long = word.len() > 2 && (word.starts_with("--") || (style.single && word.starts_with('-')));
            let signed = style.values.contains('+') && word.len() > 1 && word.starts_with('+');
            if word.starts_with(UNKNOWN) || !(word.starts_with('-') || signed) || word.len() < 2 {
                args.operand(word, at);
                if style.stop {
                    for (offset, word) in words.iter().enumerate().skip(at + 1) {
                        args.operand(word, offset);
                    }
                    break;
                }
            } else if long || signed {
                at += args.long(word, words.get(at + 1), style);
            } else {
                at += args.cluster(word, words.get(at + 1), style);
            }
            at += 1;
        }
        args
    }

    fn operand(&mut self, word: &str, at: usize) {
        self.operands.push(word.to_owned());
        self.at.push(at);
    }

    /// Gives how many further words were used.
    fn long(&mut self, word: &str, next: Option<&String>, style: Style<'_>) -> usize {
        if let Some((name, value)) = word.split_once('=') {
            self.options.push(Opt { name: name.to_owned(), value: Some(value.to_owned()) });
            return 0;
        }
        let value = next.filter(|_| style.takes(word)).cloned();
        let used = usize::from(value.is_some());
        self.options.push(Opt { name: word.to_owned(), value });
        used
    }

    fn cluster(&mut self, word: &str, next: Option<&String>, style: Style<'_>) -> usize {
        let mut rest = word.chars();
        rest.next();
        while let Some(letter) = rest.next() {
            let name = format!("-{letter}");
            if !style.takes(&name) {
                self.options.push(Opt { name, value: None });
                continue;
            }
            let own = rest.as_str();
            let own = own.strip_prefix('=').filter(|value| !value.is_empty()).unwrap_or(own);
            let value = if own.is_empty() { next.cloned() } else { Some(own.to_owned()) };
            let used = usize::from(own.is_empty() && value.is_some());
            self.options.push(Opt { name, value });
            return used;
        }
        0
    }

    /// Whether one of the options (with spaces between) is given, or the head of one.
    ///
    /// `--name=value` asks for that value. What makes an action harmless is asked with
    /// [`Self::exactly`].
    pub fn has(&self, names: &str) -> bool {
        self.options.iter().any(|option| {
            names.split(' ').any(|name| {
                option.is(name)
                    || (option.name.len() > 4
                        && option.name.starts_with("--")
                        && name.starts_with(&option.name))
            })
        })
    }

    pub fn exactly(&self, names: &str) -> bool {
        self.options.iter().any(|option| names.split(' ').any(|name| option.is(name)))
    }

    pub fn value(&self, names: &str) -> Option<&str> {
        let mut named = self.options.iter().filter(|option| names.split(' ').any(|name| option.name == name));
        named.find_map(|option| option.value.as_deref())
    }

    pub fn values(&self, names: &str) -> Vec<String> {
        let named = self.options.iter().filter(|option| names.split(' ').any(|name| option.name == name));
        named.filter_map(|option| option.value.clone()).collect()
    }
}

impl Opt {
    fn is(&self, name: &str) -> bool {
        match name.split_once('=') {
            Some((name, value)) => self.name == name && self.value.as_deref() == Some(value),
            None => self.name == name,
        }
    }
}
