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
    """Drained endpoints, weights and policies set while the process runs. Never changed in place."""

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

    def kept_by(self, config: Config) -> "Overlay":
        """What of it still has its endpoint or pool."""
        endpoints = {
            (name, endpoint.address) for name, pool in config.pools.items() for endpoint in pool.endpoints
        }
        return Overlay(
            self.drained & endpoints,
            {key: weight for key, weight in self.weights.items() if key in endpoints},
            {pool: policy for pool, policy in self.policies.items() if pool in config.pools},
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "drained": [{"pool": pool, "address": address} for pool, address in sorted(self.drained)],
            "weights": [
                {"pool": pool, "address": address, "weight": weight}
                for (pool, address), weight in sorted(self.weights.items())
            ],
            "policies": [{"pool": pool, "policy": policy} for pool, policy in sorted(self.policies.items())],
        }
