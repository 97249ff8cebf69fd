"""Owns the engine: starts it, changes it while it runs, stops it.

The engine knows one verb for change, `apply(document)`. What is changed at run time (drain, weight, policy)
is an overlay held here; it is laid over the file and the result applied, so that it survives a reload until
undone. Whatever fails leaves the old configuration in force.
"""

import json
import logging
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from steelyard import _core
from steelyard.config import (
    POLICIES,
    Config,
    EndpointKey,
    KeyPath,
    Overlay,
    canonical,
    key_text,
    load,
    problem_in,
    tls_files,
)
from steelyard.config import document as document_of
from steelyard.errors import (
    BindError,
    ConfigError,
    EngineError,
    InstanceError,
    Problem,
    SteelyardError,
    UsageError,
)
from steelyard.interpreted import Scores

__all__ = ["ConfigSource", "Control", "build_info"]

log = logging.getLogger("steelyard.control")

NAMES_MAX = 10
"""Endpoints that a hint names."""


@dataclass(frozen=True, slots=True)
class ConfigSource:
    """Where a configuration comes from: its name for people, its file if it has one, how to read it again."""

    name: str
    path: Path | None
    load: Callable[[], Config]

    @classmethod
    def file(cls, path: str | Path) -> Self:
        """The file at `path`, read anew for each reload."""
        found = Path(path)
        return cls(str(found), found.absolute(), lambda: load(found))

    def problem(self, key: KeyPath, message: str, hint: str | None) -> Problem:
        """What the engine says of a key, at its place."""
        if self.path is None:
            return Problem(message, key_text(key), hint, self.name)
        return problem_in(self.path, self.name, key, message, hint)


