"""Sessions of datagrams: between which addresses they are, when they begin and when they end."""

from typing import Any

import pytest

from language import Plan, Running, eventually, proxy, udp_client, udp_peer, udp_server


def carrying(*endpoints: Any, policy: Any = "round_robin", **listener: Any) -> Plan:
    return proxy().pool(*endpoints, policy=policy).listener(protocol="udp", **listener)


def dropped(running: Running) -> dict[str, int]:
    return {why: count for why, count in running.listener()["udp"]["dropped"].items() if count}


def test_each_client_has_its_replies_and_stays_with_its_endpoint() -> None:
    one, two = udp_server("one"), udp_server("two")
    running = carrying(one, two).start()
    clients = [udp_client(running.listening()) for _ in range(4)]
    for number in range(5):
        for client in clients:
            client.send(f"{client.port} {number}".encode())
    said = [[client.receive().decode() for _ in range(5)] for client in clients]
    names = [replies[0].split()[0] for replies in said]
    assert sorted(names) == ["one", "one", "two", "two"]
    for client, name, replies in zip(clients, names, said, strict=True):
        assert replies == [f"{name} {client.port} {number}" for number in range(5)]
    shown = running.listener()
    assert (shown["connections"], shown["accepted"]) == (4, 4)
    assert running.endpoint(one)["in_flight"] == running.endpoint(two)["in_flight"] == 2


def test_what_was_carried_is_counted() -> None:
    server = udp_server("", lambda datagram: [datagram, b"more"])
    running = carrying(server, timeouts={"idle_ms": 500}).start()
    client = udp_client(running.listening())
    assert [client.ask(b"twelve bytes"), client.receive()] == [b"twelve bytes", b"more"]
    client.send(b"")
    eventually(lambda: running.listener()["udp"]["sent"] == 4)
    counted = running.listener()["udp"]
    assert [counted[name] for name in ("received", "sent", "bytes_in", "bytes_out")] == [2, 4, 12, 20]
    assert dropped(running) == {}
    eventually(lambda: running.in_flight() == 0)
    endpoint = running.endpoint(server)
    assert (endpoint["bytes_out"], endpoint["bytes_in"], endpoint["requests"]) == (12, 20, 1)
    assert endpoint["p50_s"] is not None


def test_clients_of_one_address_share_an_endpoint_where_it_is_the_key() -> None:
    servers = [udp_server(f"{number}") for number in range(4)]
    running = carrying(*servers, policy={"name": "maglev", "key": "address"}).start()
    by_address: dict[str, set[bytes]] = {}
    for last in range(2, 34):
        source = f"127.0.0.{last}"
        by_address[source] = {udp_client(running.listening(), source=source).ask(b"") for _ in range(3)}
    assert all(len(names) == 1 for names in by_address.values()), by_address
    assert len(set.union(*by_address.values())) == 4


def test_a_session_ends_when_nothing_has_moved() -> None:
    peer = udp_peer()
    running = carrying(peer, timeouts={"idle_ms": 300}).start()
    client = udp_client(running.listening())
    _, first = client.send(b"one").receive_at(peer)
    assert running.endpoint(peer)["in_flight"] == 1
    eventually(lambda: running.in_flight() == 0)
    assert running.listener()["connections"] == 0
    _, second = client.send(b"two").receive_at(peer)
    assert first != second
    assert running.endpoint(peer)["failures"] == 0


@pytest.mark.parametrize("writer", ["client", "endpoint"])
def test_either_side_keeps_it_alive(writer: str) -> None:
    peer = udp_peer()
    running = carrying(peer, timeouts={"idle_ms": 1_000}).start()
    client = udp_client(running.listening())
    _, way = client.send(b"begin").receive_at(peer)
    for _ in range(6):
        running.expect_to_live_on(for_s=0.3)
        if writer == "client":
            assert client.send(b"on").receive_at(peer) == (b"on", way)
        else:
            peer.send(b"on", way)
            assert client.receive() == b"on"
    assert running.listener()["accepted"] == 1


