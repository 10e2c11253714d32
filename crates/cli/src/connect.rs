//! From the global options to a client, and from a silent address to a diagnosis.

use std::path::{Path, PathBuf};
use std::time::Duration;

use quarterdeck_client::{Client, Config, Origin};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::failure::{Exit, Failure};
use crate::output::Format;

/// Longest wait of a probe for each of connecting and answering.
const PROBE: Duration = Duration::from_secs(3);
/// Where systems keep the certificates of public authorities.
const SYSTEM_CAS: &[&str] =
    &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
/// Files with one line in them are not longer than this.
const SHORT_FILE: u64 = 64 * 1024;

/// Options that every command takes.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Server to talk to.
    #[arg(
        long,
        global = true,
        env = "QUARTERDECK_ADDRESS",
        default_value = "http://127.0.0.1:7443",
        value_name = "URL"
    )]
    pub address: String,
    /// API key, bootstrap credential or JWT.
    #[arg(long, global = true, env = "QUARTERDECK_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub api_key: Option<String>,
    /// File that holds the key instead.
    #[arg(long, global = true, env = "QUARTERDECK_API_KEY_FILE", value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Project to work in; needed where the key covers several.
    #[arg(long, global = true, env = "QUARTERDECK_PROJECT", value_name = "NAME")]
    pub project: Option<String>,
    /// Certificates (PEM) of who may sign the server's [default: the system's].
    #[arg(long, global = true, env = "QUARTERDECK_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Allow http to another machine; the key is then readable on the way.
    #[arg(long, global = true, env = "QUARTERDECK_ALLOW_PLAINTEXT")]
    pub allow_plaintext: bool,
    /// How to write data.
    #[arg(
        short = 'o',
        long = "format",
        global = true,
        env = "QUARTERDECK_FORMAT",
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub format: Format,
}

impl Globals {
    /// The project, or nothing for the credential's own.
    pub fn project(&self) -> String {
        self.project.clone().unwrap_or_default()
    }

    /// Settings of a client.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn config(&self) -> Result<Config, Failure> {
        let mut config = Config::new(&self.address);
        config.credential = self.credential()?;
        config.allow_plaintext = self.allow_plaintext;
        if let Some(path) = &self.ca_file {
            let pem = std::fs::read(path).map_err(|error| unreadable(path, "--ca-file", &error))?;
            config.ca_pem = Some(pem);
        } else if self.address.starts_with("https://") {
            config.ca_pem = SYSTEM_CAS.iter().find_map(|path| std::fs::read(path).ok());
        }
        Ok(config)
    }

    /// The credential: the file wins, for it was asked for by name.
    pub fn credential(&self) -> Result<Option<String>, Failure> {
        match &self.api_key_file {
            Some(path) => read_line(path, "--api-key-file").map(Some),
            None => Ok(self.api_key.clone().filter(|key| !key.is_empty())),
        }
    }

    /// A connected client.
    ///
    /// # Errors
    /// Nobody answers at the address, or it is not one.
    pub async fn client(&self) -> Result<Client, Failure> {
        self.connect(self.config()?).await
    }

    /// A client connected with these settings.
    ///
    /// # Errors
    /// As [`Globals::client`].
    pub async fn connect(&self, config: Config) -> Result<Client, Failure> {
        Client::connect(config).await.map_err(|error| {
            let flag = (error.origin == Origin::Client).then_some("--address");
            let failure = Failure::from(error);
            flag.map_or(failure.clone(), |flag| failure.at(flag))
        })
    }

    /// Adds where a failure happened and, where nobody answered, what the probe found.
    pub async fn explain(&self, failure: Failure) -> Failure {
        match failure.word {
            Origin::Client => return failure,
            Origin::Server => return failure.at(&self.address),
            Origin::Transport => {}
        }
        let Some(address) = Address::parse(&self.address) else {
            return failure
                .at(&self.address)
                .fix("write the address as http://host:port or https://host:port");
        };
        let mut failure = failure.at(&self.address);
        let other = |scheme: &str| format!("--address {scheme}://{}", address.authority());
        match probe(&address).await {
            Listener::Nobody(_) => {
                failure.what = format!("nobody answers at {}", self.address);
                failure.fix.insert(0, "start a server: quarterdeck dev".to_owned());
                failure.fix.push("name another one with --address or QUARTERDECK_ADDRESS".to_owned());
            }
            Listener::Tls if !address.tls => {
                failure.what = "the server speaks TLS, but the address says http".to_owned();
                failure.fix.insert(0, format!("{} --ca-file <certificate of its authority>", other("https")));
            }
            Listener::Plain if address.tls => {
                failure.what = "the server speaks plaintext, but the address says https".to_owned();
                failure.fix.insert(0, other("http"));
            }
            Listener::Tls => {
                failure.fix.push(
                    "name with --ca-file the authority that signed the server's certificate".to_owned(),
                );
                failure.fix.push(
                    "give the server a certificate that is valid for this host and no authority itself"
                        .to_owned(),
                );
            }
            Listener::Plain | Listener::Silent => {}
            Listener::Stranger => {
                failure.what = format!("what answers at {} does not speak gRPC", self.address);
                failure
                    .fix
                    .insert(0, "name the gRPC port of the server (7443 unless told otherwise)".to_owned());
            }
        }
        failure
    }
}

