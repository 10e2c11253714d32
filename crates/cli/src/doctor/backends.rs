//! Checks of the database and of Redis, where they were named.

use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::finding::Finding;
use crate::clock;
use crate::database::{self, Source};
use crate::failure::Failure;

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Clocks further apart than this confuse people who read logs; the database's is what counts.
const SKEW: Duration = Duration::from_secs(2);

/// The database: reachable, schema, clock.
pub async fn database(source: Option<&Source>, now: impl Fn() -> SystemTime) -> Vec<Finding> {
    let Some(source) = source else {
        let why = "no --database-url, --database-url-file or --data was given";
        return vec![Finding::skipped("database", why)];
    };
    let schema = match timeout(PATIENCE, database::schema(source)).await {
        Ok(Ok(schema)) => schema,
        Ok(Err(failure)) => return vec![failed(failure)],
        Err(_) => {
            let words = format!("{} does not answer within {}", source.redacted(), clock::span(PATIENCE));
            return vec![Finding::fail("database", words, "check host, port and firewall")];
        }
    };
    let mut findings = vec![Finding::ok("database", format!("{} answers", source.redacted()))];
    let versions = format!("{}, this version needs {}", schema.words(), schema.needed);
    findings.push(if schema.is_current() {
        Finding::ok("schema", versions)
    } else {
        Finding::fail("schema", versions, "quarterdeck migrate up")
    });
    if schema.is_current() {
        findings.push(match timeout(PATIENCE, database::time(source)).await {
            Ok(Ok(theirs)) => skew(theirs, now()),
            _ => Finding::skipped("database clock", "it could not be asked"),
        });
    }
    findings
}

fn failed(failure: Failure) -> Finding {
    Finding::fail("database", failure.what, failure.fix.join("; or "))
}

fn skew(theirs: SystemTime, ours: SystemTime) -> Finding {
    let apart = theirs.duration_since(ours).unwrap_or_else(|error| error.duration());
    let words = format!("{} from this machine's", clock::span(apart));
    if apart > SKEW {
        return Finding::warn("database clock", words, "run chrony or systemd-timesyncd on both machines");
    }
    Finding::ok("database clock", words)
}

/// Redis: reachable, and whether the password is right. Spoken by hand, for it is one word.
pub async fn redis(url: Option<&str>) -> Finding {
    const CHECK: &str = "redis";
    let Some(url) = url else {
        return Finding::skipped(CHECK, "no --redis-url was given; replicas look at the tables then");
    };
    let Some(target) = Target::parse(url) else {
        let fix = "write it as redis://[user:password@]host:port[/database]";
        return Finding::fail(CHECK, "the URL cannot be read", fix);
    };
    if target.tls {
        return Finding::skipped(CHECK, "rediss:// is not examined");
    }
    match timeout(PATIENCE, ping(&target)).await {
        Ok(Ok(answer)) => judge(&answer, &target.authority()),
        Ok(Err(error)) => {
            let fix = "start it, or leave it out: nothing is lost without, wake-ups are slower";
            Finding::fail(CHECK, format!("{}: {error}", target.authority()), fix)
        }
        Err(_) => {
            Finding::fail(CHECK, format!("{} does not answer", target.authority()), "check host and port")
        }
    }
}

fn judge(answer: &str, authority: &str) -> Finding {
    const CHECK: &str = "redis";
    let last = answer.lines().last().unwrap_or_default();
    if answer.contains("-NOAUTH") || answer.contains("-WRONGPASS") {
        let fix = "put user and password into the URL: redis://user:password@host:port";
        return Finding::fail(CHECK, format!("{authority} refuses the password"), fix);
    }
    if last.starts_with("+PONG") {
        return Finding::ok(CHECK, format!("{authority} answers"));
    }
    Finding::fail(CHECK, format!("{authority} says {last}"), "is it Redis?")
}

struct Target {
    tls: bool,
    host: String,
    port: u16,
    user: String,
    password: String,
}

impl Target {
    fn parse(url: &str) -> Option<Self> {
        let (tls, rest) = match url.split_once("://")? {
            ("redis", rest) => (false, rest),
            ("rediss", rest) => (true, rest),
            _ => return None,
        };
        let authority = rest.split(['/', '?']).next()?;
        let (login, place) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (place, 6379),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let valid = !host.is_empty();
        valid.then(|| Self { tls, host, port, user: user.to_owned(), password: password.to_owned() })
    }

    fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

async fn ping(target: &Target) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
    let mut words = String::new();
    if !target.password.is_empty() {
        let mut login = vec!["AUTH"];
        login.extend((!target.user.is_empty()).then_some(target.user.as_str()));
        login.push(&target.password);
        words.push_str(&command(&login));
    }
    words.push_str(&command(&["PING"]));
    words.push_str(&command(&["QUIT"]));
    stream.write_all(words.as_bytes()).await?;
    let mut answer = String::new();
    // QUIT makes it hang up, so the end is the end of the answers.
    stream.take(4_096).read_to_string(&mut answer).await?;
    Ok(answer.trim_end().trim_end_matches("+OK").trim_end().to_owned())
}

/// A command in RESP, so that a password may hold anything.
fn command(words: &[&str]) -> String {
    let each: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{each}", words.len())
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn redis_urls_are_taken_apart() {
        let target = Target::parse("redis://me:p@ss@[::1]:7000/3").unwrap();
        assert_eq!((target.host.as_str(), target.port), ("::1", 7000));
        assert_eq!((target.user.as_str(), target.password.as_str()), ("me", "p@ss"));
        assert_eq!(Target::parse("redis://h").unwrap().port, 6379);
        assert!(Target::parse("rediss://h").unwrap().tls);
        for wrong in ["h:1", "http://h", "redis://", "redis://h:port"] {
            assert!(Target::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn answers_of_redis_are_judged() {
        assert_eq!(judge("+OK\r\n+PONG", "h:1").state, State::Ok);
        assert_eq!(judge("+PONG", "h:1").state, State::Ok);
        assert_eq!(judge("-NOAUTH Authentication required.", "h:1").state, State::Fail);
        assert_eq!(judge("HTTP/1.1 400", "h:1").state, State::Fail);
        assert_eq!(command(&["AUTH", "pä"]), "*2\r\n$4\r\nAUTH\r\n$3\r\npä\r\n");
    }

    #[test]
    fn clocks_far_apart_are_a_warning() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        assert_eq!(skew(now + Duration::from_millis(300), now).state, State::Ok);
        assert_eq!(skew(now - Duration::from_secs(3), now).state, State::Warn);
    }
}
