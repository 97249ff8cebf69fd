//! Which request goes where: the first rule that matches decides.
//!
//! Rules are compiled once, when the snapshot is built; a decision allocates nothing.

mod edit;
mod field;
mod pattern;
mod redirect;

pub use edit::RouteEdit;
pub use field::Field;
pub(crate) use pattern::without_port;
pub use redirect::Redirect;

use crate::document;
use crate::pool::Pool;
use crate::problem::{Refusal, Report, did_you_mean};
use pattern::{HostPattern, PathPattern};
use rand::Rng;
use std::sync::Arc;

/// What a decision needs to see of a request, whatever codec it came through.
pub trait RouteView {
    /// The authority as the client sent it: any case, with or without a port; empty where there is none.
    fn host(&self) -> &[u8];
    /// The path in the form for matching, without query; see [`crate::path::for_matching`].
    fn path(&self) -> &[u8];
    /// The value of the first field of that name, which is given in lower case.
    fn field(&self, lower_case_name: &[u8]) -> Option<&[u8]>;
}

/// Where a request goes.
#[derive(Debug)]
pub enum Decision<'s> {
    /// To an endpoint of this pool.
    Pool {
        /// Where the endpoint is picked.
        pool: &'s Arc<Pool>,
        /// What changes before it is forwarded.
        edit: &'s RouteEdit,
    },
    /// 308, with the location that it writes.
    Redirect(&'s Redirect),
    /// This status and an empty body.
    Respond(u16),
    /// No rule matches and the listener has no pool: 404.
    NotFound,
}

/// The rules of one listener, in order, and the pools they lead to.
#[derive(Debug)]
pub struct Router {
    rules: Box<[Arc<Rule>]>,
    fallback: Option<usize>,
    fallback_edit: RouteEdit,
    pools: Arc<[Arc<Pool>]>,
}

impl Router {
    /// `fallback` is where requests go that no rule claims; pools are named by their place in `pools`.
    pub(crate) fn new(rules: Vec<Arc<Rule>>, fallback: Option<usize>, pools: Arc<[Arc<Pool>]>) -> Self {
        Self { rules: rules.into(), fallback, fallback_edit: RouteEdit::default(), pools }
    }

    /// The first rule that matches decides. `rng` is asked only where a rule splits.
    pub fn decide<'s>(&'s self, request: &impl RouteView, rng: &mut impl Rng) -> Decision<'s> {
        let host = pattern::without_port(request.host());
        let Some(rule) = self.rules.iter().find(|rule| rule.matches(host, request)) else {
            return self.fallback.map_or(Decision::NotFound, |pool| self.to_pool(pool, &self.fallback_edit));
        };
        match &rule.action {
            Action::Pool(pool) => self.to_pool(*pool, &rule.edit),
            Action::Split(split) => self.to_pool(split.draw(rng), &rule.edit),
            Action::Redirect(redirect) => Decision::Redirect(redirect),
            Action::Respond(status) => Decision::Respond(*status),
        }
    }

    /// Whether anything may go to the pool of this name.
    pub fn leads_to(&self, pool: &str) -> bool {
        let is_it = |place: usize| self.pools[place].name() == pool;
        self.fallback.is_some_and(is_it)
            || self.rules.iter().any(|rule| match &rule.action {
                Action::Pool(place) => is_it(*place),
                Action::Split(split) => split.upper.iter().any(|(_, place)| is_it(*place)),
                Action::Redirect(_) | Action::Respond(_) => false,
            })
    }

    fn to_pool<'s>(&'s self, pool: usize, edit: &'s RouteEdit) -> Decision<'s> {
        Decision::Pool { pool: &self.pools[pool], edit }
    }
}

/// One compiled route, shared by the listeners that it belongs to.
#[derive(Debug)]
pub(crate) struct Rule {
    host: Option<HostPattern>,
    path: Option<PathPattern>,
    fields: Box<[Field]>,
    action: Action,
    edit: RouteEdit,
}

#[derive(Debug)]
enum Action {
    Pool(usize),
    Split(Split),
    Redirect(Redirect),
    Respond(u16),
}

impl Rule {
    /// The rule, or problems in the report. `pools` are the names that there are, in order.
    pub fn compile(route: &document::Route, pools: &[&str], report: &mut Report) -> Option<Self> {
        let host = compile_if_set(route.host.as_deref(), "host", HostPattern::compile, report);
        let path = compile_if_set(route.path.as_deref(), "path", PathPattern::compile, report);
        let fields = report.at("headers", |report| conditions(route, report));
        let strip = path.as_ref().and_then(|path| strip(route, path.as_ref(), report));
        let edit = RouteEdit::compile(route, strip.unwrap_or(0), report);
        let action = Action::compile(route, pools, strip.unwrap_or(0), report);
        Some(Self { host: host?, path: path?, fields: fields?, action: action?, edit: edit? })
    }

