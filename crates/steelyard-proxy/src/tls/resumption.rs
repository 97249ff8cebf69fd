//! How clients resume sessions: tickets that they keep, sealed with keys that rotate, and sessions remembered here.

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions,
};
use std::sync::Arc;
use steelyard_core::document::{Http3, ListenerTls};

/// What outlives a reload, so that sessions do.
#[derive(Debug, Clone)]
pub(super) struct Resumption {
    /// What the sessions are good for: one that was begun under other rules on clients is not resumed, since a resumed
    /// session does not ask the client again who it is.
    terms: Terms,
    /// `None` = no tickets.
    tickets: Option<Arc<dyn ProducesTickets>>,
    sessions: Arc<dyn StoresServerSessions>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Terms {
    client_auth: Vec<u8>,
    tickets: bool,
    session_cache: Option<u32>,
    /// Whether requests may come with the first that a client sends.
    early_data: bool,
}

/// As much as a client likes, within the windows that bound it all the same: QUIC knows nothing else (RFC 9001 section 4.6.1).
const EARLY_BYTES_MAX: u32 = u32::MAX;

impl Resumption {
    /// As the listener wants it; `client_auth` stands for all that is asked of clients. What there was before stays where
    /// the terms are the same.
    pub fn of(
        config: &ListenerTls,
        client_auth: Vec<u8>,
        before: Option<&Self>,
    ) -> Result<Self, rustls::Error> {
        let (tickets, session_cache) = (config.tickets, config.session_cache);
        Self::under(Terms { client_auth, tickets, session_cache, early_data: false }, before)
    }

    /// As [`of`](Self::of), for QUIC. With early data sessions are remembered here and taken up once, so that nobody can send
    /// what came with one for a second time; a ticket could be used again.
    pub fn of_quic(
        config: &ListenerTls,
        http3: &Http3,
        client_auth: Vec<u8>,
        before: Option<&Self>,
    ) -> Result<Self, rustls::Error> {
        let early_data = http3.early_data;
        let (tickets, session_cache) = (config.tickets && !early_data, config.session_cache);
        Self::under(Terms { client_auth, tickets, session_cache, early_data }, before)
    }

    fn under(terms: Terms, before: Option<&Self>) -> Result<Self, rustls::Error> {
        if let Some(before) = before.filter(|before| before.terms == terms) {
            return Ok(before.clone());
        }
        Ok(Self {
            tickets: terms.tickets.then(Ticketer::new).transpose()?,
            sessions: match terms.session_cache {
                Some(size) => ServerSessionMemoryCache::new(size as usize),
                None => Arc::new(NoServerSessionStorage {}),
            },
            terms,
        })
    }

    /// Puts it into a configuration.
    pub fn apply(&self, config: &mut rustls::ServerConfig) {
        config.session_storage = Arc::clone(&self.sessions);
        if let Some(tickets) = &self.tickets {
            config.ticketer = Arc::clone(tickets);
        }
        if self.terms.early_data {
            config.max_early_data_size = EARLY_BYTES_MAX;
        }
        if self.tickets.is_none() && self.terms.session_cache.is_none() {
            config.send_tls13_tickets = 0;
        }
    }
}
