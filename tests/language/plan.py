"""What a proxy is to do: the document that crosses to the engine, written as a sentence.

`proxy().pool(a, b, policy="round_robin", threshold={"requests": 5}).start()`. Settings are named as in the
document (`crates/steelyard-core/src/document.rs`): milliseconds, bytes, None for off.
"""

import copy
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from language.proxies import Running, SpawnedEngine
from language.scope import keep

Settings = Mapping[str, Any]


class Addressed(Protocol):
    @property
    def address(self) -> str: ...


@dataclass(frozen=True)
class Endpoint:
    address: str
    weight: int = 1
    drain: bool = False
    priority: int = 0
    zone: str | None = None


def endpoint(
    at: Addressed | str, *, weight: int = 1, drain: bool = False, priority: int = 0, zone: str | None = None
) -> Endpoint:
    """An endpoint that is more than its address."""
    return Endpoint(at if isinstance(at, str) else at.address, weight, drain, priority, zone)


LIMITS: Settings = {
    "connections": None,
    "header_bytes_max": 65_536,
    "header_count_max": 100,
    "target_bytes_max": 8_192,
    "streams_max": 128,
    "resets_max": 200,
    "control_frames_max": 1_000,
}
LISTENER_TIMEOUTS: Settings = {
    "handshake_ms": 10_000,
    "request_header_ms": 10_000,
    "request_body_ms": 30_000,
    "idle_ms": 60_000,
}
LISTENER_TLS: Settings = {
    "certificates": [],
    "alpn": ["http/1.1"],
    "min_version": "1.2",
    "client_ca": None,
    "client_auth": None,
    "tickets": True,
    "session_cache": 1024,
    "hsts": None,
}
HTTP3: Settings = {"early_data": False, "advertise": True, "port": None}
POOL_TLS: Settings = {
    "verify": True,
    "ca": None,
    "server_name": None,
    "cert": None,
    "key": None,
    "min_version": "1.2",
}
# Off where the tests want quiet: no probes unless a test asks for them.
HEALTH: Settings = {
    "path": None,
    "udp": None,
    "port": None,
    "grpc": None,
    "host": None,
    "interval_ms": None,
    "timeout_ms": 2_000,
    "rise": 2,
    "fall": 3,
    "expect_status": [[200, 399]],
}
SLOW_START: Settings = {"window_ms": 60_000, "aggression": 1.0, "min_weight": 0.1}
THRESHOLD: Settings = {"requests": None, "latency_ms": None, "bytes_per_second": None}
QUEUE: Settings = {"size": 1024, "timeout_ms": 20_000}
CONNECTIONS: Settings = {"idle_timeout_ms": 20_000, "idle_max": 64, "max": None}
POOL_TIMEOUTS: Settings = {
    "connect_ms": 10_000,
    "response_ms": 30_000,
    "idle_ms": 60_000,
    "tunnel_ms": 3_600_000,
    "total_ms": None,
}
RETRY: Settings = {
    "attempts": 2,
    "on": ["connect", "reset-before-response"],
    "body_bytes_max": 65_536,
    "budget": 0.2,
}


