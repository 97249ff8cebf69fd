"""What is tried again, and how often at most."""

import time

import pytest

from language import client, endpoint, load, ok, origin, proxy, raw, request, scripted

REQUESTS = 1_000
CLIENTS = 10


@pytest.mark.parametrize("budget", [0.2, None])
def test_while_everything_fails_the_budget_bounds_the_load(budget: float | None) -> None:
    failing = [origin().status(503).start() for _ in range(3)]
    retry = {"attempts": 2, "on": ["connect", "5xx"], "budget": budget}
    running = proxy().workers(2).pool(*failing, retry=retry).start()
    begin = time.monotonic()
    load(running, requests=REQUESTS, clients=CLIENTS).expect_all(503, REQUESTS)
    lasted_s = time.monotonic() - begin
    attempts = sum(one.requests for one in failing)
    if budget is None:
        # But for the moment when one is left that has not been ejected yet, and nobody else could do better.
        assert 2 * REQUESTS - CLIENTS <= attempts <= 2 * REQUESTS
    else:
        # A fifth of the requests, and ten a second of which ten seconds may be saved up.
        assert REQUESTS < attempts <= REQUESTS * (1 + budget) + 10 * (lasted_s + 10) + 1


def test_a_response_broken_before_its_first_byte_is_sent_is_a_bad_gateway() -> None:
    server = scripted()
    running = proxy().pool(server, retry={"attempts": 1}).start()
    asking = raw(running).get()
    connection = server.accept()
    connection.expect_request()
    connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n")
    asking.expect_response(502)
    again = asking.get()
    # That connection is not used again: the next request comes over a new one.
    connection = server.accept()
    connection.expect_request()
    connection.send(ok(b"sound"))
    assert again.expect_response(200).body == b"sound"


def test_an_error_that_nobody_else_could_better_is_passed_on() -> None:
    failing, drained = origin().status(503).start(), origin().start()
    retry = {"attempts": 2, "on": ["5xx"], "budget": None}
    running = proxy().pool(failing, endpoint(drained, drain=True), retry=retry).start()
    reply = request(running)
    # The endpoint's own answer, not one of ours.
    assert (reply.status, reply.origin) == (503, failing.name)
    assert failing.requests == 1


def test_an_endpoint_that_always_cuts_its_responses_short_is_ejected() -> None:
    server = scripted()
    running = proxy().pool(server, threshold={"latency_ms": 10_000}).start()
    for _ in range(3):
        asking = raw(running).get()
        connection = server.accept()
        connection.expect_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        connection.close()
        asking.expect_cut_short(200)
    assert running.verdict(server) == "ejected"
    found = running.endpoint(server)
    assert (found["failures"], found["in_flight"]) == (3, 0)


def test_a_post_that_meets_a_connection_just_closed_is_no_failure_of_the_endpoint() -> None:
    server = scripted()
    running = proxy().pool(server).start()
    asking = client(running)
    first = raw(running).get()
    connection = server.accept()
    connection.expect_request()
    connection.send(ok())
    first.expect_response(200)
    second = raw(running).send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
    connection.expect_request("POST")
    connection.close()
    second.expect_response(502)
    asking.close()
    assert running.endpoint(server)["failures"] == 0
