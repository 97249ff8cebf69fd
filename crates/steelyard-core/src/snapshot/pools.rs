//! What makes a pool sound.

mod reports;

use super::{Resolved, check_name, refuse_zero, tls, zero};
use crate::address::EndpointAddress;
use crate::document::{self, Load, Protocol, SameSite};
use crate::endpoint::Address;
use crate::key::{self, KeySource};
use crate::level::PRIORITIES_MAX;
use crate::policy::bounded_hash::{BALANCE, BALANCE_MAX};
use crate::policy::maglev::{TABLE_SIZE_MAX, is_prime};
use crate::policy::ring_hash::{RING_SIZE, RING_SIZE_MAX};
use crate::policy::{self, PROBES_PER_REQUEST_MAX};
use crate::pool;
use crate::problem::{Refusal, Report, did_you_mean};
use crate::subset::subset;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The largest weight, so that sums over any pool stay small.
pub const WEIGHT_MAX: u32 = 65_535;
/// Bounds of slow start: beyond them a weight would jump rather than grow.
const AGGRESSION_MIN: f64 = 0.01;
const AGGRESSION_MAX: f64 = 100.0;
const MIN_WEIGHT_MIN: f64 = 0.001;
/// The most tries of one request.
const ATTEMPTS_MAX: u32 = 100;

/// The longest name of a gRPC service that is asked for.
const GRPC_SERVICE_BYTES_MAX: usize = 256;

/// A shorter secret could be guessed.
const SECRET_BYTES_MIN: usize = 16;

/// A pool with its addresses parsed.
pub(super) struct PoolPlan<'d> {
    pub config: &'d document::Pool,
    pub endpoints: Vec<(EndpointAddress, &'d document::Endpoint)>,
}

impl PoolPlan<'_> {
    /// The addresses that the pool has at present, each once: the first to name one decides its weight. `own_zone` is where
    /// this process stands.
    pub fn members(&self, own_zone: Option<&str>, resolved: &Resolved) -> Vec<pool::Resolved> {
        let mut taken = BTreeSet::new();
        let mut members = Vec::with_capacity(self.endpoints.len());
        for (address, endpoint) in &self.endpoints {
            let configured: Arc<str> = address.to_string().into();
            let found = match address {
                EndpointAddress::Socket(address) => vec![Address::Socket(*address)],
                EndpointAddress::Unix(path) => vec![Address::Unix(path.clone())],
                EndpointAddress::Name { host, port } => {
                    let mut found = resolved.get(host, *port).to_vec();
                    // Every instance has to see them in the same order.
                    if self.config.subset.is_some() {
                        found.sort_unstable();
                    }
                    found.into_iter().map(Address::Socket).collect()
                }
            };
            let zone: Option<Arc<str>> = endpoint.zone.as_deref().map(Arc::from);
            let foreign = own_zone.is_some() && own_zone != zone.as_deref();
            let near = own_zone.is_some() && !foreign;
            members.extend(found.into_iter().filter(|address| taken.insert(address.to_string())).map(
                |address| pool::Resolved {
                    configured: Arc::clone(&configured),
                    address,
                    weight: endpoint.weight,
                    drain: endpoint.drain,
                    priority: endpoint.priority,
                    zone: zone.clone(),
                    foreign,
                    near,
                },
            ));
        }
        match &self.config.subset {
            Some(config) => subset_of(members, config),
            None => members,
        }
    }
}

/// The part of the members that this instance talks to, of each priority apart: otherwise a failover might have nobody to
/// go to.
fn subset_of(members: Vec<pool::Resolved>, config: &document::Subset) -> Vec<pool::Resolved> {
    let mut by_priority: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        by_priority.entry(member.priority).or_default().push(index);
    }
    let mut kept = vec![false; members.len()];
    for places in by_priority.values() {
        for place in subset(places.len(), config.size as usize, config.instance) {
            kept[places[place]] = true;
        }
    }
    members.into_iter().zip(kept).filter_map(|(member, kept)| kept.then_some(member)).collect()
}

/// Plans every pool; what is broken is in the report.
pub(super) fn plan<'d>(configs: &'d [document::Pool], report: &mut Report) -> Vec<PoolPlan<'d>> {
    let mut taken = BTreeSet::new();
    configs
        .iter()
        .map(|config| {
            report.at(config.name.as_str(), |report| {
                check_name("pool", &config.name, &mut taken, report);
                check_bounds(config, report);
                let endpoints = report.at("endpoints", |report| plan_endpoints(config, report));
                tls::check_pool(config, endpoints.iter().map(|(address, _)| address), report);
                PoolPlan { config, endpoints }
            })
        })
        .collect()
}

