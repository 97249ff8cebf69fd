"""Endpoints that die, come back, are drained or leave, while sessions are with them."""

from collections.abc import Callable
from typing import Any

import pytest

from language import (
    Plan,
    UdpClient,
    endpoint,
    eventually,
    origin,
    proxy,
    refused_address,
    scripted,
    udp_client,
    udp_peer,
    udp_refused_address,
    udp_server,
)

PROBES = {"interval_ms": 20, "timeout_ms": 20, "rise": 1, "fall": 1}


def carrying(*endpoints: Any, policy: str = "round_robin", **pool: Any) -> Plan:
    return proxy().pool(*endpoints, policy=policy, **pool).listener(protocol="udp")


def is_answered(client: UdpClient) -> Callable[[], bytes]:
    """The client asks, and asks again where what it had sent was lost."""

    def ask() -> bytes:
        client.send(b"")
        try:
            return client.receive(within_s=0.2)
        except TimeoutError:
            return b""

    return ask


def test_a_session_whose_endpoint_refuses_goes_on_with_another() -> None:
    one, two = udp_server("one"), udp_server("two")
    running = carrying(one, two).start()
    clients = [udp_client(running.listening()) for _ in range(2)]
    assert [client.ask(b"") for client in clients] == [b"one ", b"two "]
    one.die()
    assert eventually(is_answered(clients[0])) == b"two "
    assert clients[1].ask(b"") == b"two "
    assert running.endpoint(one)["failures"] == 1
    assert (running.endpoint(one)["in_flight"], running.endpoint(two)["in_flight"]) == (0, 2)
    assert running.listener()["accepted"] == 2


def test_one_whose_key_leads_to_an_endpoint_that_refuses_is_not_led_there_again() -> None:
    servers = {name: udp_server(name) for name in ("one", "two", "three")}
    by_address: Any = {"name": "maglev", "key": "address"}
    running = proxy().pool(*servers.values(), policy=by_address).listener(protocol="udp").start()
    client = udp_client(running.listening())
    met = servers[client.ask(b"").decode().strip()]
    met.die()
    assert eventually(is_answered(client)).decode().strip() != met.name
    assert running.endpoint(met)["failures"] == 1


def test_refusals_eject_and_nobody_goes_there() -> None:
    one = udp_server("one")
    gone = udp_refused_address()
    running = carrying(gone, one).start()
    clients = [udp_client(running.listening()) for _ in range(6)]
    assert [eventually(is_answered(client)) for client in clients] == [b"one "] * 6
    assert running.endpoint(gone)["failures"] == 3
    assert running.verdict(gone) == "ejected"
    assert "refused or unreachable" in running.endpoint(gone)["why"]


def test_silence_is_held_against_nobody() -> None:
    peer = udp_peer()
    plan = proxy().pool(peer).listener(protocol="udp", responses=1, timeouts={"idle_ms": 200})
    running = plan.start()
    client = udp_client(running.listening())
    _, way = client.send(b"ask").receive_at(peer)
    peer.send(b"answer", way)
    assert client.receive() == b"answer"
    known = eventually(lambda: running.endpoint(peer)["smoothed_s"])
    for _ in range(5):
        udp_client(running.listening()).send(b"x").receive_at(peer)
    eventually(lambda: running.in_flight() == 0)
    shown = running.endpoint(peer)
    assert (shown["requests"], shown["failures"], shown["verdict"]) == (6, 0, "healthy")
    assert shown["smoothed_s"] == known


def test_the_only_endpoint_comes_back() -> None:
    one = udp_server("one")
    running = carrying(one).start()
    client = udp_client(running.listening())
    assert client.ask(b"") == b"one "
    one.die()
    client.send(b"lost")
    eventually(lambda: running.endpoint(one)["failures"] == 1)
    one.start()
    # The first that is sent after it is back arrives.
    assert client.ask(b"back") == b"one back"


def test_a_session_leaves_an_endpoint_that_probes_find_unhealthy() -> None:
    well = {"first": True}
    first = udp_server("first", lambda datagram: [b"first"] if datagram != b"probe" or well["first"] else [])
    second = udp_server("second", lambda datagram: [b"second"])
    health = {**PROBES, "udp": b"probe".hex()}
    running = carrying(first, second, health=health).start()
    eventually(lambda: running.verdict(first) == running.verdict(second) == "healthy")
    client = udp_client(running.listening())
    met = client.ask(b"")
    well["first"] = False
    eventually(lambda: running.verdict(first) == "unhealthy")
    assert client.ask(b"") == b"second"
    well["first"] = True
    eventually(lambda: running.verdict(first) == "healthy")
    assert client.ask(b"") == b"second"
    assert met in (b"first", b"second")
    assert running.endpoint(first)["failures"] == 0


