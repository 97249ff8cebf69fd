"""HTTPS in front of one server: a certificate, a redirect, and another certificate while it runs.

Needs the command openssl. Run it with the interpreter that steelyard is installed for.
"""

import json
import ssl
import subprocess
import tempfile
import urllib.request
from pathlib import Path

from steelyard import ConfigSource, Control
from steelyard.origin import Origin

CONFIGURATION = """
[listeners.web]
bind = ["127.0.0.1:0"]
pool = "app"

[listeners.web.tls]
certificates = [{{ cert = "site.pem", key = "site.key" }}]
hsts = true

[listeners.plain]
bind = ["127.0.0.1:0"]
redirect_https = true

[pools.app]
endpoints = ["{endpoint}"]
"""


def certificate(folder: Path, days: int) -> None:
    """A certificate that vouches for itself; a real one comes from an authority."""
    names = ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost"]
    files = ["-keyout", str(folder / "site.key"), "-out", str(folder / "site.pem")]
    command = ["openssl", "req", "-x509", "-days", str(days), *key, *names, *files]
    subprocess.run(command, check=True, capture_output=True)


def days_left(control: Control) -> int:
    (shown,) = control.status()["listeners"][0]["tls"]["certificates"]
    return int(shown["days_left"])


def main() -> None:
    with tempfile.TemporaryDirectory() as name, Origin() as origin:
        folder = Path(name)
        certificate(folder, days=30)
        file = folder / "steelyard.toml"
        file.write_text(CONFIGURATION.format(endpoint=origin.address))
        source = ConfigSource.file(file)
        control = Control.start(source, source.load())
        try:
            web, _plain = (listener["bind"][0] for listener in control.status()["listeners"])
            believed = ssl.create_default_context(cafile=folder / "site.pem")
            url = f"https://localhost:{web.rpartition(':')[2]}/echo"
            with urllib.request.urlopen(url, context=believed) as reply:
                fields = dict(json.loads(reply.read())["headers"])
                print(f"the server was asked over {fields['x-forwarded-proto']}")
                print(f"browsers are told {reply.headers['strict-transport-security']}")
            print(f"the certificate holds for {days_left(control)} days")
            # `steelyard run` watches the files itself.
            certificate(folder, days=60)
            control.follow_files()
            print(f"the renewed one holds for {days_left(control)} days")
        finally:
            control.close()


if __name__ == "__main__":
    main()