/// Host and port of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// True for https.
    pub tls: bool,
    /// Name or IP, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Address {
    /// Reads `http://host[:port]` or `https://host[:port]`.
    pub fn parse(text: &str) -> Option<Self> {
        let (tls, rest) = match text.split_once("://")? {
            ("http", rest) => (false, rest),
            ("https", rest) => (true, rest),
            _ => return None,
        };
        let authority = rest.split('/').next()?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, if tls { 443 } else { 80 }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        (!host.is_empty()).then_some(Self { tls, host, port })
    }

    /// `host:port`.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// What listens at an address.
#[derive(Debug, PartialEq, Eq)]
pub enum Listener {
    /// No connection; the system's words.
    Nobody(String),
    /// HTTP/2 without TLS.
    Plain,
    /// TLS.
    Tls,
    /// Accepts and says nothing.
    Silent,
    /// Something else.
    Stranger,
}

/// The first words of an HTTP/2 client: its preface and empty settings.
const HTTP2_HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The first words of a TLS client, too few to agree on anything: a TLS server answers
/// with a record (an alert), whatever it thinks of them.
const TLS_HELLO: &[u8] = b"\x16\x03\x01\0\x2f\x01\0\0\x2b\x03\x03\
    quarterdeck asks who is there...\0\0\x04\x13\x01\xc0\x2f\x01\0";

/// Says the first words of HTTP/2 and, to somebody who does not answer those, of TLS.
pub async fn probe(address: &Address) -> Listener {
    match ask(address, HTTP2_HELLO).await {
        Listener::Silent | Listener::Stranger => match ask(address, TLS_HELLO).await {
            Listener::Tls => Listener::Tls,
            Listener::Stranger => Listener::Stranger,
            _ => Listener::Silent,
        },
        clear => clear,
    }
}

async fn ask(address: &Address, hello: &[u8]) -> Listener {
    let dial = timeout(PROBE, TcpStream::connect((address.host.as_str(), address.port)));
    let mut stream = match dial.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Listener::Nobody(error.to_string()),
        Err(_) => return Listener::Nobody(format!("no answer within {} s", PROBE.as_secs())),
    };
    if stream.write_all(hello).await.is_err() {
        return Listener::Silent;
    }
    let mut answer = [0_u8; 7];
    match timeout(PROBE, read_some(&mut stream, &mut answer)).await {
        Ok(heard) => classify(&answer[..heard]),
        Err(_) => Listener::Silent,
    }
}

async fn read_some(stream: &mut TcpStream, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]).await {
            Ok(0) | Err(_) => break,
            Ok(count) => filled += count,
        }
    }
    filled
}

