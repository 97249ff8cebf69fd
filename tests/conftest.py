"""Every test has a scope of its own, in which the language opens things."""

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("language")

from language import origin, proxy, request, scope  # noqa: E402 - the line above must come first


@pytest.fixture(scope="session")
def native_threads_have_run() -> None:
    """What the native side opens once and keeps for the process is open before descriptors are counted."""
    with scope(counting=False):
        request(proxy().pool(origin().start()).start())


@pytest.fixture(autouse=True)
def everything_is_closed(native_threads_have_run: None) -> Iterator[None]:
    with scope():
        yield
