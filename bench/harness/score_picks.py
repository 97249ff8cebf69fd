"""Compiles scores as the product does and times picks by them: `score_picks.py LIBRARY PICKS ROUNDS`.

A program of its own, so that it can be pinned to a core. It prints JSON.
"""

import ctypes
import json
import sys
import tempfile
from pathlib import Path

from steelyard.config.score import FACTS, Compiled, compile_score

ENDPOINTS = 10
# Each score in Python, the same in Rust, and the engine's own policy that computes it: of all, and of two.
SCORES = {
    "requests in flight": (
        "(1 + endpoint.in_flight) / endpoint.weight",
        "steelyard_in_flight",
        {"all": ("least_request", 2), "two": ("p2c", 3)},
    ),
    "response time": (
        "(1 + endpoint.in_flight) * max(endpoint.latency, 1e-3) / endpoint.weight",
        "steelyard_time",
        {"all": ("least_time", 4)},
    ),
}
BY_SCORE = {"all": 0, "two": 1}


def main() -> None:
    path, picks, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    library = ctypes.CDLL(path)
    pick_ns = library.steelyard_pick_ns
    pick_ns.argtypes = [ctypes.c_uint32, ctypes.c_size_t, ctypes.c_uint32, ctypes.c_size_t, ctypes.c_uint64]
    pick_ns.restype = ctypes.c_double
    found = []
    for name, (expression, twin, own) in SCORES.items():
        score = compiled(expression)
        reads = sum(1 << bit for bit, fact in enumerate(FACTS) if fact in score.reads)
        in_rust = ctypes.cast(getattr(library, twin), ctypes.c_void_p).value or 0
        for compared, policy in BY_SCORE.items():
            own_name, own_policy = own.get(compared, ("", None))
            samples: dict[str, list[float]] = {"python_ns": [], "rust_ns": [], "own_ns": []}
            # One after the other within each round, so that a disturbance meets all of them.
            for _ in range(rounds):
                samples["python_ns"].append(pick_ns(policy, score.address, reads, ENDPOINTS, picks))
                samples["rust_ns"].append(pick_ns(policy, in_rust, reads, ENDPOINTS, picks))
                if own_policy is not None:
                    samples["own_ns"].append(pick_ns(own_policy, 0, 0, ENDPOINTS, picks))
            found.append({"score": name, "compared": compared, "own": own_name, **samples})
    print(json.dumps(found))


def compiled(expression: str) -> Compiled:
    """A score that is written so."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "mine.py").write_text(f"def score(endpoint):\n    return {expression}\n")
        return compile_score("mine:score", Path(folder))


if __name__ == "__main__":
    main()
