//! Why a policy file does not load: which line, what is wrong, how to fix it.

use std::fmt;

use super::annotation::{ANNOTATIONS, Place};
use super::facts::NAME_MAX;
use crate::model::Verdict;

/// Bytes of a policy file.
pub const FILE_MAX: usize = 256 * 1024;
/// Policies of a file.
pub const POLICIES_MAX: usize = 200;
/// Examples of a file.
pub const EXAMPLES_MAX: usize = 500;
/// Bytes of one policy.
pub const POLICY_MAX: usize = 16 * 1024;
/// Words and signs of one policy: what reads it works on the stack.
pub const TOKENS_MAX: usize = 2000;
/// Brackets within brackets.
pub const NESTED_MAX: usize = 32;
/// Problems that are told at once.
pub const PROBLEMS_MAX: usize = 50;

/// Why a file does not load; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// In order of lines, [`PROBLEMS_MAX`] at most.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// From 1; 0 where it is about the file.
    pub line: usize,
    pub fault: Fault,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    FileTooLong {
        bytes: usize,
    },
    TooManyPolicies {
        count: usize,
    },
    TooManyExamples {
        count: usize,
    },
    PolicyTooLong,
    Nested,
    Unfinished,
    /// What the parser of the language says.
    Syntax(String),
    /// What the comparison with the schema says.
    Schema(String),
    Template,
    NoId,
    BadId {
        id: String,
    },
    SameId {
        id: String,
        first: usize,
    },
    UnknownAnnotation {
        name: String,
    },
    BadAnnotation {
        name: &'static str,
        value: String,
    },
    Misplaced {
        name: &'static str,
    },
    EveryAction,
    /// A permit looks at what may only raise a risk.
    Lowers {
        what: String,
    },
    NeverRaise,
    EmptyRaise,
    ExampleForm {
        why: String,
    },
    ExampleFails {
        expected: Verdict,
        found: Verdict,
        because: Vec<String>,
    },
    ExampleApprovals {
        expected: u32,
        found: u32,
    },
}

impl PolicyError {
    pub(super) fn of(mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        problems.truncate(PROBLEMS_MAX);
        Self { problems }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyError {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}; {}", self.line, self.fault, self.fault.fix())
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Auto => "auto",
        Verdict::Ask => "ask",
        Verdict::Deny => "deny",
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileTooLong { bytes } => write!(f, "the file has {bytes} bytes, more than {FILE_MAX}"),
            Self::TooManyPolicies { count } => write!(f, "{count} policies, more than {POLICIES_MAX}"),
            Self::TooManyExamples { count } => write!(f, "{count} examples, more than {EXAMPLES_MAX}"),
            Self::PolicyTooLong => {
                write!(f, "this policy has more than {POLICY_MAX} bytes or {TOKENS_MAX} words and signs")
            }
            Self::Nested => write!(f, "more than {NESTED_MAX} brackets within brackets"),
            Self::Unfinished => f.write_str("this policy has no end"),
            Self::Syntax(why) => write!(f, "this is no policy: {why}"),
            Self::Schema(why) => write!(f, "this does not fit the schema: {why}"),
            Self::Template => f.write_str("templates (`?principal`, `?resource`) are not used here"),
            Self::NoId => f.write_str("this policy has no name"),
            Self::BadId { id } => write!(f, "`{id}` is no name"),
            Self::SameId { id, first } => {
                write!(f, "`{id}` is the name of the policy in line {first} already")
            }
            Self::UnknownAnnotation { name } => write!(f, "there is no annotation `@{name}`"),
            Self::BadAnnotation { name, value } => write!(f, "`@{name}(\"{value}\")` cannot be read"),
            Self::Misplaced { name } => write!(f, "`@{name}` has no meaning on this policy"),
            Self::EveryAction => f.write_str("this permit is for every action, automatic approval included"),
            Self::Lowers { what } => {
                write!(f, "a permit looks at `{what}`, which may only raise a risk")
            }
            Self::NeverRaise => f.write_str("a forbid of `raise` would lower a risk"),
            Self::EmptyRaise => f.write_str("this policy raises nothing"),
            Self::ExampleForm { why } => write!(f, "this example cannot be read: {why}"),
            Self::ExampleFails { expected, found, because } => {
                write!(
                    f,
                    "this example does not hold: expected {}, found {}",
                    word(*expected),
                    word(*found)
                )?;
                if !because.is_empty() {
                    write!(f, " ({})", because.join(", "))?;
                }
                Ok(())
            }
            Self::ExampleApprovals { expected, found } => {
                write!(f, "this example does not hold: expected {expected} approvals, found {found}")
            }
        }
    }
}

