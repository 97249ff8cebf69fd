"""The process of a `SpawnedEngine`: questions in, one JSON a line; answers out, likewise."""

import itertools
import json
import os
import sys
import threading

from steelyard import _core


def main() -> None:
    first = json.loads(sys.stdin.readline())
    if first["after_another"]:
        _core.Engine.start(first["start"], json.dumps(first["options"])).close()
    engine = _core.Engine.start(first["start"], json.dumps(first["options"]))
    answer(engine.status())
    threading.Thread(target=end_with, args=(engine,), daemon=True).start()
    for line in sys.stdin:
        match json.loads(line)["ask"]:
            case "status":
                answer(engine.status())
            case "block":
                answer("{}")
                # One call in C that neither returns nor lets go of the interpreter lock.
                sum(itertools.repeat(0))
    engine.close()


def end_with(engine: _core.Engine) -> None:
    while engine.wait(1.0) != "stopped":
        pass
    engine.close()
    os._exit(0)


def answer(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the protocol of this process


if __name__ == "__main__":
    main()
