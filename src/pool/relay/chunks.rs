//! A chunk of bytes from either side: looked at, noted and sent on.

use std::task::{Context, Poll};

use tokio::time::Instant;

use super::buffers::{RelayBuffers, poll_in, send};
use super::{ClientSide, Dry, Ended, Owes, Relay, Sides};
use crate::pool::link::{Asked, Edited, Reports, Statements};
use crate::pool::settings::{ClientSettings, SessionSettings};
use crate::pool::shared::Shared;
use crate::protocol::backend;

impl Relay {
    /// The next bytes of the client: those that the link has paused with, or new ones.
    pub(super) fn poll_client(
        &mut self,
        cx: &mut Context<'_>,
        sides: &mut Sides<'_>,
        scratch: &mut RelayBuffers,
        dry: &mut Dry,
    ) -> Poll<Option<Ended>> {
        if self.link.is_paused() {
            return match self.link.resumes() {
                true => Poll::Ready(self.client_sent(cx, &[], sides, &mut scratch.edited)),
                false => Poll::Pending,
            };
        }
        if self.client == ClientSide::Finished {
            return match self.link.is_still_answered() {
                true => Poll::Pending,
                false => Poll::Ready(Some(Ended::ClientGone(None))),
            };
        }
        if dry.client {
            return Poll::Pending;
        }
        match poll_in(sides.client, &mut scratch.read, cx) {
            Poll::Pending => {
                dry.client = true;
                Poll::Pending
            }
            Poll::Ready(Ok(n @ 1..)) => {
                self.timer.moved();
                Poll::Ready(self.client_sent(cx, &scratch.read[..n], sides, &mut scratch.edited))
            }
            // What it has asked is answered: it may have closed one direction only.
            Poll::Ready(Ok(_)) if self.link.is_still_answered() && !self.link.awaits_rest() => {
                self.client = ClientSide::Finished;
                Poll::Ready(None)
            }
            Poll::Ready(_) => Poll::Ready(Some(Ended::ClientGone(None))),
        }
    }

    pub(super) fn client_sent(
        &mut self,
        cx: &mut Context<'_>,
        chunk: &[u8],
        sides: &mut Sides<'_>,
        edited: &mut Vec<u8>,
    ) -> Option<Ended> {
        edited.clear();
        let settings = sides.settings.meaning();
        let passed = {
            let catalog = sides.shared.catalog();
            let (client, server) = (&mut *sides.statements, &mut sides.server.statements);
            let asked = sides.settings.asked();
            let statements = &mut Statements { catalog, client, server, settings, asked };
            self.link.client_sent(chunk, edited, statements)
        };
        let (how, asked) = match passed {
            Ok(passed) => passed,
            Err(violation) => return Some(Ended::ClientGone(Some(violation))),
        };
        if let Owes::Nothing(_) = self.owes
            && self.link.awaits_answer()
        {
            let now = Instant::now();
            self.owes = Owes::Answer(now);
            sides.registered.owed(true, now);
        }
        let bytes = match how {
            Edited::Unchanged => chunk,
            Edited::Changed => edited,
        };
        if send(&mut sides.server.stream, &mut self.to_server, bytes, cx).is_err() {
            self.server_broke();
        }
        (asked == Asked::Terminate).then_some(Ended::Goodbye)
    }

    pub(super) fn server_sent(
        &mut self,
        cx: &mut Context<'_>,
        chunk: &[u8],
        sides: &mut Sides<'_>,
        edited: &mut Vec<u8>,
    ) -> Option<Ended> {
        edited.clear();
        let settings = sides.settings.meaning();
        let mut reports = Following {
            shared: sides.shared,
            client: sides.settings,
            session: &mut sides.server.settings,
            reported: false,
        };
        let passed = {
            let catalog = sides.shared.catalog();
            let (client, server) = (&mut *sides.statements, &mut sides.server.statements);
            let asked = sides.settings.asked();
            let statements = &mut Statements { catalog, client, server, settings, asked };
            self.link.server_sent(chunk, edited, statements, &mut reports)
        };
        let reported = reports.reported;
        let how = match passed {
            Ok(how) => how,
            Err(violation) => return Some(Ended::ServerGone(Some(violation))),
        };
        if reported {
            sides.settings.are_told(&sides.server.settings);
        }
        if self.link.is_stale() {
            sides.server.backend.retire();
        }
        let now = Instant::now();
        sides.server.heard = now;
        if let Owes::Answer(asked) = self.owes {
            let owed = self.link.awaits_answer();
            sides.registered.owed(owed, now);
            if !owed {
                self.owes = Owes::Nothing(now);
                sides.shared.status.change(|pool| pool.answered(now - asked));
            }
        }
        let bytes = match how {
            Edited::Unchanged => chunk,
            Edited::Changed => edited,
        };
        let sent = send(sides.client, sides.to_client, bytes, cx);
        // Nothing is read of a server while its client does not read: that is no silence of the server's.
        if !sides.to_client.is_empty() {
            sides.registered.owed(false, now);
        }
        sent.is_err().then_some(Ended::ClientGone(None))
    }

    /// What the server said before it went is still to be read.
    pub(super) fn server_broke(&mut self) {
        self.to_server.clear();
    }
}

/// What the session reports, as its client is to know it.
struct Following<'a> {
    shared: &'a Shared,
    client: &'a ClientSettings,
    session: &'a mut SessionSettings,
    reported: bool,
}

impl Reports for Following<'_> {
    fn report(&mut self, name: &[u8], value: &[u8]) {
        self.session.report(&String::from_utf8_lossy(name), &String::from_utf8_lossy(value));
        self.reported = true;
    }

    fn before_ready(&mut self, out: &mut Vec<u8>) {
        let server = self.shared.with_spellings(|spellings| spellings.of_nothing()).told;
        for (name, value) in self.client.to_be_restored(self.session, &server) {
            backend::parameter_status(out, name, value);
        }
    }
}