impl Fault {
    /// What to do about it.
    pub fn fix(&self) -> String {
        match self {
            Self::FileTooLong { .. } | Self::TooManyPolicies { .. } | Self::PolicyTooLong => {
                "put several cases into one condition, with `||` or `containsAny`".to_owned()
            }
            Self::TooManyExamples { .. } => "keep those examples that tell policies apart".to_owned(),
            Self::Nested => "split the condition over several policies".to_owned(),
            Self::Unfinished => "end it with `;`, and close every quotation mark and bracket".to_owned(),
            Self::Syntax(_) => {
                "write @id(\"name\") permit(principal, action == Action::\"request\", resource) \
                                when { context.level == Level::\"low\" };"
                    .to_owned()
            }
            Self::Schema(_) => {
                "`quarterdeck policy show-schema` lists every name that can be used".to_owned()
            }
            Self::Template => "name the principal, or leave `principal` alone".to_owned(),
            Self::NoId => "write @id(\"some-name\") before it".to_owned(),
            Self::BadId { .. } => "use 1 to 64 small letters, digits, `-`, `_` and `.`".to_owned(),
            Self::SameId { .. } => "give each policy a name of its own".to_owned(),
            Self::UnknownAnnotation { .. } => {
                let known: Vec<String> = ANNOTATIONS.iter().map(|known| format!("@{}", known.name)).collect();
                format!("known are {}", known.join(", "))
            }
            Self::BadAnnotation { name, .. } => match ANNOTATIONS.iter().find(|known| known.name == *name) {
                Some(known) => format!("write {}", known.form),
                None => "leave it out".to_owned(),
            },
            Self::Misplaced { name } => match ANNOTATIONS.iter().find(|known| known.name == *name) {
                Some(known) => format!("it belongs on {}", place(known.place)),
                None => "leave it out".to_owned(),
            },
            Self::EveryAction => "name the actions: action == Action::\"request\"".to_owned(),
            Self::Lowers { .. } => {
                "say it the other way round, in a forbid or in a permit of `raise`".to_owned()
            }
            Self::NeverRaise => "leave it out, or narrow the policy that raises".to_owned(),
            Self::EmptyRaise => "add @level(\"high\"), or an obligation such as @approvers(\"2\")".to_owned(),
            Self::ExampleForm { .. } => {
                "write //! ask environment=production approvals=2: command: rm -rf build".to_owned()
            }
            Self::ExampleFails { .. } | Self::ExampleApprovals { .. } => {
                "correct the policies, or the example if the change is meant".to_owned()
            }
        }
    }
}

fn place(place: Place) -> String {
    match place {
        Place::Any => "any policy".to_owned(),
        Place::Asked => "a permit of `request` or `raise`".to_owned(),
        Place::Raise => "a permit of `raise`".to_owned(),
        Place::Auto => "a permit of `auto_approve`".to_owned(),
    }
}

/// A value as it is repeated in a message: short, without control characters.
pub(super) fn shown(text: &str) -> String {
    let end = text.floor_char_boundary(NAME_MAX);
    let short = text.get(..end).unwrap_or_default();
    short.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
