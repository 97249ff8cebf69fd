"""The one document that crosses to the engine: durations in milliseconds, sizes in bytes, None for off."""

from typing import Any

from steelyard.config.acme import Acme, bundle_of
from steelyard.config.listener import Listener
from steelyard.config.overlay import Overlay
from steelyard.config.pool import Pool
from steelyard.config.reported import reported_of
from steelyard.config.root import Config
from steelyard.config.route import Route
from steelyard.config.tls import ListenerTls

__all__ = ["document", "pool_of"]


def document(config: Config, overlay: Overlay | None = None) -> dict[str, Any]:
    """What `_core` reads, in the shape of `steelyard-core`'s `document.rs`."""
    overlay = overlay or Overlay()
    return {
        "workers": config.workers,
        "zone": config.zone,
        "drain_timeout_ms": config.drain_timeout,
        "listeners": [
            listener_of(name, listener, config.acme) for name, listener in config.listeners.items()
        ],
        "routes": [route_of(route) for route in config.routes],
        "pools": [pool_of(name, pool, config.zone, overlay) for name, pool in config.pools.items()],
    }


def listener_of(name: str, listener: Listener, acme: Acme | None) -> dict[str, Any]:
    limits, timeouts = listener.limits, listener.timeouts
    return {
        "name": name,
        "bind": list(listener.bind),
        "protocol": listener.protocol,
        "pool": listener.pool,
        "trusted_proxies": list(listener.trusted_proxies),
        "proxy_protocol": listener.proxy_protocol,
        "allow_encoded_slash": listener.allow_encoded_slash,
        "tls": listener_tls_of(listener.tls, acme),
        "responses": listener.responses,
        "http3": listener.http3
        and {
            "early_data": listener.http3.early_data,
            "advertise": listener.http3.alt_svc is not False,
            "port": None if isinstance(listener.http3.alt_svc, bool) else listener.http3.alt_svc,
        },
        "redirect_https": listener.redirect_https,
        "limits": {
            "connections": limits.connections,
            "header_bytes_max": limits.header_bytes,
            "header_count_max": limits.header_count,
            "target_bytes_max": limits.target_bytes,
            "streams_max": limits.streams,
            "resets_max": limits.resets,
            "control_frames_max": limits.control_frames,
        },
        "timeouts": {
            "handshake_ms": timeouts.handshake,
            "request_header_ms": timeouts.request_header,
            "request_body_ms": timeouts.request_body,
            "idle_ms": timeouts.idle,
        },
    }


def listener_tls_of(tls: ListenerTls | None, acme: Acme | None) -> dict[str, Any] | None:
    if tls is None:
        return None
    hsts = tls.hsts
    # Key and chain of an obtained one are in one file.
    obtained = [str(bundle_of(acme, name)) for name in tls.acme] if acme else []
    return {
        "certificates": [
            *({"cert": pair.cert, "key": pair.key} for pair in tls.certificates),
            *({"cert": bundle, "key": bundle} for bundle in obtained),
        ],
        "alpn": list(tls.alpn),
        "min_version": tls.min_version,
        "client_ca": tls.client_ca,
        "client_auth": tls.client_auth,
        "tickets": tls.tickets,
        "session_cache": tls.session_cache,
        "hsts": hsts
        and {
            "max_age_ms": hsts.max_age,
            "include_subdomains": hsts.include_subdomains,
            "preload": hsts.preload,
        },
    }


def route_of(route: Route) -> dict[str, Any]:
    return {
        "listener": route.listener,
        "host": route.host,
        "path": route.path,
        "headers": {name.lower(): value for name, value in route.headers.items()},
        "action": action_of(route),
        "strip_prefix": route.strip_prefix,
        "set_headers": route.set_headers,
        "remove_headers": list(route.remove_headers),
    }


def action_of(route: Route) -> dict[str, Any]:
    if route.pool is not None:
        return {"pool": route.pool}
    if route.split is not None:
        return {"split": [[pool, share] for pool, share in route.split.items()]}
    if route.redirect is not None:
        return {"redirect": route.redirect}
    return {"respond": route.respond}


