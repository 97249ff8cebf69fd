"""Large bodies flow at the pace of the slower side, through buffers that are bounded."""

import hashlib
import threading

from language import eventually, origin, proxy, raw, scripted

MEBIBYTE = 1 << 20
# What a hundred megabytes may cost: the sockets' own buffers are the kernel's, not the process's.
ROOM_BYTES = 8 * MEBIBYTE


class TestBackPressure:
    def test_a_client_that_does_not_read_holds_the_endpoint_back(self) -> None:
        server = scripted()
        running = proxy().pool(server).spawn()
        asking = raw(running, receive_bytes=16_384).get()
        connection = server.accept()
        connection.expect_request()
        before = running.resident_bytes_max()
        total = 100 * MEBIBYTE
        connection.send(f"HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n".encode())
        sent = 0
        piece = bytes(MEBIBYTE)

        connection.socket.setblocking(False)
        stuck_at = -1

        def is_stuck() -> bool:
            nonlocal sent, stuck_at
            before_this = sent
            try:
                while sent < total:
                    sent += connection.socket.send(piece[: total - sent])
            except BlockingIOError:
                pass
            still = sent == before_this and sent == stuck_at
            stuck_at = sent
            return still

        eventually(is_stuck, "the endpoint is held back")
        assert sent < total
        assert running.resident_bytes_max() - before < ROOM_BYTES
        connection.socket.settimeout(20)
        rest = threading.Thread(target=connection.socket.sendall, args=(bytes(total - sent),))
        rest.start()
        assert len(asking.expect_response(200).body) == total
        rest.join()
        assert running.resident_bytes_max() - before < ROOM_BYTES

    def test_an_endpoint_that_does_not_read_holds_the_client_back(self) -> None:
        server = scripted()
        running = proxy().pool(server).spawn()
        total = 100 * MEBIBYTE
        asking = raw(running).send(f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {total}\r\n\r\n".encode())
        connection = server.accept()
        connection.expect_request_head()
        before = running.resident_bytes_max()
        sending = threading.Thread(target=asking.send, args=(bytes(total),))
        sending.start()
        read = 0
        while read < total:
            read += len(connection.read_exactly(MEBIBYTE))
            assert running.resident_bytes_max() - before < ROOM_BYTES
        sending.join()
        connection.send(b"HTTP/1.1 204 N\r\n\r\n")
        asking.expect_response(204)

    def test_a_tunnel_is_held_back_too(self) -> None:
        running = proxy().pool(origin()).spawn()
        asking = raw(running).send(
            b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
        )
        asking.expect_interim(101)
        before = running.resident_bytes_max()
        content = hashlib.shake_128(b"tunnel").digest(32 * MEBIBYTE)
        sending = threading.Thread(target=asking.send, args=(content,))
        sending.start()
        assert asking.read_exactly(len(content)) == content
        sending.join()
        assert running.resident_bytes_max() - before < ROOM_BYTES


class TestManyAtOnce:
    def test_large_responses_are_all_whole(self) -> None:
        running = proxy().workers(2).pool(origin()).start()
        asking = [raw(running).get("/bytes/2000000") for _ in range(20)]
        sums = {hashlib.sha256(one.expect_response(200).body).hexdigest() for one in asking}
        assert len(sums) == 1
        running.expect_nothing_left(clients=20)

    def test_idle_clients_cost_next_to_nothing(self) -> None:
        """The bar is 1.3 KiB each; here it is only that no connection keeps a buffer."""
        running = proxy().pool(origin()).spawn()
        warm = [raw(running).get() for _ in range(100)]
        for one in warm:
            one.expect_response(200)
        before = running.resident_bytes()
        idle = [raw(running) for _ in range(1000)]
        for one in idle:
            one.get()
            one.expect_response(200)
        assert (running.resident_bytes() - before) / 1000 < 4096
