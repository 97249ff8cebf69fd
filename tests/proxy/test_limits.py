"""What a client may send, how long it may take and how many may come are bounded."""

import pytest

from language import (
    Incomplete,
    eventually,
    in_background,
    load,
    origin,
    proxy,
    raw,
    request,
)
from language.raw import Raw


class TestAHead:
    def test_of_the_largest_size_passes_and_one_more_byte_does_not(self) -> None:
        running = proxy().listener(limits={"header_bytes_max": 1000}).pool(origin()).start()

        def of(count: int) -> bytes:
            begin, end = b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"\r\n\r\n"
            return begin + b"x" * (count - len(begin) - len(end)) + end

        raw(running).send(of(1000)).expect_response(200)
        asking = raw(running).send(of(1001))
        asking.expect_response(431)
        asking.expect_closed()

    def test_of_the_most_fields_passes_and_one_more_does_not(self) -> None:
        running = proxy().listener(limits={"header_count_max": 10}).pool(origin()).start()
        fields = [f"X-{number}: y" for number in range(10)]
        raw(running).get("/", *fields[:9]).expect_response(200)
        raw(running).get("/", *fields).expect_response(431)

    def test_with_the_longest_target_passes_and_one_more_byte_does_not(self) -> None:
        running = proxy().listener(limits={"target_bytes_max": 100}).pool(origin()).start()
        raw(running).get("/" + "a" * 99).expect_response(200)
        raw(running).get("/" + "a" * 100).expect_response(414)

    def test_without_end_is_refused_before_it_ends(self) -> None:
        running = proxy().listener(limits={"header_bytes_max": 4096}).pool(origin()).start()
        asking = raw(running).send(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 5000)
        asking.expect_response(431)

    def test_of_many_kibibytes_passes_where_it_may(self) -> None:
        running = proxy().pool(origin()).start()
        asking = raw(running).get("/echo", *[f"X-{n}: {'y' * 1000}" for n in range(60)])
        assert b"x-59" in asking.expect_response(200).body.lower()


class TestARefusedClient:
    def test_that_stays_is_closed_under_all_the_same(self) -> None:
        running = proxy().pool(origin()).start()
        staying = raw(running).send(b"BAD\r\n\r\n")
        staying.expect_response(400)
        eventually(lambda: running.listener()["connections"] == 0)


