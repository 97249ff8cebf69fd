"""The command `demo`: shows the tour live on a terminal, line by line in a pipe, or as JSON."""

import signal
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from steelyard.cli.output import Table, console, print_json, say, seconds_text, tell, text_of, verdict_style
from steelyard.demo import Demo, Frame

__all__ = ["demo"]

BAR_WIDTH = 30


def demo(*, policy: str | None, keep: bool, as_json: bool) -> None:
    with Demo(policy) as running:
        result = tour(running, quiet=as_json)
        if as_json:
            print_json(result)
        else:
            conclude(result)
        if keep:
            stay(running)
    if result["tour"]["errors"] or result["first"]["errors"]:
        raise typer.Exit(1)


def tour(running: Demo, *, quiet: bool) -> dict[str, Any]:
    running.wait_until_ready()
    names = running.names()
    if not quiet:
        tell(f"proxy on http://{running.address}, five origins behind it, one request at a time each:")
        tell("  " + ", ".join(f"{name} {address}" for address, name in names.items()))
    first = running.first()
    if not quiet:
        tell(f"\n{first['requests']} requests, busy origins skipped; who served how many:")
        console().print(bars(first["served"]))
        tell("now a few thousand; one origin is killed on the way, and started again:")
    frames = watch(running, names, quiet=quiet)
    return {
        "proxy": f"http://{running.address}",
        "policy": frames[-1].status["pools"][0]["policy"],
        "first": first,
        "tour": {**running.tally.as_json(), "seconds": frames[-1].elapsed_s},
        "events": [
            {"at_s": frame.elapsed_s, "at_request": frame.tally["requests"], "event": frame.event}
            for frame in frames
            if frame.event
        ],
        "endpoints": [
            {"name": names[one["address"]], **one} for one in frames[-1].status["pools"][0]["endpoints"]
        ],
    }


def watch(running: Demo, names: dict[str, str], *, quiet: bool) -> list[Frame]:
    """Shows every frame as it comes; returns those with an event, and the last."""
    out = console()
    kept: list[Frame] = []
    events: list[str] = []
    live = Live(console=out, refresh_per_second=10) if out.is_terminal and not quiet else None
    if live:
        live.start()
    try:
        for frame in running.tour():
            if kept and not kept[-1].event:
                kept.pop()
            kept.append(frame)
            if frame.event:
                events.append(f"{frame.elapsed_s:5.1f} s, request {frame.tally['requests']}: {frame.event}")
                if not live and not quiet:
                    tell(f"  {events[-1]}")
            if live:
                lines = (text_of(f"  {line}") for line in events)
                live.update(Group(frame_table(frame, names), summary(frame.tally), *lines))
    finally:
        if live:
            live.stop()
    if not live and not quiet:
        out.print(frame_table(kept[-1], names), summary(kept[-1].tally), sep="\n")
    return kept


def bars(served: dict[str, int]) -> Table:
    table = Table(show_header=False, padding=(0, 2))
    most = max(served.values(), default=1)
    for name, count in served.items():
        table.row(f"  {name}", str(count), "█" * round(BAR_WIDTH * count / most))
    return table


def frame_table(frame: Frame, names: dict[str, str]) -> Table:
    table = Table(padding=(0, 2))
    for name in ("  origin", "verdict"):
        table.head(name, no_wrap=True)
    for name in ("in flight", "served", "failures"):
        table.head(name, justify="right", no_wrap=True)
    table.head("why")
    for one in frame.status["pools"][0]["endpoints"]:
        name = names.get(one["address"], one["address"])
        table.row(
            f"  {name}",
            text_of(one["verdict"], verdict_style(one["verdict"])),
            str(one["in_flight"]),
            str(frame.tally["served"].get(name, 0)),
            str(one["failures"]),
            one["why"],
        )
    return table


def summary(tally: dict[str, Any]) -> Text:
    latency = ", ".join(f"{name} {seconds_text(value)}" for name, value in tally["latency_s"].items())
    return text_of(f"  {tally['requests']} requests, {tally['errors']} errors seen by the client; {latency}")


def conclude(result: dict[str, Any]) -> None:
    seen, errors = result["tour"], result["tour"]["errors"] + result["first"]["errors"]
    rate = seen["requests"] / seen["seconds"]
    outcome = f"CLIENTS SAW {errors} ERRORS: {seen['error_kinds']}" if errors else "no client saw an error"
    tell(
        f"\n{seen['requests']} requests in {seen['seconds']:.1f} s ({rate:.0f} a second) "
        f"by {result['policy']}: {outcome}"
    )


def stay(running: Demo) -> None:
    """Everything stays up, with an admin socket to try the other commands on."""
    from steelyard.admin.server import AdminServer
    from steelyard.admin.socket import AdminSocket

    with TemporaryDirectory(prefix="steelyard-demo-") as folder:
        server = AdminServer(running.control, AdminSocket(Path(folder) / "admin.sock"))
        server.start()
        say(f"\nit stays up until Ctrl-C; try\n  curl -i http://{running.address}/")
        say(f"  steelyard status --socket {folder}/admin.sock")
        ended = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        ended.wait()
        server.close()
