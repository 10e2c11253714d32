//! What does a client begin with?

use tokio::net::TcpStream;

/// The first bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// A TLS handshake record (RFC 8446, section 5.1).
    Tls,
    /// HTTP/2 with prior knowledge, or anything else that does not look like HTTP/1.
    Other,
    /// A request of HTTP/1.
    Http1,
}

/// Looks without taking. `None`: the client left without a word.
pub async fn opening(stream: &TcpStream) -> std::io::Result<Option<Opening>> {
    let mut bytes = [0; 8];
    let count = stream.peek(&mut bytes).await?;
    Ok((count > 0).then(|| classify(&bytes[..count])))
}

fn classify(bytes: &[u8]) -> Opening {
    const METHODS: [&[u8]; 8] =
        [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT "];
    // The first segment may be short; three letters tell methods from `PRI`.
    let begins = |method: &&[u8]| bytes.iter().zip(method.iter()).all(|(byte, letter)| byte == letter);
    match bytes {
        [0x16, ..] => Opening::Tls,
        [_, _, _, ..] if METHODS.iter().any(begins) => Opening::Http1,
        _ => Opening::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openings_are_told_apart() {
        for (bytes, expected) in [
            (&b"\x16\x03\x01\x02\x00"[..], Opening::Tls),
            (b"\x16", Opening::Tls),
            (b"PRI * HT", Opening::Other),
            (b"GET / HT", Opening::Http1),
            (b"POST /q ", Opening::Http1),
            (b"OPTIONS ", Opening::Http1),
            (b"DEL", Opening::Http1),
            (b"P", Opening::Other),
            (b"\x00\x00\x00", Opening::Other),
        ] {
            assert_eq!(classify(bytes), expected, "{bytes:?}");
        }
    }
}
