//! What calls answer, where that can be known without running them.

use super::evaluate::{Call, Names, parent};
use super::table::{Does, Rule, Table};
use super::texts::{braces, decoded, formatted, letters, unhexed};
use super::value::{HOLE, OWN_FILE, Value};
use crate::model::Scope;
use crate::{path, work};

/// Begins the name of a function that gives a member of what it is called with.
const GETTER: &str = "attrgetter:";

impl Names<'_> {
    /// What a call answers, where that can be known without running it.
    pub fn result(&self, call: &Call<'_>) -> Value {
        if let Some(Value::Process(words)) = &call.receiver {
            return appended(words, call);
        }
        if whole_environment(call) {
            return Value::Secret;
        }
        if let Some(function) = call.same() {
            return function.clone();
        }
        if call.receiver == Some(Value::Secret) && matches!(call.name.as_str(), "?.get" | "?.fetch" | "?.pop")
        {
            let variable = call.args.first().and_then(Value::text);
            return variable.map_or(Value::Secret, |name| self.variable(name));
        }
        // `attrgetter("x")(y)` is `y.x`.
        if let (Some(member), Some(Value::Name(object))) = (call.name.strip_prefix(GETTER), call.args.first())
        {
            return self.named_member(object, member);
        }
        if call.receiver == Some(Value::Foreign) || Table::get().foreign(self.language, &call.name) {
            return Value::Foreign;
        }
        if let Some(own @ Value::Name(name)) = &call.receiver
            && name.starts_with(OWN_FILE)
        {
            return own.clone();
        }
        // What is made of a temporary thing lies within it, or is told of it.
        if call.receiver == Some(Value::Temp)
            && matches!(call.name.as_str(), "?.path" | "?.name" | "?.cursor")
        {
            return Value::Temp;
        }
        let Some(rule) = Table::get().call(self.language, &call.name) else {
            // What a service's library hands out speaks to the service as well.
            if call.args.iter().any(Value::foreign) && call.name == "URL" {
                return Value::Foreign;
            }
            // `Rails.root` is written like a member.
            if let (true, value @ Value::Text(_)) = (call.args.is_empty(), self.known(call.name.clone())) {
                return value;
            }
            let service = Table::get().service(&call.name);
            return service.map_or(Value::Unknown, |package| Value::Name(format!("{package}.?")));
        };
        let first = call.at(rule.at).cloned().unwrap_or(Value::Unknown);
        self.answer(rule, call, first)
    }

    /// A file of the project's own.
    fn own(&self, path: &Value) -> bool {
        path.text().is_some_and(|text| path::locate(text, self.context).scope == Scope::Project)
    }

    fn answer(&self, rule: Rule, call: &Call<'_>, first: Value) -> Value {
        match rule.does {
            Does::Text => match (&first, call.name.as_str()) {
                (Value::Text(text), "Buffer.from") => match call.args.get(1).and_then(Value::text) {
                    Some("base64") => decoded(text),
                    Some("hex") => unhexed(text),
                    _ => first,
                },
                (Value::Text(text), "os.path.expanduser") => Value::Text(text.clone()),
                (Value::Unknown, "dict" | "list") => {
                    call.named.first().map_or(Value::Unknown, |(_, value)| value.clone())
                }
                _ => first,
            },
            Does::Module => match first.text() {
                // `__import__('a.b')` gives `a`, unless it is asked for names of `b`.
                Some(module) if call.name == "__import__" && call.args.len() + call.named.len() == 1 => {
                    Value::Name(module.split('.').next().unwrap_or(module).to_owned())
                }
                Some(module) => Value::Name(module.trim_start_matches("node:").to_owned()),
                None => Value::Unknown,
            },
            Does::Attribute if call.name.ends_with("attrgetter") => match first.text() {
                Some(member) => Value::Name(format!("{GETTER}{member}")),
                None => Value::Unknown,
            },
            Does::Attribute => match (&first, call.args.get(1).and_then(Value::text)) {
                (Value::Name(object), Some(name)) => self.named_member(object, name),
                (Value::Function, Some("constructor")) => Value::Name("Function".to_owned()),
                // Members of the object itself, as visitors find theirs.
                (Value::Name(object), None) if object == "self" && call.name == "getattr" => Value::Unknown,
                (Value::Name(object), None) if Table::get().sensitive(object) => {
                    Value::Name(format!("{object}.{HOLE}"))
                }
                _ if call.args.get(1).is_some_and(Value::foreign) => Value::Name(format!("?.{HOLE}")),
                _ => Value::Unknown,
            },
            Does::Globals => match first {
                Value::Name(module) => Value::Name(module),
                _ => Value::Name("globals".to_owned()),
            },
            Does::Read | Does::Mode if self.own(&first) => {
                Value::Name(format!("{OWN_FILE}{}", first.partial()))
            }
            Does::Home => Value::Text(self.context.home.clone()),
            Does::Temp => Value::Temp,
            Does::Parent => match first {
                Value::Text(path) => Value::Text(parent(&path)),
                other => other,
            },
            Does::Listing => listed(call, &first),
            Does::Database => match first.text() {
                Some(text)
                    if text.is_empty() || text.contains(":memory:") || text.contains("mode=memory") =>
                {
                    Value::Temp
                }
                _ => Value::Unknown,
            },
            // An archive or a file out of what was sent.
            Does::Mode | Does::Read | Does::Looks
                if call.args.iter().chain(call.named.iter().map(|(_, value)| value)).any(Value::foreign) =>
            {
                Value::Foreign
            }
            Does::Query | Does::Sql if call.receiver == Some(Value::Temp) => Value::Temp,
            Does::Environment => Value::Secret,
            Does::Secret => first.text().map_or(Value::Secret, |name| self.variable(name)),
            Does::Process => Value::Process(call.args.clone()),
            does => made(does, call, first),
        }
    }
}

