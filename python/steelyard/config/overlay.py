"""Run-time changes that lie over the file until they are undone."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from steelyard.config.root import Config

__all__ = ["EndpointKey", "Overlay"]

EndpointKey = tuple[str, str]
"""The name of a pool and the address of an endpoint, in its canonical spelling."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """Drained endpoints, weights and policies set while the process runs. Never changed in place.

    What it says of an endpoint or pool that leaves the file is kept until it is undone: who drains a server
    and sees it go and come back wants it drained still.
    """

    drained: frozenset[EndpointKey] = frozenset()
    weights: Mapping[EndpointKey, int] = field(default_factory=dict)
    policies: Mapping[str, str] = field(default_factory=dict)

    def drain(self, endpoint: EndpointKey) -> "Overlay":
        return replace(self, drained=self.drained | {endpoint})

    def undrain(self, endpoint: EndpointKey) -> "Overlay":
        return replace(self, drained=self.drained - {endpoint})

    def weight(self, endpoint: EndpointKey, weight: int | None) -> "Overlay":
        """None gives the endpoint back the weight of the file."""
        others = {key: value for key, value in self.weights.items() if key != endpoint}
        return replace(self, weights=others if weight is None else {**others, endpoint: weight})

    def policy(self, pool: str, policy: str | None) -> "Overlay":
        """None gives the pool back the policy of the file."""
        others = {key: value for key, value in self.policies.items() if key != pool}
        return replace(self, policies=others if policy is None else {**others, pool: policy})

    def endpoints(self) -> set[EndpointKey]:
        """Those it changes, whether the configuration has them or not."""
        return {*self.drained, *self.weights}

    def as_json(self, config: Config) -> dict[str, Any]:
        """What waits has left the configuration, and is in force again once it is back."""
        there = {
            (name, endpoint.address) for name, pool in config.pools.items() for endpoint in pool.endpoints
        }

        def entry(key: EndpointKey, **values: Any) -> dict[str, Any]:
            return {"pool": key[0], "address": key[1], **values, "waiting": key not in there}

        return {
            "drained": [entry(key) for key in sorted(self.drained)],
            "weights": [entry(key, weight=weight) for key, weight in sorted(self.weights.items())],
            "policies": [
                {"pool": pool, "policy": policy, "waiting": pool not in config.pools}
                for pool, policy in sorted(self.policies.items())
            ],
        }