fn plan_endpoints<'d>(
    config: &'d document::Pool,
    report: &mut Report,
) -> Vec<(EndpointAddress, &'d document::Endpoint)> {
    if config.endpoints.is_empty() {
        report
            .refuse(Refusal::new("the pool has no endpoints").hint("write endpoints = [\"10.0.0.1:8080\"]"));
    }
    let mut endpoints: Vec<(EndpointAddress, _)> = Vec::with_capacity(config.endpoints.len());
    let mut taken = BTreeSet::new();
    let mut priorities = BTreeSet::new();
    for (index, endpoint) in config.endpoints.iter().enumerate() {
        report.at(index, |report| {
            if priorities.insert(endpoint.priority) && priorities.len() == PRIORITIES_MAX + 1 {
                let message = format!("the pool has more than {PRIORITIES_MAX} different priorities");
                report.refuse_at("priority", Refusal::new(message).hint("give several endpoints the same"));
            }
            if endpoint.zone.as_deref().is_some_and(str::is_empty) {
                let refusal = Refusal::new("a zone has a name");
                report.refuse_at("zone", refusal.hint("take it out where there are no zones"));
            }
            if endpoint.weight > WEIGHT_MAX {
                let message = format!("a weight of {} is too large", endpoint.weight);
                report
                    .refuse_at("weight", Refusal::new(message).hint(format!("the largest is {WEIGHT_MAX}")));
            }
            let Some(address) = report.keep("address", endpoint.address.parse::<EndpointAddress>()) else {
                return;
            };
            if !taken.insert(address.to_string()) {
                let message = format!("{address} is in the pool already");
                report.refuse_at("address", Refusal::new(message).hint("give it a weight instead"));
            }
            endpoints.push((address, endpoint));
        });
    }
    endpoints
}

fn check_bounds(config: &document::Pool, report: &mut Report) {
    report.at("policy", |report| check_policy(config, report));
    reports::check(config, report);
    if let Some(percent) = config.panic_threshold {
        if percent == 0 {
            report.refuse_at("panic_threshold", zero("write \"off\" for no panic"));
        } else if percent > 100 {
            let refusal = Refusal::new(format!("{percent} is no percentage"));
            report.refuse_at("panic_threshold", refusal.hint("from 1 to 100, or \"off\""));
        }
    }
    if let Some(subset) = &config.subset {
        report.at("subset", |report| check_subset(subset, report));
    }
    if let Some(slow_start) = &config.slow_start {
        report.at("slow_start", |report| check_slow_start(slow_start, report));
    }
    report.at("threshold", |report| {
        refuse_zero("requests", config.threshold.requests.map(u64::from), report);
        refuse_zero("latency", config.threshold.latency_ms, report);
        refuse_zero("bytes_per_second", config.threshold.bytes_per_second, report);
    });
    report.at("queue", |report| {
        refuse_zero("size", config.queue.size.map(u64::from), report);
        refuse_zero("timeout", config.queue.timeout_ms, report);
    });
    report.at("health", |report| check_health(config, report));
    report.at("connections", |report| {
        refuse_zero("idle_timeout", config.connections.idle_timeout_ms, report);
        refuse_zero("max", config.connections.max.map(u64::from), report);
    });
    let timeouts = &config.timeouts;
    report.at("timeouts", |report| {
        refuse_zero("connect", timeouts.connect_ms, report);
        refuse_zero("response", timeouts.response_ms, report);
        refuse_zero("idle", timeouts.idle_ms, report);
        refuse_zero("tunnel", timeouts.tunnel_ms, report);
        refuse_zero("total", timeouts.total_ms, report);
    });
    report.at("retry", |report| check_retry(&config.retry, report));
}

fn check_subset(subset: &document::Subset, report: &mut Report) {
    if subset.size == 0 {
        report.refuse_at("size", zero("without the table every endpoint is used"));
    }
    if subset.instances == 0 {
        report.refuse_at("instances", zero("it counts this instance too"));
    } else if subset.instance >= subset.instances {
        let message = format!("there is no instance {} of {}", subset.instance, subset.instances);
        let hint = format!("they are numbered from 0 to {}", subset.instances - 1);
        report.refuse_at("instance", Refusal::new(message).hint(hint));
    }
}