/// Texts and paths that are made of others.
fn made(does: Does, call: &Call<'_>, first: Value) -> Value {
    match does {
        Does::Join => match &call.receiver {
            Some(Value::Text(_) | Value::Temp) => {
                let parts = call.receiver.iter().chain(&call.args).cloned().collect::<Vec<_>>();
                path_joined(&parts)
            }
            _ => path_joined(&call.args),
        },
        Does::Concat if matches!(&call.receiver, Some(Value::Text(base)) if base.starts_with('/')) => {
            path_joined(&call.receiver.iter().chain(&call.args).cloned().collect::<Vec<_>>())
        }
        Does::Concat => concatenated(call.receiver.as_ref(), call.args.first()),
        Does::ConcatList => concatenated(call.args.get(1), call.args.first()),
        Does::AppendText => call
            .args
            .iter()
            .fold(call.receiver.clone().unwrap_or(Value::Unknown), |text, part| text.joined(part)),
        Does::Format => formatted(&first, &Value::List(call.args.get(1..).unwrap_or_default().to_vec())),
        Does::FormatBraces => match first {
            Value::Text(text) => {
                let foreign =
                    call.args.iter().chain(call.named.iter().map(|(_, value)| value)).any(Value::foreign);
                Value::Text(braces(&text, if foreign { &Value::Foreign } else { &Value::Unknown }))
            }
            _ => Value::Unknown,
        },
        Does::Split => split(call),
        Does::Decode => first.text().map_or(Value::Unknown, decoded),
        Does::Hex => first.text().map_or(Value::Unknown, unhexed),
        Does::Letter => letters(&call.args),
        _ => Value::Unknown,
    }
}

/// All names and values of the environment in another form.
fn whole_environment(call: &Call<'_>) -> bool {
    let last = call.name.rsplit('.').next().unwrap_or(&call.name);
    let own = call.receiver == Some(Value::Secret) && matches!(last, "items" | "values" | "copy");
    let given = matches!(call.name.as_str(), "Object.entries" | "Object.values" | "Object.assign" | "dict");
    own || given && call.args.contains(&Value::Secret)
}

/// `Command::new(x).arg(y).args([z])`.
fn appended(words: &[Value], call: &Call<'_>) -> Value {
    let mut words = words.to_vec();
    match call.name.rsplit('.').next() {
        Some("arg") => words.extend(call.args.iter().cloned()),
        Some("args") => match call.args.first() {
            Some(Value::List(list)) => words.extend(list.iter().cloned()),
            _ => words.push(Value::Unknown),
        },
        _ => {}
    }
    Value::Process(words)
}

/// What a directory holds: names within it that fit a pattern.
fn listed(call: &Call<'_>, first: &Value) -> Value {
    let pattern = call.args.first().and_then(Value::text).unwrap_or("*");
    let name = pattern.replace("**/", "").replace("**", "*");
    let path = match (call.receiver.as_ref(), first) {
        (Some(Value::Temp), _) => return Value::Each(Box::new(Value::Temp)),
        (Some(Value::Text(base)), _) => format!("{}/{name}", base.trim_end_matches('/')),
        (_, Value::Text(pattern)) => pattern.replace("**/", "").replace("**", "*"),
        _ => return Value::Unknown,
    };
    Value::Each(Box::new(Value::Text(path.replace(['*', '?'], &HOLE.to_string()))))
}

pub fn path_joined(parts: &[Value]) -> Value {
    // Of several ways each one is a path.
    if let Some((at, Value::Either(ways))) =
        parts.iter().enumerate().find(|(_, part)| matches!(part, Value::Either(_)))
    {
        let one = |way: &Value| {
            let mut parts = parts.to_vec();
            parts[at] = way.clone();
            path_joined(&parts)
        };
        return ways.iter().map(one).reduce(Value::or).unwrap_or(Value::Unknown);
    }
    let mut path = String::new();
    for part in parts {
        let part = part.partial();
        if part.starts_with('/') || path.is_empty() {
            path = part;
        } else {
            path = format!("{}/{part}", path.trim_end_matches('/'));
        }
    }
    Value::Text(path)
}

fn concatenated(separator: Option<&Value>, list: Option<&Value>) -> Value {
    // `sep.join(list)` in Python, `list.join(sep)` elsewhere.
    let (list, separator) = match (separator, list) {
        (Some(Value::List(list)), separator) => (list, separator),
        (separator, Some(Value::List(list))) => (list, separator),
        _ => return Value::Unknown,
    };
    let separator = separator.and_then(Value::text).unwrap_or_default();
    if !work::spend(separator.len().saturating_mul(list.len())) {
        return Value::Unknown;
    }
    Value::Text(list.iter().map(Value::partial).collect::<Vec<_>>().join(separator))
}

fn split(call: &Call<'_>) -> Value {
    let text = match call.receiver.as_ref() {
        Some(Value::Text(text)) => Some(text.as_str()),
        _ => call.args.first().and_then(Value::text),
    };
    match text.filter(|text| !text.contains(HOLE)) {
        Some(text) => {
            let words =
                text.split_whitespace().map(|word| Value::Text(word.trim_matches(['"', '\'']).to_owned()));
            Value::List(words.collect())
        }
        None => Value::Unknown,
    }
}
