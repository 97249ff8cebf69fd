"""Connections from one end to the other: a client's, and what it has become at the endpoint."""

from typing import Any

import pytest

from language.plan import Plan, proxy
from language.proxies import Running
from language.raw import Raw, raw
from language.scripted import Scripted, ScriptedConnection


def carrying(*servers: Any, **settings: Any) -> Plan:
    """One that carries connections as they are."""
    return proxy().pool(*servers, **settings).listener(protocol="tcp")


def joined(running: Running, server: Scripted, **how: Any) -> tuple[Raw, ScriptedConnection]:
    """Of connections that are carried as they are: both ends of a fresh one."""
    asking = raw(running, **how)
    return asking, server.accept()


def asked(running: Running, server: Scripted, target: str = "/") -> tuple[Raw, ScriptedConnection]:
    """A client that has asked, and the endpoint's connection that has its request."""
    asking = raw(running).get(target)
    connection = server.accept()
    connection.expect_request()
    return asking, connection


def expect_reset(connection: Any) -> None:
    with pytest.raises(ConnectionResetError):
        connection.socket.recv(1)
