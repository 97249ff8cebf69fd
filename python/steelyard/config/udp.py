"""What is different where datagrams are carried: what probes such a pool, and what would do nothing."""

from collections.abc import Iterator

from steelyard.config.layer4 import is_set
from steelyard.config.listener import Listener
from steelyard.config.root import Config
from steelyard.config.route import Route
from steelyard.config.source import KeyPath, Source
from steelyard.errors import Problem

__all__ = ["settled", "udp_problems", "useless"]

# Of a listener.
LISTENER_ALONE: dict[KeyPath, str] = {
    ("timeouts", "handshake"): "TLS is not spoken in datagrams",
}
# Of a pool that only datagrams come to.
POOL_ALONE: dict[str, str] = {
    "queue": "a datagram that finds no endpoint is dropped, and does not wait",
    "send_proxy": "datagrams do not begin with a header of the PROXY protocol",
    "retry": "a datagram is not kept to be sent again",
    "timeouts": "how long nothing may move in a session is timeouts.idle of the listener",
    "connections": "each session has a socket of its own",
}


def settled(config: Config) -> Config:
    """A pool that only datagrams come to is not probed by TCP connects, unless it is said what is probed."""
    pools = {
        name: pool.model_copy(update={"health": pool.health.model_copy(update={"interval": None})})
        if is_for_udp_alone(config, name) and not pool.health.says_what and not pool.health.says_when
        else pool
        for name, pool in config.pools.items()
    }
    return config.model_copy(update={"pools": pools})


def udp_problems(config: Config, source: Source) -> Iterator[Problem]:
    """One for each setting that would do nothing."""
    for path, reason in useless(config):
        if is_set(source, path):
            yield source.problem(path, reason, "take it out")


def useless(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Each key that has a default and means nothing, and why."""
    for name, listener in config.listeners.items():
        if listener.protocol == "udp":
            yield from ((("listeners", name, *key), reason) for key, reason in LISTENER_ALONE.items())
    for name in config.pools:
        if is_for_udp_alone(config, name):
            yield from ((("pools", name, key), reason) for key, reason in POOL_ALONE.items())


def is_for_udp_alone(config: Config, pool: str) -> bool:
    """Whether only listeners of datagrams lead to a pool."""
    leading = (one for name, one in config.listeners.items() if leads(config, name, one, pool))
    return {listener.protocol for listener in leading} == {"udp"}


def leads(config: Config, name: str, listener: Listener, pool: str) -> bool:
    """Whether anything that comes to the listener may go to the pool."""
    claiming = (route for route in config.routes if claims(route, name, listener))
    return listener.pool == pool or any(pool in (route.pool, *(route.split or ())) for route in claiming)


def claims(route: Route, name: str, listener: Listener) -> bool:
    """A route of datagrams names its listener."""
    return listener.protocol == "http" if route.listener is None else route.listener == name
