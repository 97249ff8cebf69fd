"""Every test has a scope of its own, in which the language opens things."""

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("language")

from language import scope  # noqa: E402 - the line above must come first


@pytest.fixture(autouse=True)
def everything_is_closed() -> Iterator[None]:
    with scope():
        yield
