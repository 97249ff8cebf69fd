//! One request and its response over a way that stands, whatever the codecs on both sides.

use super::upgrade::Offer;
use super::{Attempt, Failed};
use crate::codec::{Answer, Answered, Ask, Asked, Parts, Piece};
use crate::fault::Fault;
use crate::forward::After;
use crate::forward::edited::Edited;
use crate::forward::relay::{Moved, relay};
use crate::forward::replay::Replay;
use crate::forward::upload::Upload;
use crate::head::{FieldSpan, Framing, ResponseHead, Version};
use crate::http1::encode::ResponseEdit;
use crate::timer::earlier;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use steelyard_core::histogram::bump;
use steelyard_core::reported::Heard;
use steelyard_core::time::Nanos;

/// What the two directions of one exchange tell each other.
#[derive(Default)]
pub(super) struct Progress {
    /// Whether the whole request was sent.
    pub(super) sent: Cell<bool>,
    /// Whether what was sent of the request could be sent again.
    pub(super) repeatable: Cell<bool>,
    /// Whether the head of the response has been gathered; with its first byte sent there is no way back.
    pub(super) begun: Cell<bool>,
    /// When the client began to wait for the endpoint's `100 Continue`; `None` while it does not.
    pub(super) awaits_continue: Cell<Option<Nanos>>,
    /// When the client was passed it on.
    pub(super) continued: Cell<Option<Nanos>>,
}

/// How an exchange ended that ended well.
pub(super) enum Ended {
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

impl Attempt<'_> {
    pub(super) async fn converse(
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
        outcome.map_err(|fault| Failed { fault, begun, stale: false, leave: None })
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
            alt_svc: self.plan.alt_svc,
            set_cookie: &self.set_cookie(),
        };
        answer.head(answered.response(), &edit);
        progress.begun.set(true);
        self.slot.count(head.head_bytes as usize, 0);
        let patience = || timer.after(self.timeouts().idle_ms);
        let means = (&self.client.worker.pipes, timer);
        let down = relay(answered, answer, means, patience, |moved| self.slot.count(moved.size(), 0));
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
    pub(super) fn kept_from_client(&self) -> &[u8] {
        match self.plan.pool.reports() {
            Some(rules) if !rules.passes => rules.field.as_bytes(),
            _ => b"",
        }
    }

    /// The cookie that ties the client to this endpoint; empty where it has it, or none is wanted.
    pub(super) fn set_cookie(&self) -> Vec<u8> {
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
        let mut given_up = pin!(asked.given_up());
        let sent = {
            let mut sending = pin!(self.send(asked, ask, replay, progress));
            // An endpoint that takes no more keeps nobody from being heard.
            poll_fn(|cx| match sending.as_mut().poll(cx) {
                Poll::Ready(outcome) => Poll::Ready(outcome),
                Poll::Pending => given_up.as_mut().poll(cx).map(|()| Err(Fault::ClientGone)),
            })
            .await
        };
        match sent {
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
        let keeps = &Cell::new(replay.is_known());
        let means = (&self.client.worker.pipes, timer);
        relay(asked, &mut Edited { ask, edit: &edit, keeps }, means, patience, |moved| {
            self.slot.count(0, moved.size());
            match moved {
                Moved::Piece(Piece::Data(bytes)) => replay.keep(bytes),
                Moved::Piece(Piece::End(trailers)) if trailers.fields.is_empty() => replay.whole = true,
                Moved::Piece(Piece::End(_)) | Moved::Passed(_) => replay.give_up(),
            }
            keeps.set(replay.is_known());
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
}
