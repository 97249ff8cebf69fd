"""What the kernel says of datagrams that it does not take, and of want: no endpoint is blamed for either."""

import subprocess
import sys
from pathlib import Path

import pytest

from language import SpawnedEngine, UdpPeer, eventually, proxy, udp_client, udp_peer
from language.kernel import say_too_large, traced


def before_two() -> tuple[UdpPeer, UdpPeer, SpawnedEngine]:
    one, two = udp_peer(), udp_peer()
    return one, two, proxy().pool(one, two, policy="round_robin").listener(protocol="udp").spawn()


def expect_no_blame(running: SpawnedEngine, one: UdpPeer, two: UdpPeer) -> None:
    """The session is where it was, and nobody has failed."""
    assert [running.endpoint(peer)["failures"] for peer in (one, two)] == [0, 0]
    assert [running.endpoint(peer)["in_flight"] for peer in (one, two)] == [1, 0]
    assert two.hears_nothing()


@pytest.mark.parametrize("error", ["EPERM", "ENOBUFS", "ENOMEM", "EAGAIN"])
def test_what_this_machine_does_not_let_out_is_lost_and_nobody_is_blamed(error: str) -> None:
    one, two, running = before_two()
    client = udp_client(running.listening())
    _, way = client.send(b"ask").receive_at(one)
    failing = traced(running, "sendmmsg", failing=error)
    client.send(b"lost")
    eventually(lambda: running.listener()["udp"]["dropped"]["to_endpoint"] == 1)
    one.send(b"lost, too", way)
    eventually(lambda: running.listener()["udp"]["dropped"]["to_client"] == 1)
    failing.end()
    assert client.send(b"again").receive_at(one) == (b"again", way)
    one.send(b"answer", way)
    assert client.receive() == b"answer"
    expect_no_blame(running, one, two)


def test_a_router_that_finds_a_datagram_too_large_speaks_for_no_endpoint() -> None:
    one, two, running = before_two()
    client = udp_client(running.listening())
    _, way = client.send(b"ask").receive_at(one)
    # Heard of by itself, and together with the next datagram, which is not the one that it is about.
    say_too_large(way, (one.host, one.port))
    assert client.send(b"more").receive_at(one) == (b"more", way)
    for number in range(20):
        with running.paused():
            client.send(b"%d" % number)
            say_too_large(way, (one.host, one.port))
        assert one.receive() == (b"%d" % number, way)
    expect_no_blame(running, one, two)
    assert not any(running.listener()["udp"]["dropped"].values())


FEW_PORTS = """
from language import proxy, udp_client, udp_server
from language.scope import scope

with scope():
    # Nothing but sessions takes one of the ports that are few.
    server = udp_server("", port=20_000)
    plan = proxy().pool(server).listener(protocol="udp", bind=["127.0.0.1:20001"])
    plan.listener("more", protocol="udp", bind=["127.0.0.1:20002"], limits={"connections": 1_000})
    running = plan.spawn()
    for listener, first in (("web", 30_000), ("more", 31_000)):
        at = running.listening(listener)
        clients = [udp_client(at, source="127.0.0.1", port=first + number) for number in range(50)]
        answered = sum(client.ask(b"x") == b" x" for client in clients)
        shown = running.listener(listener)
        short = running.errors().count("no descriptor or port for another session")
        print(shown["connections_max"], answered, shown["connections"], shown["udp"]["evicted"], short)
"""
IN_A_NETWORK_OF_ITS_OWN = """
ip link set lo up && echo 40000 40039 > /proc/sys/net/ipv4/ip_local_port_range && exec "$@"
"""


def test_sessions_leave_a_quarter_of_the_ports_and_without_ports_the_oldest_strangers_go() -> None:
    shell = ["unshare", "--map-root-user", "--net", "sh", "-c", IN_A_NETWORK_OF_ITS_OWN, "sh"]
    ended = subprocess.run(
        [*shell, sys.executable, "-c", FEW_PORTS],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    # Of forty; then with a bound of its own that is no bound, and ten that are left.
    assert ended.stdout.splitlines() == ["30 50 30 20 0", "1000 50 10 40 1"], ended.stderr
