"""Sessions: a signed cookie keeps a client at its endpoint, through a drain too."""

from http.cookies import Morsel, SimpleCookie

import pytest

from language import (
    Origin,
    Running,
    endpoint,
    eventually,
    in_background,
    origin,
    proxy,
    raw,
    request,
    scripted,
)
from language.client import Reply

SECRET = "00112233445566778899aabbccddeeff"
STICKY = {"name": "sticky", "secret": SECRET}


def origins(count: int) -> list[Origin]:
    return [origin().named(str(number)) for number in range(count)]


def cookie_of(reply: Reply) -> "Morsel[str]":
    set_cookie = reply.get("set-cookie")
    assert set_cookie is not None, reply.fields
    (morsel,) = SimpleCookie(set_cookie).values()
    return morsel


def ask(running: Running, cookie: str, name: str = "steelyard") -> Reply:
    return request(running, headers={"Cookie": f"theme=dark; {name}={cookie}"})


def session(running: Running) -> tuple[str, str]:
    """Begins one; returns its cookie and its endpoint."""
    reply = request(running)
    return cookie_of(reply).value, reply.origin or ""


class TestSession:
    def test_stays_at_its_endpoint_and_the_cookie_is_set_once(self) -> None:
        running = proxy().workers(2).pool(*origins(4), policy=STICKY).start()
        for _ in range(4):
            cookie, home = session(running)
            for _ in range(10):
                reply = ask(running, cookie)
                assert (reply.origin, reply.get("set-cookie")) == (home, None)

    def test_is_known_to_every_instance_with_the_secret(self) -> None:
        servers = origins(4)
        one = proxy().pool(*servers, policy=STICKY).start()
        other = proxy().pool(*reversed(servers), policy=STICKY).start()
        cookie, home = session(one)
        assert {ask(other, cookie).origin for _ in range(10)} == {home}

    def test_begins_where_there_is_least_to_do(self) -> None:
        busy, idle = origins(2)
        running = proxy().pool(busy, idle, policy=STICKY).start()
        waiting = in_background(running, "/hang")
        eventually(lambda: running.in_flight() == 1)
        holder = "0" if running.endpoint(busy)["in_flight"] else "1"
        assert {session(running)[1] for _ in range(10)} == {"1" if holder == "0" else "0"}
        assert not waiting.is_over
        busy.die()
        idle.die()

    def test_moves_when_its_endpoint_fails_and_is_told_so(self) -> None:
        servers = origins(3)
        running = proxy().pool(*servers, policy=STICKY).start()
        cookie, home = session(running)
        servers[int(home)].die()
        reply = ask(running, cookie)
        assert reply.status == 200
        assert reply.origin != home
        moved = cookie_of(reply).value
        assert moved != cookie
        again = ask(running, moved)
        assert (again.origin, again.get("set-cookie")) == (reply.origin, None)

    def test_moves_when_its_endpoint_has_left(self) -> None:
        servers = origins(3)
        running = proxy().pool(*servers, policy=STICKY).start()
        cookie, home = session(running)
        rest = [one for one in servers if one is not servers[int(home)]]
        running.apply(proxy().pool(*rest, policy=STICKY))
        reply = ask(running, cookie)
        assert reply.origin != home
        assert cookie_of(reply).value != cookie

    def test_moves_when_its_endpoint_is_full(self) -> None:
        home, other = origins(2)
        running = proxy().pool(home, policy=STICKY, threshold={"requests": 1}).start()
        cookie, _ = session(running)
        waiting = in_background(running, "/hang")
        eventually(lambda: running.in_flight() == 1)
        running.apply(proxy().pool(home, other, policy=STICKY, threshold={"requests": 1}))
        reply = ask(running, cookie)
        assert reply.origin == "1"
        assert cookie_of(reply).value != cookie
        home.die()
        assert waiting.reply().status == 502


