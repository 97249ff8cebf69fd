"""The files that a configuration names, beside itself."""

from pathlib import Path

from steelyard.config.acme import bundle_of
from steelyard.config.root import Config

__all__ = ["tls_files"]


def tls_files(config: Config) -> list[Path]:
    """Certificates, keys and authorities, each once."""
    named: dict[str, None] = {}
    for listener in config.listeners.values():
        if listener.tls is not None:
            for pair in listener.tls.certificates:
                named |= {pair.cert: None, pair.key: None}
            if config.acme is not None:
                named |= {str(bundle_of(config.acme, name)): None for name in listener.tls.acme}
            if listener.tls.client_ca is not None:
                named[listener.tls.client_ca] = None
    for pool in config.pools.values():
        if pool.tls is not None:
            named |= {file: None for file in (pool.tls.ca, pool.tls.cert, pool.tls.key) if file is not None}
    return [Path(file) for file in named]
