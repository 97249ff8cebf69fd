"""TLS with the clients that people use, and what a scanner says of it."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any, Literal

import aiohttp
import httpx
import pytest
import requests
import sslyze
from sslyze.mozilla_tls_profile.tls_config_checker import (
    SCAN_COMMANDS_NEEDED_BY_MOZILLA_CHECKER,
    MozillaTlsConfiguration,
    TlsConfigurationEnum,
    check_server_against_tls_configuration,
)

from language import Authority, Running, authority, openssl_client, origin, proxy

BODY = bytes(range(256)) * 4096


def secure(ca: Authority, *, key: Literal["ecdsa", "rsa"] = "ecdsa", **settings: Any) -> Running:
    hsts = {"max_age_ms": 63_072_000_000, "include_subdomains": False, "preload": False}
    pair = ca.certificate("localhost", "127.0.0.1", key=key)
    tls = {"certificates": [pair.files], "hsts": hsts, **settings}
    return proxy().workers(2).pool(origin().start()).listener(tls=tls).start()


def url(running: Running, path: str = "/echo") -> str:
    return f"https://localhost:{running.port}{path}"


class TestClients:
    @pytest.mark.parametrize("version", ["1.2", "1.3"])
    def test_curl(self, version: str) -> None:
        ca = authority()
        running = secure(ca)
        command = ["curl", "--silent", "--show-error", "--fail", "--cacert", str(ca.file)]
        command += [f"--tlsv{version}", "--tls-max", version, "--data-binary", "@-"]
        done = subprocess.run(
            [*command, url(running), url(running)], input=BODY, capture_output=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(f'"body_bytes":{len(BODY)}'.encode()) == 2
        assert running.listener()["accepted"] == 1

    def test_curl_shows_its_certificate(self) -> None:
        ca = authority()
        running = secure(ca, client_ca=str(ca.file))
        me = ca.certificate("me@a.example")
        command = ["curl", "--silent", "--show-error", "--cacert", str(ca.file)]
        command += ["--cert", str(me.cert), "--key", str(me.key), url(running)]
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
        assert b"email:me@a.example" in done.stdout, done.stderr

    def test_requests(self) -> None:
        ca = authority()
        running = secure(ca)
        with requests.Session() as session:
            # What the environment says of certificates would go first.
            session.trust_env = False
            session.verify = str(ca.file)
            for _ in range(2):
                reply = session.post(url(running), data=BODY, timeout=60)
                assert reply.json()["body_bytes"] == len(BODY)
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(url(running), timeout=60)

    def test_httpx(self) -> None:
        ca = authority()
        running = secure(ca)
        with httpx.Client(verify=ca.believer(), timeout=60) as client:
            for _ in range(2):
                assert client.post(url(running), content=BODY).json()["body_bytes"] == len(BODY)
            large = client.get(url(running, f"/bytes/{len(BODY)}"))
        assert len(large.content) == len(BODY)

    def test_aiohttp(self) -> None:
        ca = authority()
        running = secure(ca)

        async def ask() -> list[int]:
            connector = aiohttp.TCPConnector(ssl=ca.believer())
            async with aiohttp.ClientSession(connector=connector) as session:

                async def one() -> int:
                    async with session.post(url(running), data=BODY) as reply:
                        return int(json.loads(await reply.read())["body_bytes"])

                return await asyncio.gather(*(one() for _ in range(10)))

        assert asyncio.run(ask()) == [len(BODY)] * 10

    @pytest.mark.parametrize("option", ["-tls1_2", "-tls1_3"])
    def test_openssl_reconnects(self, option: str, tmp_path: Path) -> None:
        ca = authority()
        tls = {"certificates": [ca.certificate("a.example").files]}
        running = proxy().pool(origin().start()).listener(tls=tls).start()
        kept = tmp_path / "session"
        request = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"
        for session in ("-sess_out", "-sess_in"):
            talk = openssl_client(running, ca, option, session, str(kept))
            talk.say(request).expect("HTTP/1.1 200")
            talk.wait()
        assert b"Reused, TLSv1" in talk.everything


class TestScanner:
    """sslyze, and the profiles of Mozilla's recommendation, which come with it."""

    def scanned(self, running: Running, ca: Authority, commands: set[str]) -> sslyze.ServerScanResult:
        trust = sslyze.CertificateInfoExtraArgument(custom_ca_file=ca.file)
        request = sslyze.ServerScanRequest(
            sslyze.ServerNetworkLocation("localhost", running.port),
            scan_commands={sslyze.ScanCommand(command) for command in commands},
            scan_commands_extra_arguments=sslyze.ScanCommandsExtraArguments(
                certificate_info=trust if "certificate_info" in commands else None
            ),
        )
        scanner = sslyze.Scanner(concurrent_server_scans_limit=1, per_server_concurrent_connections_limit=4)
        scanner.queue_scans([request])
        (result,) = scanner.get_results()
        return result

    # The scanner brings certificates of authorities that one of its own libraries finds fault with.
    @pytest.mark.filterwarnings("ignore:Parsed a serial number")
    @pytest.mark.parametrize(
        ("key", "settings", "profile"),
        [
            ("ecdsa", {}, TlsConfigurationEnum.MOZILLA_INTERMEDIATE),
            ("rsa", {}, TlsConfigurationEnum.MOZILLA_INTERMEDIATE),
            ("ecdsa", {"alpn": ["h2", "http/1.1"]}, TlsConfigurationEnum.MOZILLA_INTERMEDIATE),
            ("ecdsa", {"min_version": "1.3"}, TlsConfigurationEnum.MOZILLA_MODERN),
        ],
        ids=["ecdsa", "rsa", "with HTTP/2", "modern"],
    )
    def test_the_recommendation_is_followed(
        self, key: Literal["ecdsa", "rsa"], settings: dict[str, Any], profile: TlsConfigurationEnum
    ) -> None:
        ca = authority()
        running = secure(ca, key=key, **settings)
        result = self.scanned(running, ca, set(SCAN_COMMANDS_NEEDED_BY_MOZILLA_CHECKER))
        # It raises with all that is not as it should be.
        check_server_against_tls_configuration(result, MozillaTlsConfiguration.get(profile))

    def test_sessions_are_resumed_and_early_data_is_not_taken(self) -> None:
        ca = authority()
        running = secure(ca)
        commands = {"session_resumption", "tls_1_3_early_data", "http_headers"}
        found = self.scanned(running, ca, commands).scan_result
        assert found is not None
        resumption = found.session_resumption.result
        assert resumption is not None
        assert resumption.session_id_resumption_result == "FULLY_SUPPORTED"
        # It takes a ticket for resumed when the server has no newer one to give; ours always has.
        assert running.listener()["tls"]["resumed"] >= 2 * resumption.session_id_attempted_resumptions_count
        assert found.tls_1_3_early_data.result is not None
        assert not found.tls_1_3_early_data.result.supports_early_data
        assert found.http_headers.result is not None
        hsts = found.http_headers.result.strict_transport_security_header
        assert hsts is not None
        assert hsts.max_age == 63_072_000
