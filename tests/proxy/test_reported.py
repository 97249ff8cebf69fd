"""Loads that endpoints report in their responses: as weights, and as what is compared."""

from collections import Counter
from typing import Any

import pytest

from language import Reporter, Running, client, eventually, in_background, proxy, reporter

WEIGHT = {"as": "weight", "blackout_ms": 0}
LOAD = {"as": "load"}


def capacity(requests: int) -> str:
    return f"TEXT rps_fractional={requests}, application_utilization=1.0"


def served(running: Running, count: int, path: str = "/") -> Counter[str]:
    one = client(running)
    return Counter(one.get(path).origin or "" for _ in range(count))


def learned(running: Running, *servers: Reporter) -> list[float | None]:
    """Rounded, since shares of thirds have no end."""
    weights = [running.endpoint(server)["learned_weight"] for server in servers]
    return [weight if weight is None else round(weight, 3) for weight in weights]


def reported(running: Running, server: Any) -> dict[str, Any]:
    return dict(running.endpoint(server)["reported"])


class TestAsWeight:
    @pytest.mark.parametrize("policy", ["round_robin", "weighted"])
    def test_shares_follow_what_the_servers_could_serve(self, policy: str) -> None:
        servers = [reporter("a", capacity(300)), reporter("b", capacity(100))]
        running = proxy().workers(2).pool(*servers, policy=policy, reported=WEIGHT).start()
        served(running, 4)
        eventually(lambda: learned(running, *servers) == [1.5, 0.5])
        assert served(running, 400) == {"a": 300, "b": 100}

    def test_weights_follow_as_the_servers_change(self) -> None:
        servers = [reporter("a", capacity(300)), reporter("b", capacity(100))]
        running = proxy().pool(*servers, policy="weighted", reported=WEIGHT).start()
        served(running, 4)
        eventually(lambda: learned(running, *servers) == [1.5, 0.5])
        servers[0].says = (capacity(100),)
        eventually(lambda: served(running, 8) and learned(running, *servers) == [1.0, 1.0])
        assert served(running, 100) == {"a": 50, "b": 50}

    def test_errors_and_other_forms_count(self) -> None:
        failing = "TEXT rps_fractional=100, eps=100, cpu_utilization=1"
        json = 'JSON {"rpsFractional": 300, "named_metrics": {"queue": 2.0}, "cpu_utilization": 1}'
        servers = [reporter("a", failing), reporter("b", json)]
        running = proxy().pool(*servers, policy="weighted", reported=WEIGHT).start()
        served(running, 4)
        # 100 / (1 + 1) beside 300 / 1.
        eventually(lambda: learned(running, *servers) == [round(2 / 7, 3), round(12 / 7, 3)])

    def test_one_that_does_not_report_has_the_mean(self) -> None:
        servers = [reporter("a", capacity(300)), reporter("b", capacity(100)), reporter("c")]
        running = proxy().pool(*servers, policy="weighted", reported=WEIGHT).start()
        served(running, 6)
        eventually(lambda: learned(running, *servers) == [1.5, 0.5, 1.0])

    def test_until_two_have_reported_and_the_blackout_is_over_configured_weights_hold(self) -> None:
        servers = [reporter("a", capacity(300)), reporter("b", capacity(100))]
        running = proxy().pool(*servers, policy="weighted", reported={"as": "weight"}).start()
        served(running, 4)
        running.expect_to_live_on(1.5)
        assert learned(running, *servers) == [None, None]
        assert reported(running, servers[0])["taken"] == 2

    def test_what_was_learned_survives_a_reload_but_not_its_end(self) -> None:
        servers = [reporter("a", capacity(300)), reporter("b", capacity(100))]
        learning = proxy().pool(*servers, policy="weighted", reported=WEIGHT)
        running = learning.start()
        served(running, 4)
        eventually(lambda: learned(running, *servers) == [1.5, 0.5])
        for server in servers:
            server.says = ()
        running.apply(learning)
        assert learned(running, *servers) == [1.5, 0.5]
        assert served(running, 40) == {"a": 30, "b": 10}
        running.apply(proxy().pool(*servers, policy="weighted"))
        assert served(running, 40) == {"a": 20, "b": 20}

    def test_a_report_of_an_error_counts_too(self) -> None:
        servers = [reporter("a", capacity(300)), reporter("b", capacity(100))]
        running = proxy().pool(*servers, policy="weighted", reported=WEIGHT).start()
        served(running, 4, "/broken")
        eventually(lambda: learned(running, *servers) == [1.5, 0.5])


