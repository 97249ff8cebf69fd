"""Five servers that are each busy while they serve one request, a hundred requests, busy servers skipped.

The example with which the article on load balancing begins. Where all five are busy a request waits in the
pool's queue until one is free: nothing spins and nothing hangs. Prints who served how many.
"""

import collections
import http.client
import json
from concurrent.futures import ThreadPoolExecutor

from steelyard import _core
from steelyard.config import document, load_text
from steelyard.origin import Origin

SERVERS, REQUESTS, CLIENTS = 5, 100, 20


def served(port: int) -> str:
    """Sends one request and says who answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/")
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.headers["x-origin"] if response.status == 200 else f"status {response.status}"


def main() -> None:
    origins = [Origin(name=f"server-{n}", concurrency=1, delay="5ms") for n in range(1, SERVERS + 1)]
    addresses = json.dumps([origin.address for origin in origins])
    text = f"""
        [log]
        level = "error"
        [listeners.web]
        bind = ["127.0.0.1:0"]
        pool = "app"
        [pools.app]
        policy = "round_robin"
        endpoints = {addresses}
        threshold.requests = 1
    """
    engine = _core.Engine.start(json.dumps(document(load_text(text))), json.dumps({"signals": False}))
    bound = json.loads(engine.status())["listeners"][0]["bind"][0]
    with ThreadPoolExecutor(CLIENTS) as clients:
        counts = collections.Counter(clients.map(served, [int(bound.rpartition(":")[2])] * REQUESTS))
    for name, count in sorted(counts.items()):
        print(f"{name}: {count}")
    engine.close()
    for origin in origins:
        origin.close()


if __name__ == "__main__":
    main()