class TestASlowClient:
    def test_that_drips_its_head_is_timed_out(self) -> None:
        """Slowloris: the time is for the whole head, however often a byte comes."""
        running = proxy().listener(timeouts={"request_header_ms": 100}).pool(origin()).start()
        asking = raw(running).send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        drip_until_answered(asking, b"X: y\r\n")
        asking.expect_response(408)
        asking.expect_closed()
        running.expect_nothing_left()

    def test_that_stops_within_its_head_is_timed_out(self) -> None:
        running = proxy().listener(timeouts={"request_header_ms": 50}).pool(origin()).start()
        asking = raw(running).send(b"GET / HT")
        asking.expect_response(408)
        asking.expect_closed()

    def test_that_sends_nothing_is_let_go_without_a_word(self) -> None:
        running = proxy().listener(timeouts={"idle_ms": 50}).pool(origin()).start()
        raw(running).expect_closed()

    def test_that_stops_within_its_body_is_timed_out(self) -> None:
        server = origin()
        running = proxy().listener(timeouts={"request_body_ms": 50}).pool(server).start()
        asking = raw(running).send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        asking.expect_response(408)
        asking.expect_closed()
        running.expect_nothing_left()
        eventually(lambda: server.in_flight == 0)
        assert running.endpoint(server)["failures"] == 0

    def test_that_drips_its_body_is_waited_for(self) -> None:
        running = proxy().listener(timeouts={"request_body_ms": 5000}).pool(origin()).start()
        asking = raw(running).send(b"POST /echo-body HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
        for byte in b"0123456789":
            asking.send(bytes([byte]))
        assert asking.expect_response(200).body == b"0123456789"

    def test_does_not_keep_others_waiting(self) -> None:
        running = proxy().pool(origin()).start()
        for _ in range(50):
            raw(running).send(b"GET / HTTP/1.1\r\nHo")
        load(running, requests=200, clients=5).expect_all(200, 200)

    def test_that_does_not_read_is_timed_out(self) -> None:
        server = origin()
        running = proxy().listener(timeouts={"idle_ms": 100}).pool(server).start()
        asking = raw(running, receive_bytes=4096).get("/bytes/30000000")
        eventually(lambda: running.in_flight() == 1)
        eventually(lambda: running.in_flight() == 0, "it is given up")
        eventually(lambda: server.in_flight == 0)
        with pytest.raises(Incomplete):
            asking.expect_response(200)

    def test_that_takes_longer_than_the_whole_request_may_is_no_failure_of_the_endpoint(self) -> None:
        server = origin()
        running = proxy().pool(server, timeouts={"total_ms": 100}).start()
        asking = raw(running, receive_bytes=4096).get("/bytes/30000000")
        eventually(lambda: running.in_flight() == 1)
        eventually(lambda: running.in_flight() == 0, "it is given up")
        with pytest.raises(Incomplete):
            asking.expect_response(200)
        assert running.endpoint(server)["failures"] == 0


def drip_until_answered(asking: Raw, drop: bytes) -> None:
    def answered() -> bool:
        try:
            asking.send(drop)
        except ConnectionError:
            return True
        asking.socket.setblocking(False)
        try:
            return bool(asking.socket.recv(1, 2))  # MSG_PEEK
        except BlockingIOError:
            return False
        finally:
            asking.socket.settimeout(20)

    eventually(answered, "an answer")


class TestConnections:
    def test_of_a_listener_are_bounded(self) -> None:
        running = proxy().listener(limits={"connections": 3}).pool(origin()).start()
        first = [raw(running).get() for _ in range(3)]
        for asking in first:
            asking.expect_response(200)
        fourth = in_background(running)
        # A listener that is full lets nobody in: the fourth waits where it is.
        for asking in first:
            asking.get().expect_response(200)
        assert running.listener()["connections"] <= 3
        assert not fourth.is_over
        first[0].close()
        assert fourth.reply().status == 200

    def test_of_several_workers_are_bounded_together(self) -> None:
        server = origin()
        running = proxy().workers(4).listener(limits={"connections": 8}).pool(server).start()
        waiting = [in_background(running, "/delay/20") for _ in range(40)]
        most = 0
        while not all(one.is_over for one in waiting):
            most = max(most, running.listener()["connections"])
        assert [one.reply().status for one in waiting] == [200] * 40
        assert most <= 8
        assert server.stats()["in_flight_max"] <= 8
        running.expect_nothing_left()

    def test_beyond_the_descriptors_wait_and_are_served_in_the_end(self) -> None:
        running = proxy().listener(limits={"connections": 1000}).pool(origin()).spawn(descriptors=64)
        assert request(running).status == 200
        held = [raw(running) for _ in range(100)]
        eventually(lambda: "open files" in running.errors(), "it says so")
        assert running.descriptors() <= 64
        for asking in held[:90]:
            asking.close()
        for asking in held[90:]:
            asking.get().expect_response(200)
            asking.close()
        running.expect_nothing_left()
        load(running, requests=100, clients=10).expect_all(200, 100)
        said = [line for line in running.errors().splitlines() if "open files" in line]
        assert len(said) == 1, said

    def test_beyond_the_descriptors_do_not_make_it_spin(self) -> None:
        running = proxy().listener(limits={"connections": 1000}).pool(origin()).spawn(descriptors=64)
        held = [raw(running) for _ in range(100)]
        eventually(lambda: "open files" in running.errors(), "it says so")
        before = running.cpu_ticks()
        # A hundred answers of the status take a while, in which a worker that spins would burn whole ticks.
        for _ in range(100):
            running.status()
        assert running.cpu_ticks() - before < 50
        assert len(held) == 100

    def test_are_bounded_below_the_descriptors_unless_told_otherwise(self) -> None:
        running = proxy().pool(origin()).spawn(descriptors=64)
        held = [raw(running).get() for _ in range(100)]
        held[0].expect_response(200)
        most = running.listener()["connections_max"]
        assert 0 < most < 64
        for asking in held[1:most]:
            asking.expect_response(200)
        assert running.listener()["connections"] <= most
        for asking in held[:90]:
            asking.close()
        for asking in held[90:]:
            asking.expect_response(200)
        assert "open files" not in running.errors()
