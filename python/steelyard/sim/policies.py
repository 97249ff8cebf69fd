"""What the policies of a scenario are called in its results."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from steelyard.config.policy import PolicyTable

__all__ = ["labels"]


def labels(policies: Sequence[PolicyTable]) -> list[str]:
    """The name of each; with its settings where the same policy is compared with other settings."""
    times = Counter(policy.name for policy in policies)
    return [policy.name if times[policy.name] == 1 else with_settings(policy) for policy in policies]


def with_settings(policy: PolicyTable) -> str:
    settings: dict[str, Any] = policy.model_dump(mode="json", exclude_unset=True)
    settings.pop("name", None)
    return " ".join([policy.name, *(f"{key}={value}" for key, value in settings.items())])