fn check_slow_start(slow_start: &document::SlowStart, report: &mut Report) {
    refuse_zero("window", Some(slow_start.window_ms), report);
    if !(AGGRESSION_MIN..=AGGRESSION_MAX).contains(&slow_start.aggression) {
        let message = format!("an aggression of {} is no use", slow_start.aggression);
        let hint = format!("from {AGGRESSION_MIN} to {AGGRESSION_MAX}; 1 grows evenly, 2 faster at first");
        report.refuse_at("aggression", Refusal::new(message).hint(hint));
    }
    if !(MIN_WEIGHT_MIN..=1.0).contains(&slow_start.min_weight) {
        let message = format!("{} is no part of a weight to begin with", slow_start.min_weight);
        let hint = format!("from {MIN_WEIGHT_MIN} to 1, as 0.1");
        report.refuse_at("min_weight", Refusal::new(message).hint(hint));
    }
}

/// The settings of each policy that has any.
const SETTINGS: [(&str, &[&str]); 7] = [
    ("peak_ewma", &["decay"]),
    ("ring_hash", &["key", "ring_size"]),
    ("maglev", &["key", "table_size"]),
    ("rendezvous", &["key"]),
    ("bounded_hash", &["key", "balance", "ring_size"]),
    ("sticky", &["cookie", "secret_file", "secure", "http_only", "same_site", "max_age"]),
    ("prequal", &PREQUAL),
];

const PREQUAL: [&str; 6] =
    ["probe_path", "probe_timeout", "probes_per_request", "probe_rate_max", "probes_in_flight_max", "q_rif"];

fn check_policy(config: &document::Pool, report: &mut Report) {
    let policy = &config.policy;
    if let Err(refusal) = known_policy(&policy.name) {
        return report.refuse(refusal);
    }
    let known = SETTINGS.iter().find(|(name, _)| *name == policy.name).map_or(&[][..], |(_, known)| known);
    let settings = [
        ("key", policy.key.is_some()),
        ("decay", policy.decay_ms.is_some()),
        ("ring_size", policy.ring_size.is_some()),
        ("table_size", policy.table_size.is_some()),
        ("balance", policy.balance.is_some()),
        ("cookie", policy.cookie.is_some()),
        ("secure", policy.secure.is_some()),
        ("http_only", policy.http_only.is_some()),
        ("same_site", policy.same_site.is_some()),
        ("max_age", policy.max_age_ms.is_some()),
        ("secret_file", policy.secret.is_some()),
        ("probe_path", policy.probe_path.is_some()),
        ("probe_timeout", policy.probe_timeout_ms.is_some()),
        ("probes_per_request", policy.probes_per_request.is_some()),
        ("probe_rate_max", policy.probe_rate_max.is_some()),
        ("probes_in_flight_max", policy.probes_in_flight_max.is_some()),
        ("q_rif", policy.q_rif.is_some()),
    ];
    for (setting, is_set) in settings {
        if is_set && !known.contains(&setting) {
            let hint = match known {
                [] => format!("{} has no settings", policy.name),
                known => format!("{} knows {}", policy.name, known.join(", ")),
            };
            report.refuse_at(setting, Refusal::new(format!("{} has no {setting:?}", policy.name)).hint(hint));
        }
    }
    refuse_zero("decay", policy.decay_ms, report);
    let function = policy.score.as_ref().map(|score| score.address != 0);
    let wanted = match policy.name.as_str() {
        policy::SCORED => Some(true),
        policy::INTERPRETED => Some(false),
        _ => None,
    };
    if function != wanted {
        report.refuse(Refusal::new(
            "a policy written in Python, and no other, comes with its compiled function, or with its name where it is \
             interpreted",
        ));
    }
    match &policy.key {
        Some(key) => {
            report.keep("key", key.parse::<KeySource>());
        }
        None if policy::KEYED.contains(&policy.name.as_str()) => {
            let refusal = Refusal::new(format!("{} needs a key: what ties requests together", policy.name));
            report.refuse(refusal.hint(key::FORMS));
        }
        None => {}
    }
    check_tables(config, report);
    if policy.name == "sticky" {
        check_sessions(policy, report);
    }
    check_probes(policy, report);
    if config.load != Load::Requests && policy.name != "least_load" {
        let refusal = Refusal::new(format!("{} does not compare load", policy.name));
        report.refuse(refusal.hint("only least_load goes by the pool's load"));
    }
}

