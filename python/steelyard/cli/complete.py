"""What the shell offers for an argument. A completion never fails and never waits long."""

from collections import Counter
from contextlib import suppress
from typing import Any

from steelyard.errors import SteelyardError

__all__ = ["endpoints", "policies"]


def policies(incomplete: str) -> list[str]:
    from steelyard.config import POLICIES

    return [name for name in POLICIES if name.startswith(incomplete)]


def endpoints(incomplete: str) -> list[str]:
    """Those of the running instance, if there is one."""
    from steelyard.admin.client import AdminClient
    from steelyard.admin.socket import candidates

    with suppress(SteelyardError):
        status = AdminClient(candidates(None), timeout_s=1).get("/v1/status")
        return [name for name in endpoint_names(status) if name.startswith(incomplete)]
    return []


def endpoint_names(status: dict[str, Any]) -> list[str]:
    """Each address that stands for one endpoint, then all of them with their pool."""
    # A host name has a row for each address behind it, and what has left the file is there to be undone.
    keys = dict.fromkeys(
        (pool["name"], one["configured"]) for pool in status["pools"] for one in pool["endpoints"]
    )
    keys |= dict.fromkeys((pool["name"], one) for pool in status["pools"] for one in pool["without_address"])
    changed = [*status["overlay"]["drained"], *status["overlay"]["weights"]]
    keys |= dict.fromkeys((one["pool"], one["address"]) for one in changed)
    pools = Counter(address for _, address in keys)
    alone = [address for _, address in keys if pools[address] == 1]
    return alone + [f"{pool}/{address}" for pool, address in keys]
