"""Where a listener accepts and where an endpoint listens: IPv4, IPv6 and unix sockets."""

import socket
from pathlib import Path

import pytest

from language import client, origin, proxy, raw


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as asked:
            asked.bind(("::1", 0))
    except OSError:
        return False
    return True


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6: nothing of it was tried")


class TestAListener:
    def test_on_a_unix_socket(self, tmp_path: Path) -> None:
        path = tmp_path / "web.sock"
        running = proxy().listener(bind=[f"unix:{path}"]).pool(origin()).start()
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(20)
            asking.connect(str(path))
            asking.sendall(b"GET /echo HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: asking.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200 ")
        # RFC 7239 has a word for a client without an address.
        assert b'"for=unknown;host=a.example;proto=http"' in answer
        running.stop()
        running.expect_stopped()
        assert not path.exists()

    @ipv6
    def test_on_ipv6(self) -> None:
        running = proxy().listener(bind=["[::1]:0"]).pool(origin()).start()
        reply = client(running).get("/echo")
        assert reply.seen("x-forwarded-for") == ["::1"]
        (forwarded,) = reply.seen("forwarded")
        assert forwarded.startswith('for="[::1]";')

    @ipv6
    def test_without_an_address_is_on_both(self) -> None:
        running = proxy().listener(bind=[":0"]).pool(origin()).start()
        _, port = running.listening()
        for host, family in (("127.0.0.1", "IPv4"), ("::1", "IPv6")):
            with socket.create_connection((host, port), timeout=20) as asking:
                asking.sendall(b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                answer = b"".join(iter(lambda taken=asking: taken.recv(65536), b""))
            # An IPv4 client is named as one, though the socket is of IPv6.
            assert f'["x-forwarded-for","{host}"]'.encode() in answer.lower(), family


class TestAnEndpoint:
    def test_on_a_unix_socket_that_takes_no_more_still_owes_an_answer(self, tmp_path: Path) -> None:
        """Writing fails while reading only waits, which TCP cannot: the time to answer runs all the same."""
        path = tmp_path / "endpoint.sock"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
            listening.listen()
            listening.settimeout(20)
            running = proxy().pool(f"unix:{path}", timeouts={"response_ms": 100}).start()
            asking = raw(running).send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
            taken, _ = listening.accept()
            with taken:
                assert taken.recv(5) == b"POST "
                taken.shutdown(socket.SHUT_RD)
                asking.send(b"12345")
                asking.expect_response(504)
        asking.close()
        running.expect_nothing_left()
