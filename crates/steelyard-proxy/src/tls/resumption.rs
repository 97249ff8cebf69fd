//! How clients resume sessions: tickets that they keep, sealed with keys that rotate, and sessions remembered here.

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions,
};
use std::sync::Arc;
use steelyard_core::document::ListenerTls;

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
}

impl Resumption {
    /// As the listener wants it; `client_auth` stands for all that is asked of clients. What there was before stays where
    /// the terms are the same.
    pub fn of(
        config: &ListenerTls,
        client_auth: Vec<u8>,
        before: Option<&Self>,
    ) -> Result<Self, rustls::Error> {
        let (tickets, session_cache) = (config.tickets, config.session_cache);
        let terms = Terms { client_auth, tickets, session_cache };
        if let Some(before) = before.filter(|before| before.terms == terms) {
            return Ok(before.clone());
        }
        Ok(Self {
            tickets: tickets.then(Ticketer::new).transpose()?,
            sessions: match session_cache {
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
        if self.tickets.is_none() && self.terms.session_cache.is_none() {
            config.send_tls13_tickets = 0;
        }
    }
}
