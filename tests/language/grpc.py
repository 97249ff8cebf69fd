"""Both ends of gRPC, by grpcio: a server with every kind of call, and a client; messages are plain bytes."""

import threading
import time
from collections.abc import Iterable, Iterator
from concurrent import futures
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2_grpc

from language.scope import keep
from language.tls import Authority, Pair

SERVICE = "test.Echo"
PATIENCE_S = 30.0


class GrpcServer:
    """A server: every call answers with what it was sent."""

    def __init__(self, tls: Pair | None = None) -> None:
        self.calls = 0
        self.begun = threading.Event()
        """A slow call has reached its handler."""
        self.cancelled = threading.Event()
        self.seen: list[tuple[str, str]] = []
        self.health = health.HealthServicer()
        self._server = grpc.server(
            futures.ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)], handlers=[self._handlers()]
        )
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        if tls is None:
            self.port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            shown = [(tls.key.read_bytes(), tls.cert.read_bytes())]
            self.port = self._server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(shown))
        self._server.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.stop(None).wait(PATIENCE_S)

    def _handlers(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Unary": grpc.unary_unary_rpc_method_handler(self._unary),
                "Down": grpc.unary_stream_rpc_method_handler(self._down),
                "Up": grpc.stream_unary_rpc_method_handler(self._up),
                "Both": grpc.stream_stream_rpc_method_handler(self._both),
                "Fail": grpc.unary_unary_rpc_method_handler(self._fail),
                "Slow": grpc.unary_unary_rpc_method_handler(self._slow),
            },
        )

    def _unary(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        self.calls += 1
        self.seen = [(key, value) for key, value in context.invocation_metadata() if isinstance(value, str)]
        context.send_initial_metadata((("x-first", "1"),))
        context.set_trailing_metadata((("x-last", "2"),))
        return message

    def _down(self, message: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        for number in range(int(message)):
            yield str(number).encode()

    def _up(self, messages: Iterable[bytes], context: grpc.ServicerContext) -> bytes:
        return b",".join(messages)

    def _both(self, messages: Iterable[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for message in messages:
            yield message.upper()

    def _fail(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not like this, 100 % wrong: äh")
        raise AssertionError

    def _slow(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        context.add_callback(self.cancelled.set)
        self.begun.set()
        deadline = time.monotonic() + PATIENCE_S
        while context.is_active() and time.monotonic() < deadline:
            self.cancelled.wait(0.01)
        return message


class GrpcClient:
    """A channel to the proxy."""

    def __init__(self, port: int, ca: Authority | None = None) -> None:
        options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
        if ca is None:
            self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=options)
        else:
            believed = grpc.ssl_channel_credentials(ca.file.read_bytes())
            self._channel = grpc.secure_channel(f"127.0.0.1:{port}", believed, options=options)
        path = f"/{SERVICE}/"
        self.unary: Any = self._channel.unary_unary(path + "Unary")
        self.down: Any = self._channel.unary_stream(path + "Down")
        self.up: Any = self._channel.stream_unary(path + "Up")
        self.both: Any = self._channel.stream_stream(path + "Both")
        self.fail: Any = self._channel.unary_unary(path + "Fail")
        self.slow: Any = self._channel.unary_unary(path + "Slow")
        self.missing: Any = self._channel.unary_unary("/test.Missing/Call")

    def close(self) -> None:
        self._channel.close()


def grpc_server(*, tls: Pair | None = None) -> GrpcServer:
    """With `tls` it shows this certificate."""
    return keep(GrpcServer(tls))


def grpc_client(port: int, ca: Authority | None = None) -> GrpcClient:
    """With `ca` it speaks TLS, and believes this authority."""
    return keep(GrpcClient(port, ca))


def grpc_runs_once() -> None:
    """What grpcio opens once and keeps is open before descriptors are counted."""
    server = GrpcServer()
    client = GrpcClient(server.port)
    client.unary(b"x", timeout=PATIENCE_S)
    client.close()
    server.close()