def test_where_all_are_unhealthy_sessions_stay() -> None:
    one, two = udp_peer(), udp_peer()
    health = {**PROBES, "port": int(refused_address().rpartition(":")[2])}
    running = carrying(one, two, health=health).start()
    eventually(lambda: running.verdict(one) == running.verdict(two) == "unhealthy")
    client = udp_client(running.listening())
    _, way = client.send(b"a").receive_at(one)
    for _ in range(3):
        assert client.send(b"b").receive_at(one) == (b"b", way)
    closed = carrying(one, two, health=health, fail_open=False)
    running.apply(closed)
    client.send(b"c")
    eventually(lambda: running.listener()["udp"]["dropped"]["no_endpoint"] == 1)
    assert one.hears_nothing()
    assert two.hears_nothing()
    # Whoever has never had an endpoint has no session.
    udp_client(running.listening()).send(b"d")
    eventually(lambda: running.listener()["udp"]["dropped"]["no_endpoint"] == 2)
    assert running.listener()["connections"] == 1


@pytest.mark.parametrize(
    ("probe", "said"),
    [
        ({"udp": b"ping".hex()}, "answered in"),
        ({"udp": "00ff"}, "answered in"),
    ],
)
def test_any_answer_to_a_probe_is_a_good_one(probe: dict[str, Any], said: str) -> None:
    seen: list[bytes] = []
    server = udp_server("", lambda datagram: seen.append(datagram) or [b"whatever"])  # type: ignore[func-returns-value]
    running = carrying(server, health={**PROBES, **probe}).start()
    eventually(lambda: running.verdict(server) == "healthy" and running.endpoint(server)["why"])
    assert said in running.endpoint(server)["why"]
    assert set(seen) == {bytes.fromhex(probe["udp"])}


def test_silence_and_refusal_are_bad_answers_to_a_probe() -> None:
    silent, gone = udp_peer(), udp_refused_address()
    running = carrying(silent, gone, health={**PROBES, "udp": "00"}).start()
    eventually(lambda: running.verdict(silent) == running.verdict(gone) == "unhealthy")
    assert "timed out after 20 ms" in running.endpoint(silent)["why"]
    assert "connection refused" in running.endpoint(gone)["why"]


def test_another_port_is_probed() -> None:
    beside = origin().start()
    peer = udp_peer()
    by_path = {**PROBES, "timeout_ms": 2_000, "interval_ms": 2_000, "path": "/healthz", "port": beside.port}
    running = carrying(peer, health=by_path).start()
    eventually(lambda: running.verdict(peer) == "healthy")
    assert "200 in" in running.endpoint(peer)["why"]
    connects = scripted()
    by_connect = {**PROBES, "timeout_ms": 2_000, "interval_ms": 2_000, "port": connects.port}
    other = carrying(peer, health=by_connect).start()
    eventually(lambda: other.verdict(peer) == "healthy")
    assert "connected" in other.endpoint(peer)["why"]


def test_a_drained_endpoint_keeps_its_sessions_and_gets_no_others() -> None:
    one, two = udp_server("one"), udp_server("two")
    running = carrying(one, two).start()
    client = udp_client(running.listening())
    assert client.ask(b"") == b"one "
    running.apply(carrying(endpoint(one, drain=True), two))
    assert [client.ask(b"") for _ in range(3)] == [b"one "] * 3
    assert [udp_client(running.listening()).ask(b"") for _ in range(4)] == [b"two "] * 4


def test_one_that_leaves_still_answers_what_it_was_asked() -> None:
    one, two = udp_peer(), udp_server("two")
    running = carrying(one, two).start()
    client = udp_client(running.listening())
    _, way = client.send(b"ask").receive_at(one)
    running.apply(carrying(two))
    one.send(b"answer", way)
    assert client.receive() == b"answer"
    assert client.ask(b"") == b"two "
    one.send(b"late", way)
    assert client.ask(b"") == b"two "
    assert running.listener()["accepted"] == 1


def test_another_pool_is_another_endpoint() -> None:
    one, two = udp_server("one"), udp_server("two")
    both = proxy().pool(one, name="a").pool(two, name="b")
    running = both.listener(protocol="udp", pool="a").start()
    client = udp_client(running.listening())
    assert client.ask(b"") == b"one "
    running.apply(proxy().pool(one, name="a").pool(two, name="b").listener(protocol="udp", pool="b"))
    assert client.ask(b"") == b"two "
    assert running.endpoint(one, "a")["in_flight"] == 0
