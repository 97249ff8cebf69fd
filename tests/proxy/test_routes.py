"""Which request goes where: by host, path and field, first match first, on the normalised path."""

from collections import Counter
from collections.abc import Mapping

import pytest

from language import Message, Plan, Reply, Running, origin, proxy, raw, request, scripted


def stage(*, fallback: str | None = "app") -> Plan:
    """Pools app, api and other, each with one origin of its name."""
    plan = proxy().listener(pool=fallback)
    for name in ("app", "api", "other"):
        plan.pool(origin().named(name), name=name)
    return plan


def went_to(running: Running, target: str = "/", headers: Mapping[str, str] | None = None) -> str | int:
    """The origin that answered, or the status where none did."""
    reply = request(running, target=target, headers=headers)
    return reply.origin or reply.status


class TestAPath:
    @pytest.mark.parametrize(
        ("target", "where"),
        [
            ("/api/", "api"),
            ("/api/users?x=/other", "api"),
            ("/api", "app"),
            ("/apis", "app"),
            ("/x/api/", "app"),
            ("/API/", "app"),
            ("/", "app"),
            # spelled in another way
            ("/%61pi/users", "api"),
            ("/x/../api/users", "api"),
            ("/./api/users", "api"),
            ("/api/../users", "app"),
            ("/api/%2e%2e/users", "app"),
            ("/api/x/..%2e/users", "api"),
            ("/../../api/", "api"),
        ],
    )
    def test_prefix(self, target: str, where: str) -> None:
        running = stage().route(path="/api/", pool="api").start()
        assert went_to(running, target) == where

    @pytest.mark.parametrize(
        ("path", "targets"),
        [
            ("/@internal/", ["/@internal/x", "/%40internal/x", "/%40%69nternal/x"]),
            ("/%7Bx%7D/", ["/%7Bx%7D/x", "/%7bx%7d/x", "/{x}/x", "/{x%7D/x"]),
            ("/a:b+c/", ["/a:b+c/x", "/a%3Ab+c/x", "/a%3ab%2Bc/x"]),
        ],
    )
    def test_is_matched_however_it_is_spelt(self, path: str, targets: list[str]) -> None:
        running = stage().route(path=path, pool="api").start()
        assert {target: went_to(running, target) for target in targets} == dict.fromkeys(targets, "api")

    def test_may_be_exact(self) -> None:
        running = stage().route(path="=/api", pool="api").start()
        found = {
            target: went_to(running, target) for target in ("/api", "/api?x", "/api/", "/api/x", "/%61pi")
        }
        assert found == {"/api": "api", "/api?x": "api", "/api/": "app", "/api/x": "app", "/%61pi": "api"}

    def test_may_be_a_pattern(self) -> None:
        running = stage().route(path=r"~^/v[0-9]+/", pool="api").start()
        found = {target: went_to(running, target) for target in ("/v1/", "/v22/x", "/v/", "/x/v1/")}
        assert found == {"/v1/": "api", "/v22/x": "api", "/v/": "app", "/x/v1/": "app"}

    def test_may_be_an_absolute_target(self) -> None:
        running = stage().route(path="/api/", pool="api").start()
        asking = raw(running).send(b"GET http://a.example/api/x HTTP/1.1\r\nHost: a.example\r\n\r\n")
        assert asking.expect_response(200).get("x-origin") == "api"