class Plan:
    """Grows by its methods; `start` runs it."""

    def __init__(self) -> None:
        self._document: dict[str, Any] = {
            "workers": 1,
            "zone": None,
            "drain_timeout_ms": 25_000,
            "listeners": [],
            "routes": [],
            "pools": [],
        }

    def workers(self, count: int) -> Self:
        self._document["workers"] = count
        return self

    def zone(self, name: str) -> Self:
        self._document["zone"] = name
        return self

    def drain_timeout(self, time_ms: int) -> Self:
        self._document["drain_timeout_ms"] = time_ms
        return self

    def pool(
        self,
        *endpoints: Addressed | Endpoint | str,
        name: str = "app",
        policy: str | Settings = "least_request",
        load: str = "requests",
        reported: Settings | None = None,
        protocol: str = "http1",
        send_proxy: str | None = None,
        fail_open: bool = True,
        panic_threshold: int | None = None,
        slow_start: Settings | None = None,
        subset: Settings | None = None,
        tls: Settings | None = None,
        threshold: Settings | None = None,
        queue: Settings | None = None,
        health: Settings | None = None,
        connections: Settings | None = None,
        timeouts: Settings | None = None,
        retry: Settings | None = None,
    ) -> Self:
        """Endpoints that can stand in for each other. Without `health` there are no probes.

        `policy` is a name, or a table with a name and settings."""
        found = [one if isinstance(one, Endpoint) else endpoint(one) for one in endpoints]
        self._document["pools"].append(
            {
                "name": name,
                "policy": {"name": policy} if isinstance(policy, str) else dict(policy),
                "load": load,
                "reported": reported and dict(reported),
                "endpoints": [dataclasses.asdict(one) for one in found],
                "protocol": protocol,
                "send_proxy": send_proxy,
                "fail_open": fail_open,
                "panic_threshold": panic_threshold,
                "slow_start": laid_over(SLOW_START, slow_start) if slow_start else None,
                "subset": subset and dict(subset),
                "tls": None if tls is None else laid_over(POOL_TLS, tls),
                "threshold": laid_over(THRESHOLD, threshold),
                "queue": laid_over(QUEUE, queue),
                "health": laid_over(HEALTH, health),
                "connections": laid_over(CONNECTIONS, connections),
                "timeouts": laid_over(POOL_TIMEOUTS, timeouts),
                "retry": laid_over(RETRY, retry),
            }
        )
        return self

    def listener(
        self,
        name: str = "web",
        *,
        bind: Sequence[str] = ("127.0.0.1:0",),
        protocol: str = "http",
        pool: str | None = "app",
        trusted_proxies: Sequence[str] = (),
        proxy_protocol: bool = False,
        allow_encoded_slash: bool = False,
        tls: Settings | None = None,
        responses: int | None = None,
        http3: bool | Settings = False,
        redirect_https: int | None = None,
        limits: Settings | None = None,
        timeouts: Settings | None = None,
    ) -> Self:
        """Without any, there is one, `web`, for the first pool."""
        self._document["listeners"].append(
            {
                "name": name,
                "bind": list(bind),
                "protocol": protocol,
                "pool": pool,
                "trusted_proxies": list(trusted_proxies),
                "proxy_protocol": proxy_protocol,
                "allow_encoded_slash": allow_encoded_slash,
                "tls": None if tls is None else laid_over(LISTENER_TLS, tls),
                "responses": responses,
                "http3": laid_over(HTTP3, None if http3 is True else http3) if http3 is not False else None,
                "redirect_https": redirect_https,
                "limits": laid_over(LIMITS, limits),
                "timeouts": laid_over(LISTENER_TIMEOUTS, timeouts),
            }
        )
        return self

    def route(
        self,
        *,
        listener: str | None = None,
        host: str | None = None,
        path: str | None = None,
        headers: Mapping[str, str] | None = None,
        pool: str | None = None,
        split: Mapping[str, int] | None = None,
        redirect: str | None = None,
        respond: int | None = None,
        strip_prefix: bool = False,
        set_headers: Mapping[str, str] | None = None,
        remove_headers: Sequence[str] = (),
    ) -> Self:
        """First match wins; exactly one of pool, split, redirect and respond says what happens."""
        actions: list[dict[str, Any]] = []
        if pool is not None:
            actions.append({"pool": pool})
        if split is not None:
            actions.append({"split": [list(pair) for pair in split.items()]})
        if redirect is not None:
            actions.append({"redirect": redirect})
        if respond is not None:
            actions.append({"respond": respond})
        (action,) = actions
        self._document["routes"].append(
            {
                "listener": listener,
                "host": host,
                "path": path,
                "headers": dict(headers or {}),
                "action": action,
                "strip_prefix": strip_prefix,
                "set_headers": dict(set_headers or {}),
                "remove_headers": list(remove_headers),
            }
        )
        return self

    def document(self) -> dict[str, Any]:
        document = copy.deepcopy(self._document)
        if not document["listeners"]:
            first = document["pools"][0]["name"]
            document["listeners"] = Plan().listener(pool=first)._document["listeners"]
        return document

    def json(self) -> str:
        return json.dumps(self.document())

    def start(self) -> Running:
        """Runs it in this process, on native threads."""
        return keep(Running.start(self.json()))

    def spawn(self, *, descriptors: int | None = None, after_another: bool = False) -> SpawnedEngine:
        """Runs it in a process of its own: with so many descriptors at most, as its second engine."""
        return keep(SpawnedEngine(self.json(), descriptors=descriptors, after_another=after_another))


def laid_over(defaults: Settings, given: Settings | None) -> dict[str, Any]:
    unknown = set(given or {}) - set(defaults)
    assert not unknown, f"the document knows no {unknown}"
    return {**defaults, **(given or {})}


def proxy() -> Plan:
    return Plan()
