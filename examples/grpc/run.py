"""Two servers of gRPC behind one listener: calls of one channel are balanced one by one.

A server that says that it is not serving gets none.

Needs grpcio and grpcio-health-checking. Prints who answered how many calls, before and after.
"""

import collections
import json
import time
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from steelyard import _core
from steelyard.config import document, load_text

CALLS = 20


class Server:
    """A server whose one method says its name."""

    def __init__(self, name: str) -> None:
        self.health = health.HealthServicer()
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        hello = grpc.unary_unary_rpc_method_handler(lambda _request, _context: name.encode())
        handlers = grpc.method_handlers_generic_handler("demo.Greeter", {"Hello": hello})
        self._server.add_generic_rpc_handlers((handlers,))
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def close(self) -> None:
        self._server.stop(None).wait()


def main() -> None:
    servers = [Server("server-1"), Server("server-2")]
    text = f"""
        [log]
        level = "error"
        [listeners.grpc]
        bind = ["127.0.0.1:0"]
        pool = "greeter"
        [pools.greeter]
        policy = "round_robin"
        protocol = "h2c"
        endpoints = {json.dumps([server.address for server in servers])}
        health = {{ grpc = "", interval = "100ms", fall = 1, rise = 1 }}
    """
    engine = _core.Engine.start(json.dumps(document(load_text(text))), json.dumps({"signals": False}))

    def verdicts() -> list[str]:
        return [one["verdict"] for one in json.loads(engine.status())["pools"][0]["endpoints"]]

    bound = json.loads(engine.status())["listeners"][0]["bind"][0]
    with grpc.insecure_channel(f"127.0.0.1:{bound.rpartition(':')[2]}") as channel:
        hello = channel.unary_unary("/demo.Greeter/Hello")

        def count() -> str:
            counts = collections.Counter(hello(b"").decode() for _ in range(CALLS))
            return ", ".join(f"{name} {number}" for name, number in sorted(counts.items()))

        # A script has nothing else to do; a service would read the status when it needs it.
        while verdicts() != ["healthy", "healthy"]:
            time.sleep(0.01)
        print(f"both serve: {count()}")
        servers[0].health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        while verdicts()[0] == "healthy":
            time.sleep(0.01)
        print(f"one serves: {count()}")
    engine.close()
    for server in servers:
        server.close()


if __name__ == "__main__":
    main()