    /// Whether it asks for a host.
    pub fn goes_by_host(&self) -> bool {
        self.host.is_some()
    }

    fn matches(&self, host: &[u8], request: &impl RouteView) -> bool {
        self.path.as_ref().is_none_or(|path| path.matches(request.path()))
            && self.host.as_ref().is_none_or(|pattern| pattern.matches(host))
            && self.fields.iter().all(|(name, value)| request.field(name) == Some(value))
    }
}

impl Action {
    fn compile(route: &document::Route, pools: &[&str], strip: usize, report: &mut Report) -> Option<Self> {
        match &route.action {
            document::Action::Pool(pool) => report.keep("pool", find(pool, pools)).map(Self::Pool),
            document::Action::Split(shares) => {
                report.at("split", |report| Split::compile(shares, pools, report)).map(Self::Split)
            }
            document::Action::Redirect(location) => {
                report.keep("redirect", Redirect::compile(location, strip)).map(Self::Redirect)
            }
            document::Action::Respond(status) => {
                report.keep("respond", answerable(*status)).map(Self::Respond)
            }
        }
    }

    /// Whether what matches is forwarded, so that an edit means something.
    pub(crate) fn forwards(action: &document::Action) -> bool {
        matches!(action, document::Action::Pool(_) | document::Action::Split(_))
    }
}

/// Pools and the shares they take, as running sums.
#[derive(Debug)]
struct Split {
    upper: Box<[(u64, usize)]>,
    total: u64,
}

impl Split {
    fn compile(shares: &[(String, u32)], pools: &[&str], report: &mut Report) -> Option<Self> {
        let mut total = 0;
        let mut upper = Vec::with_capacity(shares.len());
        let mut sound = true;
        for (name, share) in shares {
            total += u64::from(*share);
            match report.keep(name.as_str(), find(name, pools)) {
                Some(pool) => upper.push((total, pool)),
                None => sound = false,
            }
        }
        if total == 0 {
            report
                .refuse(Refusal::new("no pool of the split has a share").hint("make one of them 1 or more"));
            return None;
        }
        sound.then(|| Self { upper: upper.into(), total })
    }

    fn draw(&self, rng: &mut impl Rng) -> usize {
        // A multiply and a shift, so that one draw is one number of the generator on every machine.
        let ticket = ((u128::from(rng.next_u64()) * u128::from(self.total)) >> 64) as u64;
        let place = self.upper.partition_point(|(upper, _)| *upper <= ticket);
        self.upper[place].1
    }
}

fn answerable(status: u16) -> Result<u16, Refusal> {
    if (200..=599).contains(&status) {
        return Ok(status);
    }
    Err(Refusal::new(format!("{status} is no status that can be answered"))
        .hint("write a number from 200 to 599"))
}

/// The place of a pool among those that there are.
pub(crate) fn find(name: &str, pools: &[&str]) -> Result<usize, Refusal> {
    pools.iter().position(|pool| *pool == name).ok_or_else(|| Refusal {
        message: format!("there is no pool {name:?}"),
        hint: did_you_mean(name, pools.iter().copied()),
    })
}

/// `None` where it is broken, `Some(None)` where it is not set.
#[expect(clippy::option_option, reason = "three states that live for two lines")]
fn compile_if_set<T>(
    text: Option<&str>,
    key: &str,
    compile: impl FnOnce(&str) -> Result<T, Refusal>,
    report: &mut Report,
) -> Option<Option<T>> {
    text.map_or(Some(None), |text| report.keep(key, compile(text)).map(Some))
}

fn conditions(route: &document::Route, report: &mut Report) -> Option<Box<[Field]>> {
    let mut fields = Vec::with_capacity(route.headers.len());
    for (name, value) in &route.headers {
        let field = field::name(name).and_then(|name| Ok((name, field::value(value)?)));
        if let Some(field) = report.keep(name.as_str(), field) {
            fields.push(field);
        }
    }
    (fields.len() == route.headers.len()).then(|| fields.into())
}

/// How many bytes of the path are taken off; 0 where it stays whole.
fn strip(route: &document::Route, path: Option<&PathPattern>, report: &mut Report) -> Option<usize> {
    if !route.strip_prefix {
        return Some(0);
    }
    let refusal = match path {
        Some(PathPattern::Prefix(prefix)) => {
            // What follows the prefix keeps a slash of its own.
            return Some(prefix.strip_suffix(b"/").unwrap_or(prefix).len());
        }
        Some(_) => Refusal::new("only a path that is a prefix can be stripped"),
        None => Refusal::new("there is no path to strip"),
    };
    report.refuse_at("strip_prefix", refusal.hint("write path = \"/prefix/\""));
    None
}

#[cfg(test)]
mod tests;
