//! Conditions that leave nothing out.

use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value};

/// Deepest condition that is looked into; deeper ones count as selective by nobody.
const DEEP: u8 = 24;

/// Whether a condition holds for every row, or for all but a few odd ones
/// (`id > 0`, `id IS NOT NULL`).
pub fn everything(condition: &Expr) -> bool {
    truth(condition, DEEP) != Some(false) && broad(condition, DEEP)
}

fn broad(condition: &Expr, deep: u8) -> bool {
    let Some(deep) = deep.checked_sub(1) else { return true };
    if let Some(value) = truth(condition, deep) {
        return value;
    }
    match condition {
        Expr::Nested(inner) | Expr::IsTrue(inner) => broad(inner, deep),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => broad(left, deep) && broad(right, deep),
        Expr::BinaryOp { left, op: BinaryOperator::Or, right } => broad(left, deep) || broad(right, deep),
        Expr::BinaryOp { left, op, right } => open(left, op, right),
        Expr::IsNotNull(_) => true,
        Expr::Like { negated: false, pattern, .. } | Expr::ILike { negated: false, pattern, .. } => {
            text(pattern).is_some_and(|text| !text.is_empty() && text.chars().all(|c| c == '%'))
        }
        Expr::Exists { negated: false, .. } => false,
        _ => false,
    }
}

/// `x = x`, `id > 0`, `id >= 0`, `id <> -1`, `x <> ''`, `day >= '2020-01-01'`.
fn open(left: &Expr, op: &BinaryOperator, right: &Expr) -> bool {
    use BinaryOperator as Op;
    if matches!(op, Op::Eq | Op::GtEq | Op::LtEq) && left.to_string() == right.to_string() {
        return true;
    }
    let small = number(right).is_some_and(|value| value <= 0.0);
    match op {
        // All since a fixed day is as good as all.
        Op::Gt | Op::GtEq => small || day(right),
        Op::NotEq => small || text(right).is_some_and(str::is_empty),
        _ => false,
    }
}

/// A day that is written out, as `'2020-01-01'` or `DATE '2020-01-01'`.
fn day(expr: &Expr) -> bool {
    let text = match expr {
        Expr::TypedString(typed) => typed.value.to_string(),
        _ => text(expr).unwrap_or_default().to_owned(),
    };
    let text = text.trim_matches('\'').as_bytes();
    text.len() >= 8 && text.iter().take(4).all(u8::is_ascii_digit) && text.get(4) == Some(&b'-')
}

/// What a condition without columns comes to.
fn truth(condition: &Expr, deep: u8) -> Option<bool> {
    let deep = deep.checked_sub(1)?;
    match condition {
        Expr::Nested(inner) | Expr::IsTrue(inner) => truth(inner, deep),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => truth(expr, deep).map(|value| !value),
        Expr::Value(value) => match &value.value {
            Value::Boolean(value) => Some(*value),
            Value::Null => Some(false),
            _ => number(condition).map(|value| value != 0.0),
        },
        Expr::BinaryOp { left, op, right } => joined(left, op, right, deep),
        Expr::IsNotNull(inner) => constant(inner).map(|_| true),
        Expr::IsNull(inner) => constant(inner).map(|_| false),
        Expr::InList { expr, list, negated } => {
            let value = constant(expr)?;
            let all = list.iter().map(constant).collect::<Option<Vec<_>>>()?;
            Some(all.contains(&value) != *negated)
        }
        Expr::Between { expr, negated, low, high } => {
            let (value, low, high) = (number(expr)?, number(low)?, number(high)?);
            Some((low <= value && value <= high) != *negated)
        }
        _ => None,
    }
}

fn joined(left: &Expr, op: &BinaryOperator, right: &Expr, deep: u8) -> Option<bool> {
    use BinaryOperator as Op;
    let (a, b) = (truth(left, deep), truth(right, deep));
    match op {
        Op::And => match (a, b) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        },
        Op::Or => match (a, b) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        },
        _ => compared(op, &constant(left)?, &constant(right)?),
    }
}

fn compared(op: &BinaryOperator, left: &Constant, right: &Constant) -> Option<bool> {
    use BinaryOperator as Op;
    let order = left.partial_cmp(right)?;
    Some(match op {
        Op::Eq => order.is_eq(),
        Op::NotEq => order.is_ne(),
        Op::Lt => order.is_lt(),
        Op::LtEq => order.is_le(),
        Op::Gt => order.is_gt(),
        Op::GtEq => order.is_ge(),
        _ => return None,
    })
}

#[derive(Debug, PartialEq, PartialOrd)]
enum Constant {
    Number(f64),
    Text(String),
    Truth(bool),
}

fn constant(expr: &Expr) -> Option<Constant> {
    if let Some(value) = number(expr) {
        return Some(Constant::Number(value));
    }
    match expr {
        Expr::Nested(inner) => constant(inner),
        Expr::Value(value) => match &value.value {
            Value::Boolean(value) => Some(Constant::Truth(*value)),
            _ => text(expr).map(|text| Constant::Text(text.to_owned())),
        },
        _ => None,
    }
}

/// A number, also of simple sums.
fn number(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(_) => number(expr).map(|value| -value),
            _ => None,
        },
        Expr::BinaryOp { left, op, right } => match (left.as_ref(), right.as_ref()) {
            (Expr::Value(_), Expr::Value(_)) => summed(number(left)?, op, number(right)?),
            _ => None,
        },
        _ => None,
    }
}

fn summed(left: f64, op: &BinaryOperator, right: f64) -> Option<f64> {
    match op {
        BinaryOperator::Plus => Some(left + right),
        BinaryOperator::Minus => Some(left - right),
        BinaryOperator::Multiply => Some(left * right),
        _ => None,
    }
}

/// The text of a literal in quotes.
pub fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text)
            | Value::DoubleQuotedString(text)
            | Value::EscapedStringLiteral(text)
            | Value::NationalStringLiteral(text) => Some(text),
            Value::DollarQuotedString(text) => Some(&text.value),
            _ => None,
        },
        _ => None,
    }
}
