"""h2spec against a listener of ours: every test of the standard, the strict ones too."""

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

from language import origin, proxy, scope

# A listener in clear text speaks HTTP/1.1 too: to what is no preface it answers as to any malformed request,
# which is no HTTP/2, and closes the connection. h2spec wants it closed without a word.
EXPECTED = {"Sends invalid connection preface"}


def failures(report: Path) -> tuple[int, set[str]]:
    """How many tests ran, and which failed."""
    cases = list(ET.parse(report).getroot().iter("testcase"))
    failed = {case for case in cases if case.find("error") is not None or case.find("failure") is not None}
    return len(cases), {case.get("classname") or "" for case in failed}


def main(h2spec: str, *flags: str) -> int:
    with tempfile.TemporaryDirectory() as folder, scope(counting=False):
        report = Path(folder) / "report.xml"
        running = proxy().pool(origin().start()).start()
        command = [h2spec, "--strict", "--timeout", "5", "--junit-report", str(report)]
        done = subprocess.run(
            [*command, "--host", "127.0.0.1", "--port", str(running.port), "--path", "/bytes/100000", *flags],
            capture_output=True,
            text=True,
            check=False,
        )
        count, failed = failures(report)
    if failed - EXPECTED or count == 0:
        sys.stderr.write(done.stdout + done.stderr)
        return 1
    sys.stderr.write(f"h2spec: {count} tests, failed as expected: {', '.join(failed) or 'none'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
