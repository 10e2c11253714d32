//! Rules for single values: what was stated and whether a value satisfies it.
//!
//! Findings name the rule as protovalidate does and say how to mend the value.
//! Values themselves are not repeated, for they may be secrets; numbers are.

use std::fmt;
use std::ops::{Bound, RangeBounds as _};

use regex::Regex;

use super::path::shown;
use super::wire::{Fault, Reader, Wire};

/// Scalar types of protobuf that are not messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScalarKind {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
    Enum,
}

impl ScalarKind {
    /// The wire type of one value outside a packed list.
    pub(super) fn wire(self) -> Wire {
        match self {
            Self::Double | Self::Fixed64 | Self::Sfixed64 => Wire::Fixed64,
            Self::Float | Self::Fixed32 | Self::Sfixed32 => Wire::Fixed32,
            Self::String | Self::Bytes => Wire::Delimited,
            Self::Int32
            | Self::Int64
            | Self::Uint32
            | Self::Uint64
            | Self::Sint32
            | Self::Sint64
            | Self::Bool
            | Self::Enum => Wire::Varint,
        }
    }

    /// Reads one value; narrow integers are cut as prost cuts them.
    #[inline]
    pub(super) fn read<'a>(self, reader: &mut Reader<'a>) -> Result<Scalar<'a>, Fault> {
        Ok(match self {
            Self::Double => Scalar::Float(f64::from_bits(reader.fixed64()?)),
            Self::Float => Scalar::Float(f64::from(f32::from_bits(reader.fixed32()?))),
            Self::Int32 | Self::Enum => Scalar::Int((reader.varint()? as i32).into()),
            Self::Int64 => Scalar::Int((reader.varint()? as i64).into()),
            Self::Uint32 => Scalar::Int((reader.varint()? as u32).into()),
            Self::Uint64 => Scalar::Int(reader.varint()?.into()),
            Self::Sint32 => {
                let raw = reader.varint()? as u32;
                Scalar::Int(((raw >> 1) as i32 ^ -((raw & 1) as i32)).into())
            }
            Self::Sint64 => {
                let raw = reader.varint()?;
                Scalar::Int(((raw >> 1) as i64 ^ -((raw & 1) as i64)).into())
            }
            Self::Fixed32 => Scalar::Int(reader.fixed32()?.into()),
            Self::Fixed64 => Scalar::Int(reader.fixed64()?.into()),
            Self::Sfixed32 => Scalar::Int((reader.fixed32()? as i32).into()),
            Self::Sfixed64 => Scalar::Int((reader.fixed64()? as i64).into()),
            Self::Bool => Scalar::Bool(reader.varint()? != 0),
            Self::String => {
                let bytes = reader.delimited()?;
                Scalar::Text(std::str::from_utf8(bytes).map_err(|_| "is not valid UTF-8")?)
            }
            Self::Bytes => Scalar::Blob(reader.delimited()?),
        })
    }

    /// The value of a field that is not set.
    pub(super) fn zero(self) -> Scalar<'static> {
        match self {
            Self::Double | Self::Float => Scalar::Float(0.0),
            Self::Bool => Scalar::Bool(false),
            Self::String => Scalar::Text(""),
            Self::Bytes => Scalar::Blob(&[]),
            _ => Scalar::Int(0),
        }
    }
}

/// One value off the wire. Enums are `Int`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scalar<'a> {
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(&'a str),
    Blob(&'a [u8]),
}

impl Scalar<'_> {
    pub(super) fn is_zero(&self) -> bool {
        match *self {
            Self::Bool(value) => !value,
            Self::Int(value) => value == 0,
            Self::Float(value) => value == 0.0,
            Self::Text(value) => value.is_empty(),
            Self::Blob(value) => value.is_empty(),
        }
    }
}

/// A rule that a value breaks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) rule: String,
    pub(super) description: String,
}

