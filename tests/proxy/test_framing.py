"""A message arrives as whole as it was sent, in whatever framing either side uses."""

import hashlib

import pytest

from language import Raw, Scripted, ScriptedConnection, client, ok, origin, proxy, raw, request, scripted

ALPHABET = bytes(range(97, 123))


def alphabet(count: int) -> bytes:
    return (ALPHABET * (count // 26 + 1))[:count]


class TestARequestBody:
    def test_with_a_length_keeps_it(self) -> None:
        running = proxy().pool(origin()).start()
        reply = request(running, "POST", "/echo", body=b"twelve bytes")
        assert reply.json()["framing"] == "length"
        assert reply.json()["body"] == "twelve bytes"

    def test_in_chunks_is_chunked_anew(self) -> None:
        server = scripted()
        running = proxy().pool(server).start()
        asking = raw(running).send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b'003;name="a;b"\r\nabc\r\n1;x\r\nd\r\n0;last\r\n\r\n'
        )
        connection = server.accept()
        seen = connection.expect_request("POST")
        assert (seen.framing, seen.body) == ("chunked", b"abcd")
        connection.send(ok())
        asking.expect_response(200)

    def test_keeps_its_trailers(self) -> None:
        server = scripted()
        running = proxy().pool(server).start()
        raw(running).send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n0\r\nX-Sum: 294\r\n\r\n"
        )
        seen = server.accept().expect_request("POST")
        assert [(name.lower(), value) for name, value in seen.trailers] == [("x-sum", "294")]
        assert (seen.get("trailer") or "").lower() == "x-sum"

    @pytest.mark.parametrize("short", [10, 1000, 3000])
    def test_behind_a_head_that_fills_the_buffer_does_not_trickle(self, short: int) -> None:
        server = scripted()
        running = proxy().pool(server).start()
        begin = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX: "
        head = begin + b"x" * (16 * 1024 - len(begin) - 4 - short) + b"\r\n\r\n"
        body = alphabet(1_000_000)
        asking = raw(running).send(head)
        connection = server.accept()
        seen = connection.expect_request_head("POST")
        asking.send(b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
        message = connection.read_request_body(seen)
        assert message.body == body
        # A chunk is what one read has brought.
        assert len(message.chunks) < len(body) / 3500

    def test_of_no_bytes_says_so(self) -> None:
        running = proxy().pool(origin()).start()
        assert request(running, "POST", "/echo", body=b"").seen("content-length") == ["0"]
        assert request(running, "POST", "/echo", body=iter(())).json()["framing"] == "chunked"
        assert request(running, "GET", "/echo").json()["framing"] == "none"

    @pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH", "PUT", "PROPFIND"])
    def test_goes_with_any_method(self, method: str) -> None:
        running = proxy().pool(origin()).start()
        seen = request(running, method, "/echo", body=b"abc").json()
        assert (seen["method"], seen["body"]) == (method, "abc")

    def test_that_comes_byte_by_byte_is_whole(self) -> None:
        running = proxy().pool(origin()).start()
        asking = raw(running)
        text = (
            b"POST /echo-body HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\na;x=y\r\n0123456789\r\n0\r\nX: y\r\n\r\n"
        )
        for byte in text:
            asking.send(bytes([byte]))
        assert asking.expect_response(200).body == b"abc0123456789"

    @pytest.mark.parametrize("kind", ["length", "chunked"])
    def test_of_eight_mebibytes_is_whole(self, kind: str) -> None:
        running = proxy().pool(origin()).start()
        content = hashlib.shake_128(b"seed").digest(8 << 20)
        pieces = (content[at : at + 100_000] for at in range(0, len(content), 100_000))
        reply = client(running).post("/echo-body", content if kind == "length" else pieces)
        assert reply.status == 200
        assert hashlib.sha256(reply.body).digest() == hashlib.sha256(content).digest()


class TestAResponseBody:
    def test_with_a_length_keeps_it(self) -> None:
        running = proxy().pool(origin()).start()
        answer = raw(running).get("/bytes/1000").expect_response(200)
        assert (answer.framing, answer.body) == ("length", alphabet(1000))

    def test_in_chunks_is_chunked_anew(self) -> None:
        server = scripted()
        running = proxy().pool(server).start()
        asking = raw(running).get()
        connection = server.accept()
        connection.expect_request()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.send(b"0003;ext=1\r\nabc\r\n2\r\nde\r\n0;x\r\n\r\n")
        answer = asking.expect_response(200)
        assert (answer.framing, answer.body) == ("chunked", b"abcde")

    def test_keeps_its_trailers(self) -> None:
        running = proxy().pool(origin()).start()
        answer = raw(running).get("/chunked/3/1000?trailer=1", "TE: trailers").expect_response(200)
        assert answer.body == alphabet(1000) * 3
        assert dict(answer.trailers) == {"x-checksum": str(3 * sum(alphabet(1000)))}

    def test_in_chunks_is_passed_on_as_it_comes(self) -> None:
        server = scripted()
        running = proxy().pool(server).start()
        asking = raw(running).get()
        connection = server.accept()
        connection.expect_request()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        asking.read_response(body=False)
        asking.expect_bytes(b"3\r\nabc\r\n")
        connection.send(b"2\r\nde\r\n0\r\n\r\n")
        asking.expect_bytes(b"2\r\nde\r\n0\r\n\r\n")

    def test_that_ends_with_the_connection_is_chunked(self) -> None:
        running = proxy().pool(origin()).start()
        asking = raw(running).get("/close-delimited/5000")
        answer = asking.expect_response(200)
        assert (answer.framing, answer.body) == ("chunked", alphabet(5000))
        asking.get().expect_response(200)

    @pytest.mark.parametrize("path", ["/close-delimited/5000", "/chunked/5/1000?trailer=1"])
    def test_without_a_length_ends_with_the_connection_for_http_1_0(self, path: str) -> None:
        running = proxy().pool(origin()).start()
        asking = raw(running).send(
            f"GET {path} HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n".encode()
        )
        answer = asking.expect_response(200)
        assert (answer.framing, len(answer.body)) == ("close", 5000)
        assert "transfer-encoding" not in answer
        assert "trailer" not in answer

    @pytest.mark.parametrize("path", ["/bytes/8388608", "/chunked/8/1048576", "/close-delimited/8388608"])
    def test_of_eight_mebibytes_is_whole(self, path: str) -> None:
        running = proxy().pool(origin()).start()
        body = raw(running).get(path).expect_response(200).body
        expected = alphabet(1 << 20) * 8 if "chunked" in path else alphabet(8 << 20)
        assert hashlib.sha256(body).digest() == hashlib.sha256(expected).digest()

    def test_of_no_bytes_is_one(self) -> None:
        running = proxy().pool(origin()).start()
        asking = raw(running)
        assert asking.get("/bytes/0").expect_response(200).get("content-length") == "0"
        assert asking.get("/chunked/0/1").expect_response(200).chunks == []
        assert asking.get("/close-delimited/0").expect_response(200).body == b""
        asking.get().expect_response(200)


class TestAResponseWithoutABody:
    @pytest.mark.parametrize(
        "path", ["/bytes/1000", "/chunked/3/10?trailer=1", "/close-delimited/100", "/status/404"]
    )
    def test_answers_head(self, path: str) -> None:
        running = proxy().pool(origin()).start()
        asking = raw(running)
        get = asking.get(path).expect_response(404 if "404" in path else 200)
        asking.send(f"HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        head = asking.expect_response(get.status, to="HEAD")
        assert head.get("content-length") == get.get("content-length")
        # Whatever came of a body would be read as the head of this.
        asking.get().expect_response(200)

    @pytest.mark.parametrize("status", [204, 304])
    def test_is_not_followed_by_one(self, status: int) -> None:
        server = origin()
        running = proxy().pool(server).start()
        asking = raw(running)
        answer = asking.get(f"/{status}").expect_response(status)
        assert "transfer-encoding" not in answer
        if status == 204:
            assert "content-length" not in answer
        asking.get().expect_response(200)
        assert server.connections == 1

    def test_of_a_304_keeps_the_length_it_names(self) -> None:
        running = proxy().pool(origin()).start()
        assert raw(running).get("/304").expect_response(304).get("content-length") == "62"


class TestEarlyResponses:
    def upload(self) -> tuple[Raw, Scripted, ScriptedConnection]:
        server = scripted()
        running = proxy().pool(server).start()
        asking = raw(running).send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        connection = server.accept()
        connection.expect_request_head("POST")
        connection.expect_bytes(b"abc")
        return asking, server, connection

    def test_reach_the_client_before_its_body_is_sent(self) -> None:
        asking, _, connection = self.upload()
        connection.send(ok(b"early"))
        assert asking.expect_response(200).body == b"early"

    def test_that_refuse_the_rest_end_both_connections(self) -> None:
        asking, _, connection = self.upload()
        connection.send(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").close()
        assert asking.expect_response(413).asks_to_close
        asking.expect_closed()

    def test_leave_no_rest_of_a_body_to_be_read_as_a_request(self) -> None:
        asking, server, connection = self.upload()
        connection.send(ok(b"early"))
        assert asking.expect_response(200).asks_to_close
        # The seven bytes that are missing look like the start of a request, and one that is real follows.
        asking.send(b"GET / H").get("/next")
        asking.expect_closed()
        connection.expect_closed()
        assert not server.is_called()

    def test_come_through_to_a_client_that_only_sends(self) -> None:
        running = proxy().pool(origin()).start()
        reply = client(running).post("/early", b"x" * 300_000)
        assert reply.status == 200


class TestPipelinedRequests:
    def test_are_answered_in_order(self) -> None:
        running = proxy().pool(origin()).start()
        asking = raw(running)
        paths = ["/delay/30", "/bytes/1", "/chunked/2/2", "/204", "/bytes/3"]
        asking.send(b"".join(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for path in paths))
        asking.expect_response(200)
        assert asking.expect_response(200).body == b"a"
        assert asking.expect_response(200).body == b"abab"
        asking.expect_response(204)
        assert asking.expect_response(200).body == b"abc"

    def test_may_have_bodies(self) -> None:
        running = proxy().pool(origin()).start()
        asking = raw(running).send(
            b"POST /echo-body HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none"
            b"POST /echo-body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n"
            b"POST /echo-body HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nthree"
        )
        assert [asking.expect_response(200).body for _ in range(3)] == [b"one", b"two", b"three"]

    def test_of_a_hundred_are_all_answered(self) -> None:
        running = proxy().pool(origin()).start()
        asking = raw(running).send(b"GET /bytes/2 HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
        assert [asking.expect_response(200).body for _ in range(100)] == [b"ab"] * 100

    def test_are_not_read_after_the_last(self) -> None:
        server = origin()
        running = proxy().pool(server).start()
        asking = raw(running).send(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        asking.expect_response(200)
        asking.expect_closed()
        assert server.requests == 1
