"""Reloads, drains and floods while datagrams come."""

import contextlib
import signal
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest

from language import (
    Plan,
    Running,
    SpawnedEngine,
    UdpPeer,
    eventually,
    proxy,
    udp_client,
    udp_peer,
    udp_refused_address,
    udp_server,
)
from language.datagrams import UdpClient


def carrying(*endpoints: Any, **listener: Any) -> Plan:
    return proxy().pool(*endpoints, policy="round_robin").listener(protocol="udp", **listener)


def test_reloads_lose_nothing_and_move_nobody() -> None:
    servers = [udp_server(f"{number}") for number in range(3)]
    running = carrying(*servers).workers(2).start()
    clients = [udp_client(running.listening()) for _ in range(6)]
    met = [client.ask(b"") for client in clients]
    done = threading.Event()
    heard: list[list[bytes]] = [[] for _ in clients]

    def keep_asking(client: UdpClient, into: list[bytes]) -> None:
        while not done.is_set():
            into.append(client.ask(b""))

    threads = [threading.Thread(target=keep_asking, args=pair) for pair in zip(clients, heard, strict=True)]
    for thread in threads:
        thread.start()
    for number in range(20):
        # Another listener comes and goes, and the policy changes.
        plan = proxy().workers(2).pool(*servers, policy=["least_request", "random"][number % 2])
        plan.listener(protocol="udp")
        running.apply(plan.listener("other", protocol="udp") if number % 2 else plan)
        answered = sum(map(len, heard))
        eventually(lambda before=answered: sum(map(len, heard)) > before + 20)  # type: ignore[misc]
    done.set()
    for thread in threads:
        thread.join()
    assert [set(answers) for answers in heard] == [{name} for name in met]
    total = sum(map(len, heard)) + len(clients)
    eventually(lambda: running.listener()["udp"]["sent"] == total)
    shown = running.listener()["udp"]
    assert shown["received"] == total
    assert not any(shown["dropped"].values())


def test_an_address_that_is_given_up_is_free_and_owed_replies_come() -> None:
    peer = udp_peer()
    running = carrying(peer).start()
    host, port = running.listening()
    client = udp_client((host, port))
    _, way = client.send(b"ask").receive_at(peer)
    answering = threading.Timer(0.1, lambda: peer.send(b"answer", way))
    answering.start()
    running.apply(carrying(peer, name="elsewhere"))
    assert client.receive() == b"answer"
    answering.join()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((host, port))
    assert running.in_flight() == 0


def test_an_address_moves_to_another_listener() -> None:
    server = udp_server("")
    bind = udp_refused_address()
    running = carrying(server, bind=[bind]).start()
    client = udp_client(running.listening())
    client.ask()
    running.apply(carrying(server, name="other", bind=[bind]))
    assert client.ask(b"on") == b" on"
    assert running.listener("other")["udp"]["received"] == 1


def spawned(*endpoints: Any, drain_ms: int = 25_000, **listener: Any) -> SpawnedEngine:
    return carrying(*endpoints, **listener).drain_timeout(drain_ms).spawn()


def turned_away(running: SpawnedEngine, peer: UdpPeer) -> UdpClient:
    """A client that came once the worker had heard of the drain. Whoever came before that is answered."""

    def turned_away() -> bool:
        return bool(running.listener()["udp"]["dropped"]["draining"])

    while True:
        before = running.listener()["accepted"]
        stranger = udp_client(running.listening()).send(b"let me in")
        eventually(lambda before=before: turned_away() or running.listener()["accepted"] > before)  # type: ignore[misc]
        if turned_away():
            return stranger
        peer.send(b"early", peer.receive()[1])


def test_a_drain_waits_for_replies_and_takes_in_nobody() -> None:
    peer = udp_peer()
    running = spawned(peer)
    client = udp_client(running.listening())
    _, way = client.send(b"ask").receive_at(peer)
    running.send_signal(signal.SIGTERM)
    eventually(lambda: running.status()["state"] == "draining")
    stranger = turned_away(running, peer)
    assert client.send(b"more").receive_at(peer) == (b"more", way)
    # Longer than a session is kept that is owed nothing.
    running.expect_to_live_on(for_s=1.5)
    peer.send(b"answer", way)
    assert client.receive() == b"answer"
    # Nothing is owed any more.
    assert running.expect_exit() == 0
    assert "the time to drain is over" not in running.errors()
    assert stranger.hears_nothing()


def test_what_goes_one_way_only_holds_no_drain() -> None:
    """It writes all the time, as one that reports figures does, and nothing has ever come back."""
    peer = udp_peer()
    running = spawned(peer, drain_ms=120_000)
    client = udp_client(running.listening())
    over = threading.Event()

    def report() -> None:
        with contextlib.suppress(ConnectionRefusedError):
            while not over.wait(0.1):
                client.send(b"requests:1|c")

    reporting = threading.Thread(target=report)
    reporting.start()
    try:
        # Longer than a reply is waited for.
        running.expect_to_live_on(for_s=5.5)
        running.send_signal(signal.SIGTERM)
        assert running.expect_exit() == 0
    finally:
        over.set()
        reporting.join()


