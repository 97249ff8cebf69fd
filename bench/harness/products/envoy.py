"""Envoy, from PyPI."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.products.base import Place

PROGRAM = Path(sys.prefix) / "bin/envoy"
TYPES = "type.googleapis.com/envoy.extensions"


class Envoy:
    name = "envoy"
    parses = True

    def command(self, place: Place) -> list[str]:
        path = place.folder / "envoy.json"
        resources = {"listeners": [_listener(place)], "clusters": [_cluster(place)]}
        path.write_text(json.dumps({"static_resources": resources}, indent=1))
        command = [str(PROGRAM), "-c", str(path), "--concurrency", "1"]
        return [*command, "--disable-hot-restart", "--log-level", "error"]

    def version(self) -> str:
        said = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True)
        return f"Envoy {said.stdout.strip().rpartition('version: ')[2].split('/')[1]}"


def _listener(place: Place) -> dict[str, Any]:
    chain: dict[str, Any] = {"filters": [_filter("network.http_connection_manager", _manager(place))]}
    if place.front.tls:
        chain["transport_socket"] = _tls(place)
    address = _address(place.port)
    return {"name": "web", "address": address, "tcp_backlog_size": 4096, "filter_chains": [chain]}


def _manager(place: Place) -> dict[str, Any]:
    peer = "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"
    forwarded = f"for={peer};host=%REQ(:AUTHORITY)%;proto={place.front.scheme}"
    fields = {"x-forwarded-host": "%REQ(:AUTHORITY)%", "forwarded": forwarded}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "app", "timeout": "30s"}}
    host = {
        "name": "all",
        "domains": ["*"],
        "routes": [route],
        "request_headers_to_add": [
            {"header": {"key": name, "value": value}} for name, value in fields.items()
        ],
    }
    router = _filter("http.router", {"@type": f"{TYPES}.filters.http.router.v3.Router"})
    return {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "web",
        "codec_type": "AUTO",
        "use_remote_address": True,
        "request_headers_timeout": "10s",
        "common_http_protocol_options": {"idle_timeout": "600s"},
        "route_config": {"virtual_hosts": [host]},
        "http_filters": [router],
    }


def _tls(place: Place) -> dict[str, Any]:
    files = place.certificate
    chain = {"filename": str(files.certificate)}
    common = {
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3"},
        "tls_certificates": [{"certificate_chain": chain, "private_key": {"filename": str(files.key)}}],
    }
    kind = f"{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext"
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": kind, "common_tls_context": common},
    }


def _cluster(place: Place) -> dict[str, Any]:
    endpoints = [{"endpoint": {"address": _address(port)}} for port in place.endpoints]
    check = {"timeout": "2s", "interval": "5s", "unhealthy_threshold": 3, "healthy_threshold": 2}
    return {
        "name": "app",
        "connect_timeout": "2s",
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {"cluster_name": "app", "endpoints": [{"lb_endpoints": endpoints}]},
        "health_checks": [{**check, "http_health_check": {"path": "/healthz"}}],
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _filter(name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"name": f"envoy.filters.{name}", "typed_config": config}
