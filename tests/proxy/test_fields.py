"""Fields that belong to one connection end there, and the endpoint is told who asks."""

import re

import pytest

from language import Message, Scripted, ok, origin, proxy, raw, request, scripted


def forwarded(*fields: str, trusted: tuple[str, ...] = ()) -> Message:
    """The request that an endpoint sees when these fields are sent."""
    server = scripted()
    running = proxy().listener(trusted_proxies=trusted).pool(server).start()
    asking = raw(running).get("/", *fields)
    connection = server.accept()
    seen = connection.expect_request()
    connection.send(ok())
    asking.expect_response(200)
    return seen


def answered(*fields: str) -> Message:
    """The response that a client sees when an endpoint sends these fields."""
    server: Scripted = scripted()
    running = proxy().pool(server).start()
    asking = raw(running).get()
    connection = server.accept()
    connection.expect_request()
    connection.send(ok(b"ok", *fields))
    return asking.expect_response(200)


HOP_BY_HOP = [
    "Keep-Alive: timeout=5",
    "Proxy-Connection: keep-alive",
    "TE: gzip",
    "Upgrade: echo",
    "Proxy-Authorization: Basic eDp5",
]


class TestFieldsOfOneConnection:
    @pytest.mark.parametrize("field", HOP_BY_HOP)
    def test_do_not_reach_the_endpoint(self, field: str) -> None:
        assert field.split(":")[0] not in forwarded(field)

    @pytest.mark.parametrize("field", ["Keep-Alive: timeout=5", "Proxy-Connection: close", "Upgrade: echo"])
    def test_do_not_reach_the_client(self, field: str) -> None:
        assert field.split(":")[0] not in answered(field)

    def test_that_connection_names_do_not_reach_the_endpoint(self) -> None:
        seen = forwarded(
            "Connection: X-One, x-two",
            "Connection: X-THREE",
            "X-One: 1",
            "X-Two: 2",
            "X-Three: 3",
            "X-Four: 4",
        )
        assert not {"x-one", "x-two", "x-three"} & {name.lower() for name, _ in seen.fields}
        assert seen.get("x-four") == "4"
        assert "connection" not in seen

    def test_that_connection_names_do_not_reach_the_client(self) -> None:
        seen = answered("Connection: X-One, keep-alive", "X-One: 1", "X-Four: 4")
        assert "x-one" not in seen
        assert seen.get("x-four") == "4"

    def test_do_not_include_what_connection_must_not_name(self) -> None:
        seen = forwarded(
            "Connection: Host, X-Forwarded-For, Cookie, Authorization", "Cookie: a", "Authorization: b"
        )
        assert seen.get("host") == "a.example"
        assert seen.get("x-forwarded-for") == "127.0.0.1"
        assert (seen.get("cookie"), seen.get("authorization")) == ("a", "b")

    def test_leave_te_trailers_standing(self) -> None:
        seen = forwarded("Connection: TE", "TE: trailers, gzip;q=0.5")
        assert (seen.get("te") or "").lower() == "trailers"
        assert "te" in (seen.get("connection") or "").lower()


