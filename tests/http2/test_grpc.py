"""gRPC through the proxy, with grpcio on both ends."""

import queue
import threading

import grpc
import pytest
from grpc_health.v1 import health_pb2

from language import eventually, origin, proxy, refused_address
from language.grpc import PATIENCE_S, GrpcClient, GrpcServer, grpc_client, grpc_runs_once, grpc_server
from language.http2 import http2_client
from language.http2_origins import http2_origin


@pytest.fixture(scope="module", autouse=True)
def grpc_has_run() -> None:
    grpc_runs_once()


def through(server: GrpcServer, **settings: object) -> GrpcClient:
    return grpc_client(proxy().pool(server, protocol="h2c", **settings).start().port)  # type: ignore[arg-type]


def test_a_call_with_its_metadata_both_ways() -> None:
    server = grpc_server()
    client = through(server)
    answer, call = client.unary.with_call(b"hello", metadata=(("x-up", "0"),), timeout=PATIENCE_S)
    assert answer == b"hello"
    assert ("x-first", "1") in list(call.initial_metadata())
    assert ("x-last", "2") in list(call.trailing_metadata())
    assert call.code() == grpc.StatusCode.OK
    seen = dict(server.seen)
    assert (seen["x-up"], seen["x-forwarded-for"]) == ("0", "127.0.0.1")


def test_a_large_message() -> None:
    message = b"x" * 3_000_000
    assert through(grpc_server()).unary(message, timeout=PATIENCE_S) == message


def test_a_stream_of_answers() -> None:
    answers = list(through(grpc_server()).down(b"500", timeout=PATIENCE_S))
    assert answers == [str(number).encode() for number in range(500)]


def test_a_stream_of_requests() -> None:
    messages = [str(number).encode() for number in range(500)]
    assert through(grpc_server()).up(iter(messages), timeout=PATIENCE_S) == b",".join(messages)


def test_both_streams_move_at_once() -> None:
    client = through(grpc_server())
    sending: queue.Queue[bytes | None] = queue.Queue()
    answers = client.both(iter(sending.get, None), timeout=PATIENCE_S)
    for word in (b"one", b"two", b"three"):
        sending.put(word)
        assert next(answers) == word.upper()
    sending.put(None)
    assert list(answers) == []
    assert answers.code() == grpc.StatusCode.OK


def test_an_error_that_is_all_trailers() -> None:
    with pytest.raises(grpc.RpcError) as failed:
        through(grpc_server()).fail(b"x", timeout=PATIENCE_S)
    assert failed.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert failed.value.details() == "not like this, 100 % wrong: äh"


def test_an_unknown_service_is_the_servers_to_refuse() -> None:
    with pytest.raises(grpc.RpcError) as failed:
        through(grpc_server()).missing(b"x", timeout=PATIENCE_S)
    assert failed.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_deadline_reaches_the_server_and_ends_the_call() -> None:
    server = grpc_server()
    client = through(server)
    with pytest.raises(grpc.RpcError) as failed:
        client.slow(b"x", timeout=0.5)
    assert failed.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert server.cancelled.wait(PATIENCE_S)


def test_a_deadline_is_kept_where_the_server_is_not() -> None:
    """The client's own clock is not asked: it has no timeout of its own but the one that is sent."""
    server = grpc_server()
    running = proxy().pool(server, protocol="h2c").start()
    stream = http2_client(running).open(
        "POST",
        "/test.Echo/Slow",
        [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "200m")],
        end=False,
    )
    stream.send(b"\0\0\0\0\0", end=True)
    head = dict(stream.expect_end().head or [])
    trailers = dict(stream.got.trailers)
    assert {**head, **trailers}["grpc-status"] == "4"
    assert server.cancelled.wait(PATIENCE_S)


def test_a_cancelled_call_is_cancelled_at_the_server() -> None:
    server = grpc_server()
    running = proxy().pool(server, protocol="h2c").start()
    call = grpc_client(running.port).slow.future(b"x", timeout=PATIENCE_S)
    # It is in flight a moment before the server's handler could hear that it is cancelled.
    assert server.begun.wait(PATIENCE_S)
    assert running.in_flight() == 1
    call.cancel()
    assert server.cancelled.wait(PATIENCE_S)
    eventually(lambda: running.in_flight() == 0)
    assert running.endpoint(server)["failures"] == 0


