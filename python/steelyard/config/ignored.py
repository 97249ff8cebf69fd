"""What a sound configuration says in vain: settings of endpoints that their pool has no use for."""

from collections.abc import Iterator

from steelyard.config.root import Config
from steelyard.config.source import KeyPath

__all__ = ["ignored"]

WEIGHTS = {
    "random": (
        '"random" takes every endpoint as often, so that their different weights have no effect',
        'policy = "weighted_random" takes them in proportion to weight',
    ),
    "join_idle_queue": (
        '"join_idle_queue" looks at weights only where no endpoint is idle',
        'policy = "least_request" always does',
    ),
}


def ignored(config: Config) -> Iterator[tuple[KeyPath, str, str]]:
    """Where it stands, what has no effect, and what would have."""
    for name, pool in config.pools.items():
        # Who weighs 0 gets nothing under any policy.
        weights = {endpoint.weight for endpoint in pool.endpoints} - {0}
        if len(weights) > 1 and pool.policy.name in WEIGHTS:
            yield ("pools", name, "policy"), *WEIGHTS[pool.policy.name]
