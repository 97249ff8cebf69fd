//! Where a request goes.

use super::Client;
use crate::codec::Asked;
use crate::head::FieldSpan;
use crate::proofs;
use std::net::IpAddr;
use std::sync::Arc;
use steelyard_core::key::KeyView;
use steelyard_core::listener::{Listener, https_location};
use steelyard_core::pool::Pool;
use steelyard_core::route::{Decision, RouteEdit, RouteView};
use steelyard_core::seeker::Seeker;

struct View<'a> {
    peer: Option<IpAddr>,
    host: &'a [u8],
    path: &'a [u8],
    query: Option<&'a [u8]>,
    fields: &'a [FieldSpan],
    bytes: &'a [u8],
}

impl RouteView for View<'_> {
    fn host(&self) -> &[u8] {
        self.host
    }

    fn path(&self) -> &[u8] {
        self.path
    }

    fn field(&self, lower_case_name: &[u8]) -> Option<&[u8]> {
        let found = |field: &&FieldSpan| field.name.of(self.bytes).eq_ignore_ascii_case(lower_case_name);
        self.fields.iter().find(found).map(|field| field.value.of(self.bytes))
    }
}

impl KeyView for View<'_> {
    fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    fn path(&self) -> &[u8] {
        self.path
    }

    fn query(&self) -> Option<&[u8]> {
        self.query
    }

    fn fields(&self, lower_case_name: &str) -> impl Iterator<Item = &[u8]> {
        let is_named = move |field: &&FieldSpan| {
            field.name.of(self.bytes).eq_ignore_ascii_case(lower_case_name.as_bytes())
        };
        self.fields.iter().filter(is_named).map(|field| field.value.of(self.bytes))
    }
}

/// What a route said, freed of the request's bytes.
pub(super) enum Routed<'s> {
    Pool(&'s Arc<Pool>, &'s RouteEdit, Seeker),
    Local(u16, &'static str),
    /// What an authority looks for before it issues a certificate.
    Proof(String),
    Redirect,
}

/// Decides where the request goes and writes the target to be sent, or the location of a redirect.
pub(super) fn route<'s>(
    client: &Client<'_>,
    listener: &'s Listener,
    asked: &impl Asked,
    target: &mut Vec<u8>,
) -> Routed<'s> {
    let request = asked.request();
    let head = request.head;
    let sent = head.origin_path(request.bytes);
    let mut normal = client.worker.vectors.lend();
    let path = if sent == b"*" {
        sent
    } else {
        let normal = steelyard_core::path::normalise(sent, listener.allow_encoded_slash, &mut normal);
        let Ok(path) = normal else {
            client.count_bad_request();
            return Routed::Local(400, "the path of the request is not acceptable");
        };
        path
    };
    if let Some(token) = proofs::token(path)
        && let Some(proof) = client.worker.shared.proofs.load().as_ref().and_then(|proofs| proofs.of(token))
    {
        return Routed::Proof(proof.to_owned());
    }
    let query = head.query.map(|query| query.of(request.bytes));
    let host = head.authority.of(request.bytes);
    let mut decoded;
    let matched = if path.contains(&b'%') {
        decoded = client.worker.vectors.lend();
        steelyard_core::path::for_matching(path, &mut decoded)
    } else {
        path
    };
    let (peer, fields, bytes) = (client.peer, request.fields, request.bytes);
    let view = View { peer, host, path: matched, query, fields, bytes };
    if let Some(port) = listener.redirect_https
        && !came_over_https(client, listener, &view)
    {
        if !https_location(host, port, path, query, target) {
            return Routed::Local(400, "the request names no host to go to over HTTPS");
        }
        return Routed::Redirect;
    }
    let decision = listener.router.decide(&view, &mut *client.worker.rng.borrow_mut());
    match decision {
        Decision::Pool { pool, edit } => {
            let (slash, rest) = if path == b"*" { (&b""[..], path) } else { edit.path(path) };
            target.extend_from_slice(slash);
            target.extend_from_slice(rest);
            if let Some(query) = query {
                target.push(b'?');
                target.extend_from_slice(query);
            }
            Routed::Pool(pool, edit, pool.seeker(&view))
        }
        Decision::Redirect(redirect) => {
            redirect.write(path, query, target);
            Routed::Redirect
        }
        Decision::Respond(status) => Routed::Local(status, ""),
        Decision::NotFound => Routed::Local(404, "no route for this request"),
    }
}

/// Whether a proxy before us, which is believed, was asked over HTTPS.
fn came_over_https(client: &Client<'_>, listener: &Listener, view: &View<'_>) -> bool {
    client.is_believed(listener)
        && view.field(b"x-forwarded-proto").is_some_and(|proto| proto.eq_ignore_ascii_case(b"https"))
}
