"""For whom certificates are obtained, and what shows in a configuration alone to make that impossible."""

from collections.abc import Iterator
from importlib.util import find_spec

from steelyard.config.acme import Acme
from steelyard.config.root import Config
from steelyard.config.source import KeyPath, Source
from steelyard.config.tls import ListenerTls
from steelyard.errors import Problem

__all__ = ["automatic_problems", "is_of_obtained", "names_of"]

LIBRARIES = ("acme", "cryptography", "josepy")


def names_of(config: Config) -> list[str]:
    """The names that certificates are obtained for, each once."""
    return sorted({name for one in config.listeners.values() if one.tls for name in one.tls.acme})


def automatic_problems(config: Config, source: Source) -> Iterator[Problem]:
    """One for each listener whose names cannot be proved."""
    wanting = {
        name: listener.tls
        for name, listener in config.listeners.items()
        if listener.tls and listener.tls.acme
    }
    for name, tls in wanting.items():
        if wrong := what_is_wrong(config, tls):
            yield source.problem(("listeners", name, "tls", "acme"), *wrong)
    if wanting and config.acme and not all(find_spec(library) for library in LIBRARIES):
        yield source.problem(
            ("acme",),
            "automatic certificates need libraries that are not installed",
            "pip install 'steelyard[acme]'",
        )


def what_is_wrong(config: Config, tls: ListenerTls) -> tuple[str, str] | None:
    if config.acme is None:
        return "nothing says who issues these certificates", "add [acme] with agree_tos = true"
    if config.acme.challenge == "http-01":
        if any(one.tls is None and one.protocol == "http" for one in config.listeners.values()):
            return None
        hint = 'add a listener on ":80" (redirect_https = true), or write challenge = "tls-alpn-01" in [acme]'
        return 'challenge "http-01" is answered in clear text, and no listener speaks that', hint
    return cannot_shake_hands(tls, config.acme)


def cannot_shake_hands(tls: ListenerTls, acme: Acme) -> tuple[str, str] | None:
    hint = 'write challenge = "http-01" in [acme]'
    if tls.client_ca is not None and tls.client_auth != "optional":
        return f'challenge "{acme.challenge}": the authority has no certificate of client_ca to show', hint
    if not tls.alpn:
        return f'challenge "{acme.challenge}" has a protocol agreed on, and alpn is empty', hint
    return None


def is_of_obtained(config: Config, path: KeyPath) -> bool:
    """Whether a path of the document is that of a certificate that is obtained."""
    match path:
        case ("listeners", str(name), "tls", "certificates", int(index), *_):
            listener = config.listeners.get(name)
            return bool(listener and listener.tls and index >= len(listener.tls.certificates))
    return False
