"""A flood of datagrams, and who shares the worker with it."""

import subprocess
import sys
import time

from language import origin, proxy, raw, udp_server

FLOODS = 2
FLOOD_S = 4
FLOOD = """
import socket, sys, time
flood = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
flood.connect((sys.argv[1], int(sys.argv[2])))
print("begun", flush=True)
until = time.monotonic() + float(sys.argv[3])
while time.monotonic() < until:
    for _ in range(1000):
        try:
            flood.send(b"x")
        except OSError:
            pass
"""


def test_requests_have_their_turn_beside_a_flood() -> None:
    web, silent = origin().start(), udp_server("", lambda _: [])
    plan = proxy().pool(web).pool(silent, name="silent").listener()
    running = plan.listener("floods", protocol="udp", pool="silent").workers(1).start()
    host, port = running.listening("floods")
    command = [sys.executable, "-c", FLOOD, host, str(port), str(FLOOD_S)]
    floods = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(FLOODS)]
    try:
        for flood in floods:
            assert flood.stdout is not None
            assert flood.stdout.readline() == b"begun\n"
        began = time.monotonic()
        for _ in range(20):
            raw(running).get().expect_response(200)
        took_s = time.monotonic() - began
        assert all(flood.poll() is None for flood in floods), f"the flood was over first: {took_s} s"
    finally:
        for flood in floods:
            flood.kill()
            flood.communicate()
