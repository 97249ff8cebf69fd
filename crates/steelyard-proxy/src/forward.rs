//! The story of a request: route, admit, pick, send, retry, answer.
//!
//! It is told once, for every codec and transport: what it knows of them is in [`crate::codec`]. The request pins
//! the snapshot it began with until no retry is possible any more.

mod admission;
mod alt_svc;
mod attempt;
mod carry;
mod edited;
mod hops;
mod pass;
mod relay;
mod replay;
mod route;
mod slot;
pub(crate) mod tcp;
mod tunnel;
mod turn_down;
pub(crate) mod udp;
mod upload;
mod way;

use crate::codec::{Answer, Asked, Parts, Piece};
use crate::connections::Preface;
use crate::fault::{Fault, Side};
use crate::grpc::timeout_ms;
use crate::head::{Framing, Method, RequestHead, Version};
use crate::http1::encode::{Forwarded, Local, RequestEdit};
use crate::proxied::{Told, Whence};
use crate::registry::Place;
use crate::shared::ListenerState;
use crate::timer::{GiveUp, Timer, earlier};
use crate::transport::Facts;
use crate::worker::Worker;
use admission::Refusal;
use alt_svc::AltSvc;
use attempt::{Attempt, Done};
use hops::Hops;
use replay::Replay;
use route::{Routed, route};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use steelyard_core::document::RetryOn;
use steelyard_core::endpoint::Endpoint;
use steelyard_core::histogram::bump;
use steelyard_core::listener::Listener;
use steelyard_core::pool::Pool;
use steelyard_core::route::RouteEdit;
use steelyard_core::seeker::Seeker;
pub(crate) use tunnel::Tunnel;
pub(crate) use turn_down::{put_off, turn_down};
pub(crate) use way::Way;

/// Seconds that a client is asked to wait after a 503.
const RETRY_AFTER_S: &str = "1";

/// Who asks.
pub(crate) struct Client<'a> {
    pub worker: &'a Rc<Worker>,
    pub state: &'a ListenerState,
    pub place: &'a Place,
    pub timer: &'a Timer,
    /// The address of the other side; `None` for a unix socket.
    pub peer: Option<IpAddr>,
    /// What was agreed on and proved, where the connection speaks TLS.
    pub facts: Option<&'a Facts>,
    /// How it is known where the connection came from.
    pub whence: Whence<'a>,
    /// The number of the connection on its worker; never 0.
    pub number: u64,
    /// The port by which it has come, where the connection speaks TLS; else 0.
    pub port: u16,
    /// Whether what it sends may be a copy that somebody else has made, since its handshake is not complete.
    pub early: bool,
}

/// What becomes of the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// It can carry another request.
    Keep,
    /// It ends.
    Close,
    /// It ends, but the client may still be sending: what it sends is thrown away for a while, since closing on
    /// unread bytes would be a reset that could destroy the answer.
    Linger,
}

/// What comes of a request.
pub(crate) enum Outcome {
    /// It has been answered, as far as it could be.
    Answered(After),
    /// Its connections carry another protocol from here on.
    Tunnel(Box<Tunnel>),
}

impl From<After> for Outcome {
    fn from(after: After) -> Self {
        Self::Answered(after)
    }
}

/// What of a request is settled once it has been routed.
struct Plan<'p> {
    head: RequestHead,
    pool: &'p Arc<Pool>,
    edit: &'p RouteEdit,
    target: &'p [u8],
    forwarded: Forwarded<'p>,
    /// What a response says of coming back in clear text; empty for nothing.
    hsts: &'p [u8],
    /// What it says of HTTP/3; empty for nothing.
    alt_svc: &'p [u8],
    give_up: GiveUp,
    body_ms: Option<u64>,
    max_forwards: Option<u64>,
    /// The request before its first attempt.
    seeker: Seeker,
}