class TestAsLoad:
    def test_requests_go_where_less_is_reported(self) -> None:
        servers = [reporter("a", "TEXT cpu_utilization=0.9"), reporter("b", "TEXT cpu_utilization=0.2")]
        running = proxy().pool(*servers, policy="least_load", load="reported", reported=LOAD).start()
        eventually(lambda: served(running, 1) and None not in utilisations(running, *servers))
        assert served(running, 50) == {"b": 50}
        servers[1].says = ("TEXT cpu_utilization=1.5",)
        served(running, 1)
        assert served(running, 50) == {"a": 50}

    def test_requests_in_flight_since_the_report_keep_the_next_from_following(self) -> None:
        servers = [reporter("a", "TEXT cpu_utilization=0.1"), reporter("b", "TEXT cpu_utilization=0.5")]
        running = proxy().pool(*servers, policy="least_load", load="reported", reported=LOAD).start()
        eventually(lambda: served(running, 1) and None not in utilisations(running, *servers))
        waiting = []
        for count in range(1, 13):
            waiting.append(in_background(running, "/waits"))
            eventually(lambda count=count: running.in_flight() == count)
        a, b = (running.endpoint(server)["in_flight"] for server in servers)
        for server in servers:
            server.gate.set()
        assert {one.reply().status for one in waiting} == {200}
        assert a > b > 0, (a, b)


def utilisations(running: Running, *servers: Any) -> list[float | None]:
    return [reported(running, server)["utilisation"] for server in servers]


class TestTheField:
    def test_clients_do_not_see_it_unless_it_passes(self) -> None:
        server = reporter("a", capacity(100))
        for settings, seen in ((WEIGHT, None), ({**WEIGHT, "pass": True}, capacity(100))):
            running = proxy().pool(server, reported=settings).start()
            reply = client(running).get()
            assert reply.get("endpoint-load-metrics") == seen
            assert reply.origin == "a"
            assert reply.get("content-length") == "2"

    def test_without_the_setting_it_is_a_field_like_any_other(self) -> None:
        running = proxy().pool(reporter("a", capacity(100))).start()
        assert client(running).get().get("endpoint-load-metrics") == capacity(100)
        assert running.pool()["endpoints"][0]["reported"] is None

    def test_it_may_have_another_name_and_another_metric(self) -> None:
        server = reporter("a", "TEXT named_metrics.kv=0.25, cpu_utilization=1", field="X-Load")
        settings = {"as": "load", "field": "x-load", "metric": "named_metrics.kv"}
        running = proxy().pool(server, policy="least_load", load="reported", reported=settings).start()
        assert client(running).get().get("x-load") is None
        assert utilisations(running, server) == [0.25]

    def test_what_is_not_of_the_form_is_ignored_and_counted(self) -> None:
        server = reporter("a")
        running = proxy().pool(server, policy="least_load", load="reported", reported=LOAD).start()
        one = client(running)
        nonsense = ["", "TEXT", "TEXT cpu_utilization=nan", "JSON {", "BIN AAAA", "TEXT " + "a" * 4000 + "=1"]
        for value in nonsense:
            server.says = (value,)
            assert one.get().status == 200
        server.says = ("TEXT cpu_utilization=0.1", "TEXT cpu_utilization=0.2")
        assert one.get().get("endpoint-load-metrics") is None, "none of several is passed on"
        server.says = ("TEXT eps=1",)
        one.get()
        counts = reported(running, server)
        assert counts["malformed"] == len(nonsense) + 1
        assert (counts["useless"], counts["taken"], counts["utilisation"]) == (1, 0, None)
