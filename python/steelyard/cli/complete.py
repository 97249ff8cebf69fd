"""What the shell offers for an argument. A completion never fails and never waits long."""

from contextlib import suppress

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
        addresses = [one["address"] for pool in status["pools"] for one in pool["endpoints"]]
        return [address for address in addresses if address.startswith(incomplete)]
    return []