def refused(client: GrpcClient) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as failed:
        client.unary(b"x", timeout=PATIENCE_S)
    return failed.value.code(), failed.value.details()


def test_no_endpoint_is_unavailable() -> None:
    running = proxy().pool(refused_address(), protocol="h2c").start()
    assert refused(grpc_client(running.port))[0] == grpc.StatusCode.UNAVAILABLE


def test_a_full_queue_is_unavailable() -> None:
    server = grpc_server()
    running = proxy().pool(server, protocol="h2c", threshold={"requests": 1}, queue={"size": None}).start()
    client = grpc_client(running.port)
    call = client.slow.future(b"x", timeout=PATIENCE_S)
    eventually(lambda: running.in_flight() == 1)
    code, details = refused(client)
    assert (code, details) == (grpc.StatusCode.UNAVAILABLE, "every endpoint is busy and the queue is full")
    call.cancel()


def test_no_route_is_unimplemented() -> None:
    running = proxy().pool(grpc_server(), protocol="h2c").route(path="/test", respond=404).start()
    assert refused(grpc_client(running.port))[0] == grpc.StatusCode.UNIMPLEMENTED


def test_time_that_is_over_is_an_exceeded_deadline() -> None:
    server = grpc_server()
    client = through(server, timeouts={"total_ms": 200})
    with pytest.raises(grpc.RpcError) as failed:
        client.slow(b"x", timeout=PATIENCE_S)
    assert failed.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_an_endpoint_of_http1_answers_in_its_own_words() -> None:
    running = proxy().pool(origin().status(503)).start()
    assert refused(grpc_client(running.port))[0] == grpc.StatusCode.UNAVAILABLE


def test_calls_are_balanced_one_by_one() -> None:
    servers = [grpc_server(), grpc_server(), grpc_server()]
    running = proxy().pool(*servers, protocol="h2c", policy="round_robin").start()
    client = grpc_client(running.port)
    for _ in range(30):
        client.unary(b"x", timeout=PATIENCE_S)
    assert [server.calls for server in servers] == [10, 10, 10]
    assert running.listener()["connections"] == 1


def test_calls_of_many_threads() -> None:
    server = grpc_server()
    client = through(server)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(20):
                assert client.unary(str(number).encode(), timeout=PATIENCE_S) == str(number).encode()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert server.calls == 160


PROBES = {"interval_ms": 100, "timeout_ms": 100, "rise": 1, "fall": 1}


def test_health_checks_find_who_serves() -> None:
    server, other = grpc_server(), grpc_server()
    running = proxy().pool(server, other, protocol="h2c", health={"grpc": "app", **PROBES}).start()
    for one in (server, other):
        eventually(lambda one=one: running.verdict(one) == "unhealthy")
        assert "does not know the service" in running.endpoint(one)["why"]
    server.health.set("app", health_pb2.HealthCheckResponse.SERVING)
    eventually(lambda: running.verdict(server) == "healthy")
    assert "SERVING in" in running.endpoint(server)["why"]
    grpc_client(running.port).unary(b"x", timeout=PATIENCE_S)
    assert (server.calls, other.calls) == (1, 0)
    server.health.set("app", health_pb2.HealthCheckResponse.NOT_SERVING)
    eventually(lambda: running.verdict(server) == "unhealthy")
    assert "NOT_SERVING" in running.endpoint(server)["why"]


def test_the_empty_name_is_the_whole_server() -> None:
    server = grpc_server()
    running = proxy().pool(server, protocol="h2c", health={"grpc": "", **PROBES}).start()
    eventually(lambda: "SERVING in" in running.endpoint(server)["why"])


def test_a_path_is_probed_over_http2_where_the_pool_speaks_it() -> None:
    server = http2_origin()
    running = proxy().pool(server, protocol="h2c", health={"path": "/healthz", **PROBES}).start()
    eventually(lambda: "200 in" in running.endpoint(server)["why"])


def test_a_server_of_http1_is_found_to_be_none() -> None:
    server = origin()
    running = proxy().pool(server, protocol="h2c", health={"grpc": "", **PROBES}).start()
    eventually(lambda: running.verdict(server) == "unhealthy")
    assert "no HTTP/2 answer" in running.endpoint(server)["why"]
