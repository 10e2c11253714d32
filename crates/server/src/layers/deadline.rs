//! How long a unary call may take: what the client says, within limits.

use std::time::Duration;

use http::HeaderMap;

use crate::config::Limits;
use crate::status::Fault;

/// Of calls that wait for things to happen and state no deadline: the longest wait
/// of the contract, and time to answer.
const POLL_DEADLINE: Duration = Duration::from_secs(70);

/// How long a call has, for handlers that make use of all of it.
#[derive(Clone, Copy, Debug)]
pub struct TimeAllowed(pub Duration);

/// The time a unary call has: `grpc-timeout` if given, cut to the maximum. `waits`
/// where it is in its nature to take long.
pub fn of(headers: &HeaderMap, limits: &Limits, waits: bool) -> Result<Duration, Fault> {
    let Some(value) = headers.get("grpc-timeout") else {
        return Ok(match waits {
            true => limits.default_deadline.max(POLL_DEADLINE).min(limits.max_deadline),
            false => limits.default_deadline,
        });
    };
    let stated = value.to_str().ok().and_then(parse);
    let stated = stated
        .ok_or_else(|| Fault::Malformed("`grpc-timeout` is not 1 to 8 digits and a unit".to_owned()))?;
    Ok(stated.min(limits.max_deadline))
}

/// `TimeoutValue TimeoutUnit` of the gRPC over HTTP/2 protocol.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 60 * 60),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn timeouts_are_read_as_the_protocol_says() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3_600))),
            ("2M", Some(Duration::from_secs(120))),
            ("99999999S", Some(Duration::from_secs(99_999_999))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("0n", Some(Duration::ZERO)),
            ("", None),
            ("S", None),
            ("1", None),
            ("123456789S", None),
            ("-1S", None),
            ("+1S", None),
            ("1.5S", None),
            ("1s", None),
            ("1\u{e9}", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn the_default_and_the_maximum_hold() {
        let limits = Limits::default();
        let with = |value: &'static str| {
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-timeout"),
                HeaderValue::from_static(value),
            )]);
            of(&headers, &limits, false)
        };
        assert_eq!(of(&HeaderMap::new(), &limits, false), Ok(Duration::from_secs(30)));
        assert_eq!(of(&HeaderMap::new(), &limits, true), Ok(POLL_DEADLINE), "a wait of 55 s fits");
        let strict = Limits { max_deadline: Duration::from_secs(40), ..Limits::default() };
        assert_eq!(of(&HeaderMap::new(), &strict, true), Ok(strict.max_deadline));
        assert_eq!(with("2S"), Ok(Duration::from_secs(2)));
        assert_eq!(with("1H"), Ok(Duration::from_secs(300)));
        assert!(matches!(with("soon"), Err(Fault::Malformed(_))));
    }
}
