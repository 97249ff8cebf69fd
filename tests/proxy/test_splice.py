"""Bytes in bulk stay in the kernel: strace sees that they are moved without having been read."""

import hashlib
import threading
from pathlib import Path
from typing import Self

from language import SpawnedEngine, authority, proxy, raw, scripted
from language.kernel import Traced, traced
from language.through import asked, carrying, joined

MEBIBYTE = 1 << 20
PIECE = hashlib.shake_128(b"piece").digest(MEBIBYTE)


def moved_bytes(running: SpawnedEngine) -> Traced:
    """Counts the bytes that each of these calls moves."""
    return traced(running, "splice,recvfrom,sendto,sendmsg")


class Sending:
    """Sends in the background."""

    def __init__(self, send: object, content: bytes) -> None:
        self._thread = threading.Thread(target=send, args=(content,))  # type: ignore[arg-type]
        self._thread.start()

    def ended(self) -> Self:
        self._thread.join()
        return self


class TestTcp:
    def test_what_comes_in_bulk_is_not_read(self) -> None:
        server = scripted()
        running = carrying(server).spawn()
        asking, connection = joined(running, server)
        trace = moved_bytes(running)
        total = 16 * MEBIBYTE
        up = Sending(asking.send, PIECE * 16)
        assert connection.read_exactly(total) == PIECE * 16
        up.ended()
        down = Sending(connection.send, PIECE * 16)
        assert asking.read_exactly(total) == PIECE * 16
        down.ended()
        moved = trace.end()
        # Each byte goes into a pipe and out of it.
        assert moved["splice"] > 2 * 2 * total * 0.9, moved
        assert moved["recvfrom"] < 2 * total * 0.1, moved

    def test_small_messages_are_copied(self) -> None:
        server = scripted()
        running = carrying(server).spawn()
        asking, connection = joined(running, server)
        trace = moved_bytes(running)
        for _ in range(100):
            asking.send(b"question" * 10)
            connection.expect_bytes(b"question" * 10).send(b"answer" * 10)
            asking.expect_bytes(b"answer" * 10)
        assert trace.end().get("splice", 0) == 0

    def test_nothing_is_held_while_nothing_moves(self) -> None:
        server = scripted()
        running = carrying(server).spawn()

        def pipes() -> int:
            links = [one.readlink() for one in Path(f"/proc/{running.process.pid}/fd").iterdir()]
            return sum(str(link).startswith("pipe:") for link in links)

        before = pipes()
        # They lie in the worker's store, which is bounded, however many have used one.
        for _ in range(40):
            asking, connection = joined(running, server)
            sending = Sending(asking.send, PIECE)
            assert connection.read_exactly(MEBIBYTE) == PIECE
            sending.ended()
        assert 0 < pipes() - before <= 2

    def test_through_tls_they_are_read(self) -> None:
        ca, server = authority(), scripted()
        tls = {"certificates": [ca.certificate("a.example").files]}
        running = proxy().pool(server).listener(protocol="tcp", tls=tls).spawn()
        asking, connection = joined(running, server, tls=ca.believer())
        trace = moved_bytes(running)
        sending = Sending(asking.send, PIECE * 2)
        assert connection.read_exactly(2 * MEBIBYTE) == PIECE * 2
        sending.ended()
        assert trace.end().get("splice", 0) == 0


class TestHttp:
    def test_a_long_body_is_not_read(self) -> None:
        server = scripted()
        running = proxy().pool(server).spawn()
        asking, connection = asked(running, server)
        trace = moved_bytes(running)
        total = 16 * MEBIBYTE
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n".encode()
        down = Sending(connection.send, head + PIECE * 16)
        assert asking.expect_response(200).body == PIECE * 16
        down.ended()
        moved = trace.end()
        assert moved["splice"] > 2 * total * 0.9, moved
        assert moved["recvfrom"] < total * 0.1, moved
        # What follows on the same connections is where it belongs.
        asking.get("/next")
        connection.expect_request("GET", "/next")
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert asking.expect_response(200).body == b"ok"
        seen = running.endpoint(server)
        assert seen["bytes_in"] > total

    def test_nor_is_a_long_one_of_a_request(self) -> None:
        server = scripted()
        running = proxy().pool(server).spawn()
        total = 16 * MEBIBYTE
        asking = raw(running).send(f"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {total}\r\n\r\n".encode())
        connection = server.accept()
        head = connection.expect_request_head("PUT")
        trace = moved_bytes(running)
        up = Sending(asking.send, PIECE * 16)
        assert connection.read_request_body(head).body == PIECE * 16
        up.ended()
        moved = trace.end()
        assert moved["splice"] > 2 * total * 0.9, moved
        connection.send(b"HTTP/1.1 204 N\r\n\r\n")
        asking.expect_response(204)

    def test_a_body_that_is_kept_for_another_try_is_read(self) -> None:
        refusing, server = scripted(), scripted()
        running = (
            proxy()
            .pool(refusing, server, policy="round_robin", retry={"body_bytes_max": 4 * MEBIBYTE})
            .spawn()
        )
        head = f"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {2 * MEBIBYTE}\r\n\r\n".encode()
        up = Sending(raw(running).send, head + PIECE * 2)
        first = refusing.accept()
        first.read_request_body(first.expect_request_head("PUT"))
        first.reset()
        second = server.accept()
        assert second.read_request_body(second.expect_request_head("PUT")).body == PIECE * 2
        up.ended()

    def test_one_that_is_cut_short_is_not_whole(self) -> None:
        server = scripted()
        running = proxy().pool(server).spawn()
        asking, connection = asked(running, server)
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {4 * MEBIBYTE}\r\n\r\n".encode()
        down = Sending(connection.send, head + PIECE * 3)
        got: list[bytes] = []
        reading = threading.Thread(target=lambda: got.append(asking.expect_cut_short(200)))
        reading.start()
        down.ended()
        connection.close()
        reading.join()
        assert got == [PIECE * 3]
        running.expect_nothing_left(clients=0)

    def test_small_bodies_are_copied(self) -> None:
        server = scripted()
        running = proxy().pool(server).spawn()
        asking, connection = asked(running, server)
        trace = moved_bytes(running)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n" + bytes(20_000))
        asking.expect_response(200)
        assert trace.end().get("splice", 0) == 0
