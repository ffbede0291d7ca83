//! Reads over tokio-postgres's shoulder: remembers what the server said and bounds how much it may say.
//!
//! Works on the plain bytes of the protocol as they arrive, in pieces of any size. It knows the framing of messages
//! and a handful of their bodies; it knows nothing of sockets, TLS or what the words mean.

use std::collections::BTreeMap;
use std::mem;

use crate::protocol::{ErrorFields, Frame, Violation, text};

/// What a server may send in answer to one question (a login, a ping): real ones stay below a few kilobytes.
/// tokio-postgres reads a message of any announced length into memory; nothing longer than this gets that far.
pub const ALLOWANCE: usize = 1 << 20;
/// PostgreSQL reports about fifteen parameters.
const MAX_PARAMETERS: usize = 256;

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Observed {
    /// The last request for authentication (0 is "ok").
    pub authentication: Option<u32>,
    /// The first that asked for something.
    pub first_request: Option<u32>,
    /// BackendKeyData: process id and secret key.
    pub key: Option<(i32, i32)>,
    /// ParameterStatus, the last value of each.
    pub parameters: BTreeMap<String, String>,
    /// The last ErrorResponse since the last question.
    pub error: Option<ErrorFields<'static>>,
    /// The last notice of class 57P: a server's last words when it goes down in a hurry.
    pub farewell: Option<ErrorFields<'static>>,
    /// ReadyForQuery outside of a transaction has come since the last question.
    pub ready: bool,
}

#[derive(Debug)]
enum ReadState {
    Header { bytes: [u8; Frame::HEADER], have: usize },
    Body { tag: u8, left: usize, kept: Vec<u8> },
}

impl ReadState {
    const START: ReadState = ReadState::Header { bytes: [0; Frame::HEADER], have: 0 };
}

/// Follows one connection's messages.
#[derive(Debug)]
pub struct Scanner {
    state: ReadState,
    spent: usize,
    messages: u64,
    observed: Observed,
}

impl Scanner {
    pub fn new() -> Self {
        Scanner { state: ReadState::START, spent: 0, messages: 0, observed: Observed::default() }
    }

    pub fn observed(&self) -> &Observed {
        &self.observed
    }

    /// A question is about to be asked: a new allowance, and old errors are history.
    pub fn ask(&mut self) {
        self.spent = 0;
        self.observed.ready = false;
        self.forget_error();
    }

    pub fn forget_error(&mut self) {
        self.observed.error = None;
    }

    /// Nothing of a message is outstanding: the next byte starts a new one.
    pub fn between_messages(&self) -> bool {
        matches!(self.state, ReadState::Header { have: 0, .. })
    }