class TestDrain:
    def test_honours_sessions_and_takes_no_others(self) -> None:
        servers = origins(3)
        running = proxy().pool(*servers, policy=STICKY).start()
        cookie, home = session(running)
        drained = [endpoint(one, drain=str(number) == home) for number, one in enumerate(servers)]
        running.apply(proxy().pool(*drained, policy=STICKY))
        assert running.verdict(servers[int(home)]) == "draining"
        for _ in range(10):
            reply = ask(running, cookie)
            assert (reply.origin, reply.get("set-cookie")) == (home, None)
        assert home not in {session(running)[1] for _ in range(20)}

    def test_honours_sessions_where_nothing_else_is_left(self) -> None:
        server = origin().named("0")
        running = proxy().pool(server, policy=STICKY).start()
        cookie, _ = session(running)
        running.apply(proxy().pool(endpoint(server, drain=True), policy=STICKY))
        assert ask(running, cookie).status == 200
        assert request(running).status == 503

    def test_sends_sessions_away_from_one_that_fails(self) -> None:
        servers = origins(2)
        running = proxy().pool(*servers, policy=STICKY).start()
        cookie, home = session(running)
        failing = servers[int(home)]
        drained = [endpoint(one, drain=one is failing) for one in servers]
        running.apply(proxy().pool(*drained, policy=STICKY))
        failing.die()
        # Ejected after three failures, drained or not; each of these finds the other one.
        replies = [ask(running, cookie) for _ in range(6)]
        assert {reply.origin for reply in replies} == {str(1 - int(home))}
        assert all(cookie_of(reply).value != cookie for reply in replies)
        assert 3 <= running.endpoint(failing)["failures"] < 6

    def test_a_weight_of_0_is_a_drain_too(self) -> None:
        servers = origins(2)
        running = proxy().pool(*servers, policy=STICKY).start()
        cookie, home = session(running)
        weighted = [endpoint(one, weight=int(str(number) != home)) for number, one in enumerate(servers)]
        running.apply(proxy().pool(*weighted, policy=STICKY))
        assert ask(running, cookie).origin == home
        assert home not in {session(running)[1] for _ in range(10)}


class TestCookie:
    def test_is_a_name_and_its_signature(self) -> None:
        running = proxy().pool(origin(), policy=STICKY).start()
        reply = request(running)
        name, _, tag = cookie_of(reply).value.partition(".")
        assert len(bytes.fromhex(name)) == 8
        assert len(bytes.fromhex(tag)) == 16
        assert (reply.get("set-cookie") or "").partition("; ")[2] == "Path=/; SameSite=Lax; HttpOnly"

    def test_has_the_attributes_that_were_asked_for(self) -> None:
        settings = {
            "cookie": "sid",
            "secure": True,
            "http_only": False,
            "same_site": "none",
            "max_age_ms": 60_000,
        }
        running = proxy().pool(origin(), policy={**STICKY, **settings}).start()
        reply = request(running)
        assert cookie_of(reply).key == "sid"
        assert (reply.get("set-cookie") or "").partition("; ")[
            2
        ] == "Path=/; SameSite=None; Max-Age=60; Secure"
        assert ask(running, cookie_of(reply).value, "sid").get("set-cookie") is None

    @pytest.mark.parametrize("what", ["forged", "unsigned", "cut", "signed by another", "empty"])
    def test_that_is_not_ours_is_ignored(self, what: str) -> None:
        servers = origins(2)
        running = proxy().pool(*servers, policy=STICKY).start()
        cookie, home = session(running)
        name, _, tag = cookie.partition(".")
        forged = {
            "forged": f"{name}.{'0' * 32}",
            "unsigned": name,
            "cut": cookie[:-1],
            "signed by another": cookie_of(
                request(proxy().pool(servers[int(home)], policy={**STICKY, "secret": SECRET[::-1]}).start())
            ).value,
            "empty": "",
        }[what]
        assert tag
        replies = [ask(running, forged) for _ in range(40)]
        # Wherever it went, it went as a new one.
        assert {reply.origin for reply in replies} == {"0", "1"}
        assert all(cookie_of(reply).value for reply in replies)

    def test_of_the_endpoint_passes_beside_ours(self) -> None:
        server = scripted()
        running = proxy().pool(server, policy=STICKY).start()
        one = raw(running).send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        connection = server.accept()
        connection.expect_request()
        connection.send(b"HTTP/1.1 200 OK\r\nset-cookie: app=1\r\ncontent-length: 0\r\n\r\n")
        values = one.expect_response(200).all("set-cookie")
        assert len(values) == 2
        assert "app=1" in values
