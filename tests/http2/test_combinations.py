"""(1.1, 2) in front x (1.1, 2) behind: what a client sees and an origin gets is the same in every cell."""

from collections.abc import Callable

import pytest

from language import Client, Running, client, origin, proxy
from language.http2 import Http2Client, http2_client
from language.http2_origins import http2_origin

Either = Client | Http2Client
FRONT: dict[str, Callable[[Running], Either]] = {"1.1": client, "2": http2_client}
BEHIND = {"1.1": (origin, "http1"), "2": (http2_origin, "h2c")}

pytestmark = [pytest.mark.parametrize("front", FRONT), pytest.mark.parametrize("behind", BEHIND)]


def cell(front: str, behind: str, **route: object) -> Either:
    make, protocol = BEHIND[behind]
    plan = proxy().pool(make(), protocol=protocol)
    if route:
        plan.route(pool="app", **route)  # type: ignore[arg-type]
    return FRONT[front](plan.start())


def test_methods_and_targets(front: str, behind: str) -> None:
    asking = cell(front, behind)
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PURGE"):
        seen = asking.request(method, "/echo/a%20b?x=1&y=`").json()
        assert (seen["method"], seen["target"]) == (method, "/echo/a%20b?x=1&y=`")


def test_bodies_of_every_size(front: str, behind: str) -> None:
    asking = cell(front, behind)
    for size in (0, 1, 1_000, 16_384, 65_535, 65_536, 1_000_000):
        assert asking.post("/echo", b"x" * size).json()["body_bytes"] == size
        assert len(asking.get(f"/bytes/{size}").body) == size


def test_bodies_of_unknown_length(front: str, behind: str) -> None:
    seen = cell(front, behind).post("/echo", [b"a" * 10, b"b" * 70_000]).json()
    assert seen["body_bytes"] == 70_010
    assert "content-length" not in dict(seen["headers"])


def test_head_has_a_length_and_no_body(front: str, behind: str) -> None:
    reply = cell(front, behind).request("HEAD", "/bytes/10")
    assert (reply.status, reply.get("content-length"), reply.body) == (200, "10", b"")


def test_fields_pass_and_say_who_asks(front: str, behind: str) -> None:
    reply = cell(front, behind).get(
        "/echo", headers={"x-a": "B", "cookie": "a=1; b=2", "x-forwarded-for": "6.6.6.6"}
    )
    assert (reply.seen("x-a"), reply.seen("cookie")) == (["B"], ["a=1; b=2"])
    assert reply.seen("x-forwarded-for") == ["127.0.0.1"]
    assert reply.seen("x-forwarded-proto") == ["http"]
    assert len(reply.seen("x-request-id")) == 1
    assert len(reply.seen("forwarded")) == 1
    assert reply.seen("connection") == []


def test_routes_edit_requests(front: str, behind: str) -> None:
    asking = cell(
        front,
        behind,
        path="/api/",
        strip_prefix=True,
        set_headers={"X-Set": "ours", "Host": "internal.example"},
        remove_headers=["x-secret"],
    )
    reply = asking.get(
        "/api/echo?q", headers={"x-set": "theirs", "x_set": "twin", "x-secret": "s", "x-kept": "k"}
    )
    seen = reply.json()
    assert seen["target"] == "/echo?q"
    assert (reply.seen("x-set"), reply.seen("x_set")) == (["ours"], [])
    assert (reply.seen("x-secret"), reply.seen("x-kept")) == ([], ["k"])
    host = reply.seen(":authority") + reply.seen("host")
    assert host == ["internal.example"]


def test_many_requests_one_after_the_other(front: str, behind: str) -> None:
    asking = cell(front, behind)
    assert {asking.get("/").status for _ in range(50)} == {200}