class TestTheForwardedTarget:
    @pytest.mark.parametrize(
        ("sent", "seen"),
        [
            ("/a/./b/../c", "/a/c"),
            ("/a/b/..", "/a/"),
            ("/../../a", "/a"),
            ("/%7Euser/%41", "/~user/A"),
            ("/a%20b%c3%a9", "/a%20b%C3%A9"),
            ("/a//b", "/a//b"),
            ("/a?x=%2e%2e/../%41", "/a?x=%2e%2e/../%41"),
            ("/a?", "/a?"),
            ("/%2e%2e/a", "/a"),
            ("/a;v=1/b@c:d", "/a;v=1/b@c:d"),
        ],
    )
    def test_is_normal(self, sent: str, seen: str) -> None:
        # The origin echoes whatever it is asked, since /echo itself could not be spelled in other ways.
        running = proxy().pool(origin().fault("echo")).start()
        assert request(running, target=sent).json()["target"] == seen

    @pytest.mark.parametrize("sent", ["/a%2fb", "/a%2Fb", "/a%5cb", "/a%00b", "/..%2f..%2fetc/passwd"])
    def test_has_no_encoded_slash_or_nul(self, sent: str) -> None:
        server = origin().start()
        running = proxy().pool(server).start()
        assert request(running, target=sent).status == 400
        assert server.requests == 0
        assert running.listener()["bad_requests"] == 1

    def test_may_have_an_encoded_slash_where_that_is_allowed(self) -> None:
        running = proxy().listener(allow_encoded_slash=True).pool(origin().fault("echo")).start()
        assert request(running, target="/a%2fb").json()["target"] == "/a%2Fb"
        assert request(running, target="/a/..%2f..%2fb").status == 400
        assert request(running, target="/a%00b").status == 400

    def test_may_be_an_asterisk(self) -> None:
        running = proxy().pool(origin().fault("echo")).start()
        assert request(running, "OPTIONS", "*").json()["target"] == "*"

    @pytest.mark.parametrize(
        ("sent", "seen"), [("http://h", "*"), ("http://h?q", "/?q"), ("http://h/", "/"), ("http://h?", "/?")]
    )
    def test_of_options_is_an_asterisk_only_without_path_and_query(self, sent: str, seen: str) -> None:
        running = proxy().pool(origin().fault("echo")).start()
        asking = raw(running).send(f"OPTIONS {sent} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        assert Reply(200, [], asking.expect_response(200).body).json()["target"] == seen

    def test_is_in_origin_form(self) -> None:
        running = proxy().pool(origin()).start()
        asking = raw(running).send(b"GET http://b.example:81/echo?x HTTP/1.1\r\nHost: a\r\n\r\n")
        reply = Reply(200, [], asking.expect_response(200).body)
        assert reply.json()["target"] == "/echo?x"
        assert reply.seen("host") == ["b.example:81"]


class TestAHost:
    @pytest.mark.parametrize(
        ("host", "where"),
        [
            ("api.example.com", "api"),
            ("API.Example.COM", "api"),
            ("api.example.com:8080", "api"),
            ("example.com", "app"),
            ("x.api.example.com", "app"),
            ("a.wild.example", "other"),
            ("wild.example", "app"),
            ("notwild.example", "app"),
        ],
    )
    def test_is_exact_or_wild(self, host: str, where: str) -> None:
        plan = stage().route(host="api.example.com", pool="api").route(host="*.wild.example", pool="other")
        assert went_to(plan.start(), headers={"Host": host}) == where


class TestFields:
    def test_must_all_be_there_with_exactly_these_values(self) -> None:
        running = stage().route(headers={"x-canary": "1", "x-who": "me"}, pool="api").start()
        assert went_to(running, headers={"X-Canary": "1", "x-WHO": "me"}) == "api"
        assert went_to(running, headers={"X-Canary": "1"}) == "app"
        assert went_to(running, headers={"X-Canary": "1", "X-Who": "you"}) == "app"
        assert went_to(running, headers={"X-Canary": "12", "X-Who": "me"}) == "app"


class TestOrder:
    def test_first_match_wins(self) -> None:
        plan = (
            stage()
            .route(path="/a/b/", pool="other")
            .route(path="/a/", pool="api")
            .route(path="/a/b/c/", pool="app")
        )
        running = plan.start()
        assert [went_to(running, target) for target in ("/a/b/c/", "/a/x", "/x")] == ["other", "api", "app"]

    def test_a_route_belongs_to_its_listener(self) -> None:
        plan = stage().listener("second", pool="other").route(listener="second", path="/a/", pool="api")
        running = plan.start()
        assert request(running, target="/a/", listener="second").origin == "api"
        assert request(running, target="/b/", listener="second").origin == "other"
        assert request(running, target="/a/").origin == "app"

    def test_what_no_route_claims_is_404(self) -> None:
        running = stage(fallback=None).route(path="/api/", pool="api").start()
        assert went_to(running, "/api/") == "api"
        asking = raw(running).get("/x")
        asking.expect_response(404)
        asking.get("/api/").expect_response(200)

    def test_what_no_route_claims_is_404_and_its_body_no_request(self) -> None:
        running = stage(fallback=None).route(path="/api/", pool="api").start()
        body = b"GET /api/ HTTP/1.1\r\nHost: a\r\n\r\n"
        head = f"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        asking = raw(running).send(head + body)
        assert asking.expect_response(404).asks_to_close
        asking.expect_closed()


class TestWhatHappens:
    @pytest.mark.parametrize("status", [200, 204, 403, 410, 503])
    def test_it_is_answered_here(self, status: int) -> None:
        running = stage().route(path="/gone/", respond=status).start()
        asking = raw(running).get("/gone/x")
        assert asking.expect_response(status).body == b""
        asking.send(b"HEAD /gone/ HTTP/1.1\r\nHost: a\r\n\r\n").expect_response(status, to="HEAD")
        asking.get().expect_response(200)

    @pytest.mark.parametrize(
        ("to", "location"),
        [
            ("https://new.example/", "https://new.example/old/x?y=1"),
            ("https://new.example/fixed", "https://new.example/fixed"),
        ],
    )
    def test_it_is_redirected(self, to: str, location: str) -> None:
        running = stage().route(path="/old/", redirect=to).start()
        reply = request(running, target="/old/x?y=1")
        assert (reply.status, reply.get("location")) == (308, location)

    def test_a_redirect_cannot_be_made_to_lead_elsewhere(self) -> None:
        running = stage().route(path="/", redirect="https://new.example/").start()
        asking = raw(running).get("//evil.example/%0d%0aSet-Cookie:%20a")
        location = asking.expect_response(308).get("location") or ""
        assert location.startswith("https://new.example/")
        assert "\n" not in location

    def test_its_prefix_is_taken_off(self) -> None:
        plan = proxy().pool(origin().fault("echo")).route(path="/api/", pool="app", strip_prefix=True)
        running = plan.start()
        seen = {
            target: request(running, target=target).json()["target"]
            for target in ("/api/x/y?z", "/api/", "/x")
        }
        assert seen == {"/api/x/y?z": "/x/y?z", "/api/": "/", "/x": "/x"}

    def test_its_prefix_is_taken_off_however_it_is_spelt_and_the_rest_stays(self) -> None:
        plan = proxy().pool(origin().fault("echo")).route(path="/@a/", pool="app", strip_prefix=True)
        running = plan.start()
        seen = {
            target: request(running, target=target).json()["target"]
            for target in ("/@a/x%3Ay", "/%40a/x%3Ay", "/%40a/{y}", "/x/%40a")
        }
        assert seen == {
            "/@a/x%3Ay": "/x%3Ay",
            "/%40a/x%3Ay": "/x%3Ay",
            "/%40a/{y}": "/%7By%7D",
            "/x/%40a": "/x/%40a",
        }

    def test_its_fields_are_set_and_removed(self) -> None:
        running = (
            proxy()
            .pool(origin())
            .route(
                path="/echo",
                pool="app",
                set_headers={"X-Set": "new", "Host": "inner.example", "X-Added": "1"},
                remove_headers=["X-Secret", "User-Agent"],
            )
            .start()
        )
        headers = {"X-Set": "old", "x-secret": "s", "User-Agent": "u", "X-Kept": "k"}
        reply = request(running, target="/echo", headers=headers)
        assert reply.seen("x-set") == ["new"]
        assert reply.seen("host") == ["inner.example"]
        assert reply.seen("x-added") == ["1"]
        assert reply.seen("x-kept") == ["k"]
        assert reply.seen("x-secret") + reply.seen("user-agent") == []

    @pytest.mark.parametrize("name", ["X_User", "x-user", "X_USER", "X_Secret"])
    def test_its_fields_cannot_be_forged_by_a_name_that_looks_alike(self, name: str) -> None:
        # Servers that turn fields into variables of an environment read both names as one.
        seen = self.edited(b"GET / HTTP/1.1\r\nHost: a\r\n" + name.encode() + b": root\r\n\r\n")
        values = [value for known, value in seen.fields if known.lower().replace("_", "-") == "x-user"]
        assert values == ["nobody"]
        assert "X_Secret" not in seen

    def test_its_fields_cannot_be_forged_in_trailers(self) -> None:
        seen = self.edited(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-User: root\r\nx_user: root\r\nX-Secret: s\r\n\r\n"
        )
        assert seen.body == b"abc"
        assert seen.trailers == [("X-Sum", "1")]

    def edited(self, sent: bytes) -> Message:
        server = scripted()
        plan = proxy().pool(server)
        edits = {"set_headers": {"x-user": "nobody"}, "remove_headers": ["x-secret"]}
        raw(plan.route(path="/", pool="app", **edits).start()).send(sent)
        return server.accept().read_request()

    def test_it_is_split_by_shares(self) -> None:
        running = stage().route(path="/", split={"api": 75, "other": 25}).start()
        counts = Counter(went_to(running) for _ in range(800))
        assert set(counts) == {"api", "other"}
        # Five standard deviations on either side.
        assert abs(counts["api"] - 600) < 5 * (800 * 0.75 * 0.25) ** 0.5

    def test_a_share_of_nothing_gets_nothing(self) -> None:
        running = stage().route(path="/", split={"api": 1, "other": 0}).start()
        assert {went_to(running) for _ in range(50)} == {"api"}


class TestMaxForwards:
    """RFC 9110 section 7.6.2."""

    @pytest.mark.parametrize(
        ("method", "sent", "seen"),
        [
            ("OPTIONS", "1", "0"),
            ("TRACE", "10", "9"),
            ("OPTIONS", "0099", "98"),
            ("OPTIONS", "9" * 40, "18446744073709551614"),
            ("GET", "0", "0"),
            ("POST", "7", "7"),
        ],
    )
    def test_counts_down(self, method: str, sent: str, seen: str) -> None:
        running = proxy().pool(origin().fault("echo")).start()
        reply = request(running, method, headers={"Max-Forwards": sent})
        assert reply.seen("max-forwards") == [seen]

    @pytest.mark.parametrize(("method", "status"), [("OPTIONS", 200), ("TRACE", 405)])
    def test_ends_here(self, method: str, status: int) -> None:
        server = origin().start()
        running = proxy().pool(server).start()
        reply = request(running, method, headers={"Max-Forwards": "0"})
        assert (reply.status, reply.origin) == (status, None)
        assert server.requests == 0

    @pytest.mark.parametrize("fields", [["Max-Forwards: x"], ["Max-Forwards:"], ["Max-Forwards: 3"] * 2])
    def test_is_a_number(self, fields: list[str]) -> None:
        running = proxy().pool(origin()).start()
        lines = "".join(f"{field}\r\n" for field in fields)
        raw(running).send(f"OPTIONS / HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode()).expect_response(400)
        assert running.listener()["bad_requests"] == 1