class Control:
    """A running engine and what may be done to it. Every method may be called from any thread."""

    def __init__(self, source: ConfigSource, loaded: Config, engine: _core.Engine, stamps: "Stamps") -> None:
        self.source = source
        self._started = self._config = loaded
        self._engine = engine
        self._overlay = Overlay()
        self._change = threading.Lock()
        self._scores = Scores(engine)
        self._scores.follow(loaded, self._overlay)
        self._told: list[Callable[[Config], None]] = []
        self._beside: dict[str, Callable[[], Any]] = {}
        self._stamps = stamps

    @classmethod
    def start(
        cls, source: ConfigSource, loaded: Config, *, signals: bool = False, seed: int | None = None
    ) -> Self:
        """Binds and starts everything, or raises ConfigError or BindError and leaves nothing behind.

        With `signals` the engine takes SIGTERM, SIGINT and SIGHUP over for the whole process.
        """
        options = {
            "signals": signals,
            "seed": seed,
            "phase": "random" if seed is None else "zero",
            "log_level": loaded.log.level,
            "log_format": loaded.log.format,
        }
        document = json.dumps(document_of(loaded))
        stamps = stamps_of(tls_files(loaded))
        try:
            engine = _core.Engine.start(document, json.dumps(options))
        except (_core.DocumentError, OSError) as error:
            raise reported(error, source) from error
        return cls(source, loaded, engine, stamps)

    @property
    def config(self) -> Config:
        """The configuration in force, without the overlay."""
        return self._config

    @property
    def files(self) -> list[Path]:
        """The files that the configuration in force names: certificates, keys, authorities."""
        return list(self._stamps)

    @property
    def overlay(self) -> Overlay:
        return self._overlay

    def status(self) -> dict[str, Any]:
        """The engine's own status, and beside it where it came from and what lies over the file."""
        status: dict[str, Any] = json.loads(self._engine.status())
        for pool in status["pools"]:
            pool["without_address"] = self._without_address(pool)
            pool["interpreted"] = self._scores.status(pool["name"])
        return {
            **status,
            "notices": self.notices(),
            "version": _core.VERSION,
            "pid": os.getpid(),
            "config": str(self.source.path or self.source.name),
            "overlay": self._overlay.as_json(self._config),
            **{name: tell() for name, tell in self._beside.items()},
        }

    def tell_beside(self, name: str, tell: Callable[[], Any]) -> None:
        """The status says under this name what `tell` does."""
        self._beside = {**self._beside, name: tell}

    def show(self, proofs: dict[str, Any]) -> None:
        """Shows proofs to an authority that is about to issue a certificate, in place of those before."""
        self._engine.show(json.dumps(proofs))

    def _without_address(self, pool: dict[str, Any]) -> list[str]:
        """Names without a row: not resolved, or to what other endpoints of the pool have already."""
        rows = {canonical(one["configured"]) for one in pool["endpoints"]}
        known = self._config.pools.get(pool["name"])
        return [one.address for one in known.endpoints if one.address not in rows] if known else []

    def on_reload(self, tell: Callable[[Config], None]) -> None:
        """Calls `tell` with each configuration that a reload has put in force."""
        self._told.append(tell)

    def reload(self) -> int:
        """Reads the configuration again and puts it in force. Returns the new generation."""
        if self.source.path is None:
            raise UsageError(
                "there is no file to reload: the configuration was given on the command line",
                hint="start it with a file: steelyard init writes one",
            )
        with self._change:
            loaded = self.source.load()
            generation = self._apply(loaded, self._overlay, self.source)
        for tell in self._told:
            try:
                tell(loaded)
            except Exception:
                # It is in force already, whatever becomes of who only wants to know.
                log.exception("not everything has followed the reload")
        log.info("reloaded %s as generation %d", self.source.name, generation)
        for notice in self.notices():
            log.warning("%s", notice)
        return generation

    def try_reload(self) -> None:
        """As `reload`, where nobody waits for the outcome: what goes wrong is logged, the old one stays."""
        try:
            self.reload()
        except SteelyardError as error:
            log.error("the old configuration stays in force: %s", error)
        except Exception:
            log.exception("the old configuration stays in force: the reload failed for a reason of its own")

    def follow_files(self) -> None:
        """Loads certificates, keys and authorities anew if their files have changed.

        Where something is wrong with them that is logged, and the old ones stay.
        """
        with self._change:
            now = stamps_of(self._stamps)
            if now == self._stamps:
                return
            # Whatever comes of it: what is wrong is said once, not until it has been put right.
            self._stamps = now
            try:
                generation = self._apply(self._config, self._overlay, self.source)
            except SteelyardError as error:
                log.error("the old certificates stay in force: %s", error)
                return
        log.info("loaded certificates anew as generation %d", generation)

    def notices(self) -> list[str]:
        """What of the configuration in force has no effect before a restart, in sentences for people."""
        settings = (
            ("admin.socket", self._started.admin.socket, self._config.admin.socket),
            ("log.level", self._started.log.level, self._config.log.level),
            ("log.format", self._started.log.format, self._config.log.format),
        )
        return [
            f'{key} was "{before}" at the start and is "{after}" now: the engine follows after a restart'
            for key, before, after in settings
            if before != after
        ]

    def drain(self, endpoint: str) -> int:
        """The endpoint takes no new requests; those in flight end."""
        return self._overlaid(f"{endpoint} is drained", lambda: self._overlay.drain(self.find(endpoint)))

    def undrain(self, endpoint: str) -> int:
        told = f"{endpoint} is drained no longer"
        return self._overlaid(told, lambda: self._overlay.undrain(self.find(endpoint)))

    def weight(self, endpoint: str, weight: int | None) -> int:
        """None gives the endpoint back the weight of the file."""
        told = f"the weight of {endpoint} is {'that of the file' if weight is None else weight}"
        return self._overlaid(told, lambda: self._overlay.weight(self.find(endpoint), weight))

    def policy(self, pool: str, policy: str | None) -> int:
        """None gives the pool back the policy of the file."""
        told = f"the policy of {pool} is {'that of the file' if policy is None else policy}"
        return self._overlaid(
            told, lambda: self._overlay.policy(self._known_pool(pool), known_policy(policy))
        )

    def find(self, endpoint: str) -> EndpointKey:
        """The endpoint that `[POOL/]ADDRESS` names. Raises UsageError where that is none, or several."""
        known = [(name, one.address) for name, pool in self._config.pools.items() for one in pool.endpoints]
        fits = [key for key in known if is_named(key, endpoint)]
        # What has left the file can still be undone.
        fits = fits or [key for key in sorted(self._overlay.endpoints()) if is_named(key, endpoint)]
        if len(fits) == 1:
            return fits[0]
        if fits:
            names = " or ".join(f"{pool}/{address}" for pool, address in fits)
            raise UsageError(f'"{endpoint}" stands in several pools', hint=f"say which: {names}")
        if behind := self._found_behind(endpoint):
            raise UsageError(
                f'"{endpoint}" is where a name was found, not an endpoint of its own',
                hint=f"the whole name can be steered: {' or '.join(behind)}",
            )
        there = [f"{pool}/{address}" for pool, address in known]
        more = f" and {len(there) - NAMES_MAX} more" if len(there) > NAMES_MAX else ""
        raise UsageError(
            f'there is no endpoint "{endpoint}"',
            hint=f"the endpoints are {', '.join(there[:NAMES_MAX])}{more}",
        )

    def _found_behind(self, endpoint: str) -> list[str]:
        """The endpoints, host names, that have been resolved to this address."""
        return [
            f"{pool['name']}/{one['configured']}"
            for pool in json.loads(self._engine.status())["pools"]
            for one in pool["endpoints"]
            if one["configured"] != one["address"] and is_named((pool["name"], one["address"]), endpoint)
        ]

    def _known_pool(self, name: str) -> str:
        if name not in self._config.pools and name not in self._overlay.policies:
            raise UsageError(
                f'there is no pool "{name}"', hint=f"the pools are {', '.join(self._config.pools)}"
            )
        return name

    def _overlaid(self, told: str, change: Callable[[], Overlay]) -> int:
        # A refusal of what was asked for is not to be looked for in the file.
        asked = ConfigSource("what was asked for", None, lambda: self._config)
        with self._change:
            generation = self._apply(self._config, change(), asked, read_files=False)
        log.info("%s, as generation %d", told, generation)
        return generation

    def _apply(
        self, loaded: Config, overlay: Overlay, source: ConfigSource, *, read_files: bool = True
    ) -> int:
        document = json.dumps(document_of(loaded, overlay))
        # Taken before they are read: what changes meanwhile is seen the next time.
        stamps = stamps_of(tls_files(loaded)) if read_files else self._stamps
        try:
            generation: int = json.loads(self._engine.apply(document, read_files))["generation"]
        except _core.EngineStopped as error:
            raise InstanceError("it is stopping, and takes no more changes") from error
        except (_core.DocumentError, OSError) as error:
            raise reported(error, source) from error
        self._config, self._overlay, self._stamps = loaded, overlay, stamps
        self._scores.follow(loaded, overlay)
        return generation

    def wait(self, timeout_s: float) -> str | None:
        """ "reload", "stopped", or None when the time is over. Lets other threads run.

        Raises EngineError once it has stopped for a fault of its own.
        """
        try:
            return self._engine.wait(timeout_s)
        except _core.EngineFailed as error:
            raise EngineError(str(error)) from error

    def stop(self, *, now: bool = False) -> None:
        """Begins to drain (or stops at once) and returns; `wait` says when it is done."""
        self._engine.stop(now)

    def close(self) -> None:
        """Stops at once and joins every native thread. May be called again."""
        self._scores.close()
        self._engine.close()


