"""Policies written in Python that are not compiled: called now and then, and what they say becomes weights.

Each pool with such a policy has a thread of its own here. Every `refresh` it reads what the engine knows of
the endpoints, calls the function for each, and hands the engine weights; the workers go by those until the
next come, whatever becomes of this thread. A function that never returns holds up nothing but its own next
weights.
"""

import json
import logging
import math
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from steelyard import _core
from steelyard.config import Config, Overlay
from steelyard.config.score import Endpoint, ScoreFunction

__all__ = ["Scores", "weights_of"]

log = logging.getLogger("steelyard.interpreted")

REFRESH_S = 1.0
"""How often a function is called, unless configured."""
WORST = 0.01
"""The weight of the worst score beside 1 for the best."""
PLACES_MAX = 100
"""Places in the function whose errors are told once each; of more nothing is told."""


class Scored(NamedTuple):
    """What a score may look at: all that a compiled one may, and who it is about."""

    in_flight: float
    latency: float
    error_rate: float
    weight: float
    bytes_per_second: float
    age: float
    zone_match: float
    address: str


assert Scored._fields[: len(Endpoint._fields)] == Endpoint._fields, "both kinds read the same"


def weights_of(scores: Sequence[float | None]) -> list[float] | None:
    """The weights of endpoints with these scores, of which the lowest is best; None where all are alike bad.

    The best has the weight 1. Where it is above 0, twice the score is half the weight. Where it is not,
    scores say nothing as quotients: then one that is worse than the best by as much as all are in the mean
    has half the weight, one that is worse by twice that a third. No weight is below 0.01, and that is the
    weight of a score that is no number, infinite, or not there at all.
    """
    sound = [score for score in scores if score is not None and math.isfinite(score)]
    if not sound:
        return None
    best = min(sound)
    # Half of each, since a difference may be beyond the largest number.
    usual = sum((score / 2 - best / 2) / len(sound) for score in sound) or 1.0

    def weight(score: float | None) -> float:
        if score is None or not math.isfinite(score):
            return WORST
        weight = best / score if best > 0 else usual / (usual + (score / 2 - best / 2))
        return max(weight, WORST)

    return [weight(score) for score in scores]


@dataclass(frozen=True)
class Wanted:
    """A function to be called, and how often."""

    source: ScoreFunction
    refresh_s: float

    def is_same(self, other: "Wanted") -> bool:
        """Whether a thread that does the one does the other: the same function keeps what it remembers."""
        return (self.source.label, self.source.version, self.refresh_s) == (
            other.source.label,
            other.source.version,
            other.refresh_s,
        )


class Scores:
    """The threads of the interpreted policies of one engine."""

    def __init__(self, engine: _core.Engine) -> None:
        self._engine = engine
        self._running: dict[str, Scorer] = {}

    def follow(self, config: Config, overlay: Overlay) -> None:
        """Starts and ends threads so that they are those of this configuration. Waits for none."""
        wanted = dict(wanted_in(config, overlay))
        for name, running in list(self._running.items()):
            if name not in wanted or not running.wanted.is_same(wanted[name]):
                running.end()
                del self._running[name]
        for name, one in wanted.items():
            if name not in self._running:
                self._running[name] = Scorer(name, one, self._engine)
                self._running[name].start()

    def status(self, pool: str) -> dict[str, Any] | None:
        """How the policy of this pool does; None where it is not interpreted."""
        running = self._running.get(pool)
        return running.status() if running else None

    def close(self) -> None:
        """Calls no function any more. One that is under way is left alone."""
        for running in self._running.values():
            running.end()
        self._running = {}


def wanted_in(config: Config, overlay: Overlay) -> Iterator[tuple[str, Wanted]]:
    for name, pool in config.pools.items():
        policy = pool.policy
        # A policy that was set at run time is none of these.
        if policy.interpreted is not None and overlay.policies.get(name, policy.name) == policy.name:
            refresh_s = REFRESH_S if policy.refresh is None else policy.refresh / 1_000
            yield name, Wanted(policy.interpreted, refresh_s)


class Scorer(threading.Thread):
    """Calls the function of one pool, again and again."""

    def __init__(self, pool: str, wanted: Wanted, engine: _core.Engine) -> None:
        # A function that never returns must not keep the process from ending.
        super().__init__(name=f"steelyard-score-{pool}", daemon=True)
        self.wanted = wanted
        self._pool = pool
        self._engine = engine
        self._ended = threading.Event()
        self._told: set[str] = set()
        self._rounds = 0
        self._errors = 0
        self._last_error: str | None = None
        self._handed_over: float | None = None

    def end(self) -> None:
        self._ended.set()

    def status(self) -> dict[str, Any]:
        at = self._handed_over
        return {
            "rounds": self._rounds,
            "errors": self._errors,
            "last_error": self._last_error,
            # Much older than `refresh`: the function is stuck, or slow.
            "age_s": None if at is None else time.monotonic() - at,
        }

    def run(self) -> None:
        while not self._ended.is_set():
            begun = time.monotonic()
            try:
                self._round()
            except _core.EngineStopped:
                return
            except Exception:
                log.exception("the weights of pool %s stay as they are", self._pool)
            # From one beginning to the next, with a pause where the function takes longer than that.
            spent = time.monotonic() - begun
            self._ended.wait(max(self.wanted.refresh_s - spent, self.wanted.refresh_s / 10))

    def _round(self) -> None:
        facts: dict[str, list[dict[str, Any]]] = json.loads(self._engine.facts())
        endpoints = [Scored(**one) for one in facts.get(self._pool, [])]
        weights = weights_of([self._score(endpoint) for endpoint in endpoints])
        # Whoever has ended meanwhile has been followed by another, whose weights these would replace.
        if weights is not None and not self._ended.is_set():
            self._hand_over({one.address: weight for one, weight in zip(endpoints, weights, strict=True)})
        self._rounds += 1

    def _hand_over(self, weights: Mapping[str, float]) -> None:
        if self._engine.take_weights(json.dumps({"pool": self._pool, "weights": weights})):
            self._handed_over = time.monotonic()

    def _score(self, endpoint: Scored) -> float | None:
        try:
            return float(self.wanted.source.function(endpoint))
        except (Exception, SystemExit) as error:
            self._note(error, endpoint)
            return None

    def _note(self, error: BaseException, endpoint: Scored) -> None:
        """Counts an error of the function, and tells of it once for each place."""
        self._errors += 1
        file = self.wanted.source.function.__code__.co_filename
        lines = [f"{one.filename}:{one.lineno}" for one in traceback.extract_tb(error.__traceback__)]
        inside = [line for line in lines if line.startswith(f"{file}:")]
        # What is no number is found outside, once the function has returned it.
        place = inside[-1] if inside else self.wanted.source.place
        self._last_error = f"{place}: {type(error).__name__}: {error}"
        if place not in self._told and len(self._told) < PLACES_MAX:
            self._told.add(place)
            log.error(
                "the policy %s of pool %s failed for %s, which counts as the worst; this is told once: %s",
                self.wanted.source.label,
                self._pool,
                endpoint.address,
                self._last_error,
            )