/// What a session's cookie is made of.
fn check_sessions(policy: &document::Policy, report: &mut Report) {
    match &policy.secret {
        None => {
            let refusal = Refusal::new("sticky needs a secret_file: what its cookies are signed with");
            report
                .refuse(refusal.hint("write secret_file = \"session.key\"; openssl rand -hex 32 makes one"));
        }
        Some(secret) if secret.bytes().len() < SECRET_BYTES_MIN => {
            let refusal = Refusal::new("the secret is too short to keep anything secret");
            let hint = format!("at least {SECRET_BYTES_MIN} bytes; openssl rand -hex 32 makes one");
            report.refuse_at("secret_file", refusal.hint(hint));
        }
        Some(_) => {}
    }
    if let Some(cookie) = &policy.cookie
        && format!("cookie:{cookie}").parse::<KeySource>().is_err()
    {
        let refusal = Refusal::new(format!("{cookie:?} is no name for a cookie"));
        report.refuse_at("cookie", refusal.hint("letters, digits, \"-\" and \"_\""));
    }
    if policy.same_site == Some(SameSite::None) && policy.secure != Some(true) {
        let refusal = Refusal::new("browsers refuse a cookie for all sites that is not secure");
        report.refuse_at("same_site", refusal.hint("write secure = true beside it, or same_site = \"lax\""));
    }
    refuse_zero("max_age", policy.max_age_ms, report);
}

/// The sizes of what a policy builds beforehand.
fn check_tables(config: &document::Pool, report: &mut Report) {
    let policy = &config.policy;
    if let Some(size) = policy.ring_size.filter(|size| !(1..=RING_SIZE_MAX).contains(size)) {
        let refusal = Refusal::new(format!("a ring of {size} points is out of range"));
        report.refuse_at(
            "ring_size",
            refusal.hint(format!("from 1 to {RING_SIZE_MAX}; the default is {RING_SIZE}")),
        );
    }
    if let Some(size) = policy.table_size {
        if !(3..=TABLE_SIZE_MAX).contains(&size) {
            let refusal = Refusal::new(format!("a table of {size} entries is out of range"));
            report.refuse_at("table_size", refusal.hint(format!("a prime from 3 to {TABLE_SIZE_MAX}")));
        } else if !is_prime(size) {
            let next = (size..=TABLE_SIZE_MAX).find(|&number| is_prime(number)).unwrap_or(TABLE_SIZE_MAX);
            let refusal = Refusal::new(format!("{size} is no prime"));
            report.refuse_at("table_size", refusal.hint(format!("the next one is {next}")));
        } else if (size as usize) < config.endpoints.len() {
            let refusal = Refusal::new("the table has fewer entries than the pool has endpoints");
            report
                .refuse_at("table_size", refusal.hint("a hundred for each keeps shares even to one percent"));
        }
    }
    let is_sound = |balance: f64| balance > 1.0 && balance <= BALANCE_MAX;
    if policy.balance.is_some_and(|balance| !is_sound(balance)) {
        let refusal = Refusal::new("the balance is how much more than its share an endpoint may carry");
        report.refuse_at(
            "balance",
            refusal.hint(format!("a number above 1, up to {BALANCE_MAX}, as {BALANCE}")),
        );
    }
}

/// What `prequal` may be told of its probes.
fn check_probes(policy: &document::Policy, report: &mut Report) {
    if let Some(path) = &policy.probe_path {
        report.keep("probe_path", probe_target(path));
    }
    refuse_zero("probe_timeout", policy.probe_timeout_ms, report);
    refuse_zero("probe_rate_max", policy.probe_rate_max.map(u64::from), report);
    refuse_zero("probes_in_flight_max", policy.probes_in_flight_max.map(u64::from), report);
    if policy.probes_per_request.is_some_and(|probes| !(probes > 0.0 && probes <= PROBES_PER_REQUEST_MAX)) {
        let hint = format!("write a number above 0 and up to {PROBES_PER_REQUEST_MAX}, as 3.0 or 0.5");
        report.refuse_at(
            "probes_per_request",
            Refusal::new("that is no number of probes for each request").hint(hint),
        );
    }
    if policy.q_rif.is_some_and(|quantile| !(0.0..=1.0).contains(&quantile)) {
        report.refuse_at("q_rif", Refusal::new("a quantile is from 0 to 1").hint("0.84 is usual"));
    }
}

