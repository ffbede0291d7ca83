//! The fields of an ErrorResponse or a NoticeResponse, read and written.

use std::borrow::Cow;

use super::Sqlstate;
use super::frame::{text, text_and_nul};

/// How bad it is. PostgreSQL's finer shades are counted to the nearest of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The session is over.
    Fatal,
    /// The session goes on.
    Error,
    Warning,
    Notice,
}

/// What an error or a notice says: a code for programs, and texts for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorFields<'a> {
    pub severity: Severity,
    pub sqlstate: Sqlstate,
    pub message: Cow<'a, str>,
    pub detail: Option<Cow<'a, str>>,
    pub hint: Option<Cow<'a, str>>,
    /// The function of the server that reported it: a name that no locale translates.
    pub routine: Option<Cow<'a, str>>,
}

impl<'a> ErrorFields<'a> {
    /// An error that ends the session.
    pub fn fatal(sqlstate: impl Into<Sqlstate>, message: impl Into<Cow<'a, str>>) -> Self {
        ErrorFields {
            severity: Severity::Fatal,
            sqlstate: sqlstate.into(),
            message: message.into(),
            detail: None,
            hint: None,
            routine: None,
        }
    }

    pub fn severity(self, severity: Severity) -> Self {
        ErrorFields { severity, ..self }
    }

    pub fn detail(self, detail: impl Into<Cow<'a, str>>) -> Self {
        ErrorFields { detail: Some(detail.into()), ..self }
    }

    pub fn hint(self, hint: impl Into<Cow<'a, str>>) -> Self {
        ErrorFields { hint: Some(hint.into()), ..self }
    }

    /// As they stand in the body of a message. Before the login a server may write in an encoding of its own, which
    /// must cost letters at the most, never the SQLSTATE.
    pub fn read(body: &'a [u8]) -> Self {
        let mut read = Self::fatal("", "").severity(Severity::Error);
        for (kind, value) in fields(body) {
            let text = || String::from_utf8_lossy(value);
            match kind {
                // `V` is never translated and beats `S`, which it follows.
                b'S' | b'V' => read.severity = Severity::read(value),
                b'C' => read.sqlstate = Sqlstate::read(value),
                b'M' => read.message = text(),
                b'D' => read.detail = Some(text()),
                b'H' => read.hint = Some(text()),
                b'R' => read.routine = Some(text()),
                _ => {}
            }
        }
        read
    }

    pub fn into_owned(self) -> ErrorFields<'static> {
        fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
            Cow::Owned(text.into_owned())
        }
        ErrorFields {
            severity: self.severity,
            sqlstate: self.sqlstate,
            message: owned(self.message),
            detail: self.detail.map(owned),
            hint: self.hint.map(owned),
            routine: self.routine.map(owned),
        }
    }

    /// Appends the body of a message.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let severity = self.severity.as_str();
        let fields = [
            (b'S', Some(severity)),
            (b'V', Some(severity)),
            (b'C', Some(&*self.sqlstate)),
            (b'M', Some(self.message.as_ref())),
            (b'D', self.detail.as_deref()),
            (b'H', self.hint.as_deref()),
            (b'R', self.routine.as_deref()),
        ];
        for (kind, value) in fields {
            if let Some(value) = value {
                out.push(kind);
                text_and_nul(out, value);
            }
        }
        out.push(0);
    }
}

impl Severity {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Severity::Fatal => "FATAL",
            Severity::Error => "ERROR",
            Severity::Warning => "WARNING",
            Severity::Notice => "NOTICE",
        }
    }

    fn read(text: &[u8]) -> Self {
        match text {
            b"FATAL" | b"PANIC" => Severity::Fatal,
            b"WARNING" => Severity::Warning,
            b"NOTICE" | b"INFO" | b"LOG" | b"DEBUG" => Severity::Notice,
            // Or a translation of it, which an untranslated one follows.
            _ => Severity::Error,
        }
    }
}

/// One field of the body of an ErrorResponse or a NoticeResponse.
pub fn error_field(body: &[u8], wanted: u8) -> Option<&[u8]> {
    fields(body).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// All fields of a body, up to its end or to where it is cut off.
pub(super) fn fields(mut body: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (kind, rest) = body.split_first().filter(|(kind, _)| **kind != 0)?;
        let (value, next) = text(rest)?;
        body = next;
        Some((*kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_wherever_it_stands_and_not_in_a_body_that_is_cut_off() {
        let body = b"SFATAL\0C57P01\0Mending\0\0";
        assert_eq!(error_field(body, b'S'), Some(&b"FATAL"[..]));
        assert_eq!(error_field(body, b'M'), Some(&b"ending"[..]));
        assert_eq!(error_field(body, b'F'), None, "a value's letter is no field");
        assert_eq!(error_field(&body[..10], b'C'), None);
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for severity in [Severity::Fatal, Severity::Error, Severity::Warning, Severity::Notice] {
            let fields = ErrorFields::fatal("42601", "syntax error").severity(severity);
            let fields = ErrorFields { routine: Some("scanner_yyerror".into()), ..fields };
            let fields = fields.detail("at or near").hint("Look again.");
            let mut body = Vec::new();
            fields.write(&mut body);
            assert_eq!(ErrorFields::read(&body), fields);
            assert_eq!(ErrorFields::read(&body).into_owned(), fields);
        }
    }

    #[test]
    fn a_translated_severity_gives_way_to_the_one_that_never_is() {
        assert_eq!(ErrorFields::read(b"SFATALE\0VPANIC\0C28P01\0\0").severity, Severity::Fatal);
        assert_eq!(ErrorFields::read(b"SLOG\0C57P01\0\0").severity, Severity::Notice);
        assert_eq!(ErrorFields::read(b"SERREUR\0C28P01\0\0").severity, Severity::Error);
        assert_eq!(ErrorFields::read(b"").severity, Severity::Error);
    }

    #[test]
    fn another_encoding_costs_letters_and_never_the_sqlstate() {
        let read = ErrorFields::read(b"SFATALE\0VFATAL\0C28P01\0Mn\xe3o pode\0\0");
        assert_eq!((&*read.sqlstate, &*read.message), ("28P01", "n\u{fffd}o pode"));
    }
}