fn classify(answer: &[u8]) -> Listener {
    match answer {
        // RFC 8446, 5.1: a record of type alert (21) or handshake (22), version 3.x.
        [21 | 22, 3, ..] => Listener::Tls,
        // RFC 9113, 4.1: length, type SETTINGS (4).
        [_, _, _, 4, ..] => Listener::Plain,
        // A TLS server may also hang up without a word.
        [] => Listener::Silent,
        _ => Listener::Stranger,
    }
}

/// The only line of a file, without white space around it.
///
/// # Errors
/// The file cannot be read, is empty, or is no short text.
pub fn read_line(path: &Path, flag: &str) -> Result<String, Failure> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(SHORT_FILE).read_to_string(&mut text));
    read.map_err(|error| unreadable(path, flag, &error))?;
    let line = text.trim();
    if line.is_empty() || line.contains('\n') {
        let what = if line.is_empty() { "is empty" } else { "has more than one line" };
        return Err(Failure::usage(format!("{} {what}", path.display()))
            .at(flag)
            .fix("put the value on one line of the file, and nothing else"));
    }
    Ok(line.to_owned())
}

/// The failure of a file that was named by a flag.
pub fn unreadable(path: &Path, flag: &str, error: &std::io::Error) -> Failure {
    let fix = match error.kind() {
        std::io::ErrorKind::NotFound => "create the file, or name another one",
        std::io::ErrorKind::PermissionDenied => "let this user read it, or run as its owner",
        _ => "name a readable file",
    };
    Failure::new(Exit::Usage, format!("cannot read {}: {error}", path.display())).at(flag).fix(fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_port() {
        for (text, expected) in [
            ("http://127.0.0.1:7443", Some((false, "127.0.0.1", 7443))),
            ("https://deck.example/", Some((true, "deck.example", 443))),
            ("http://[::1]:80", Some((false, "::1", 80))),
            ("http://[::1]", Some((false, "::1", 80))),
            ("127.0.0.1:7443", None),
            ("ftp://x:1", None),
            ("http://:1", None),
            ("http://x:port", None),
        ] {
            let expected = expected.map(|(tls, host, port)| Address { tls, host: host.to_owned(), port });
            assert_eq!(Address::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn listeners_are_told_apart_by_their_first_bytes() {
        assert_eq!(classify(&[21, 3, 3, 0, 2, 2, 22]), Listener::Tls);
        assert_eq!(classify(&[0, 0, 18, 4, 0, 0, 0, 0, 0]), Listener::Plain);
        assert_eq!(classify(b"HTTP/1.1 "), Listener::Stranger);
        assert_eq!(classify(&[]), Listener::Silent);
    }

    #[test]
    fn the_tls_hello_is_as_long_as_it_says() {
        assert_eq!(TLS_HELLO.len(), 5 + usize::from(TLS_HELLO[4]));
        assert_eq!(TLS_HELLO.len(), 9 + usize::from(TLS_HELLO[8]));
    }

    #[tokio::test]
    async fn a_server_that_hangs_up_is_silent_and_a_closed_port_is_nobody() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = Address { tls: false, host: "127.0.0.1".to_owned(), port };
        let hang_up = async {
            for _ in 0..2 {
                drop(listener.accept().await.unwrap());
            }
        };
        let (heard, ()) = tokio::join!(probe(&address), hang_up);
        assert_eq!(heard, Listener::Silent);
        drop(listener);
        assert!(matches!(probe(&address).await, Listener::Nobody(_)));
    }

    #[test]
    fn a_key_file_holds_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        std::fs::write(&path, " qd_x_y \n").unwrap();
        assert_eq!(read_line(&path, "--api-key-file").unwrap(), "qd_x_y");
        for wrong in ["", "\n", "a\nb\n"] {
            std::fs::write(&path, wrong).unwrap();
            assert_eq!(read_line(&path, "--api-key-file").unwrap_err().exit, Exit::Usage);
        }
        assert!(read_line(&directory.path().join("none"), "--x").unwrap_err().what.contains("cannot read"));
    }
}