/// Carries one request from its head to the end of its response.
pub(crate) async fn forward(
    client: &Client<'_>,
    listener: &Listener,
    asked: &mut impl Asked,
    answer: &mut impl Answer,
) -> Outcome {
    let head = *asked.request().head;
    let max_forwards = match Hops::of(asked.request()) {
        Hops::Forward(max) => max,
        Hops::Last => return last_hop(client, &head, asked, answer).await.into(),
        Hops::Malformed => {
            client.count_bad_request();
            let reply = Reply::new(400, "malformed Max-Forwards");
            return say(client, &head, asked, answer, reply).await.into();
        }
    };
    let mut target = client.worker.vectors.lend();
    match route(client, listener, asked, &mut target) {
        Routed::Pool(pool, edit, seeker) => {
            let request_id = client.worker.request_id();
            let trusted = client.is_believed(listener);
            let identity = client.facts.and_then(|facts| facts.identity.as_deref());
            let proto = if client.facts.is_some() { "https" } else { "http" };
            let forwarded = Forwarded {
                peer: client.peer,
                proto,
                trusted,
                identity,
                early: client.early,
                request_id: &request_id,
            };
            let give_up =
                earlier(client.timer.after(pool.config().timeouts.total_ms), deadline(client, asked));
            let body_ms = listener.timeouts.request_body_ms;
            let hsts = if client.facts.is_some() { &*listener.hsts } else { b"" };
            let alt_svc = AltSvc::of(client, listener, head.version);
            let alt_svc = alt_svc.as_ref().map_or(&b""[..], AltSvc::value);
            let target = &target;
            let plan = Plan {
                head,
                pool,
                edit,
                target,
                forwarded,
                hsts,
                alt_svc,
                give_up,
                body_ms,
                max_forwards,
                seeker,
            };
            to_pool(client, &plan, asked, answer).await
        }
        Routed::Local(status, why) => say(client, &head, asked, answer, Reply::new(status, why)).await.into(),
        Routed::Proof(proof) => say(client, &head, asked, answer, Reply::new(200, &proof)).await.into(),
        Routed::Redirect => {
            let location = String::from_utf8_lossy(&target).into_owned();
            let fields = [("location", location.as_str())];
            say(client, &head, asked, answer, Reply { fields: &fields, ..Reply::new(308, "") }).await.into()
        }
    }
}

/// When a client of gRPC has given up, of which it tells beforehand.
fn deadline(client: &Client<'_>, asked: &impl Asked) -> GiveUp {
    let Parts { head, fields, bytes } = asked.request();
    if !head.version.has_streams() {
        return None;
    }
    let field = fields.iter().find(|field| field.name.of(bytes) == b"grpc-timeout")?;
    client.timer.after(timeout_ms(field.value.of(bytes)))
}

/// Answers OPTIONS or TRACE as the one that it was meant for.
async fn last_hop(
    client: &Client<'_>,
    head: &RequestHead,
    asked: &mut impl Asked,
    answer: &mut impl Answer,
) -> After {
    if head.method == Method::Options {
        return say(client, head, asked, answer, Reply::new(200, "")).await;
    }
    // TRACE would give back what it was sent, secrets included, so that hardly any server allows it.
    let allow = [("allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")];
    let reply = Reply { fields: &allow, ..Reply::new(405, "TRACE is not answered here") };
    say(client, head, asked, answer, reply).await
}

