"""Waiting for a condition, never for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

DEADLINE_S = 30.0
POLL_S = 0.005

Result = TypeVar("Result")


def eventually(condition: Callable[[], Result], what: str = "", *, within_s: float = DEADLINE_S) -> Result:
    """The first true answer of `condition`, asked again and again.

    The deadline is far too generous on purpose: it only ends a test that has failed already. An assertion
    inside the condition counts as *not yet* and is raised when the time is over.
    """
    deadline = time.monotonic() + within_s
    while True:
        failure: AssertionError | None = None
        try:
            answer = condition()
            if answer:
                return answer
        except AssertionError as error:
            failure = error
            answer = None
        if time.monotonic() > deadline:
            if failure is not None:
                raise failure
            raise AssertionError(
                f"still not after {within_s:.0f} s: {what or 'the condition'} (last: {answer!r})"
            )
        time.sleep(POLL_S)
