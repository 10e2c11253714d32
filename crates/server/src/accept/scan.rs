//! Which frames does a client send? Reads over the shoulder of HTTP/2, frame
//! headers only, and decides nothing: what is not legal is for the library to say.

/// What was seen; see RFC 9113, section 6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Frames that are neither of a call's own (HEADERS, DATA) nor counted below.
    pub control: u32,
    /// SETTINGS, but for acknowledgements: each touches every open stream.
    pub settings: u32,
    /// Streams that the client has reset.
    pub resets: u32,
}

#[derive(Debug)]
pub struct Scanner {
    state: State,
    /// Within a header block, which nothing may interrupt.
    in_block: bool,
}

#[derive(Debug)]
enum State {
    /// So much of the preface has been seen.
    Preface(usize),
    /// So much of a frame's header.
    Header([u8; FRAME_HEADER], usize),
    /// So much of a frame's content is still to come; true if of a header block.
    Content(u32, bool),
    /// Not HTTP/2 after all.
    Foreign,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

impl Default for Scanner {
    fn default() -> Self {
        Self { state: State::Preface(0), in_block: false }
    }
}

impl Scanner {
    /// Takes the next bytes of the connection.
    pub fn scan(&mut self, mut bytes: &[u8]) -> Tally {
        let mut tally = Tally::default();
        while !bytes.is_empty() {
            match &mut self.state {
                State::Foreign => return tally,
                State::Preface(seen) => {
                    let count = bytes.len().min(PREFACE.len() - *seen);
                    let (now, later) = bytes.split_at(count);
                    let fits = now == &PREFACE[*seen..*seen + count];
                    *seen += count;
                    bytes = later;
                    match (fits, *seen == PREFACE.len()) {
                        (false, _) => self.state = State::Foreign,
                        (true, true) => self.state = State::Header([0; FRAME_HEADER], 0),
                        (true, false) => {}
                    }
                }
                State::Header(header, seen) => {
                    let count = bytes.len().min(FRAME_HEADER - *seen);
                    let (now, later) = bytes.split_at(count);
                    header[*seen..*seen + count].copy_from_slice(now);
                    *seen += count;
                    bytes = later;
                    if *seen == FRAME_HEADER {
                        let header = *header;
                        self.begin(header, &mut tally);
                    }
                }
                State::Content(left, _) => {
                    let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(*left);
                    *left -= count;
                    bytes = &bytes[count as usize..];
                    if *left == 0 {
                        self.state = State::Header([0; FRAME_HEADER], 0);
                    }
                }
            }
        }
        tally
    }

    fn begin(&mut self, header: [u8; FRAME_HEADER], tally: &mut Tally) {
        let [high, middle, low, kind, flags, ..] = header;
        let block = matches!(kind, HEADERS | CONTINUATION);
        if block {
            self.in_block = flags & END_HEADERS == 0;
        }
        match kind {
            DATA | HEADERS => {}
            RST_STREAM => tally.resets += 1,
            SETTINGS if flags & ACK == 0 => tally.settings += 1,
            _ => tally.control += 1,
        }
        let length = u32::from_be_bytes([0, high, middle, low]);
        self.state = match length {
            0 => State::Header([0; FRAME_HEADER], 0),
            _ => State::Content(length, block),
        };
    }

    /// True while the client owes the rest of its preface or of a header block:
    /// until it comes nothing else can, keepalive included.
    pub fn owes(&self) -> bool {
        self.in_block || matches!(self.state, State::Preface(_) | State::Content(_, true))
    }

    /// True until the whole preface is there.
    pub fn in_preface(&self) -> bool {
        matches!(self.state, State::Preface(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![0, (length >> 8) as u8, length as u8, kind, flags, 0, 0, 0, 1];
        frame.resize(FRAME_HEADER + length, 0x55);
        frame
    }

    #[test]
    fn frames_are_counted_however_they_are_cut() {
        let mut bytes = PREFACE.to_vec();
        for (kind, flags, length) in [
            (SETTINGS, 0, 36),
            (SETTINGS, ACK, 0),
            (HEADERS, 0, 300),
            (CONTINUATION, END_HEADERS, 0),
            (DATA, 0, 5_000),
            (RST_STREAM, 0, 4),
            (6, 0, 8),
            (0xfa, 0, 0),
            (DATA, 1, 0),
        ] {
            bytes.extend(frame(kind, flags, length));
        }
        for piece in [1, 2, 7, 9, 10, 64, bytes.len()] {
            let mut scanner = Scanner::default();
            let mut sum = Tally::default();
            for piece in bytes.chunks(piece) {
                let tally = scanner.scan(piece);
                sum.control += tally.control;
                sum.settings += tally.settings;
                sum.resets += tally.resets;
            }
            // An acknowledgement, a CONTINUATION, a PING and a frame of no known kind.
            assert_eq!(sum, Tally { control: 4, settings: 1, resets: 1 }, "in pieces of {piece}");
            assert!(!scanner.owes());
        }
    }

    #[test]
    fn a_preface_and_a_header_block_are_owed_until_they_are_whole() {
        let mut scanner = Scanner::default();
        assert!(scanner.owes() && scanner.in_preface());
        scanner.scan(&PREFACE[..20]);
        assert!(scanner.owes() && scanner.in_preface());
        scanner.scan(&PREFACE[20..]);
        assert!(!scanner.owes() && !scanner.in_preface());
        let headers = frame(HEADERS, 0, 20);
        scanner.scan(&headers[..15]);
        assert!(scanner.owes());
        scanner.scan(&headers[15..]);
        assert!(scanner.owes(), "the block goes on in CONTINUATION");
        scanner.scan(&frame(CONTINUATION, END_HEADERS, 3));
        assert!(!scanner.owes());
        // Content of other frames is nobody's business here.
        scanner.scan(&frame(DATA, 0, 50)[..20]);
        assert!(!scanner.owes());
    }

    #[test]
    fn what_is_not_http_2_is_left_alone() {
        let mut scanner = Scanner::default();
        assert_eq!(scanner.scan(b"GET / HTTP/1.1\r\n\r\n"), Tally::default());
        assert!(!scanner.owes());
        assert_eq!(scanner.scan(&frame(RST_STREAM, 0, 4)), Tally::default());
    }
}