/// Sends the request to endpoints of its pool until one has answered or no more may be tried.
async fn to_pool(
    client: &Client<'_>,
    plan: &Plan<'_>,
    asked: &mut impl Asked,
    answer: &mut impl Answer,
) -> Outcome {
    let pool = plan.pool;
    let rules = &pool.config().retry;
    pool.count_request();
    let mut seeker = plan.seeker.clone();
    let mut replay = Replay::new(client.worker, plan, rules);
    let mut last = None;
    let mut tries = 0;
    loop {
        let mut slot = match admission::admit(client, pool, &seeker, asked.gone(), plan.give_up).await {
            Ok(slot) => slot,
            Err(Refusal::Gone) => return After::Close.into(),
            Err(refusal) => return refuse(client, plan, asked, answer, &refusal, last).await.into(),
        };
        if last.is_some() {
            bump(&slot.cells().retries, 1);
        }
        let attempt = Attempt {
            client,
            plan,
            slot: &slot,
            repeat_5xx: tries + 1 < rules.attempts && rules.on.contains(&RetryOn::ServerError),
            seeker: &seeker,
        };
        let fault = match attempt.run(asked, answer, &mut replay).await {
            Ok(Done::Answered(after)) => return after.into(),
            Ok(Done::Tunnel(passage)) => {
                slot.let_pool_go();
                let (idle_ms, give_up) = (pool.config().timeouts.tunnel_ms, plan.give_up);
                return Outcome::Tunnel(Box::new(Tunnel { slot, passage, idle_ms, give_up }));
            }
            Err(failed) if failed.begun => {
                slot.fail(&failed.fault);
                answer.break_off();
                return After::Close.into();
            }
            Err(failed) => {
                if !failed.stale {
                    slot.fail(&failed.fault);
                }
                failed.fault
            }
        };
        seeker.exclude(slot.endpoint());
        drop(slot);
        let untouched = fault.is_untouched();
        tries += u32::from(!untouched);
        // An attempt that gave an endpoint's 5xx away has asked for leave to do so.
        let granted = untouched && replay.is_known() || matches!(fault, Fault::ServerError(_));
        let again = fault.retry_on().is_some_and(|on| rules.on.contains(&on))
            && (granted
                || tries < rules.attempts && replay.is_possible() && pool.may_retry(client.timer.now()));
        if !again {
            return apologise(client, plan, asked, answer, &fault).await.into();
        }
        last = Some(fault);
    }
}

/// Answers a request that got no endpoint.
async fn refuse(
    client: &Client<'_>,
    plan: &Plan<'_>,
    asked: &mut impl Asked,
    answer: &mut impl Answer,
    refusal: &Refusal,
    last: Option<Fault>,
) -> After {
    if *refusal == Refusal::Waited {
        plan.pool.shared().queue_timeouts.fetch_add(1, Ordering::Relaxed);
    }
    if let Some(fault) = last {
        return apologise(client, plan, asked, answer, &fault).await;
    }
    let after = [("retry-after", RETRY_AFTER_S)];
    let overdue = *refusal == Refusal::TotalTimeout;
    let reply = Reply { fields: &after, overdue, ..Reply::new(503, refusal.words()) };
    say(client, &plan.head, asked, answer, reply).await
}

/// Tells the client of a fault, where it is there to be told.
async fn apologise(
    client: &Client<'_>,
    plan: &Plan<'_>,
    asked: &mut impl Asked,
    answer: &mut impl Answer,
    fault: &Fault,
) -> After {
    let Some(status) = fault.status() else { return After::Close };
    if fault.whose() == Side::Client {
        client.count_bad_request();
    }
    tracing::debug!(listener = client.state.name, pool = plan.pool.name(), status, %fault, "request failed");
    let fields: &[(&str, &str)] = if status == 503 { &[("retry-after", RETRY_AFTER_S)] } else { &[] };
    // What went wrong inside is for the log; the client learns whose fault it was.
    let words = match fault.whose() {
        Side::Client => fault.to_string(),
        Side::Endpoint => "the service behind this proxy did not answer as it should".to_owned(),
    };
    let overdue = matches!(fault, Fault::TotalTimeout);
    say(client, &plan.head, asked, answer, Reply { status, fields, words: &words, overdue }).await
}

/// An answer from here.
struct Reply<'a> {
    status: u16,
    fields: &'a [(&'a str, &'a str)],
    words: &'a str,
    /// Whether the time for the whole request is over.
    overdue: bool,
}

