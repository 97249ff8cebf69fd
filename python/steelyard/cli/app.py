"""Every command, its arguments and its help. Each imports what it needs only when it is called."""

from pathlib import Path
from typing import Annotated

import typer

from steelyard import __version__
from steelyard.cli import complete
from steelyard.errors import UsageError

__all__ = ["app"]

SERVE, CONFIGURE, STEER = "Carry traffic", "Configuration", "A running instance"
CHOOSE = "Try a policy"

app = typer.Typer(
    name="steelyard",
    help="A load balancer that is steered in Python and carries its traffic in Rust.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="CONFIG",
        # Whether it can be read is found out where it is read.
        readable=False,
        help="A file; else $STEELYARD_CONFIG, ./steelyard.toml, /etc/steelyard/steelyard.toml.",
        show_default=False,
    ),
]
SocketOption = Annotated[
    Path | None,
    typer.Option("--socket", metavar="PATH", help="The admin socket of the instance.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
EndpointArgument = Annotated[
    str,
    typer.Argument(
        metavar="EP",
        help="An endpoint as the file or status has it: ADDRESS or POOL/ADDRESS.",
        autocompletion=complete.endpoints,
    ),
]


def print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"steelyard {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=print_version)
    ] = False,
) -> None:
    """A load balancer that is steered in Python and carries its traffic in Rust."""


@app.command(rich_help_panel=SERVE)
def run(
    path: ConfigArgument = None,
    listen: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", help="Listen here, such as :8080; no file is read.")
    ] = None,
    to: Annotated[
        list[str] | None, typer.Option(metavar="HOST:PORT", help="An endpoint; give it once for each.")
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How one of --to is chosen; least_request unless given. Settings follow a colon: "
            "'ring_hash:key=address'.",
            autocompletion=complete.policies,
        ),
    ] = None,
    health: Annotated[
        str | None, typer.Option(metavar="PATH", help="The path that is probed; a TCP connect unless given.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Reload when the file changes.")] = False,
    socket: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help='The admin socket, or "off" for none.', show_default=False),
    ] = None,
) -> None:
    """Run in the foreground. SIGTERM and SIGINT drain, a second one stops at once, SIGHUP reloads."""
    from steelyard.cli import run

    source = run.source_of(path, listen or [], to or [], policy, health)
    if watch and source.path is None:
        raise UsageError("--watch needs a file to watch", hint="give CONFIG instead of --listen and --to")
    run.run(source, watch=watch, socket=socket)


@app.command(rich_help_panel=SERVE)
def demo(
    policy: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="How endpoints are chosen.", autocompletion=complete.policies),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Stay up afterwards, until Ctrl-C.")] = False,
    json: JsonOption = False,
) -> None:
    """A tour: five real origins, a real proxy, a real client; one origin stops and comes back."""
    from steelyard.cli import demo

    demo.demo(policy=policy, keep=keep, as_json=json)


@app.command(rich_help_panel=CONFIGURE)
def init(
    path: Annotated[Path, typer.Argument(metavar="CONFIG", help="The file to write.")] = Path(
        "steelyard.toml"
    ),
    systemd: Annotated[bool, typer.Option("--systemd", help="Also write steelyard.service.")] = False,
    compose: Annotated[bool, typer.Option("--compose", help="Also write compose.yaml.")] = False,
    json: JsonOption = False,
) -> None:
    """Write a commented configuration. Nothing is overwritten."""
    from steelyard.cli import init

    init.init(path, systemd=systemd, compose=compose, as_json=json)


@app.command(rich_help_panel=CONFIGURE)
def check(
    path: ConfigArgument = None,
    show: Annotated[bool, typer.Option("--show", help="Print the whole effective configuration.")] = False,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="Try a policy written in Python; the module is looked for beside CONFIG, else here.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="With --policy: other chances; 1 unless given.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say whether a configuration is sound, and if not, everything that is wrong with it."""
    from steelyard.cli import check

    if policy is not None:
        check.check_policy(policy, path, seed=1 if seed is None else seed, show=show, as_json=json)
    elif seed is not None:
        raise UsageError("--seed is for the trials of --policy", hint="steelyard check --policy mine:score")
    else:
        check.check(path, show=show, as_json=json)


@app.command(rich_help_panel=CHOOSE)
def simulate(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="SCENARIO", readable=False, help="A scenario; examples/scenarios has some to begin with."
        ),
    ],
    policy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Compare this policy instead of the scenario's; give it once for each. Settings follow "
            "a colon: 'ring_hash:key=cookie:sid'.",
            autocompletion=complete.policies,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Instead of the scenario's seed.", show_default=False)
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the results: .png, .svg or .pdf.", show_default=False),
    ] = None,
    endpoints: Annotated[
        bool, typer.Option("--endpoints", help="Also show each endpoint's share and utilisation.")
    ] = False,
    json: JsonOption = False,
    series: Annotated[
        bool, typer.Option("--series", help="With --json: also distributions and the load over time.")
    ] = False,
) -> None:
    """Compare policies under a virtual clock: response times, errors, and which differences are real."""
    from steelyard.cli import simulate

    simulate.simulate(
        path, policies=policy, seed=seed, plot=plot, endpoints=endpoints, as_json=json, series=series
    )


@app.command(rich_help_panel=STEER)
def status(socket: SocketOption = None, json: JsonOption = False) -> None:
    """Show listeners, pools and endpoints: verdict and why, load, counts, response times."""
    from steelyard.cli import steer

    steer.status(socket, as_json=json)


@app.command(rich_help_panel=STEER)
def reload(socket: SocketOption = None, json: JsonOption = False) -> None:
    """Read the configuration again. On any mistake the old one stays in force."""
    from steelyard.cli import steer

    steer.reload(socket, as_json=json)


@app.command(rich_help_panel=STEER)
def drain(endpoint: EndpointArgument, socket: SocketOption = None, json: JsonOption = False) -> None:
    """Give an endpoint no new requests; those in flight end. It holds over reloads until undrain."""
    from steelyard.cli import steer

    steer.drain(socket, endpoint, as_json=json)


@app.command(rich_help_panel=STEER)
def undrain(endpoint: EndpointArgument, socket: SocketOption = None, json: JsonOption = False) -> None:
    """Give a drained endpoint requests again."""
    from steelyard.cli import steer

    steer.undrain(socket, endpoint, as_json=json)


# What looks like an option may be a number below 0, which is told so.
@app.command(rich_help_panel=STEER, context_settings={"ignore_unknown_options": True})
def weight(
    endpoint: EndpointArgument,
    weight: Annotated[str, typer.Argument(metavar="N", help='A number, or "default": as the file has it.')],
    socket: SocketOption = None,
    json: JsonOption = False,
) -> None:
    """Set the weight of an endpoint. It holds over reloads until set to "default"."""
    from steelyard.cli import steer

    steer.weight(socket, endpoint, weight, as_json=json)


@app.command(rich_help_panel=STEER)
def policy(
    pool: Annotated[str, typer.Argument(metavar="POOL", help="The name of the pool.")],
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help='A policy, or "default": as the file has it.',
            autocompletion=complete.policies,
        ),
    ],
    socket: SocketOption = None,
    json: JsonOption = False,
) -> None:
    """Set the policy of a pool. It holds over reloads until set to "default"."""
    from steelyard.cli import steer

    steer.policy(socket, pool, name, as_json=json)


@app.command(rich_help_panel="About")
def version(json: JsonOption = False) -> None:
    """Show the version, the build, Python, the allocator and the TLS provider."""
    from steelyard.cli import check

    check.version(as_json=json)