    pub fn feed(&mut self, mut input: &[u8]) -> Result<(), Violation> {
        while !input.is_empty() {
            match &mut self.state {
                ReadState::Header { bytes, have } => {
                    let taken = input.len().min(Frame::HEADER - *have);
                    bytes[*have..*have + taken].copy_from_slice(&input[..taken]);
                    *have += taken;
                    input = &input[taken..];
                    if *have == Frame::HEADER {
                        let header = *bytes;
                        self.open(header, input)?;
                    }
                }
                ReadState::Body { tag, left, kept } => {
                    let taken = input.len().min(*left);
                    if is_kept(*tag) {
                        kept.extend_from_slice(&input[..taken]);
                    }
                    *left -= taken;
                    input = &input[taken..];
                    if *left == 0 {
                        let (tag, body) = (*tag, mem::take(kept));
                        self.close(tag, &body)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn open(&mut self, header: [u8; Frame::HEADER], rest: &[u8]) -> Result<(), Violation> {
        self.messages += 1;
        self.note_outdated_error(header, rest)?;
        let Some(frame) = Frame::read(&header)? else {
            return Ok(());
        };
        let left = ALLOWANCE - self.spent;
        if frame.len > left {
            return Err(Violation::new(format!(
                "a message of type 0x{:02x} announces {} bytes, with {left} of {ALLOWANCE} left for this answer",
                frame.tag,
                frame.len - 1
            )));
        }
        self.spent += frame.len;
        self.state = ReadState::Body { tag: frame.tag, left: frame.len - Frame::HEADER, kept: Vec::new() };
        if frame.len == Frame::HEADER {
            self.close(frame.tag, &[])?;
        }
        Ok(())
    }

    /// A postmaster that cannot fork answers in the protocol of 1996, where an error is a bare text: its first
    /// letters stand where the length is expected.
    fn note_outdated_error(&mut self, header: [u8; Frame::HEADER], rest: &[u8]) -> Result<(), Violation> {
        let printable = |b: &u8| b.is_ascii_graphic() || *b == b' ';
        let [tag, letters @ ..] = header;
        if tag != b'E' || self.messages != 1 || !letters.iter().all(printable) {
            return Ok(());
        }
        let text: Vec<u8> = letters.iter().chain(rest).copied().take(1000).take_while(|b| *b != 0).collect();
        let message = String::from_utf8_lossy(&text).trim().to_owned();
        let violation = Violation::new(format!("an error in an outdated protocol: {message}"));
        if message.contains("fork") {
            // What PostgreSQL means where it still can say it: insufficient resources.
            self.observed.error = Some(ErrorFields::fatal("53000", message));
        }
        Err(violation)
    }

    fn close(&mut self, tag: u8, body: &[u8]) -> Result<(), Violation> {
        self.state = ReadState::START;
        match tag {
            b'R' => {
                self.observed.authentication = word(body, 0);
                let asked = self.observed.authentication.filter(|code| *code != 0);
                self.observed.first_request = self.observed.first_request.or(asked);
            }
            b'K' => {
                if let (Some(id), Some(key)) = (word(body, 0), word(body, 4)) {
                    self.observed.key = Some((id as i32, key as i32));
                }
            }
            b'S' => {
                if let Some((name, (value, _))) =
                    text(body).and_then(|(name, rest)| Some((name, text(rest)?)))
                {
                    let [name, value] = [name, value].map(|text| String::from_utf8_lossy(text).into_owned());
                    self.observed.parameters.insert(name, value);
                }
                if self.observed.parameters.len() > MAX_PARAMETERS {
                    return Err(Violation::new(format!("more than {MAX_PARAMETERS} parameters reported")));
                }
            }
            b'E' => self.observed.error = Some(ErrorFields::read(body).into_owned()),
            b'N' => {
                let notice = ErrorFields::read(body);
                if notice.sqlstate.starts_with("57P") {
                    self.observed.farewell = Some(notice.into_owned());
                }
            }
            b'Z' => self.observed.ready = body == b"I",
            _ => {}
        }
        Ok(())
    }
}

fn is_kept(tag: u8) -> bool {
    matches!(tag, b'R' | b'K' | b'S' | b'E' | b'N' | b'Z')
}

fn word(body: &[u8], at: usize) -> Option<u32> {
    let bytes = body.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{self, Severity};

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        protocol::message(tag, &[body])
    }

    fn startup_answer() -> Vec<u8> {
        [
            message(b'R', &0u32.to_be_bytes()),
            message(b'S', b"server_version\x0015.18\0"),
            message(b'N', b"SWARNING\0VWARNING\0C57P01\0Mgoing down\0\0"),
            message(b'K', &[0, 0, 0x10, 1, 0xff, 0xff, 0xff, 0xfe]),
            message(b'E', b"SFATALE\0VFATAL\0C28P01\0Mn\xe3o pode\0\0"),
            message(b'Z', b"I"),
        ]
        .concat()
    }

    #[test]
    fn what_is_seen_does_not_depend_on_how_the_bytes_are_cut() {
        for piece in 1..startup_answer().len() {
            let mut scanner = Scanner::new();
            for bytes in startup_answer().chunks(piece) {
                scanner.feed(bytes).unwrap();
            }
            let observed = scanner.observed();
            assert_eq!(observed.authentication, Some(0));
            assert_eq!(observed.parameters["server_version"], "15.18");
            assert_eq!(observed.key, Some((0x1001, -2)));
            assert_eq!(observed.farewell.as_ref().unwrap().sqlstate, "57P01");
            assert!(observed.ready && scanner.between_messages());
        }
    }

    #[test]
    fn an_error_in_the_servers_own_encoding_keeps_its_sqlstate() {
        let mut scanner = Scanner::new();
        scanner.feed(&startup_answer()).unwrap();
        let error = scanner.observed().error.clone().unwrap();
        assert_eq!((&*error.sqlstate, error.severity), ("28P01", Severity::Fatal));
        assert_eq!(error.message, "n\u{fffd}o pode");
    }

    #[test]
    fn half_a_message_is_not_between_messages() {
        let mut scanner = Scanner::new();
        scanner.feed(&startup_answer()[..7]).unwrap();
        assert!(!scanner.between_messages());
    }

    #[test]
    fn a_giant_length_is_refused_from_its_header_alone() {
        let Violation { message, .. } = Scanner::new().feed(b"D\x3f\0\0\0").unwrap_err();
        assert!(message.contains("announces 1056964608 bytes"), "{message}");
        assert!(Scanner::new().feed(b"D\x40\0\0\0").is_err());
    }

    #[test]
    fn a_length_below_its_own_size_is_refused() {
        assert!(Scanner::new().feed(b"Z\0\0\0\x03").is_err());
    }

    #[test]
    fn many_small_messages_share_one_allowance_which_a_new_question_renews() {
        let row = message(b'D', &[0; 1000]);
        let mut scanner = Scanner::new();
        let until_refused = (1..).find(|_| scanner.feed(&row).is_err()).unwrap();
        assert_eq!(until_refused, ALLOWANCE / row.len() + 1);

        let mut scanner = Scanner::new();
        for _ in 0..3 * ALLOWANCE / row.len() {
            scanner.ask();
            scanner.feed(&row).unwrap();
        }
    }

    #[test]
    fn a_postmaster_that_cannot_fork_is_understood() {
        let mut scanner = Scanner::new();
        let text = b"Ecould not fork new process for connection: Resource temporarily unavailable\n\0";
        scanner.feed(text).unwrap_err();
        let error = scanner.observed().error.clone().unwrap();
        assert_eq!(error.sqlstate, "53000");
        assert!(error.message.starts_with("could not fork new process"), "{}", error.message);
    }

    #[test]
    fn a_new_question_forgets_the_last_error() {
        let mut scanner = Scanner::new();
        scanner.feed(&startup_answer()).unwrap();
        scanner.ask();
        assert_eq!(scanner.observed().error, None);
        assert!(!scanner.observed().ready);
    }

    #[test]
    fn parameters_without_end_are_refused() {
        let mut scanner = Scanner::new();
        let refused =
            (0..1000).find(|i| scanner.feed(&message(b'S', format!("name{i}\0value\0").as_bytes())).is_err());
        assert_eq!(refused, Some(MAX_PARAMETERS));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(input in proptest::collection::vec(proptest::num::u8::ANY, 0..400), cut in 1usize..50) {
            let mut scanner = Scanner::new();
            for piece in input.chunks(cut) {
                if scanner.feed(piece).is_err() {
                    break;
                }
            }
        }
    }
}
