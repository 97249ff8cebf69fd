//! `sticky`: the endpoint that the request's session is with, as long as it can take requests.
//!
//! Which one that is a signed cookie says, see [`crate::session`]. As in `HAProxy`, an endpoint that is being drained
//! or has a weight of 0 still takes the requests of its own sessions, and no others. A request without a session, and one
//! whose endpoint is unhealthy, full or gone, goes where `least_request` sends it.

use super::weighted_random::Alias;
use super::{Candidates, least_request};
use rand::Rng;

#[inline(never)]
pub(super) fn pick(alias: Option<&Alias>, candidates: &impl Candidates, rng: &mut impl Rng) -> Option<usize> {
    candidates
        .session()
        .filter(|&index| candidates.take(index))
        .or_else(|| least_request::pick(alias, candidates, rng))
}