def pool_of(name: str, pool: Pool, own_zone: str | None, overlay: Overlay) -> dict[str, Any]:
    return {
        "name": name,
        "policy": policy_of(pool, overlay.policies.get(name)),
        "load": pool.load,
        "reported": reported_of(pool.reported),
        "endpoints": [
            {
                "address": endpoint.address,
                "weight": overlay.weights.get((name, endpoint.address), endpoint.weight),
                "drain": (name, endpoint.address) in overlay.drained,
                "priority": endpoint.priority,
                "zone": endpoint.zone,
            }
            for endpoint in pool.endpoints
        ],
        "protocol": pool.protocol,
        "send_proxy": pool.send_proxy,
        "fail_open": pool.fail_open,
        "panic_threshold": panic_of(pool, own_zone),
        "slow_start": slow_start_of(pool),
        "subset": pool.subset and pool.subset.model_dump(),
        "tls": pool.tls and pool.tls.model_dump(),
        "threshold": {
            "requests": pool.threshold.requests,
            "latency_ms": pool.threshold.latency,
            "bytes_per_second": pool.threshold.bytes_per_second,
        },
        "queue": {"size": pool.queue.size, "timeout_ms": pool.queue.timeout},
        "health": health_of(pool),
        "connections": {
            "idle_timeout_ms": pool.connections.idle_timeout,
            "idle_max": pool.connections.idle_max,
            "max": pool.connections.max,
        },
        "timeouts": {
            "connect_ms": pool.timeouts.connect,
            "response_ms": pool.timeouts.response,
            "idle_ms": pool.timeouts.idle,
            "tunnel_ms": pool.timeouts.tunnel,
            "total_ms": pool.timeouts.total,
        },
        "retry": {
            "attempts": pool.retry.attempts,
            "on": list(pool.retry.on),
            "body_bytes_max": pool.retry.body_bytes_max,
            "budget": pool.retry.budget,
        },
    }


PANIC_THRESHOLD = 50


def panic_of(pool: Pool, own_zone: str | None) -> int | None:
    if isinstance(pool.panic_threshold, int):
        return pool.panic_threshold
    levels = {
        (endpoint.priority, own_zone is not None and endpoint.zone != own_zone) for endpoint in pool.endpoints
    }
    return PANIC_THRESHOLD if pool.panic_threshold == "auto" and len(levels) > 1 else None


def slow_start_of(pool: Pool) -> dict[str, Any] | None:
    if pool.slow_start is None:
        return None
    slow_start = pool.slow_start
    return {
        "window_ms": slow_start.window,
        "aggression": slow_start.aggression,
        "min_weight": slow_start.min_weight,
    }


def policy_of(pool: Pool, instead: str | None) -> dict[str, Any]:
    """The policy of the file, or another one that was set at run time, which has no settings."""
    if instead is not None and instead != pool.policy.name:
        return {"name": instead}
    policy = pool.policy
    if policy.interpreted is not None:
        return {"name": "interpreted", "score": {"label": policy.name, "address": 0, "of_two": False}}
    if policy.score is not None:
        score = {
            "label": policy.name,
            "address": policy.score.address,
            "of_two": policy.choices == 2,
            "reads": list(policy.score.reads),
        }
        return {"name": "scored", "score": score}
    return {
        "name": policy.name,
        "key": policy.key,
        "decay_ms": policy.decay,
        "ring_size": policy.ring_size,
        "table_size": policy.table_size,
        "balance": policy.balance,
        "cookie": policy.cookie,
        "secret": policy.secret_file.content.hex() if policy.secret_file else None,
        "secure": policy.secure,
        "http_only": policy.http_only,
        "same_site": policy.same_site,
        "max_age_ms": policy.max_age,
        "probe_path": policy.probe_path,
        "probe_timeout_ms": policy.probe_timeout,
        "probes_per_request": policy.probes_per_request,
        "probe_rate_max": policy.probe_rate_max,
        "probes_in_flight_max": policy.probes_in_flight_max,
        "q_rif": policy.q_rif,
    }


def health_of(pool: Pool) -> dict[str, Any]:
    health = pool.health
    return {
        "path": health.path,
        "udp": None if health.udp is None else health.udp.hex(),
        "port": health.port,
        "grpc": health.grpc,
        "host": health.host,
        "interval_ms": health.interval,
        "timeout_ms": health.timeout,
        "rise": health.rise,
        "fall": health.fall,
        "expect_status": [list(pair) for pair in health.expect_status],
    }
