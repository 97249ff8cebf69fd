"""DNS through the proxy: a resolver of dnspython asks servers of dnslib."""

import threading
from collections import Counter

import dns.message
import dns.query
import dns.rcode
import pytest
from dnslib import QTYPE, RR, A, DNSRecord
from dnslib.server import BaseResolver, DNSHandler, DNSLogger, DNSServer

from language import Plan, eventually, keep, proxy


class Answering(BaseResolver):  # type: ignore[misc]
    """Every name has the address of this server's own, and is told as TXT of any length that is asked for."""

    def __init__(self, address: str) -> None:
        self._address = address

    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:
        reply = request.reply()
        reply.add_answer(RR(request.q.qname, QTYPE.A, ttl=1, rdata=A(self._address)))
        return reply


class NameServer:
    """A server that answers with one address for everything."""

    def __init__(self, answer: str) -> None:
        logger = DNSLogger(log="-request,-reply,-truncated,-error,-recv,-send,-data")
        self._server = DNSServer(Answering(answer), address="127.0.0.1", port=0, logger=logger)
        self.address = f"127.0.0.1:{self._server.server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.server.shutdown()
        self._thread.join()
        self._server.server.server_close()


def name_servers(count: int) -> list[NameServer]:
    return [keep(NameServer(f"192.0.2.{number + 1}")) for number in range(count)]


def looked_up(plan: Plan, times: int, source: str = "127.0.0.1") -> Counter[str]:
    """Who answered, over so many queries, each of a client of its own."""
    running = plan.start()
    host, port = running.listening()
    answers: Counter[str] = Counter()
    for number in range(times):
        query = dns.message.make_query(f"host-{number}.example.", "A")
        reply = dns.query.udp(query, host, timeout=30, port=port, source=source)
        assert reply.rcode() == dns.rcode.NOERROR
        assert str(reply.question[0].name) == f"host-{number}.example."
        answers[str(reply.answer[0][0])] += 1
    eventually(lambda: running.in_flight() == 0)
    eventually(lambda: running.listener()["udp"]["sent"] == times)
    counted = running.listener()
    assert (counted["accepted"], counted["udp"]["received"]) == (times, times)
    return answers


def test_queries_take_turns() -> None:
    plan = proxy().pool(*name_servers(3), policy="round_robin").listener(protocol="udp", responses=1)
    assert looked_up(plan, 30) == {"192.0.2.1": 10, "192.0.2.2": 10, "192.0.2.3": 10}


@pytest.mark.parametrize("policy", ["ring_hash", "maglev", "rendezvous", "bounded_hash"])
def test_a_client_keeps_its_server_where_its_address_is_the_key(policy: str) -> None:
    servers = name_servers(4)
    chosen = set()
    for last in range(2, 12):
        plan = proxy().pool(*servers, policy={"name": policy, "key": "address"})
        answers = looked_up(plan.listener(protocol="udp", responses=1), 5, source=f"127.0.0.{last}")
        assert len(answers) == 1, answers
        chosen |= set(answers)
    assert len(chosen) > 1


@pytest.mark.parametrize(
    "policy", ["random", "weighted", "least_request", "p2c", "peak_ewma", "join_idle_queue"]
)
def test_every_policy_answers(policy: str) -> None:
    plan = proxy().pool(*name_servers(2), policy=policy).listener(protocol="udp", responses=1)
    assert looked_up(plan, 20).total() == 20


def test_a_resolver_outlives_a_server_that_has_gone() -> None:
    servers = name_servers(2)
    running = proxy().pool(*servers, policy="round_robin").listener(protocol="udp", responses=1).start()
    host, port = running.listening()
    servers[0].close()

    def is_answered() -> bool:
        query = dns.message.make_query("example.", "A")
        try:
            reply = dns.query.udp(query, host, timeout=0.2, port=port)
        except dns.exception.Timeout:
            return False
        return str(reply.answer[0][0]) == "192.0.2.2"

    def is_ejected() -> bool:
        return eventually(is_answered) and running.verdict(servers[0]) == "ejected"

    eventually(is_ejected)
    assert all(is_answered() for _ in range(10))
