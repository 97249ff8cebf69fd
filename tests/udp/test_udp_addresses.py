"""Which addresses datagrams come to and leave from, and which datagrams there are."""

import socket

import pytest

from language import (
    Plan,
    eventually,
    keep,
    proxy,
    udp_client,
    udp_peer,
    udp_refused_address,
    udp_server,
)
from language.datagrams import UdpServer


def carrying(endpoint: UdpServer, bind: str = "127.0.0.1:0") -> Plan:
    return proxy().pool(endpoint).listener(protocol="udp", bind=[bind])


@pytest.mark.parametrize("bind", ["0.0.0.0:0", ":0"])
def test_a_reply_leaves_from_the_address_that_was_written_to(bind: str) -> None:
    running = carrying(udp_server("one"), bind).start()
    _, port = running.listening()
    for host in ("127.0.0.1", "127.0.0.5", "127.9.9.9"):
        assert udp_client((host, port)).ask(b"x") == b"one x"
    # One client that writes to two addresses of ours has two sessions.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", 0))
        client.settimeout(30)
        for host in ("127.0.0.6", "127.0.0.7"):
            client.sendto(b"y", (host, port))
            assert client.recvfrom(100) == (b"one y", (host, port))
    assert running.listener()["connections"] == 5


def test_both_families_come_to_one_socket_and_go_to_either() -> None:
    old, new = udp_server("old"), udp_server("new", host="::1")
    running = proxy().pool(old, new, policy="round_robin").listener(protocol="udp", bind=[":0"]).start()
    _, port = running.listening()
    answers = [udp_client((host, port)).ask(b"") for host in ("127.0.0.1", "::1") * 2]
    assert set(answers) == {b"old ", b"new "}
    # The key of an IPv4 client is its address, however its datagrams came.
    running = (
        proxy()
        .pool(*(udp_server(f"{number}") for number in range(8)), policy={"name": "maglev", "key": "address"})
        .listener(protocol="udp", bind=["127.0.0.1:0", ":0"])
        .start()
    )
    ports = [int(bind.rpartition(":")[2]) for bind in running.listener()["bind"]]
    by_port = [
        [udp_client(("127.0.0.1", port), source=f"127.0.0.{n}").ask() for n in range(2, 12)] for port in ports
    ]
    assert by_port[0] == by_port[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_datagrams_of_every_size_arrive_whole(host: str) -> None:
    server = udp_server("", lambda datagram: [datagram])
    bind = f"[{host}]:0" if ":" in host else f"{host}:0"
    running = carrying(server, bind).start()
    client = udp_client(running.listening())
    for size in (0, 1, 1_200, 1_473, 9_000, 65_507):
        datagram = bytes(number % 251 for number in range(size))
        assert client.ask(datagram) == datagram, size
    assert not any(running.listener()["udp"]["dropped"].values())


def test_what_is_too_large_for_the_endpoint_is_dropped_and_never_cut() -> None:
    peer = udp_peer()
    running = carrying(peer, "[::1]:0").start()  # type: ignore[arg-type]
    client = udp_client(running.listening())
    # IPv6 carries 20 bytes more than IPv4.
    client.send(b"x" * 65_527).send(b"small")
    assert peer.receive()[0] == b"small"
    eventually(lambda: running.listener()["udp"]["dropped"]["too_large"] == 1)
    client.send(b"x" * 65_527)
    eventually(lambda: running.listener()["udp"]["dropped"]["too_large"] == 2)
    assert peer.hears_nothing()
    assert running.endpoint(peer)["failures"] == 0


def test_what_is_too_large_for_the_client_is_dropped_and_never_cut() -> None:
    peer = udp_peer("::1")
    running = proxy().pool(peer).listener(protocol="udp").start()
    client = udp_client(running.listening())
    _, way = client.send(b"ask").receive_at(peer)
    peer.send(b"x" * 65_527, way)
    peer.send(b"small", way)
    assert client.receive() == b"small"
    eventually(lambda: running.listener()["udp"]["dropped"]["too_large"] == 1)


def test_nobody_but_the_endpoint_can_answer() -> None:
    peer, other = udp_peer(), udp_peer()
    running = proxy().pool(peer).listener(protocol="udp").start()
    client = udp_client(running.listening())
    _, way = client.send(b"ask").receive_at(peer)
    other.send(b"forged", way)
    peer.send(b"true", way)
    assert client.receive() == b"true"
    assert client.hears_nothing()


def test_another_process_on_the_address_is_an_error() -> None:
    taken = keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    taken.bind(("127.0.0.1", 0))
    bind = f"127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(OSError, match="address already in use"):
        carrying(udp_server(), bind).start()


def test_tcp_and_udp_share_a_port() -> None:
    server = udp_server("udp")
    running = carrying(server).start()
    _, port = running.listening()
    plan = carrying(server).listener("plain", bind=[f"127.0.0.1:{port}"]).listener("other", protocol="udp")
    running.apply(plan)
    assert udp_client(("127.0.0.1", port)).ask(b"") == b"udp "
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")


def test_a_listener_changes_what_it_carries() -> None:
    server = udp_server("udp")
    bind = udp_refused_address()
    running = proxy().pool(server).listener(bind=[bind]).start()
    address = running.listening()
    socket.create_connection(address, timeout=30).close()
    running.apply(carrying(server, bind))
    assert udp_client(address).ask(b"") == b"udp "
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=30)
    running.apply(proxy().pool(server).listener(bind=[bind]))
    socket.create_connection(address, timeout=30).close()
    assert running.listener()["udp"] is None