impl Finding {
    pub(super) fn new(rule: impl Into<String>, description: impl Into<String>) -> Self {
        Self { rule: rule.into(), description: description.into() }
    }
}

/// The rules stated for one value. `None` still refuses NUL in strings.
#[derive(Debug)]
pub(super) enum Checks {
    None,
    Text {
        min: usize,
        max: usize,
        max_bytes: usize,
        pattern: Option<Regex>,
    },
    Bytes {
        min: usize,
        max: usize,
    },
    Int(Range<i128>),
    Float(Range<f64>),
    Enum {
        /// Sorted numbers, where only defined ones may be used.
        defined: Option<Vec<i32>>,
        not_in: Vec<i32>,
        /// Names of the values that may be used, for the description.
        allowed: String,
    },
    Duration(Range<Span>),
    FieldMask {
        paths: Vec<String>,
    },
}

impl Checks {
    /// Adds what `value` breaks to `found`.
    pub(super) fn judge(&self, value: &Scalar<'_>, found: &mut Vec<Finding>) {
        if let Scalar::Text(text) = value
            && text.as_bytes().contains(&0)
        {
            let description = "must not contain the character NUL (U+0000): remove it";
            found.push(Finding::new("string.nul", description));
        }
        match (self, value) {
            (Self::Text { min, max, max_bytes, pattern }, Scalar::Text(text)) => {
                if text.len() > *max_bytes {
                    let length = text.len();
                    let description =
                        format!("must have at most {max_bytes} bytes of UTF-8, has {length}: shorten it");
                    found.push(Finding::new("string.max_bytes", description));
                }
                judge_text(text, *min, *max, pattern.as_ref(), found);
            }
            (Self::Bytes { min, max }, Scalar::Blob(blob)) => {
                judge_length("bytes", "bytes", blob.len(), *min, *max, found);
            }
            (Self::Int(range), Scalar::Int(number)) => range.judge(*number, found),
            (Self::Float(range), Scalar::Float(number)) => range.judge(*number, found),
            (Self::Enum { defined, not_in, allowed }, Scalar::Int(number)) => {
                judge_enum(*number, defined.as_deref(), not_in, allowed, found)
            }
            _ => {}
        }
    }

    /// As [`Checks::judge`], for a duration.
    pub(super) fn judge_duration(&self, span: Span, found: &mut Vec<Finding>) {
        if let Self::Duration(range) = self {
            range.judge(span, found);
        }
    }

