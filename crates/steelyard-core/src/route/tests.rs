//! Decisions over compiled routes, and what a route is refused for.

use super::*;
use crate::document::Action as To;
use crate::policy::Phase;
use crate::problem::Problem;
use crate::random::Generator;
use crate::sample::{listener, pool, route, with};
use crate::snapshot::{Options, Resolved, Snapshot};
use rand::SeedableRng;

/// A request as a codec would show it.
struct Request<'a> {
    host: &'a str,
    path: &'a str,
    fields: &'a [(&'a str, &'a str)],
}

impl RouteView for Request<'_> {
    fn host(&self) -> &[u8] {
        self.host.as_bytes()
    }

    fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }

    fn field(&self, lower_case_name: &[u8]) -> Option<&[u8]> {
        let found = self.fields.iter().find(|(name, _)| name.as_bytes() == lower_case_name);
        found.map(|(_, value)| value.as_bytes())
    }
}

fn get<'a>(host: &'a str, path: &'a str) -> Request<'a> {
    Request { host, path, fields: &[] }
}

/// Listeners `web` (in front of `app`) and `bare` (in front of nothing) over pools `app` and `next`.
fn build(routes: Vec<document::Route>) -> Result<Snapshot, Vec<Problem>> {
    let document = with(|document| {
        document.listeners.push(listener("bare", ":8081"));
        document.listeners[1].pool = None;
        document.pools.push(pool("next", &["10.0.1.1:80"]));
        document.routes = routes;
    });
    let options = Options { workers: 1, phase: Phase::Zero, seed: 0 };
    Snapshot::build(&document, None, &Resolved::default(), &options)
}

fn snapshot(routes: Vec<document::Route>) -> Snapshot {
    build(routes).unwrap()
}

fn to(pool: &str) -> document::Route {
    route(To::Pool(pool.into()))
}

fn changed(mut route: document::Route, change: impl FnOnce(&mut document::Route)) -> document::Route {
    change(&mut route);
    route
}

fn at(path: &str, route: document::Route) -> document::Route {
    changed(route, |route| route.path = Some(path.into()))
}

/// Where a request goes, in a word.
fn decide(snapshot: &Snapshot, listener: &str, request: &Request<'_>) -> String {
    let mut rng = Generator::seed_from_u64(1);
    match snapshot.listener(listener).unwrap().router.decide(request, &mut rng) {
        Decision::Pool { pool, .. } => pool.name().to_owned(),
        Decision::Redirect(redirect) => {
            let mut location = Vec::new();
            redirect.write(request.path(), None, &mut location);
            String::from_utf8(location).unwrap()
        }
        Decision::Respond(status) => status.to_string(),
        Decision::NotFound => "not found".to_owned(),
    }
}

fn edit(snapshot: &Snapshot, path: &str) -> RouteEdit {
    let mut rng = Generator::seed_from_u64(1);
    match snapshot.listener("web").unwrap().router.decide(&get("a", path), &mut rng) {
        Decision::Pool { edit, .. } => edit.clone(),
        decision => panic!("{decision:?}"),
    }
}

fn refused(route: document::Route, expected: &str) {
    let problems = build(vec![route]).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:#?}");
    let told = problems[0].to_string();
    assert!(told.starts_with(expected), "{told} instead of {expected}");
}

#[test]
fn what_no_route_claims_goes_to_the_listeners_pool_or_nowhere() {
    let snapshot = snapshot(vec![at("/v1/", to("next"))]);
    assert_eq!(decide(&snapshot, "web", &get("a", "/")), "app");
    assert_eq!(decide(&snapshot, "bare", &get("a", "/")), "not found");
    assert_eq!(decide(&snapshot, "web", &get("a", "/v1/x")), "next");
    assert_eq!(decide(&snapshot, "bare", &get("a", "/v1/x")), "next");
    assert_eq!(edit(&snapshot, "/"), RouteEdit::default());
}