impl<'a> Reply<'a> {
    fn new(status: u16, words: &'a str) -> Self {
        Self { status, fields: &[], words, overdue: false }
    }
}

/// Answers from here.
async fn say(
    client: &Client<'_>,
    head: &RequestHead,
    asked: &mut impl Asked,
    answer: &mut impl Answer,
    reply: Reply<'_>,
) -> After {
    let Reply { status, fields, words, overdue } = reply;
    let whole = asked.is_ended() || matches!(asked.arrived(), Ok(Some(Piece::End(_))));
    let keep = whole && head.keep_alive && !client.is_closing();
    let ours = client.ours(head.version);
    let ours: Vec<_> = ours.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let fields = if ours.is_empty() { fields } else { &[fields, &ours].concat() };
    let body = if words.is_empty() { String::new() } else { format!("{words}\n") };
    answer.local(&Local {
        status,
        fields,
        body: &body,
        version: head.version,
        close: !keep,
        head_request: head.method == Method::Head,
        overdue,
        date: &client.worker.date(client.timer.now()),
    });
    match answer.flush().await {
        Err(_) => After::Close,
        Ok(()) if keep => After::Keep,
        Ok(()) => After::Linger,
    }
}

impl Client<'_> {
    /// Whether it is believed what it says of others. An address that comes with early data is not proved yet.
    fn is_believed(&self, listener: &Listener) -> bool {
        !self.early && self.peer.is_some_and(|peer| listener.trusted.contains(peer))
    }

    /// What a connection to an endpoint of this pool is to begin with. `name` is what the client asks for where TLS passes
    /// through.
    fn preface<'c>(&'c self, pool: &Pool, name: Option<&'c str>) -> Option<Preface<'c>> {
        let version = pool.config().send_proxy?;
        let told = Told { whence: self.whence, facts: self.facts, name };
        Some(Preface { whose: self.number, version, told })
    }

    /// Whether the connection is to end after the response at hand.
    fn is_closing(&self) -> bool {
        self.place.is_closing()
    }

    /// What an answer of our own says of coming back: in clear text, and by HTTP/3.
    fn ours(&self, version: Version) -> Vec<(&'static str, String)> {
        let mut ours = Vec::new();
        if self.facts.is_some()
            && let Some(listener) = self.worker.pin().listener(&self.state.name)
        {
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            if !listener.hsts.is_empty() {
                ours.push(("strict-transport-security", text(&listener.hsts)));
            }
            if let Some(alt_svc) = AltSvc::of(self, listener, version) {
                ours.push(("alt-svc", text(alt_svc.value())));
            }
        }
        ours
    }

    /// Counts a request refused for what it was.
    pub fn count_bad_request(&self) {
        self.state.bad_requests.fetch_add(1, Ordering::Relaxed);
    }
}

impl Plan<'_> {
    /// What the endpoint is to see.
    fn request_edit(&self, endpoint: &Arc<Endpoint>) -> RequestEdit<'_> {
        // HTTP/1.0 clients need not name a host; then the endpoint is given its own.
        let host = if self.head.authority.is_empty() { self.pool.configured(endpoint) } else { "" };
        RequestEdit {
            target: self.target,
            set: &self.edit.set,
            remove: &self.edit.remove,
            forwarded: self.forwarded,
            host_fallback: host.as_bytes(),
            framing: self.head.framing,
            upgrade: self.head.upgrade.is_some(),
            expect_continue: self.head.expect_continue,
            max_forwards: self.max_forwards,
        }
    }

    /// How content goes to the client that comes framed like this from the endpoint.
    fn framing_to_client(&self, from_endpoint: Framing) -> Framing {
        match (from_endpoint, self.head.version) {
            (Framing::Chunked | Framing::UntilClose, Version::Http11 | Version::Http2 | Version::Http3) => {
                Framing::Chunked
            }
            (Framing::Chunked | Framing::UntilClose, Version::Http10) => Framing::UntilClose,
            (framing, _) => framing,
        }
    }
}