fn known_policy(name: &str) -> Result<(), Refusal> {
    if policy::NAMES.contains(&name) || [policy::SCORED, policy::INTERPRETED].contains(&name) {
        return Ok(());
    }
    let names = || format!("there are {}", policy::NAMES.join(", "));
    if name.contains(':') {
        return Err(
            Refusal::new(format!("the policy {name:?} comes without its compiled function")).hint(names())
        );
    }
    let hint = did_you_mean(name, policy::NAMES).unwrap_or_else(names);
    Err(Refusal::new(format!("there is no policy {name:?}")).hint(hint))
}

fn check_health(config: &document::Pool, report: &mut Report) {
    let health = &config.health;
    if let Some(service) = &health.grpc {
        check_grpc(config, service, report);
    }
    if let Some(path) = &health.path {
        report.keep("path", probe_target(path));
    }
    if let Some(host) = &health.host
        && (host.is_empty() || !host.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/'))
    {
        report.refuse_at("host", Refusal::new(format!("{host:?} is no host")).hint("write \"app.internal\""));
    }
    refuse_zero("interval", health.interval_ms, report);
    match (health.timeout_ms, health.interval_ms) {
        (0, _) => report.refuse_at("timeout", zero("a probe needs time to be answered")),
        (timeout, Some(interval)) if interval > 0 && timeout > interval => {
            let message = format!("a probe may take {timeout} ms and the next is due after {interval} ms");
            report.refuse_at("timeout", Refusal::new(message).hint("make it no longer than the interval"));
        }
        _ => {}
    }
    for (key, count) in [("rise", health.rise), ("fall", health.fall)] {
        if count == 0 {
            report.refuse_at(key, zero("write 1 to let one probe decide"));
        }
    }
    report.at("expect_status", |report| check_expected(&health.expect_status, report));
}

/// A health check of gRPC takes HTTP/2, and a name that could be one of a service.
fn check_grpc(config: &document::Pool, service: &str, report: &mut Report) {
    if config.health.path.is_some() {
        let refusal = Refusal::new("a probe asks for a path or for a service of gRPC");
        report.refuse_at("grpc", refusal.hint("take path or grpc out"));
    }
    if config.protocol == Protocol::Http1 {
        let refusal = Refusal::new("gRPC is spoken over HTTP/2, and this pool speaks HTTP/1.1");
        let hint = if config.tls.is_some() { "h2" } else { "h2c" };
        report.refuse_at("grpc", refusal.hint(format!("write protocol = \"{hint}\" in the pool")));
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
    if service.len() > GRPC_SERVICE_BYTES_MAX || !service.bytes().all(is_name) {
        let refusal = Refusal::new(format!("{service:?} is no service of gRPC"));
        report.refuse_at("grpc", refusal.hint("write \"package.Service\", or \"\" for the whole server"));
    }
}

fn check_expected(ranges: &[(u16, u16)], report: &mut Report) {
    if ranges.is_empty() {
        report.refuse(Refusal::new("no status would be a good one").hint("write [\"200-399\"]"));
    }
    for (index, &(low, high)) in ranges.iter().enumerate() {
        if low > high {
            let refusal = Refusal::new(format!("{low}-{high} is out of order"));
            report.refuse_at(index, refusal.hint(format!("write \"{high}-{low}\"")));
        } else if low < 100 || high > 599 {
            let refusal = Refusal::new(format!("{low}-{high} holds numbers that are no status"));
            report.refuse_at(index, refusal.hint("a status is 100 to 599"));
        }
    }
}

/// A target with an optional query, as it will stand in the request line.
fn probe_target(path: &str) -> Result<(), Refusal> {
    if !path.starts_with('/') {
        return Err(Refusal::new(format!("{path:?}: the path of a probe begins with a slash"))
            .hint(format!("write \"/{path}\"")));
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(Refusal::new(format!("{path:?} holds a character that no path may hold"))
            .hint("escape it, as \"%20\" for a space"));
    }
    Ok(())
}

fn check_retry(retry: &document::Retry, report: &mut Report) {
    if retry.attempts == 0 {
        report.refuse_at("attempts", zero("it counts tries in all; write 1 for no repeat"));
    } else if retry.attempts > ATTEMPTS_MAX {
        let message = format!("{} attempts are too many", retry.attempts);
        report.refuse_at("attempts", Refusal::new(message).hint(format!("the most is {ATTEMPTS_MAX}")));
    }
    if retry.budget.is_some_and(|budget| !(0.0..=1.0).contains(&budget)) {
        let refusal = Refusal::new("the budget is a share of the requests");
        report.refuse_at("budget", refusal.hint("write a number from 0 to 1, as 0.2"));
    }
}
