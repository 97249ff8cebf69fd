"""The command `run`: check and open everything, then serve, then close it all again."""

import logging
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard import __version__, config
from steelyard.admin.socket import AdminSocket, server_path
from steelyard.cli import logs
from steelyard.control import ConfigSource, Control
from steelyard.errors import UsageError

if TYPE_CHECKING:
    from steelyard.acme import Keeper

__all__ = ["run", "source_of"]

WAIT_S = 60.0

log = logging.getLogger("steelyard")


def source_of(
    path: Path | None, listen: Sequence[str], to: Sequence[str], policy: str | None, health: str | None
) -> ConfigSource:
    """The configuration that the arguments mean: a file, or what stands on the command line."""
    given = {"--listen": listen, "--to": to, "--policy": policy, "--health": health}
    named = [name for name, value in given.items() if value]
    if not named:
        return ConfigSource.file(config.find(path))
    if path is not None:
        raise UsageError(
            f"{' and '.join(named)} cannot be used beside a file", hint=f"leave out {path}, or write it there"
        )
    if missing := [name for name in ("--listen", "--to") if name not in named]:
        raise UsageError(
            f"{named[0]} needs {' and '.join(missing)}",
            hint="for instance: steelyard run --listen :8080 --to 127.0.0.1:9001",
        )
    return ConfigSource(
        "the command line",
        None,
        lambda: config.from_arguments(listen=listen, to=to, policy=policy, health=health),
    )


def run(source: ConfigSource, *, watch: bool, socket: Path | None) -> None:
    """Returns when the engine has drained and stopped."""
    seen = content(source.path) if watch and source.path else None
    source = prepared(source)
    loaded = source.load()
    logs.set_up(loaded)
    with ExitStack() as stack:
        path = server_path(socket, loaded.admin.socket)
        opened = AdminSocket(path) if path else None
        if opened:
            stack.callback(opened.close)
        # From here on the engine owns the signals; Python's own handler would only raise in the middle of it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        control = Control.start(source, loaded, signals=True)
        stack.callback(control.close)
        control.on_reload(logs.set_up)
        if opened:
            stack.enter_context(serving(control, opened))
        stack.enter_context(watching_certificates(control))
        stack.enter_context(obtaining(control))
        if watch and source.path:
            stack.enter_context(watching(control, source.path, seen))
        announce(control, opened)
        until_stopped(control)
    log.info("stopped")


def obtains(loaded: config.Config) -> bool:
    """Whether there are certificates to obtain, without which the libraries for it need not be there."""
    return loaded.acme is not None and any(one.tls and one.tls.acme for one in loaded.listeners.values())


def prepared(source: ConfigSource) -> ConfigSource:
    """The same, where certificates that are still to be obtained are stood in for once it has been read."""

    def load() -> config.Config:
        loaded = source.load()
        if obtains(loaded):
            from steelyard import acme

            acme.prepare(loaded)
        return loaded

    return replace(source, load=load)


@contextmanager
def serving(control: Control, socket: AdminSocket) -> Iterator[None]:
    from steelyard.admin.server import AdminServer

    server = AdminServer(control, socket)
    server.start()
    try:
        yield
    finally:
        server.close()


@contextmanager
def watching(control: Control, path: Path, seen: bytes | None) -> Iterator[None]:
    from steelyard.watch import Watch

    watch = Watch(control, path, seen)
    watch.start()
    try:
        yield
    finally:
        watch.close()


@contextmanager
def watching_certificates(control: Control) -> Iterator[None]:
    from steelyard.watch import CertificateWatch

    watch = CertificateWatch(control)
    watch.start()
    try:
        yield
    finally:
        watch.close()


@contextmanager
def obtaining(control: Control) -> Iterator[None]:
    """Obtains certificates from when a configuration first says from whom."""
    with ExitStack() as stack:
        begun: list[Keeper] = []

        def follow(loaded: config.Config) -> None:
            if begun:
                begun[0].follow(loaded)
            elif obtains(loaded):
                from steelyard.acme import Keeper

                keeper = Keeper(loaded, lambda proofs: control.show(proofs.as_json()), control.follow_files)
                begun.append(keeper)
                control.tell_beside("acme", keeper.status)
                keeper.start()
                stack.callback(keeper.close)

        follow(control.config)
        control.on_reload(follow)
        yield


def content(path: Path) -> bytes | None:
    from steelyard.watch import content

    return content(path)


def announce(control: Control, socket: AdminSocket | None) -> None:
    """One line: what listens, with which configuration, and where it can be steered."""
    status = control.status()
    listening = "; ".join(f"{one['name']} on {', '.join(one['bind'])}" for one in status["listeners"])
    endpoints = sum(len(pool["endpoints"]) for pool in status["pools"])
    log.info(
        "steelyard %s listens: %s; endpoints: %d; workers: %d; configuration: %s; admin socket: %s",
        __version__,
        listening,
        endpoints,
        status["workers"],
        control.source.name,
        socket.path if socket else "off",
    )


def until_stopped(control: Control) -> None:
    while (event := control.wait(WAIT_S)) != "stopped":
        if event == "reload":
            control.try_reload()
