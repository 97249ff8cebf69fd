//! An endpoint's agreement to the change of protocol that a client offers.

use super::Attempt;
use super::exchange::{Ended, Progress};
use crate::codec::{Answer, Answered, Parts};
use crate::fault::Fault;
use crate::head::{Framing, Method, RequestHead, ResponseHead, Span};
use crate::http1::encode::ResponseEdit;
use crate::http1::response::upgrade_agreed;
use crate::pseudo::websocket::{self, ACCEPT_BYTES};

/// The change of protocol that a client offers.
pub(super) struct Offer {
    protocols: Vec<u8>,
    /// The proof that an endpoint took up the offer, where it is ours and not the client's.
    accept: Option<[u8; ACCEPT_BYTES]>,
}

impl Offer {
    pub fn of(request: Parts<'_, RequestHead>, protocols: Span) -> Self {
        Self { protocols: protocols.of(request.bytes).to_vec(), accept: websocket::accept_for(request) }
    }

    fn is_taken_up(&self, response: Parts<'_, ResponseHead>) -> bool {
        let agreed = response.head.upgrade.map(|span| span.of(response.bytes)).unwrap_or_default();
        upgrade_agreed(&self.protocols, agreed)
            && self.accept.is_none_or(|accept| websocket::is_accepted(response, &accept))
    }
}

impl Attempt<'_> {
    /// Passes the change of protocol on. What follows is no exchange any more.
    pub(super) async fn change_protocol(
        &self,
        answer: &mut impl Answer,
        answered: &mut impl Answered,
        progress: &Progress,
        offer: Option<&Offer>,
    ) -> Result<Ended, Fault> {
        let response = answered.response();
        if !offer.is_some_and(|offer| offer.is_taken_up(response)) || self.plan.head.method == Method::Head {
            return Err(Fault::Malformed("changed to a protocol that was not asked for"));
        }
        if !progress.sent.get() {
            return Err(Fault::Malformed("changed the protocol before it had the whole request"));
        }
        let now = self.client.timer.now();
        self.slot.tunnelled(now);
        let edit = ResponseEdit {
            version: self.plan.head.version,
            framing: Framing::None,
            close: false,
            upgrade: true,
            date: &self.client.worker.date(now),
            without: self.kept_from_client(),
            hsts: b"",
            alt_svc: b"",
            set_cookie: &self.set_cookie(),
        };
        answer.head(response, &edit);
        progress.begun.set(true);
        answer.flush().await?;
        Ok(Ended::Tunnel)
    }
}