#[test]
fn the_first_match_wins() {
    let snapshot = snapshot(vec![
        at("=/v1/a", route(To::Respond(204))),
        at("/v1/", to("next")),
        at("/v1/b", route(To::Respond(503))),
    ]);
    assert_eq!(decide(&snapshot, "web", &get("a", "/v1/a")), "204");
    assert_eq!(decide(&snapshot, "web", &get("a", "/v1/b")), "next");
}

#[test]
fn a_route_of_one_listener_is_none_of_the_others() {
    let snapshot = snapshot(vec![changed(to("next"), |route| route.listener = Some("bare".into()))]);
    assert_eq!(decide(&snapshot, "bare", &get("a", "/")), "next");
    assert_eq!(decide(&snapshot, "web", &get("a", "/")), "app");
}

#[test]
fn every_condition_of_a_route_must_hold() {
    let snapshot = snapshot(vec![changed(at("/x", to("next")), |route| {
        route.host = Some("*.example.com".into());
        route.headers = [("X-Canary".to_owned(), "1".to_owned())].into();
    })]);
    let request = |host, path, fields| decide(&snapshot, "web", &Request { host, path, fields });
    assert_eq!(request("a.example.com:80", "/x", &[("x-canary", "1")]), "next");
    assert_eq!(request("example.com", "/x", &[("x-canary", "1")]), "app");
    assert_eq!(request("a.example.com", "/y", &[("x-canary", "1")]), "app");
    assert_eq!(request("a.example.com", "/x", &[("x-canary", "2")]), "app");
    assert_eq!(request("a.example.com", "/x", &[]), "app");
}

#[test]
fn a_split_follows_its_shares() {
    const DRAWS: u32 = 100_000;
    let snapshot = snapshot(vec![route(To::Split(vec![("app".into(), 95), ("next".into(), 5)]))]);
    let router = &snapshot.listener("web").unwrap().router;
    let mut rng = Generator::seed_from_u64(7);
    let next = (0..DRAWS)
        .filter(|_| match router.decide(&get("a", "/"), &mut rng) {
            Decision::Pool { pool, .. } => pool.name() == "next",
            decision => panic!("{decision:?}"),
        })
        .count();
    // Five standard deviations of the binomial are 345.
    assert!(next.abs_diff(5_000) < 345, "{next}");
}

#[test]
fn a_share_of_0_is_never_drawn() {
    let shares = vec![("app".into(), 0), ("next".into(), 1), ("app".into(), 0)];
    let snapshot = snapshot(vec![route(To::Split(shares))]);
    assert_eq!(decide(&snapshot, "web", &get("a", "/")), "next");
}

#[test]
fn a_redirect_appends_what_is_left_of_the_path() {
    let old =
        changed(at("/old/", route(To::Redirect("https://new/".into()))), |route| route.strip_prefix = true);
    let snapshot = snapshot(vec![old]);
    assert_eq!(decide(&snapshot, "web", &get("a", "/old/x")), "https://new/x");
}

#[test]
fn a_stripped_path_keeps_a_leading_slash() {
    let strip = |path: &str| changed(at(path, to("app")), |route| route.strip_prefix = true);
    for (prefix, path, expected) in [
        ("/v1/", "/v1/x", "/x"),
        ("/v1/", "/v1/", "/"),
        ("/v1", "/v1", "/"),
        ("/v1", "/v1x", "/x"),
        ("/", "/x", "/x"),
    ] {
        let (slash, rest) = edit(&snapshot(vec![strip(prefix)]), path).path(path.as_bytes());
        assert_eq!([slash, rest].concat(), expected.as_bytes(), "{prefix} of {path}");
    }
    let whole = edit(&snapshot(vec![at("/v1/", to("app"))]), "/v1/x");
    assert_eq!(whole.path(b"/v1/x"), (&b""[..], &b"/v1/x"[..]));
}

#[test]
fn fields_are_set_and_removed() {
    let edit = edit(
        &snapshot(vec![changed(to("app"), |route| {
            route.set_headers =
                [("X-Tenant".to_owned(), "a".to_owned()), ("Host".to_owned(), "in:80".to_owned())].into();
            route.remove_headers = vec!["Cookie".into()];
        })]),
        "/",
    );
    let set: Vec<_> = edit.set.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(set, [(&b"host"[..], &b"in:80"[..]), (b"x-tenant", b"a")]);
    assert_eq!(edit.remove, [Box::from(&b"cookie"[..])]);
}

