"""h2spec against listeners of ours, in clear text and over TLS: all of its tests, strict ones too."""

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

from language import Running, authority, origin, proxy, scope

# A listener in clear text speaks HTTP/1.1 too: to what is no preface it answers as to any malformed request,
# which is no HTTP/2, and closes the connection. h2spec wants it closed without a word. Over TLS, where HTTP/2
# is agreed on first, nothing is expected to fail.
EXPECTED = {"Sends invalid connection preface"}


def failures(report: Path) -> tuple[int, set[str]]:
    """How many tests ran, and which failed."""
    cases = list(ET.parse(report).getroot().iter("testcase"))
    failed = {case for case in cases if case.find("error") is not None or case.find("failure") is not None}
    return len(cases), {case.get("classname") or "" for case in failed}


def holds(what: str, running: Running, h2spec: list[str], expected: set[str]) -> bool:
    """Runs every test; says on standard error how it went."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [*h2spec, "--strict", "--timeout", "5", "--junit-report", str(report)]
        target = ["--host", "127.0.0.1", "--port", str(running.port), "--path", "/bytes/100000"]
        done = subprocess.run([*command, *target], capture_output=True, text=True, check=False)
        count, failed = failures(report)
    if failed - expected or count == 0:
        sys.stderr.write(f"h2spec, {what}:\n{done.stdout}{done.stderr}")
        return False
    told = f", failed as expected: {', '.join(sorted(failed))}" if failed else ""
    sys.stderr.write(f"h2spec, {what}: {count - len(failed)} of {count} tests passed{told}\n")
    return True


def main(h2spec: str, *flags: str) -> int:
    with scope(counting=False):
        clear = proxy().pool(origin().start()).start()
        tls = {"certificates": [authority().certificate("127.0.0.1").files], "alpn": ["h2", "http/1.1"]}
        secure = proxy().pool(origin().start()).listener(tls=tls).start()
        sound = [
            holds("in clear text", clear, [h2spec, *flags], EXPECTED),
            holds("over TLS", secure, [h2spec, "--tls", "--insecure", *flags], set()),
        ]
    return 0 if all(sound) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
