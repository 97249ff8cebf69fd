"""An endpoint at its threshold leaves the rotation, and comes back."""

from language import (
    Origin,
    Running,
    endpoint,
    eventually,
    in_background,
    load,
    ok,
    origin,
    proxy,
    raw,
    request,
    scripted,
)


class TestRequests:
    def test_a_busy_endpoint_is_skipped(self) -> None:
        busy, other = origin(), origin()
        running = proxy().pool(busy, other, policy="round_robin", threshold={"requests": 1}).start()
        waiting = in_background(running, "/hang", method="POST")
        eventually(lambda: running.in_flight() == 1)
        holder = busy if running.endpoint(busy)["in_flight"] else other
        free = other if holder is busy else busy
        assert {request(running).origin for _ in range(10)} == {free.name}
        assert running.endpoint(holder)["over_threshold"] == "requests"
        holder.die()
        assert waiting.reply().status == 502

    def test_it_returns_when_its_request_has_ended(self) -> None:
        busy, other = scripted(), origin()
        running = proxy().pool(busy, other, policy="round_robin", threshold={"requests": 1}).start()
        first = raw(running).get()
        connection = busy.accept()
        connection.expect_request()
        assert {request(running).origin for _ in range(5)} == {other.name}
        connection.send(ok())
        first.expect_response(200)
        again = [raw(running).get() for _ in range(2)]
        connection.expect_request()
        connection.send(ok())
        for one in again:
            one.expect_response(200)

    def test_it_is_never_passed_with_several_workers(self) -> None:
        servers = [origin().slow(2) for _ in range(2)]
        running = proxy().workers(4).pool(*servers, threshold={"requests": 5}).start()
        load(running, requests=2000, clients=100).expect_all(200, 2000)
        assert [one.stats()["in_flight_max"] for one in servers] == [5, 5]
        running.expect_nothing_left()

    def test_the_example_of_the_article(self) -> None:
        """Five servers that are busy while they serve, a hundred requests, busy servers skipped."""
        servers = [origin().named(str(number)).concurrency(1).slow(2) for number in range(5)]
        running = proxy().workers(2).pool(*servers, policy="round_robin", threshold={"requests": 1}).start()
        tally = load(running, requests=100, clients=100).expect_all(200, 100)
        assert [one.stats()["in_flight_max"] for one in servers] == [1] * 5
        assert sum(tally.origins.values()) == 100
        assert set(tally.origins) == set("01234")
        running.expect_nothing_left()

    def test_a_raised_threshold_wakes_those_who_wait(self) -> None:
        server = origin()
        running = proxy().pool(server, threshold={"requests": 1}).start()
        first = in_background(running, "/hang")
        eventually(lambda: running.in_flight() == 1)
        second = in_background(running)
        eventually(lambda: running.pool()["queued"] == 1)
        running.apply(proxy().pool(server, threshold={"requests": 2}))
        assert second.reply().status == 200
        server.die()
        assert first.reply().status == 502

    def test_a_new_endpoint_wakes_those_who_wait(self) -> None:
        server, another = origin(), origin()
        running = proxy().pool(server, threshold={"requests": 1}).start()
        first = in_background(running, "/hang")
        eventually(lambda: running.in_flight() == 1)
        second = in_background(running)
        eventually(lambda: running.pool()["queued"] == 1)
        running.apply(proxy().pool(server, another, threshold={"requests": 1}))
        assert second.reply().origin == another.name
        server.die()
        assert first.reply().status == 502

    def test_weights_do_not_change_it(self) -> None:
        server = origin().slow(5)
        running = proxy().pool(endpoint(server, weight=10), threshold={"requests": 2}).start()
        load(running, requests=40, clients=10).expect_all(200, 40)
        assert server.stats()["in_flight_max"] == 2


class TestLatency:
    def slow_and_fast(self) -> tuple[Origin, Origin, Running]:
        slow, fast = origin().named("slow").slow(80), origin().named("fast")
        running = proxy().pool(slow, fast, policy="round_robin", threshold={"latency_ms": 40}).start()
        for _ in range(2):
            request(running)
        eventually(lambda: running.endpoint(slow)["over_threshold"] == "latency")
        return slow, fast, running

    def test_a_slow_endpoint_is_skipped(self) -> None:
        slow, _, running = self.slow_and_fast()
        before = slow.requests
        tally = load(running, requests=200, clients=4).expect_all(200, 200)
        # At most one a second is tried on it, and the load takes less than that.
        assert slow.requests - before <= 2
        assert tally.origins["fast"] >= 198

    def test_it_comes_back_when_it_is_fast_again(self) -> None:
        slow, _, running = self.slow_and_fast()
        slow.now("delay/0ms")
        eventually(
            lambda: load(running, requests=20, clients=2) and not running.endpoint(slow)["over_threshold"],
            "it is let back in",
            within_s=60,
        )
        assert {request(running).origin for _ in range(4)} == {"slow", "fast"}

    def test_when_all_are_slow_requests_still_get_through(self) -> None:
        slow = origin().slow(60)
        running = proxy().pool(slow, threshold={"latency_ms": 20}).start()
        assert request(running).status == 200
        assert request(running).status == 200


class TestBytes:
    def test_an_endpoint_that_carries_much_is_skipped_and_returns(self) -> None:
        much, other = origin().named("much"), origin().named("other")
        pool = {"bytes_per_second": 200_000}
        running = proxy().pool(much, other, policy="round_robin", threshold=pool).start()
        first = request(running, target="/bytes/1000000").origin
        loaded, rested = (much, other) if first == "much" else (other, much)
        assert running.endpoint(loaded)["over_threshold"] == "bytes_per_second"
        assert running.endpoint(loaded)["bytes_per_second"] > 200_000
        assert {request(running).origin for _ in range(10)} == {rested.name}
        eventually(
            lambda: running.endpoint(loaded)["over_threshold"] is None, "its rate decays", within_s=120
        )
        assert {request(running).origin for _ in range(2)} == {"much", "other"}

    def test_both_directions_count(self) -> None:
        server = origin()
        running = proxy().pool(server).start()
        request(running, "POST", "/echo-body", body=b"x" * 100_000)
        # The client has the last byte a moment before it is counted.
        eventually(lambda: running.in_flight() == 0)
        status = running.endpoint(server)
        assert 100_000 <= status["bytes_in"] < 101_000
        assert 100_000 <= status["bytes_out"] < 101_000