def test_a_conversation_goes_on_while_it_drains() -> None:
    server = udp_server("")
    running = spawned(server)
    client = udp_client(running.listening())
    assert client.ask() == b" who"
    running.send_signal(signal.SIGTERM)
    eventually(lambda: running.status()["state"] == "draining")
    for _ in range(4):
        # Long enough for another look at who is quiet.
        running.expect_to_live_on(for_s=0.15)
        assert client.ask(b"more") == b" more"
    assert running.listener()["accepted"] == 1
    assert running.expect_exit() == 0


def test_a_drain_ends_when_its_time_is_over() -> None:
    peer = udp_peer()
    running = spawned(peer, drain_ms=300)
    udp_client(running.listening()).send(b"ask").receive_at(peer)
    running.send_signal(signal.SIGTERM)
    assert running.expect_exit() == 0
    assert "the time to drain is over" in running.errors()


def test_what_waits_when_the_drain_begins_is_carried() -> None:
    server = udp_server("")
    running = spawned(server, responses=1)
    clients = [udp_client(running.listening()) for _ in range(40)]
    with running.paused():
        for client in clients:
            client.send(b"ask")
        running.send_signal(signal.SIGTERM)
    assert [client.receive() for client in clients] == [b" ask"] * 40
    assert running.expect_exit() == 0


def flood(running: SpawnedEngine, count: int) -> None:
    """So many clients that write once and are never heard of again, each from a port of its own."""
    to = running.listening()
    before = running.listener()["udp"]["received"]

    def has_come(sent: int) -> None:
        eventually(lambda: running.listener()["udp"]["received"] >= before + sent)

    for number in range(count):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind((f"127.0.{number // 200 % 200}.{number % 200 + 1}", 0))
            one.sendto(b"x" * 100, to)
        if number % 100 == 0:
            has_come(number + 1)
    has_come(count)


def test_a_flood_from_forged_addresses_is_bounded() -> None:
    server = udp_server("", lambda datagram: [datagram])
    running = carrying(server, limits={"connections": 1_000}).spawn()
    known = udp_client(running.listening())
    for _ in range(3):
        known.ask()
    flood(running, 1_200)
    before = (running.resident_bytes(), running.descriptors())
    flood(running, 20_000)
    shown = running.listener()
    assert shown["connections"] == 1_000
    assert not any(shown["udp"]["dropped"].values()), shown
    assert shown["udp"]["evicted"] == shown["accepted"] - 1_000, shown
    assert running.resident_bytes() < before[0] + (2 << 20)
    assert running.descriptors() <= before[1]
    assert known.ask(b"still here") == b"still here"


def test_without_descriptors_the_oldest_strangers_go() -> None:
    server = udp_server("")
    running = carrying(server, limits={"connections": 1_000}).spawn(descriptors=64)
    known = udp_client(running.listening())
    for _ in range(3):
        known.ask()
    clients = [udp_client(running.listening()) for _ in range(100)]
    assert all(client.ask(b"x") == b" x" for client in clients)
    assert known.ask(b"y") == b" y"
    shown = running.listener()
    assert 0 < shown["connections"] < 64
    assert shown["udp"]["evicted"] > 0
    assert running.errors().count("no descriptor or port for another session") == 1


def test_without_descriptors_known_clients_stay_and_newcomers_are_turned_away() -> None:
    server = udp_server("")
    running = carrying(server, limits={"connections": 1_000}).spawn(descriptors=64)

    def turned_away() -> int:
        return int(running.listener()["udp"]["dropped"]["descriptors"])

    known: list[UdpClient] = []
    while True:
        client = udp_client(running.listening()).send(b"hello")
        eventually(lambda: turned_away() or running.listener()["udp"]["sent"] > 2 * len(known))
        if turned_away():
            break
        assert client.receive() == b" hello"
        assert client.ask(b"again") == b" again"
        known.append(client)
    assert 10 < len(known) < 64
    assert all(client.ask(b"still") == b" still" for client in known)
    shown = running.listener()
    assert (shown["connections"], shown["udp"]["evicted"]) == (len(known), 0)


@pytest.mark.parametrize("family", ["127.0.0.1", "::1"])
def test_sessions_end_with_the_engine(family: str) -> None:
    server = udp_server("", host=family)
    running: Running = proxy().pool(server).listener(protocol="udp").start()
    for _ in range(20):
        udp_client(running.listening()).ask()
    running.stop(now=True)
    running.expect_stopped()


def test_a_fork_holds_no_socket() -> None:
    peer = udp_peer()
    document = carrying(peer).workers(2).json()
    script = f"""
import json, os, socket
from steelyard import _core
engine = _core.Engine.start({document!r}, "{{}}")
host, port = json.loads(engine.status())["listeners"][0]["bind"][0].split(":")
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.sendto(b"ask", (host, int(port)))
while not json.loads(engine.status())["listeners"][0]["connections"]:
    pass
client.close()
asked, asking = os.pipe()
begun, begins = os.pipe()
child = os.fork()
if child == 0:
    os.close(asking)
    os.write(begins, b".")
    os.read(asked, 1)
    os._exit(0)
os.read(begun, 1)
engine.close()
kinds = [os.readlink(f"/proc/{{child}}/fd/{{fd}}") for fd in os.listdir(f"/proc/{{child}}/fd")]
inodes = {{row.split()[9] for row in open("/proc/net/udp").read().splitlines()[1:]}}
print([kind for kind in kinds if kind.removeprefix("socket:[").removesuffix("]") in inodes])
os.close(asking)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout.splitlines() == ["[]", "0"], ended.stderr