#[test]
fn patterns_that_are_none_are_refused() {
    refused(at("v1", to("app")), "routes[0].path: \"v1\": a path begins with a slash");
    refused(at("~[", to("app")), "routes[0].path: the expression is broken");
    refused(changed(to("app"), |route| route.host = Some("a:80".into())), "routes[0].host: ");
    let asks = |name: &str, value: &str| {
        changed(to("app"), |route| route.headers = [(name.to_owned(), value.to_owned())].into())
    };
    refused(asks("a b", "1"), "routes[0].headers.a b: \"a b\" is no name");
    refused(asks("a", "1\n"), "routes[0].headers.a: the value");
}

#[test]
fn actions_that_lead_nowhere_are_refused() {
    let split = |shares: &[(&str, u32)]| {
        route(To::Split(shares.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect()))
    };
    refused(to("nex"), "routes[0].pool: there is no pool \"nex\"\nhint: did you mean \"next\"?");
    refused(split(&[("app", 1), ("no", 1)]), "routes[0].split.no: there is no pool \"no\"");
    refused(split(&[("app", 0), ("next", 0)]), "routes[0].split: no pool of the split has a share");
    refused(split(&[]), "routes[0].split: no pool of the split has a share");
    refused(route(To::Redirect("/a\r\nb".into())), "routes[0].redirect: ");
    refused(route(To::Redirect("here".into())), "routes[0].redirect: \"here\" is neither a URL nor a path");
    for status in [0, 101, 199, 600] {
        refused(route(To::Respond(status)), &format!("routes[0].respond: {status} is no status"));
    }
}

#[test]
fn edits_that_mean_nothing_or_break_framing_are_refused() {
    let set = |name: &str, value: &str| {
        changed(to("app"), |route| route.set_headers = [(name.to_owned(), value.to_owned())].into())
    };
    let remove = |name: &str| changed(to("app"), |route| route.remove_headers = vec![name.to_owned()]);
    refused(set("Content-Length", "1"), "routes[0].set_headers.Content-Length: ");
    refused(set("x", "a\r\nb: c"), "routes[0].set_headers.x: the value");
    refused(set("Host", "a/b"), "routes[0].set_headers.Host: \"a/b\" is no host");
    refused(remove("transfer-encoding"), "routes[0].remove_headers[0]: ");
    refused(remove("HOST"), "routes[0].remove_headers[0]: every request has a host");
    let twice = changed(to("app"), |route| {
        route.set_headers = [("X-A".to_owned(), "1".to_owned()), ("x-a".to_owned(), "2".to_owned())].into();
    });
    refused(twice, "routes[0].set_headers.x-a: \"x-a\" is set twice");
    let answered = changed(route(To::Respond(404)), |route| route.remove_headers = vec!["a".into()]);
    refused(answered, "routes[0].remove_headers: this route forwards nothing");
    let strip = |route: document::Route| changed(route, |route| route.strip_prefix = true);
    refused(strip(to("app")), "routes[0].strip_prefix: there is no path to strip");
    refused(strip(at("~^/a", to("app"))), "routes[0].strip_prefix: only a path that is a prefix");
}

#[test]
fn a_router_knows_where_it_may_lead() {
    let split = route(To::Split(vec![("next".into(), 1), ("app".into(), 0)]));
    let snapshot = snapshot(vec![split]);
    let leads = |listener: &str, pool: &str| snapshot.listener(listener).unwrap().router.leads_to(pool);
    assert!(leads("web", "app") && leads("web", "next") && leads("bare", "next"));
    assert!(!leads("web", "other"));
    let bare = self::snapshot(vec![route(To::Respond(204)), to("next")]);
    assert!(!bare.listener("bare").unwrap().router.leads_to("app"));
    assert!(bare.listener("bare").unwrap().router.leads_to("next"));
}