    /// As [`Checks::judge`], for one path of a field mask.
    pub(super) fn judge_mask(&self, path: &str, found: &mut Vec<Finding>) {
        let Self::FieldMask { paths } = self else {
            return;
        };
        let within = |allowed: &String| {
            path.strip_prefix(allowed.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if !paths.iter().any(within) {
            let description =
                format!("must only contain paths of {}: remove \"{}\"", paths.join(", "), shown(path));
            found.push(Finding::new("field_mask.in", description));
        }
    }
}

fn judge_text(text: &str, min: usize, max: usize, pattern: Option<&Regex>, found: &mut Vec<Finding>) {
    // A character has 1 to 4 bytes; most texts need no counting.
    if text.len() > max || text.len() < min.saturating_mul(4) {
        judge_length("string", "characters", text.chars().count(), min, max, found);
    }
    if let Some(pattern) = pattern
        && !pattern.is_match(text)
    {
        let description = format!("must match the regular expression {pattern}");
        found.push(Finding::new("string.pattern", description));
    }
}

fn judge_length(kind: &str, unit: &str, length: usize, min: usize, max: usize, found: &mut Vec<Finding>) {
    if length < min {
        let description = match length {
            0 => "must not be empty".to_string(),
            _ => format!("must have at least {min} {unit}, has {length}"),
        };
        found.push(Finding::new(format!("{kind}.min_len"), description));
    }
    if length > max {
        let description = format!("must have at most {max} {unit}, has {length}: shorten it");
        found.push(Finding::new(format!("{kind}.max_len"), description));
    }
}

fn judge_enum(
    number: i128,
    defined: Option<&[i32]>,
    not_in: &[i32],
    allowed: &str,
    found: &mut Vec<Finding>,
) {
    // Invariant: enums are read as i32.
    let number = number as i32;
    let rule = if defined.is_some_and(|defined| defined.binary_search(&number).is_err()) {
        "enum.defined_only"
    } else if not_in.contains(&number) {
        "enum.not_in"
    } else {
        return;
    };
    let description = format!("must be one of {allowed}; {number} is not");
    found.push(Finding::new(rule, description));
}

/// Bounds of a number or duration.
#[derive(Debug)]
pub(super) struct Range<T> {
    rule: String,
    low: Bound<T>,
    high: Bound<T>,
}

impl<T: PartialOrd + fmt::Display + Copy> Range<T> {
    /// `kind` is the prefix of the rule, such as `int32`. Fails where nothing
    /// lies between the bounds; protovalidate reads that as "outside of".
    pub(super) fn new(kind: &str, low: Bound<T>, high: Bound<T>) -> Result<Self, String> {
        if let (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) =
            (low, high)
            && a > b
        {
            return Err(format!("the bounds {a} and {b} exclude everything between them"));
        }
        let names = [
            match low {
                Bound::Included(_) => "gte",
                Bound::Excluded(_) => "gt",
                Bound::Unbounded => "",
            },
            match high {
                Bound::Included(_) => "lte",
                Bound::Excluded(_) => "lt",
                Bound::Unbounded => "",
            },
        ];
        let rule = format!("{kind}.{}", names.join("_").trim_matches('_'));
        Ok(Self { rule, low, high })
    }

    fn judge(&self, value: T, found: &mut Vec<Finding>) {
        // NaN lies in no range.
        if (self.low, self.high).contains(&value) {
            return;
        }
        let low = match self.low {
            Bound::Included(limit) => format!("at least {limit}"),
            Bound::Excluded(limit) => format!("more than {limit}"),
            Bound::Unbounded => String::new(),
        };
        let high = match self.high {
            Bound::Included(limit) => format!("at most {limit}"),
            Bound::Excluded(limit) => format!("less than {limit}"),
            Bound::Unbounded => String::new(),
        };
        let and = if low.is_empty() || high.is_empty() { "" } else { " and " };
        let description = format!("must be {low}{and}{high}, is {value}");
        found.push(Finding::new(self.rule.as_str(), description));
    }
}

/// A `Duration` or `Timestamp` off the wire. Ordered like the time it stands for
/// once it is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) seconds: i64,
    pub(super) nanos: i32,
}

impl Span {
    /// Whether it is a duration as `google/protobuf/duration.proto` defines it:
    /// at most 10,000 years, both parts of one sign.
    pub(super) fn is_duration(self) -> bool {
        let sign_agrees = match self.seconds.signum() {
            0 => true,
            sign => i64::from(self.nanos.signum()) != -sign,
        };
        self.seconds.unsigned_abs() <= 315_576_000_000
            && self.nanos.unsigned_abs() < 1_000_000_000
            && sign_agrees
    }

    /// Whether it is a time as `google/protobuf/timestamp.proto` defines it: year
    /// 1 to 9999, nanos count forward.
    pub(super) fn is_timestamp(self) -> bool {
        (-62_135_596_800..=253_402_300_799).contains(&self.seconds)
            && (0..1_000_000_000).contains(&self.nanos)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.seconds < 0 || self.nanos < 0 { "-" } else { "" };
        write!(f, "{sign}{}", self.seconds.unsigned_abs())?;
        if self.nanos != 0 {
            let nanos = format!("{:09}", self.nanos.unsigned_abs());
            write!(f, ".{}", nanos.trim_end_matches('0'))?;
        }
        f.write_str("s")
    }
}
