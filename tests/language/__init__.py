"""The language the black-box tests are written in.

A test reads as sentences: an `origin()` that serves, a `scripted()` one that says byte for byte what it is
told, a `proxy()` between, and in front of it `client`, `raw` bytes or a `load`. Ports come from binding port
0, whatever is opened is closed by the scope of the test, and a condition is waited for, never a time.
"""

from language.client import Client, Reply, client, in_background, request
from language.load import Load, Tally, load, steady_load
from language.origins import Origin, ProcessOrigin, origin, process_origin
from language.plan import Plan, endpoint, proxy
from language.proxies import Running, SpawnedEngine
from language.raw import Raw, raw
from language.reporters import Reporter, reporter
from language.scope import keep, scope
from language.scripted import Scripted, ScriptedConnection, refused_address, scripted
from language.shell import Command, command
from language.site import Site, site
from language.tls import Authority, OpenSsl, Pair, authority, names_of, openssl_client
from language.waiting import eventually
from language.wire import Incomplete, Message, ok, response

__all__ = [
    "Authority",
    "Client",
    "Command",
    "Incomplete",
    "Load",
    "Message",
    "OpenSsl",
    "Origin",
    "Pair",
    "Plan",
    "ProcessOrigin",
    "Raw",
    "Reply",
    "Reporter",
    "Running",
    "Scripted",
    "ScriptedConnection",
    "Site",
    "SpawnedEngine",
    "Tally",
    "authority",
    "client",
    "command",
    "endpoint",
    "eventually",
    "in_background",
    "keep",
    "load",
    "names_of",
    "ok",
    "openssl_client",
    "origin",
    "process_origin",
    "proxy",
    "raw",
    "refused_address",
    "reporter",
    "request",
    "response",
    "scope",
    "scripted",
    "site",
    "steady_load",
]
