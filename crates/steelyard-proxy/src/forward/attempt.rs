//! One attempt at one endpoint: send, wait for the answer, carry it back.

use super::edited::Edited;
use super::relay::{relay, size};
use super::replay::Replay;
use super::slot::Slot;
use super::upload::Upload;
use super::way::{Passage, Way};
use super::{After, Client, Plan};
use crate::codec::{Answer, Answered, Ask, Asked, Parts, Piece};
use crate::connections::{Connection, Security, Wanted};
use crate::fault::{Fault, Side};
use crate::head::{FieldSpan, Framing, Method, RequestHead, ResponseHead, Span, Version};
use crate::http1::encode::ResponseEdit;
use crate::http1::{Limits, incoming::Incoming, outgoing::Outgoing, response::upgrade_agreed};
use crate::http2::ask::{self, OpenStream};
use crate::http2::client::Permit;
use crate::http2::websocket::{self, ACCEPT_BYTES};
use crate::timer::earlier;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use steelyard_core::document::{PoolTimeouts, Protocol};
use steelyard_core::histogram::bump;
use steelyard_core::reported::Heard;
use steelyard_core::seeker::Seeker;
use steelyard_core::time::Nanos;

/// A reused connection that ends within so long of the request had been closed before the endpoint knew of it.
const STALE_MAX: Nanos = Nanos::from_millis(1_000);

/// An attempt that did not end well.
pub(super) struct Failed {
    pub fault: Fault,
    /// Whether the client has been sent a part of the response.
    pub begun: bool,
    /// Whether the endpoint closed an idle connection just as it was used again, which is no failure of its own.
    pub stale: bool,
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self { fault, begun: false, stale: false }
    }
}

impl Failed {
    /// Whether the request may be sent once more: an endpoint that did not look at it could not act upon it.
    fn may_repeat(&self, replay: &Replay) -> bool {
        replay.is_possible() || self.fault.is_untouched() && replay.is_known()
    }
}

/// One attempt.
pub(super) struct Attempt<'a> {
    pub client: &'a Client<'a>,
    pub plan: &'a Plan<'a>,
    pub slot: &'a Slot,
    /// Whether a 5xx is not passed on but tried again elsewhere, where somebody else could take it.
    pub repeat_5xx: bool,
    /// Endpoints that have been tried before.
    pub seeker: &'a Seeker,
}

/// It is loaded before the pool is in force.
fn not_loaded() -> Fault {
    Fault::Connect(std::io::Error::other("TLS has not been loaded"))
}

/// What the two directions of one exchange tell each other.
#[derive(Default)]
struct Progress {
    /// Whether the whole request was sent.
    sent: Cell<bool>,
    /// Whether what was sent of the request could be sent again.
    repeatable: Cell<bool>,
    /// Whether the head of the response has been gathered; with its first byte sent there is no way back.
    begun: Cell<bool>,
    /// When the client began to wait for the endpoint's `100 Continue`; `None` while it does not.
    awaits_continue: Cell<Option<Nanos>>,
    /// When the client was passed it on.
    continued: Cell<Option<Nanos>>,
}

/// The change of protocol that a client offers.
struct Offer {
    protocols: Vec<u8>,
    /// The proof that an endpoint took up the offer, where it is ours and not the client's.
    accept: Option<[u8; ACCEPT_BYTES]>,
}

impl Offer {
    fn of(request: Parts<'_, RequestHead>, protocols: Span) -> Self {
        Self { protocols: protocols.of(request.bytes).to_vec(), accept: websocket::accept_for(request) }
    }

    fn is_taken_up(&self, response: Parts<'_, ResponseHead>) -> bool {
        let agreed = response.head.upgrade.map(|span| span.of(response.bytes)).unwrap_or_default();
        upgrade_agreed(&self.protocols, agreed)
            && self.accept.is_none_or(|accept| websocket::is_accepted(response, &accept))
    }
}