Stamps = dict[Path, tuple[int, int, int, int] | None]
"""What tells a file from what it was before; None while it cannot be looked at."""


def stamps_of(files: Iterable[Path]) -> Stamps:
    stamps: Stamps = {}
    for file in files:
        try:
            found = file.stat()
            stamps[file] = (found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev)
        except OSError:
            stamps[file] = None
    return stamps


def is_named(key: EndpointKey, endpoint: str) -> bool:
    """Whether `[POOL/]ADDRESS`, in any spelling, is this one."""
    pool, address = key
    rest = endpoint.removeprefix(f"{pool}/")
    return address in (canonical(endpoint), canonical(rest))


def known_policy(policy: str | None) -> str | None:
    if policy is not None and policy not in POLICIES:
        raise UsageError(f'unknown policy "{policy}"', hint=f"one of {', '.join(POLICIES)}")
    return policy


def build_info() -> dict[str, Any]:
    """How the extension was built."""
    info: dict[str, Any] = json.loads(_core.build_info())
    return info


def reported(error: Exception, source: ConfigSource) -> SteelyardError:
    """What the engine refused, as a person should hear it."""
    if isinstance(error, _core.DocumentError):
        problems = json.loads(error.args[0])
        return ConfigError(
            [source.problem(tuple(one["path"]), one["message"], one["hint"]) for one in problems]
        )
    if not isinstance(error, OSError):
        return SteelyardError(str(error))
    reason = (error.strerror or str(error)).lower()
    if not isinstance(error, _core.BindError):
        return SteelyardError(reason)
    # What to do about it travels as a note.
    hint = "\n".join(getattr(error, "__notes__", ())) or None
    where = f'{error.filename2} for listener "{error.filename}" of {source.name}'
    return BindError(f"cannot listen on {where}: {reason}", hint=hint)
