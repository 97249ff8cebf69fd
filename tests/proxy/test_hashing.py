"""Policies that hash: the same key goes to the same endpoint, wherever in the request it stands."""

from collections import Counter
from collections.abc import Mapping

import pytest

from language import Origin, Running, client, endpoint, eventually, in_background, origin, proxy, request

HASHING = ["ring_hash", "maglev", "rendezvous", "bounded_hash"]


def origins(count: int) -> list[Origin]:
    return [origin().named(str(number)) for number in range(count)]


def served(running: Running, targets: list[str], headers: Mapping[str, str] | None = None) -> list[str]:
    """Who served each of these targets in turn."""
    one = client(running)
    return [one.get(target, headers=headers).origin or "" for target in targets]


def homes(running: Running, count: int = 60) -> list[str]:
    """Who serves each of so many users."""
    one = client(running)
    return [one.get(headers={"X-User": f"user-{number}"}).origin or "" for number in range(count)]


@pytest.mark.parametrize("policy", HASHING)
class TestEveryHash:
    def test_a_key_has_one_endpoint_and_keys_have_all(self, policy: str) -> None:
        running = (
            proxy().workers(3).pool(*origins(4), policy={"name": policy, "key": "header:x-user"}).start()
        )
        first = homes(running)
        assert homes(running) == first
        assert set(first) == {"0", "1", "2", "3"}

    def test_the_order_of_the_endpoints_does_not_matter(self, policy: str) -> None:
        servers = origins(4)
        settings = {"name": policy, "key": "header:x-user"}
        one = proxy().pool(*servers, policy=settings).start()
        other = proxy().pool(*reversed(servers), policy=settings).start()
        assert homes(one) == homes(other)

    def test_a_drain_moves_only_the_keys_of_the_drained(self, policy: str) -> None:
        servers = origins(4)
        settings = {"name": policy, "key": "header:x-user"}
        running = proxy().pool(*servers, policy=settings).start()
        before = homes(running)
        drained = [endpoint(servers[0], drain=True), *servers[1:]]
        running.apply(proxy().pool(*drained, policy=settings))
        during = homes(running)
        assert all(was in ("0", now) for was, now in zip(before, during, strict=True))
        assert "0" not in during
        running.apply(proxy().pool(*servers, policy=settings))
        assert homes(running) == before

    def test_a_retry_goes_to_another_endpoint(self, policy: str) -> None:
        servers = origins(3)
        running = proxy().pool(*servers, policy={"name": policy, "key": "header:x-user"}).start()
        before = homes(running)
        servers[0].die()
        after = homes(running)
        assert "0" not in after
        assert all(was in ("0", now) for was, now in zip(before, after, strict=True))

    def test_requests_without_the_key_go_to_all(self, policy: str) -> None:
        running = proxy().pool(*origins(3), policy={"name": policy, "key": "header:x-user"}).start()
        assert set(served(running, ["/"] * 60)) == {"0", "1", "2"}


class TestKeys:
    def test_from_a_cookie(self) -> None:
        running = proxy().pool(*origins(4), policy={"name": "maglev", "key": "cookie:sid"}).start()

        def home(cookies: str) -> str | None:
            return request(running, headers={"Cookie": cookies}).origin

        alone = [home(f"sid={number}") for number in range(40)]
        assert [home(f"theme=dark; sid={number}; xsid=0") for number in range(40)] == alone
        assert set(alone) == {"0", "1", "2", "3"}

    def test_from_the_path_whatever_its_spelling(self) -> None:
        running = proxy().pool(*origins(4), policy={"name": "ring_hash", "key": "path"}).start()
        plain = served(running, [f"/page/{number}" for number in range(40)])
        assert served(running, [f"/x/../%70age/{number}?q={number}" for number in range(40)]) == plain
        assert set(plain) == {"0", "1", "2", "3"}

    def test_from_the_query(self) -> None:
        running = proxy().pool(*origins(4), policy={"name": "rendezvous", "key": "query:id"}).start()
        plain = served(running, [f"/?id={number}" for number in range(40)])
        assert served(running, [f"/other?a=1&id={number}&b={number}" for number in range(40)]) == plain
        assert set(plain) == {"0", "1", "2", "3"}

    def test_from_the_address(self) -> None:
        running = proxy().pool(*origins(4), policy={"name": "ring_hash", "key": "address"}).start()
        assert len(set(served(running, [f"/{number}" for number in range(40)]))) == 1


class TestShares:
    @pytest.mark.parametrize("policy", HASHING)
    def test_follow_weights(self, policy: str) -> None:
        heavy, light = origins(2)
        settings = {"name": policy, "key": "header:x-user"}
        running = proxy().pool(endpoint(heavy, weight=4), light, policy=settings).start()
        counts = Counter(homes(running, 600))
        # Four fifths, give or take five standard deviations and what a ring is uneven by.
        assert 400 < counts["0"] < 560, counts

    def test_bounded_hash_spreads_a_busy_key(self) -> None:
        servers = origins(4)
        running = proxy().pool(*servers, policy={"name": "bounded_hash", "key": "path"}).start()
        waiting = []
        for number in range(8):
            waiting.append(in_background(running, "/hang"))
            eventually(lambda count=number: running.in_flight() == count + 1)  # type: ignore[misc]
        # Eight requests of one key: nobody carries more than a quarter of 1.25 times as many, rounded up.
        assert max(running.endpoint(one)["in_flight"] for one in servers) <= 3
        for one in servers:
            one.die()
        assert {one.reply().status for one in waiting} == {502}