/// How an exchange ended that ended well.
enum Ended {
    /// With the end of the response.
    Response {
        /// What becomes of the client's connection.
        after: After,
        /// Whether the whole request was sent.
        whole: bool,
        /// What the endpoint said of how long it keeps its connection.
        stays_s: Option<u32>,
    },
    /// With a change of protocol.
    Tunnel,
}

/// What an attempt that went well leaves behind.
pub(super) enum Done {
    /// An answered request.
    Answered(After),
    /// A way that carries another protocol now.
    Tunnel(Passage),
}

impl Attempt<'_> {
    pub async fn run(
        &self,
        asked: &mut impl Asked,
        answer: &mut impl Answer,
        replay: &mut Replay,
    ) -> Result<Done, Failed> {
        let begun = self.client.timer.now();
        let mut fresh = None;
        loop {
            let way = self.find_way(asked, replay, fresh).await?;
            let reused = way.is_reused();
            match self.exchange(way, asked, answer, replay).await {
                Ok(done) => return Ok(done),
                // One new connection to the same endpoint may follow, if the request is safe to repeat.
                Err(failed)
                    if self.is_stale(reused, &failed) && fresh.is_none() && failed.may_repeat(replay) =>
                {
                    fresh = Some(begun);
                    self.slot.set_sent(None);
                }
                Err(failed) => {
                    let stale = self.is_stale(reused, &failed);
                    return Err(Failed { stale, ..failed });
                }
            }
        }
    }

    /// Whether the endpoint closed the connection just as it was used again, which is no fault of its own. A connection
    /// that ends long after the request was sent was not idle to the endpoint.
    fn is_stale(&self, reused: bool, failed: &Failed) -> bool {
        let just_sent = |sent| self.client.timer.now().since(sent) <= STALE_MAX;
        let is_stale = match failed.fault {
            Fault::Unprocessed => true,
            Fault::Reset => self.slot.sent().is_none_or(just_sent),
            _ => false,
        };
        reused && !failed.begun && is_stale
    }

    /// A way to the endpoint; where `fresh` says so, one that was opened after that moment.
    async fn find_way(
        &self,
        asked: &impl Asked,
        replay: &Replay,
        fresh: Option<Nanos>,
    ) -> Result<Way, Fault> {
        let config = self.plan.pool.config();
        let wanted = Wanted {
            rules: &config.connections,
            connect_ms: config.timeouts.connect_ms,
            give_up: self.plan.give_up,
            repeatable: replay.is_possible(),
            fresh: fresh.is_some(),
            security: Security::of(self.plan.pool, self.slot.endpoint()).ok_or_else(not_loaded)?,
        };
        let Client { worker, timer, .. } = self.client;
        let endpoint = self.slot.endpoint();
        let taking = async {
            match config.protocol {
                Protocol::H2c => {
                    let taking = worker.lines.take(endpoint, worker, timer, &wanted, fresh);
                    Box::pin(taking).await.map(Way::Http2)
                }
                Protocol::Http1 => {
                    worker.idle.take(endpoint, &worker.shared, timer, &wanted).await.map(Way::Http1)
                }
            }
        };
        let mut taking = pin!(taking);
        let mut gone = pin!(asked.gone());
        poll_fn(|cx| match taking.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => gone.as_mut().poll(cx).map(|()| Err(Fault::ClientGone)),
        })
        .await
    }

    /// One request and its response. Here the codec towards the endpoint is chosen.
    async fn exchange(
        &self,
        way: Way,
        asked: &mut impl Asked,
        answer: &mut impl Answer,
        replay: &mut Replay,
    ) -> Result<Done, Failed> {
        match way {
            Way::Http1(connection) => self.over_http1(connection, asked, answer, replay).await,
            // In a box, since few come here and all would carry it.
            Way::Http2(permit) => Box::pin(self.over_http2(permit, asked, answer, replay)).await,
        }
    }

    async fn over_http1(
        &self,
        connection: Connection,
        asked: &mut impl Asked,
        answer: &mut impl Answer,
        replay: &mut Replay,
    ) -> Result<Done, Failed> {
        let Client { worker, timer, .. } = self.client;
        let transport = &connection.transport;
        let limits = Limits::default();
        let mut answered =
            Incoming::new(transport, timer, Side::Endpoint, limits, &worker.buffers, &worker.fields);
        let patience_ms = self.timeouts().idle_ms;
        let mut ask = Outgoing::new(transport, timer, Side::Endpoint, patience_ms, &worker.vectors);
        match self.converse(asked, answer, &mut ask, &mut answered, replay).await? {
            Ended::Tunnel => {
                let unread = answered.take_unread();
                drop((ask, answered));
                Ok(Done::Tunnel(Passage::Http1(connection, unread)))
            }
            Ended::Response { after, whole, stays_s } => {
                let reuse = whole && answered.is_reusable();
                drop((ask, answered));
                let now = timer.now();
                self.slot.end(now);
                if reuse && worker.is_current(self.plan.pool, self.slot.endpoint()) {
                    worker.idle.put(connection, &self.plan.pool.config().connections, stays_s, now);
                }
                Ok(Done::Answered(after))
            }
        }
    }

    async fn over_http2(
        &self,
        permit: Permit,
        asked: &mut impl Asked,
        answer: &mut impl Answer,
        replay: &mut Replay,
    ) -> Result<Done, Failed> {
        let Client { worker, timer, .. } = self.client;
        let (mut ask, mut answered) = ask::halves(&permit, self.client, self.timeouts().idle_ms);
        let outcome = self.converse(asked, answer, &mut ask, &mut answered, replay).await;
        if !worker.is_current(self.plan.pool, self.slot.endpoint()) {
            permit.retire();
        }
        match outcome {
            Ok(Ended::Tunnel) => {
                let ends = ask.into_ends(answered);
                Ok(Done::Tunnel(Passage::Http2(Box::new(OpenStream::new(ends, permit)))))
            }
            Ok(Ended::Response { after, .. }) => {
                self.slot.end(timer.now());
                Ok(Done::Answered(after))
            }
            Err(failed) => {
                if matches!(failed.fault, Fault::ResponseTimeout | Fault::Stalled) {
                    permit.is_overdue();
                }
                Err(failed)
            }
        }
    }

    fn timeouts(&self) -> &PoolTimeouts {
        &self.plan.pool.config().timeouts
    }

    async fn converse(
        &self,
        asked: &mut impl Asked,
        answer: &mut impl Answer,
        ask: &mut impl Ask,
        answered: &mut impl Answered,
        replay: &mut Replay,
    ) -> Result<Ended, Failed> {
        let progress = Progress::default();
        let outcome = self.carry(asked, answer, ask, answered, replay, &progress).await;
        let begun = progress.begun.get() && answer.is_begun();
        outcome.map_err(|fault| Failed { fault, begun, stale: false })
    }

    async fn carry(
        &self,
        asked: &mut impl Asked,
        answer: &mut impl Answer,
        ask: &mut impl Ask,
        answered: &mut impl Answered,
        replay: &mut Replay,
        progress: &Progress,
    ) -> Result<Ended, Fault> {
        let timer = self.client.timer;
        let head_bytes = ask.head(asked.request(), &self.plan.request_edit(self.slot.endpoint()));
        self.slot.count(0, head_bytes);
        progress.repeatable.set(replay.is_possible());
        let offer = self.plan.head.upgrade.map(|protocols| Offer::of(asked.request(), protocols));
        let upload = pin!(self.upload(asked, ask, replay, progress));
        let mut upload = Upload::new(upload);
        let head = self.final_head(answer, answered, &mut upload, progress).await?;
        if head.status == 101 {
            return self.change_protocol(answer, answered, progress, offer.as_ref()).await;
        }
        let now = timer.now();
        self.hear(answered.response(), now);
        self.slot.answered(head.status, now);
        // Decided here, while the endpoint's own answer is still there to be passed on instead.
        if head.status >= 500
            && self.repeat_5xx
            && progress.repeatable.get()
            && self.plan.pool.has_another(self.slot.endpoint(), self.seeker, now)
            && self.plan.pool.may_retry(now)
        {
            return Err(Fault::ServerError(head.status));
        }
        let framing = self.plan.framing_to_client(head.framing);
        let early = !progress.sent.get();
        let keep = self.plan.head.keep_alive
            && !self.client.is_closing()
            && framing != Framing::UntilClose
            // An answer may end before the request has; what is left of the request then must not be taken for
            // the next one, and the client is told so while there is still time.
            && !early;
        let edit = ResponseEdit {
            version: self.plan.head.version,
            framing,
            close: !keep,
            upgrade: false,
            date: &self.client.worker.date(now),
            without: self.kept_from_client(),
            hsts: self.plan.hsts,
            set_cookie: &self.set_cookie(),
        };
        answer.head(answered.response(), &edit);
        progress.begun.set(true);
        self.slot.count(head.head_bytes as usize, 0);
        let patience = || timer.after(self.timeouts().idle_ms);
        let down = relay(answered, answer, patience, |piece| self.slot.count(size(piece), 0));
        upload.race_behind(pin!(down), timer, || self.plan.give_up, || Fault::TotalTimeout).await?;
        let after = match (keep, early || self.plan.head.keep_alive) {
            (true, _) => After::Keep,
            // Where more of this request or a next one may be on its way, it must not meet a closed socket.
            (false, true) => After::Linger,
            (false, false) => After::Close,
        };
        Ok(Ended::Response { after, whole: progress.sent.get(), stays_s: head.keep_alive_timeout_s })
    }

    /// Takes in what the response says of the endpoint's load, where the pool listens.
    fn hear(&self, response: Parts<'_, ResponseHead>, now: Nanos) {
        let Some(rules) = self.plan.pool.reports() else { return };
        let is_named =
            |field: &&FieldSpan| field.name.of(response.bytes).eq_ignore_ascii_case(rules.field.as_bytes());
        let values = response.fields.iter().filter(is_named).map(|field| field.value.of(response.bytes));
        let heard = self.plan.pool.hear(self.slot.endpoint(), values, now);
        let [taken, useless, malformed] = &self.slot.cells().reports;
        match heard {
            Heard::Nothing => {}
            Heard::Taken => bump(taken, 1),
            Heard::Useless => bump(useless, 1),
            Heard::Malformed => bump(malformed, 1),
        }
    }

    /// The name of the field that is for us alone; empty for none.
    fn kept_from_client(&self) -> &[u8] {
        match self.plan.pool.reports() {
            Some(rules) if !rules.passes => rules.field.as_bytes(),
            _ => b"",
        }
    }

    /// The cookie that ties the client to this endpoint; empty where it has it, or none is wanted.
    fn set_cookie(&self) -> Vec<u8> {
        let tls = self.plan.forwarded.proto == "https";
        self.plan.pool.set_cookie(self.seeker, self.slot.endpoint(), tls)
    }

    /// The head of the final response; interim ones are passed on to clients that know them.
    async fn final_head<F: Future<Output = Result<(), Fault>>>(
        &self,
        answer: &mut impl Answer,
        answered: &mut impl Answered,
        upload: &mut Upload<'_, F>,
        progress: &Progress,
    ) -> Result<ResponseHead, Fault> {
        let timer = self.client.timer;
        let response_ms = self.timeouts().response_ms;
        let until = || {
            // Also where the endpoint would not take all of the request: it still owes an answer.
            let sent = self.slot.sent().or(progress.awaits_continue.get()).zip(response_ms);
            earlier(sent.map(|(at, ms)| at.plus(Nanos::from_millis(ms))), self.plan.give_up)
        };
        let late = || {
            let total = self.plan.give_up.is_some_and(|at| at <= timer.now());
            if total { Fault::TotalTimeout } else { Fault::ResponseTimeout }
        };
        let mut interim = false;
        loop {
            let head = match upload.race(pin!(answered.head(self.plan.head.method)), timer, until, late).await
            {
                // What ends after an interim response has begun to answer, and is not tried again.
                Err(Fault::Reset) if interim => return Err(Fault::CutShort),
                outcome => outcome?,
            };
            if head.status >= 200 || head.status == 101 {
                return Ok(head);
            }
            interim = true;
            if self.plan.head.version != Version::Http10 {
                answer.interim(answered.response());
                answer.flush().await?;
                if head.status == 100 && progress.awaits_continue.take().is_some() {
                    progress.continued.set(Some(timer.now()));
                }
            }
        }
    }

    /// Sends the request, then watches for the client to go away. It never ends well: whoever waits for the response
    /// drops it.
    async fn upload(
        &self,
        asked: &mut impl Asked,
        ask: &mut impl Ask,
        replay: &mut Replay,
        progress: &Progress,
    ) -> Result<(), Fault> {
        match self.send(asked, ask, replay, progress).await {
            Ok(()) => progress.sent.set(true),
            // It may have answered and closed without wanting the rest: its response, if any, tells.
            Err(Fault::Reset | Fault::CutShort) => {}
            Err(fault) => return Err(fault),
        }
        self.slot.set_sent(Some(self.client.timer.look()));
        asked.gone().await;
        Err(Fault::ClientGone)
    }

    async fn send(
        &self,
        asked: &mut impl Asked,
        ask: &mut impl Ask,
        replay: &mut Replay,
        progress: &Progress,
    ) -> Result<(), Fault> {
        if !replay.kept().is_empty() {
            self.slot.count(0, replay.kept().len());
            ask.data(replay.kept()).await?;
        }
        if replay.whole {
            ask.end(crate::codec::Trailers::default()).await?;
            return ask.flush().await;
        }
        if self.plan.head.expect_continue && replay.kept().is_empty() && !asked.has_unread() {
            ask.flush().await?;
            self.await_content(asked, progress).await?;
        }
        let timer = self.client.timer;
        let patience = || timer.after(self.plan.body_ms);
        let edit = self.plan.request_edit(self.slot.endpoint());
        relay(asked, &mut Edited { ask, edit: &edit }, patience, |piece| {
            self.slot.count(0, size(piece));
            match piece {
                Piece::Data(bytes) => replay.keep(bytes),
                Piece::End(trailers) if trailers.fields.is_empty() => replay.whole = true,
                Piece::End(_) => replay.give_up(),
            }
            progress.repeatable.set(replay.is_possible());
        })
        .await
    }

    /// Waits for the first bytes of a request's content from a client that may be waiting for the endpoint's
    /// `100 Continue`: only once that was passed on is it the client's turn.
    async fn await_content(&self, asked: &mut impl Asked, progress: &Progress) -> Result<(), Fault> {
        let timer = self.client.timer;
        progress.awaits_continue.set(Some(timer.now()));
        let mut filling = pin!(asked.fill(None));
        let outcome = poll_fn(|cx| match filling.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => {
                let patience = progress.continued.get().zip(self.plan.body_ms);
                let give_up = patience.map(|(at, ms)| at.plus(Nanos::from_millis(ms)));
                timer.poll(give_up, cx).map(|()| Err(Fault::ClientSlow))
            }
        })
        .await;
        progress.awaits_continue.set(None);
        outcome
    }

    /// Passes the change of protocol on. What follows is no exchange any more.
    async fn change_protocol(
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
            set_cookie: &self.set_cookie(),
        };
        answer.head(response, &edit);
        progress.begun.set(true);
        answer.flush().await?;
        Ok(Ended::Tunnel)
    }
}
