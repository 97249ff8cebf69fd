"""M/M/n as simpy's and ciw's own manuals write it: `queue_models.py simpy|ciw SERVERS UTILISATION REQUESTS`.

Prints JSON: an arrival is one event, a completion another, as in our own simulator.
"""

import json
import random
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

SEED = 7


def with_simpy(servers: int, rate: float, requests: int) -> tuple[list[float], float]:
    """Times in the system, and the seconds it took."""
    import simpy

    rng = random.Random(SEED)
    environment = simpy.Environment()
    queue = simpy.Resource(environment, capacity=servers)
    times: list[float] = []

    def customer() -> Iterator[Any]:
        arrived = environment.now
        with queue.request() as request:
            yield request
            yield environment.timeout(rng.expovariate(1.0))
        times.append(environment.now - arrived)

    def source() -> Iterator[Any]:
        for _ in range(requests):
            yield environment.timeout(rng.expovariate(rate))
            environment.process(customer())

    environment.process(source())
    begin = time.perf_counter()
    environment.run()
    return times, time.perf_counter() - begin


def with_ciw(servers: int, rate: float, requests: int) -> tuple[list[float], float]:
    """Times in the system, and the seconds it took."""
    import ciw

    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(rate=rate)],
        service_distributions=[ciw.dists.Exponential(rate=1.0)],
        number_of_servers=[servers],
    )
    ciw.seed(SEED)
    simulation = ciw.Simulation(network)
    begin = time.perf_counter()
    simulation.simulate_until_max_customers(requests, method="Finish")
    seconds = time.perf_counter() - begin
    records = simulation.get_all_records()
    return [record.exit_date - record.arrival_date for record in records], seconds


MODELS = {"simpy": with_simpy, "ciw": with_ciw}


def main() -> None:
    name, servers, utilisation, requests = sys.argv[1:]
    rate = float(utilisation) * int(servers)
    times, seconds = MODELS[name](int(servers), rate, int(requests))
    said = {
        "events_per_second": 2 * len(times) / seconds,
        "mean_s": statistics.fmean(times[len(times) // 10 :]),
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