def test_a_session_ends_with_its_last_reply() -> None:
    peer = udp_peer()
    running = carrying(peer, responses=2).start()
    client = udp_client(running.listening())
    _, way = client.send(b"ask").receive_at(peer)
    assert client.send(b"again").receive_at(peer) == (b"again", way)
    for number in range(3):
        peer.send(b"%d" % number, way)
    assert [client.receive() for _ in range(3)] == [b"0", b"1", b"2"]
    assert running.in_flight() == 1
    peer.send(b"3", way)
    assert client.receive() == b"3"
    eventually(lambda: running.in_flight() == 0)
    _, other = client.send(b"more").receive_at(peer)
    assert other != way


def test_a_reply_that_is_lost_is_not_waited_for_for_ever() -> None:
    """Its client goes on asking from the same port, and has its answers."""
    peer = udp_peer()
    running = carrying(peer, responses=1, timeouts={"idle_ms": 1_000}).start()
    client = udp_client(running.listening())
    _, first = client.send(b"lost").receive_at(peer)
    for number in range(100):
        asked, way = client.send(b"%d" % number).receive_at(peer)
        peer.send(asked, way)
        assert client.receive() == b"%d" % number
        if way != first:
            break
        running.expect_to_live_on(for_s=0.1)
    assert way != first
    assert running.listener()["accepted"] == 2


def test_as_many_sessions_as_there_may_be() -> None:
    peer = udp_peer()
    running = carrying(peer, limits={"connections": 3}).start()
    clients = [udp_client(running.listening()) for _ in range(3)]
    ways = [client.send(b"ask").receive_at(peer)[1] for client in clients]
    # The first has moved last.
    assert clients[0].send(b"on").receive_at(peer) == (b"on", ways[0])
    newcomer = udp_client(running.listening())
    newcomer.send(b"ask").receive_at(peer)
    eventually(lambda: running.listener()["udp"]["evicted"] == 1)
    shown = running.listener()
    assert (shown["connections"], shown["connections_max"]) == (3, 3)
    for way in ways:
        peer.send(b"late", way)
    assert clients[0].receive() == clients[2].receive() == b"late"
    assert clients[1].hears_nothing()
    assert dropped(running) == {}


def test_strangers_do_not_displace_clients_that_have_had_replies_and_wrote_again() -> None:
    server = udp_server("")
    running = carrying(server, limits={"connections": 2}).start()
    known = [udp_client(running.listening()) for _ in range(2)]
    for client in known:
        client.ask()
        client.ask()
    stranger = udp_client(running.listening()).send(b"let me in")
    eventually(lambda: dropped(running) == {"sessions": 1})
    assert all(client.ask(b"on") == b" on" for client in known)
    assert stranger.hears_nothing()
    assert running.listener()["udp"]["evicted"] == 0
    assert running.listener()["accepted"] == 2


def test_a_threshold_counts_sessions_and_nobody_waits() -> None:
    server = udp_server("")
    plan = proxy().pool(server, threshold={"requests": 1}).listener(protocol="udp", responses=1)
    silent = udp_peer()
    running = plan.start()
    assert udp_client(running.listening()).ask(b"one") == b" one"
    eventually(lambda: running.in_flight() == 0)
    plan = proxy().pool(silent, threshold={"requests": 1}).listener(protocol="udp", responses=1)
    running.apply(plan)
    first, second = (udp_client(running.listening()) for _ in range(2))
    _, way = first.send(b"first").receive_at(silent)
    second.send(b"second")
    eventually(lambda: dropped(running) == {"busy": 1})
    silent.send(b"done", way)
    assert first.receive() == b"done"
    assert second.send(b"third").receive_at(silent)[0] == b"third"
    assert running.pool()["queued"] == 0


def test_all_datagrams_of_a_client_go_to_one_worker() -> None:
    server = udp_server("")
    running = carrying(server).workers(3).start()
    clients = [udp_client(running.listening()) for _ in range(30)]
    for _ in range(4):
        assert all(client.ask(b"x") == b" x" for client in clients)
    shown = running.listener()
    assert (shown["accepted"], shown["connections"], shown["udp"]["received"]) == (30, 30, 120)


def test_routes_split_sessions_between_pools() -> None:
    one, two = udp_server("one"), udp_server("two")
    plan = proxy().pool(one, name="a").pool(two, name="b").listener(protocol="udp", pool=None)
    running = plan.route(listener="web", split={"a": 1, "b": 1}).start()
    clients = [udp_client(running.listening()) for _ in range(40)]
    first = [client.ask(b"") for client in clients]
    assert set(first) == {b"one ", b"two "}
    assert [client.ask(b"") for client in clients] == first
