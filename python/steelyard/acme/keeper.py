"""Keeps the certificates of a running instance: obtains what is missing, renews what grows old."""

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from steelyard.acme.authority import Authority, Wish
from steelyard.acme.challenge import Proofs
from steelyard.acme.store import Held, Store
from steelyard.config import Config
from steelyard.config.acme import Acme, bundle_of, folder_of
from steelyard.config.automatic import names_of

__all__ = ["Keeper"]

log = logging.getLogger("steelyard.acme")

LOOK_S = 3600.0
"""How often every certificate is looked at."""
RENEW_SHARE = 1 / 3
"""The share of its lifetime that a certificate has left when it is renewed, where nothing else is wished."""
RENEW_SHARE_MAX = 3 / 4
NEW = timedelta(days=1)
"""So long a certificate is left alone: an authority that wished each one away would issue without end."""
RETRY_FIRST = timedelta(minutes=1)
RETRY_MAX = timedelta(hours=12)


@dataclass
class Failing:
    """How long to leave an order that fails alone, and why it did."""

    wait: timedelta
    until: datetime
    why: str


class Keeper:
    """One thread beside the control. `show` gives the engine proofs, `renewed` tells of new certificates."""

    def __init__(self, config: Config, show: Callable[[Proofs], None], renewed: Callable[[], None]) -> None:
        self._show = show
        self._renewed = renewed
        self._failing: dict[Path, Failing] = {}
        self._wishes: dict[Path, tuple[bytes, Wish]] = {}
        self._authority: tuple[Acme, Authority] | None = None
        self._config = config
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="steelyard-acme", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def follow(self, config: Config) -> None:
        """Keeps what another configuration names from now on; what failed is tried again at once."""
        self._config = config
        self._failing = {}
        self._wake.set()

    def close(self) -> None:
        self._stopping = True
        self._wake.set()
        # An order under way may take longer; a daemon thread does not hold up the end.
        self._thread.join(timeout=2)

    def status(self) -> list[dict[str, Any]]:
        """Each name: how its certificate stands and until when, what went wrong, when that is tried again."""
        config, acme = self._config, self._config.acme
        if acme is None:
            return []
        store, failing = Store(folder_of(acme)), self._failing
        paths = {name: bundle_of(acme, name) for name in names_of(config)}
        return [row(name, store.held(path), failing.get(path)) for name, path in paths.items()]

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                self.look()
            except Exception:
                log.exception("certificates are not looked after for a while")
            self._wake.wait(self._pause_s())

    def look(self) -> None:
        """Obtains every certificate that is due, one after the other."""
        config, acme = self._config, self._config.acme
        if acme is None:
            return
        for name in names_of(config):
            if self._stopping or self._config is not config:
                return
            self._look_at(acme, name)

    def _look_at(self, acme: Acme, name: str) -> None:
        path, now = bundle_of(acme, name), datetime.now(UTC)
        failing = self._failing.get(path)
        if failing and now < failing.until:
            return
        store = Store(folder_of(acme))
        try:
            held = store.held(path)
            if held and not self._is_due(acme, path, held, name, now):
                return
            key, chain = self._authority_of(acme).obtain([name], self._show)
            store.keep(path, key, chain)
        except Exception as error:
            if not self._stopping:
                self._failed(path, error)
            return
        self._failing.pop(path, None)
        log.info("obtained a certificate for %s from %s", name, acme.directory)
        self._renewed()

    def _is_due(self, acme: Acme, path: Path, held: Held, name: str, now: datetime) -> bool:
        if is_due(held, name, now, acme.renew_before):
            return True
        if acme.renew_before is not None or now < held.begins + min(NEW, (held.ends - held.begins) / 2):
            return False
        chain, wish = self._wishes.get(path, (b"", None))
        if wish is None or chain != held.chain or now >= wish.ask_again:
            wish = self._authority_of(acme).wish(held.chain)
            self._wishes[path] = held.chain, wish
        return wish.when is not None and now >= wish.when

    def _authority_of(self, acme: Acme) -> Authority:
        if self._authority is None or self._authority[0] != acme:
            self._authority = acme, Authority(acme, Store(folder_of(acme)))
        return self._authority[1]

    def _failed(self, path: Path, error: Exception) -> None:
        before = self._failing.get(path)
        wait = min(before.wait * 2, RETRY_MAX) if before else RETRY_FIRST
        # Some chance, so that many instances do not come back together.
        until = datetime.now(UTC) + wait * random.uniform(0.8, 1.2)
        self._failing[path] = Failing(wait, until, str(error))
        log.error("%s; tried again in about %d min", error, wait.total_seconds() / 60)

    def _pause_s(self) -> float:
        soonest = min((one.until for one in self._failing.values()), default=None)
        if soonest is None:
            return LOOK_S
        return min(LOOK_S, max(1.0, (soonest - datetime.now(UTC)).total_seconds()))


def row(name: str, held: Held | None, failing: Failing | None) -> dict[str, Any]:
    return {
        "name": name,
        "state": "failing" if failing else "valid" if held else "waiting",
        "not_after": held.ends.isoformat(timespec="seconds") if held else None,
        "error": failing.why if failing else None,
        "next_try": failing.until.isoformat(timespec="seconds") if failing else None,
    }


def is_due(held: Held, name: str, now: datetime, before_ms: int | None) -> bool:
    """Whether a certificate is to be replaced by a new one."""
    if name not in held.names:
        return True
    lifetime = held.ends - held.begins
    before = lifetime * RENEW_SHARE
    if before_ms is not None:
        # Were it more than all of it, there would be no end of renewing.
        before = min(timedelta(milliseconds=before_ms), lifetime * RENEW_SHARE_MAX)
    return now >= held.ends - before
