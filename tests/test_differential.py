"""Every request that the codec accepts is read alike by h11, a strict parser that shares no code with it.

If the two disagreed on where a request ends, what follows could be smuggled past one of them. That the codec
refuses more than h11 is fine, and so is not compared.
"""

import json
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h11

ROOT = Path(__file__).parent.parent
CORPUS = ROOT / "fuzz" / "corpus"
CASES = 20_000

WORDS = [
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"\0", b"\x0b", b"\x7f", b"\xff", b";a=b"),
    *(b":", b",", b";", b"=", b'"', b"-", b"+", b"_", b"0", b"1", b"5", b"0x", b"a", b"/", b"*"),
    *(b"chunked", b"gzip", b"identity", b"close", b"GET", b"POST", b"HTTP/1.0", b"HTTP/1.1", b"HTTP/1.2"),
    *(b"Host: b\r\n", b"Host:", b"http://b", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"X: y\r\n"),
    *(b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: "),
    *(b"Connection: close\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n"),
]


def generated(seed: int) -> Iterator[bytes]:
    """Every kept input, then requests put together from sound parts, each with up to three mutations."""
    kept = [path.read_bytes() for path in sorted((CORPUS / "request_head").iterdir())]
    bodies = [path.read_bytes() for path in sorted((CORPUS / "chunked").iterdir())]
    chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    yield from kept
    yield from (chunked + body for body in bodies)
    rng = random.Random(seed)
    for _ in range(CASES):
        kind = rng.randrange(3)
        if kind == 0:
            case = rng.choice(kept)
        elif kind == 1:
            case = chunked + rng.choice(bodies)
        else:
            case = assembled(rng)
        for _ in range(rng.randrange(4)):
            at = rng.randint(0, len(case))
            case = case[:at] + rng.choice(WORDS) + case[at + rng.choice([0, 0, 1, 4]) :]
        yield case


def assembled(rng: random.Random) -> bytes:
    """A sound request with content of either framing, and something behind it."""
    data = bytes(rng.choice(b"ab\r\n0;") for _ in range(rng.randrange(30)))
    lines = [b"Host: example.com:80"]
    for index in range(rng.randrange(4)):
        before, after = rng.choice([b"", b" ", b"\t "]), rng.choice([b"", b" \t"])
        lines.append(b"X-%d:%s%d%s" % (index, before, index, after))
    if rng.random() < 0.5:
        lines.append(b"Content-Length: %s%d" % (b"0" * rng.randrange(3), len(data)))
    else:
        lines.append(b"Transfer-Encoding: " + rng.choice([b"chunked", b"Chunked", b"CHUNKED "]))
        data = chunks(rng, data)
    rng.shuffle(lines)
    method = rng.choice([b"POST", b"PUT", b"GET", b"DELETE", b"PURGE"])
    target = rng.choice([b"/", b"/a?b=c", b"http://b/c", b"/%41"])
    behind = rng.choice([b"", b"GET / HTTP/1.1\r\n\r\n", b"\r\n"])
    return b"\r\n".join([method + b" " + target + b" HTTP/1.1", *lines, b"", b""]) + data + behind


def chunks(rng: random.Random, data: bytes) -> bytes:
    """The data in chunks of any size, with extensions and trailers now and then."""
    out = b""
    while data:
        size = rng.randint(1, len(data))
        extension = rng.choice([b"", b"", b";a", b';a="b;c"'])
        out += rng.choice([b"%x", b"%X", b"0%x"]) % size + extension + b"\r\n" + data[:size] + b"\r\n"
        data = data[size:]
    return out + b"0\r\n" + rng.choice([b"", b"X-Sum: 1\r\n"]) + b"\r\n"


def read_by_codec(cases: list[bytes]) -> list[dict[str, Any]]:
    """How the codec reads each case."""
    command = [str(ROOT / "scripts" / "rust"), "cargo", "run", "--quiet", "--locked"]
    command += ["--package", "steelyard-proxy", "--example", "read_http1"]
    given = "\n".join(case.hex() for case in cases)
    done = subprocess.run(command, cwd=ROOT, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def read_by_h11(case: bytes) -> dict[str, Any]:
    """How h11 reads it, in the same words."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    # The codec skips a few empty lines before a request (RFC 9112 section 2.2); h11 does not.
    connection.receive_data(case.lstrip(b"\r\n"))
    try:
        head = connection.next_event()
    except h11.RemoteProtocolError as error:
        return {"refused": str(error)}
    if not isinstance(head, h11.Request):
        return {}
    return {
        "method": head.method.hex(),
        "target": head.target.hex(),
        "version": head.http_version.decode(),
        "fields": [[name.hex(), value.hex()] for name, value in head.headers],
        "content": content_by_h11(connection),
    }


def content_by_h11(connection: h11.Connection) -> dict[str, Any] | bool | None:
    data = b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return False
        if isinstance(event, h11.Data):
            data += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return {"data": data.hex(), "left": len(connection.trailing_data[0])}
        else:
            return None


def as_h11_has_them(fields: list[list[str]]) -> list[list[str]]:
    """h11 gives names in lower case, and the one value that it acts on whatever its case."""
    pairs = [(bytes.fromhex(name).lower(), bytes.fromhex(value)) for name, value in fields]
    coding = b"transfer-encoding"
    return [[name.hex(), (value.lower() if name == coding else value).hex()] for name, value in pairs]


def test_every_accepted_request_is_read_alike_by_h11() -> None:
    seed = int(os.environ.get("STEELYARD_SEED", "") or random.randrange(1 << 32))
    cases = list(generated(seed))
    readings = read_by_codec(cases)
    assert len(readings) == len(cases)
    whole = 0
    for case, ours in zip(cases, readings, strict=True):
        if "method" not in ours:
            continue
        theirs = read_by_h11(case)
        again = f"{case!r}\nSTEELYARD_SEED={seed} replays it"
        assert "method" in theirs, f"h11 refuses what the codec accepts ({theirs}): {again}"
        for key in ("method", "target", "version"):
            assert ours[key] == theirs[key], f"{key}: {again}"
        assert as_h11_has_them(ours["fields"]) == theirs["fields"], f"fields: {again}"
        if ours["content"] is not False:
            assert ours["content"] == theirs["content"], f"content: {again}"
            whole += ours["content"] is not None
    # Else the cases would say little.
    assert whole > CASES // 5, f"only {whole} of {len(cases)} cases were accepted (STEELYARD_SEED={seed})"
