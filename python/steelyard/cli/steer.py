"""The commands that speak to a running instance."""

import re
from pathlib import Path
from typing import Any

from rich.text import Text

from steelyard.admin.client import AdminClient
from steelyard.admin.socket import candidates
from steelyard.cli.output import (
    Table,
    byte_text,
    console,
    counted,
    print_json,
    say,
    seconds_text,
    tell,
    text_of,
    verdict_style,
)
from steelyard.errors import UsageError

__all__ = ["drain", "policy", "reload", "status", "undrain", "weight"]

DEFAULT = "default"
EXPIRY_WARNING_DAYS = 14


def client(socket: Path | None) -> AdminClient:
    return AdminClient(candidates(socket))


def answered(answer: dict[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        tell(f"{text} (generation {answer['generation']})")


def reload(socket: Path | None, *, as_json: bool) -> None:
    answer = client(socket).post("/v1/reload")
    answered(answer, f"reloaded {answer['config']}", as_json=as_json)
    for notice in answer["notices"]:
        say(f"notice: {notice}")


def drain(socket: Path | None, endpoint: str, *, as_json: bool) -> None:
    answer = client(socket).post("/v1/drain", {"endpoint": endpoint})
    answered(answer, f"{name_of(answer)} takes no new requests", as_json=as_json)


def undrain(socket: Path | None, endpoint: str, *, as_json: bool) -> None:
    answer = client(socket).post("/v1/undrain", {"endpoint": endpoint})
    answered(answer, f"{name_of(answer)} takes requests again", as_json=as_json)


def weight(socket: Path | None, endpoint: str, written: str, *, as_json: bool) -> None:
    # The instance says which is too large; what no weight comes near is not even asked for.
    if written != DEFAULT and not re.fullmatch("[0-9]{1,9}", written):
        raise UsageError(
            f'"{written}" is no weight', hint='a whole number from 0, or "default": as the file has it'
        )
    wanted = None if written == DEFAULT else int(written)
    answer = client(socket).post("/v1/weight", {"endpoint": endpoint, "weight": wanted})
    text = f"weighs {wanted}" if wanted is not None else "has the weight of the file again"
    answered(answer, f"{name_of(answer)} {text}", as_json=as_json)


def policy(socket: Path | None, pool: str, written: str, *, as_json: bool) -> None:
    wanted = None if written == DEFAULT else written
    answer = client(socket).post("/v1/policy", {"pool": pool, "policy": wanted})
    text = f"chooses by {wanted}" if wanted is not None else "has the policy of the file again"
    answered(answer, f"{pool} {text}", as_json=as_json)


def name_of(answer: dict[str, Any]) -> str:
    return f"{answer['pool']}/{answer['address']}"


def status(socket: Path | None, *, as_json: bool) -> None:
    answer = client(socket).get("/v1/status")
    if as_json:
        print_json(answer)
        return
    out = console()
    out.print(text_of(headline(answer)), soft_wrap=True)
    for listener in answer["listeners"]:
        out.print(text_of(listener_line(listener)), soft_wrap=True)
        for text in tls_lines(listener["tls"]):
            out.print(text, soft_wrap=True)
    for one in answer.get("acme", ()):
        out.print(text_of(acme_line(one), ACME_STYLES[one["state"]]), soft_wrap=True)
    for pool in answer["pools"]:
        out.print()
        out.print(text_of(pool_line(pool), "bold"), soft_wrap=True)
        if own := (pool["tls"] or {}).get("certificate"):
            out.print(text_of(f"  {certificate_text(own)}", expiry_style(own["days_left"])), soft_wrap=True)
        out.print(pool_table(pool))
        for name in pool["without_address"]:
            out.print(
                text_of(f"{name} has no address of its own: not resolved, or another's"), soft_wrap=True
            )
    for line in [*overlay_lines(answer["overlay"]), *(f"notice: {one}" for one in answer["notices"])]:
        out.print(text_of(line), soft_wrap=True)


def headline(answer: dict[str, Any]) -> str:
    up = (
        seconds_text(answer["uptime_s"]) if answer["uptime_s"] < 120 else f"{answer['uptime_s'] / 60:.0f} min"
    )
    return (
        f"steelyard {answer['version']}, process {answer['pid']}, {answer['state']}, up {up}, "
        f"generation {answer['generation']}, {counted(answer['workers'], 'worker')}, {answer['config']}"
    )


def listener_line(listener: dict[str, Any]) -> str:
    begin = f"listener {listener['name']} on {', '.join(listener['bind'])}: "
    if udp := listener.get("udp"):
        return begin + udp_text(listener, udp)
    connections = counted(listener["connections"], "connection")
    if listener.get("protocol") == "tcp":
        return f"{begin}{connections}, {listener['requests']} since the start, {listener['bad_requests']} bad"
    http3 = listener.get("http3")
    of_that = (
        f"; of that by HTTP/3 {counted(http3['connections'], 'connection')}, "
        f"{counted(http3['requests'], 'request')}"
        if http3
        else ""
    )
    return (
        f"{begin}{connections}, {counted(listener['requests'], 'request')}, "
        f"{listener['bad_requests']} bad{of_that}"
    )


def udp_text(listener: dict[str, Any], udp: dict[str, Any]) -> str:
    """What came from clients and what went to them, and why something went nowhere."""
    parts = [
        counted(listener["connections"], "session"),
        f"{counted(udp['received'], 'datagram')} ({byte_text(udp['bytes_in'])}) in",
        f"{udp['sent']} ({byte_text(udp['bytes_out'])}) out",
    ]
    if udp["evicted"]:
        parts.append(f"{counted(udp['evicted'], 'session')} ended to make room")
    if dropped := {why: count for why, count in udp["dropped"].items() if count}:
        reasons = ", ".join(f"{why.replace('_', ' ')}: {count}" for why, count in dropped.items())
        parts.append(f"{sum(dropped.values())} dropped ({reasons})")
    return ", ".join(parts)


def tls_lines(tls: dict[str, Any] | None) -> list[Text]:
    """How handshakes went, and each certificate with its end."""
    if tls is None:
        return []
    handshakes = counted(tls["handshakes"], "handshake")
    lines = [text_of(f"  TLS: {handshakes}, {tls['resumed']} resumed, {tls['failures']} failed")]
    for one in tls["certificates"]:
        lines.append(text_of(f"  {certificate_text(one)}", expiry_style(one["days_left"])))
    return lines


def certificate_text(one: dict[str, Any]) -> str:
    names = ", ".join(one["names"]) or "no name"
    days = one["days_left"]
    left = "EXPIRED" if days < 0 else counted(days, "day") + " left"
    return f"{one['file']} for {names}: until {one['not_after']}, {left}"


ACME_STYLES = {"valid": "", "waiting": "yellow", "failing": "red"}


def acme_line(one: dict[str, Any]) -> str:
    """How an automatic certificate stands."""
    text = f"certificate for {one['name']}: {one['state']}"
    if one["not_after"]:
        text += f", until {one['not_after']}"
    if one["error"]:
        text += f", tried again at {one['next_try']}; {one['error']}"
    return text


def expiry_style(days: int) -> str:
    return "red" if days < 0 else "yellow" if days < EXPIRY_WARNING_DAYS else ""


def pool_line(pool: dict[str, Any]) -> str:
    text = f"pool {pool['name']}: {pool['policy']}, {pool['queued']} queued"
    if pool["queue_timeouts"]:
        text += f", {pool['queue_timeouts']} waited in vain"
    if pool["tls"]:
        text += f", TLS with {counted(pool['tls']['failures'], 'failed handshake')}"
    if len(pool["levels"]) > 1:
        text += f", load {', '.join(level_text(level) for level in pool['levels'])}"
    if pool["panic"]:
        text += ", PANIC: too few endpoints are healthy, all are used"
    return text + (", FAIL-OPEN: no endpoint is healthy" if pool["fail_open"] else "")


def level_text(level: dict[str, Any]) -> str:
    where = " other zones" if level["foreign"] else ""
    return f"{level['load_percent']} % to priority {level['priority']}{where}"


COUNTED = {"http": "requests", "tcp": "connections", "udp": "sessions"}
"""What a pool carries of what a listener speaks."""


def carried(pool: dict[str, Any]) -> str:
    """What is in flight in a pool, in a word."""
    return "/".join(COUNTED[protocol] for protocol in pool.get("protocols") or ["http"])


def pool_table(pool: dict[str, Any]) -> Table:
    table = Table()
    table.head("endpoint", no_wrap=True)
    table.head("verdict", no_wrap=True)
    numbers = (
        "weight",
        "in flight",
        carried(pool),
        "failures",
        "retries",
        "in",
        "out",
        "smoothed",
        "p50",
        "p99",
    )
    for name in numbers:
        table.head(name, justify="right", no_wrap=True)
    table.head("why")
    for one in pool["endpoints"]:
        starting = f"starting {one['starting']:.0%}".replace("%", " %") if one["starting"] else ""
        over = f"over its {one['over_threshold']} threshold" if one["over_threshold"] else ""
        silent = "reports no load" if (one.get("load_report") or {}).get("silent") else ""
        table.row(
            endpoint_name(one),
            text_of(one["verdict"], verdict_style(one["verdict"])),
            str(one["weight"]),
            *(str(one[name]) for name in ("in_flight", "requests", "failures", "retries")),
            byte_text(one["bytes_in"]),
            byte_text(one["bytes_out"]),
            *(seconds_text(one[name]) for name in ("smoothed_s", "p50_s", "p99_s")),
            text_of("; ".join(part for part in (one["why"], starting, over, silent) if part)),
        )
    return table


def endpoint_name(one: dict[str, Any]) -> str:
    """What commands call it, and for a host name the address behind this row."""
    configured, address = one["configured"], one["address"]
    return str(configured) if configured == address else f"{configured} at {address}"


def overlay_lines(overlay: dict[str, Any]) -> list[str]:
    """What was changed at run time and lies over the file."""
    changes = [(one, f"{name_of(one)} is drained") for one in overlay["drained"]]
    changes += [(one, f"{name_of(one)} weighs {one['weight']}") for one in overlay["weights"]]
    changes += [(one, f"{one['pool']} chooses by {one['policy']}") for one in overlay["policies"]]
    lines = [
        f"  {text}" + (", once it is in the file again" if one["waiting"] else "") for one, text in changes
    ]
    return ["", "changed at run time, over the file:", *lines] if lines else []
