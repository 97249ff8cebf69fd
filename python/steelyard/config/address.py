"""One spelling for each address, so that an endpoint has one name in the overlay, the status and commands."""

import re
from ipaddress import AddressValueError, IPv6Address

__all__ = ["canonical"]

ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[(?P<six>[0-9A-Fa-f:.]+)\]):0*(?P<port>[0-9]+)")


def canonical(address: str) -> str:
    """The spelling that the engine has for it: lower case, the shortest IPv6 form, no dot at the end.

    A path, and what is no address, is given back as it is; the engine says what is wrong with it.
    """
    found = ADDRESS.fullmatch(address)
    if not found:
        return address
    host = found["host"].lower().removesuffix(".")
    if found["six"]:
        try:
            six = IPv6Address(found["six"])
        except AddressValueError:
            return address
        host = str(six.ipv4_mapped) if six.ipv4_mapped else f"[{six}]"
    return f"{host}:{found['port']}"