class TestOtherFields:
    def test_pass_in_order_and_as_they_were_written(self) -> None:
        sent = ["X-a: 1", "x-B: two words", "X-a: 3", "Accept: */*", "Empty:"]
        seen = forwarded(*sent)
        names = {"x-a", "x-b", "accept", "empty"}
        kept = [f"{name}: {value}".rstrip() for name, value in seen.fields if name.lower() in names]
        assert kept == sent

    def test_of_a_response_pass_likewise(self) -> None:
        seen = answered(
            "Set-Cookie: a=1", "Set-Cookie: b=2", "Server: them", "X-Odd: \tv ", "Date: yesterday"
        )
        assert seen.all("set-cookie") == ["a=1", "b=2"]
        assert (seen.get("server"), seen.get("x-odd"), seen.get("date")) == ("them", "v", "yesterday")

    def test_of_a_response_gain_a_date_where_there_was_none(self) -> None:
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", answered().get("date") or "")

    def test_keep_bytes_beyond_ascii(self) -> None:
        server = scripted()
        running = proxy().pool(server).start()
        raw(running).send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Name: caf\xe9\r\n\r\n")
        assert server.accept().expect_request().get("x-name") == "caf\xe9"

    def test_keep_the_host(self) -> None:
        running = proxy().pool(origin()).start()
        assert request(running, target="/echo", headers={"Host": "B.Example:81"}).seen("host") == [
            "B.Example:81"
        ]

    def test_gain_a_host_for_http_1_0(self) -> None:
        server = scripted()
        running = proxy().pool(server).start()
        raw(running).send(b"GET / HTTP/1.0\r\n\r\n")
        assert server.accept().expect_request().get("host") == server.address


LIES = [
    "X-Forwarded-For: 9.9.9.9",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.example",
    "Forwarded: for=9.9.9.9;proto=https",
    "X-Request-Id: mine",
]


class TestWhoAsks:
    def test_is_told(self) -> None:
        seen = forwarded()
        assert seen.get("x-forwarded-for") == "127.0.0.1"
        assert seen.get("x-forwarded-proto") == "http"
        assert seen.get("x-forwarded-host") == "a.example"
        assert (seen.get("forwarded") or "").replace('"', "").split(";")[0] == "for=127.0.0.1"
        assert {"proto=http", "host=a.example"} <= set(
            (seen.get("forwarded") or "").replace('"', "").split(";")
        )

    def test_is_not_believed_from_just_anyone(self) -> None:
        seen = forwarded(*LIES, "X-Forwarded-Port: 443", "X-Real-Ip: 9.9.9.9")
        assert seen.get("x-forwarded-for") == "127.0.0.1"
        assert seen.get("x-forwarded-proto") == "http"
        assert seen.get("x-forwarded-host") == "a.example"
        assert "9.9.9.9" not in (seen.get("forwarded") or "")
        assert seen.get("x-request-id") != "mine"
        assert "x-forwarded-port" not in seen

    def test_is_not_believed_from_another_network(self) -> None:
        assert forwarded(*LIES, trusted=("10.0.0.0/8", "::1/128")).get("x-forwarded-for") == "127.0.0.1"

    def test_is_believed_from_trusted_proxies_and_added_to(self) -> None:
        seen = forwarded(*LIES, trusted=("10.0.0.0/8", "127.0.0.0/8"))
        assert seen.get("x-forwarded-for") == "9.9.9.9, 127.0.0.1"
        assert seen.get("x-forwarded-proto") == "https"
        assert seen.get("x-forwarded-host") == "evil.example"
        first, second = (seen.get("forwarded") or "").split(", ")
        assert first == "for=9.9.9.9;proto=https"
        assert second.startswith("for=127.0.0.1")
        assert seen.get("x-request-id") == "mine"

    def test_is_one_list_where_it_came_in_several_fields(self) -> None:
        seen = forwarded("X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2", trusted=("127.0.0.1/32",))
        assert seen.get("x-forwarded-for") == "1.1.1.1, 2.2.2.2, 127.0.0.1"

    @pytest.mark.parametrize("lookalike", ["X_Forwarded_For", "X-Forwarded_For", "x_request_id"])
    def test_cannot_be_told_by_a_name_that_looks_alike(self, lookalike: str) -> None:
        # Servers that turn fields into variables of an environment read both names as one.
        assert lookalike not in forwarded(f"{lookalike}: 9.9.9.9")

    def test_has_an_id_of_its_own_for_every_request(self) -> None:
        running = proxy().pool(origin()).start()
        ids = {request(running, target="/echo").seen("x-request-id")[0] for _ in range(50)}
        assert len(ids) == 50
        assert all(len(one) >= 16 for one in ids)
