"""The command `simulate`: a table of the policies, what may be concluded from it, and a picture."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from steelyard import sim
from steelyard.cli.output import Table, console, counted, print_json, say, seconds_text, text_of
from steelyard.errors import UsageError
from steelyard.sim.formats import NAMES

__all__ = ["simulate"]

INTERRUPTED = 130
# With more policies, what each of them is against each other is more than anyone reads.
ALL_PAIRS_OF = 3

WIDE = 10_000

MEASURE_HEADS = {"mean": "mean", "p50": "p50", "p90": "p90", "p99": "p99", "p999": "p99.9"}
DECIDING = "p99"
UNITS = ((1.0, "s"), (1e3, "ms"), (1e6, "µs"))


def simulate(
    path: Path,
    *,
    policies: Sequence[str] | None,
    seed: int | None,
    plot: Path | None,
    endpoints: bool,
    as_json: bool,
    series: bool,
) -> None:
    if series and not as_json:
        raise UsageError("--series is part of --json", hint="give both, or --plot FILE.png for a picture")
    draw = drawer(plot) if plot else None
    try:
        with progress_bar() as progress:
            result = sim.simulate(path, policies=policies, seed=seed, progress=progress)
    except KeyboardInterrupt:
        say("interrupted; there is no result")
        raise typer.Exit(INTERRUPTED) from None
    if draw:
        draw(result)
    if as_json:
        print_json(result.as_json(series=series))
        return
    for trace in result.traces:
        say(trace_line(trace))
    for warning in result.warnings:
        say(f"warning: {warning}")
    show(result, str(path), endpoints=endpoints)
    if plot:
        say(f"drawn: {plot}")


def trace_line(trace: sim.TraceRead) -> str:
    """Which format a log was taken for, and why."""
    why = "as the scenario says" if trace.told_by_line is None else f"told by line {trace.told_by_line}"
    return f"trace {trace.file}: {counted(trace.lines, 'line')} read as {NAMES[trace.format]} ({why})"


def drawer(plot: Path) -> Callable[[sim.Result], None]:
    """What draws; it is found out before the run whether that is possible at all."""
    from steelyard.sim.plot import draw, ready

    ready(plot)
    return lambda result: draw(result, plot)


@contextmanager
def progress_bar() -> Iterator[sim.Progress]:
    """On standard error, and only for a person who waits."""
    out = console(stderr=True)
    columns = (TextColumn("simulating"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=out, transient=True, disable=not out.is_terminal)
    task = bar.add_task("", total=1.0)

    def progress(share: float) -> None:
        bar.start()
        bar.update(task, completed=share)

    try:
        yield progress
    finally:
        bar.stop()


def show(result: sim.Result, name: str, *, endpoints: bool) -> None:
    out = console()
    out.print(text_of(headline(result, name)), soft_wrap=True)
    for table in policy_tables(result, out):
        out.print()
        out.print(table)
    if endpoints:
        out.print()
        out.print(endpoint_table(result))
    out.print()
    for line in differences(result):
        out.print(text_of(line), soft_wrap=True)
    out.print(text_of(answer(result), "bold"), soft_wrap=True)


def headline(result: sim.Result, name: str) -> str:
    requests = max(one.requests for one in result.policies)
    return (
        f"{name}: {len(result.endpoints)} endpoints, {requests} requests for each policy, "
        f"seed {result.seed}, {result.events_per_second / 1e6:.3g} million events a second"
    )


def policy_tables(result: sim.Result, out: Console) -> Iterator[Table]:
    """One table, or two where one would be cut."""
    whole = table_of(result, {**time_columns(result), **other_columns(result)})
    if width_of(whole, out) <= out.width:
        yield whole
    else:
        yield table_of(result, time_columns(result))
        yield table_of(result, other_columns(result))


def width_of(table: Table, out: Console) -> int:
    """What it would take to cut nothing."""
    return out.measure(table, options=out.options.update(width=WIDE)).maximum


def table_of(result: sim.Result, columns: dict[str, list[Text]]) -> Table:
    table = Table(padding=(0, 2, 0, 0))
    table.head("policy", no_wrap=True)
    for name in columns:
        table.head(name, justify="right", no_wrap=True)
    for one, *cells in zip(result.policies, *columns.values(), strict=True):
        table.row(one.name, *cells)
    return table


def time_columns(result: sim.Result) -> dict[str, list[Text]]:
    """The best of each column stands out on a terminal."""
    columns = {}
    for measure in sim.MEASURES:
        ranking = result.ranking(measure)
        best = ranking.best if ranking else None
        columns[MEASURE_HEADS[measure]] = [
            text_of(seconds_text(one.value(measure)), "bold green" if one.name == best else "")
            for one in result.policies
        ]
        if measure == "mean":
            columns["(95 % sure)"] = [text_of(interval_text(one.mean_ci_s)) for one in result.policies]
    return columns


def other_columns(result: sim.Result) -> dict[str, list[Text]]:
    return {
        "utilisation": [text_of(f"{one.utilisation:.1%}") for one in result.policies],
        "errors": [
            text_of(count_text(one.errors, one.error_share), "red" if one.errors else "")
            for one in result.policies
        ],
        "retries": [text_of(str(one.retries)) for one in result.policies],
        "queue wait": [text_of(seconds_text(one.queue_wait_mean_s)) for one in result.policies],
    }


def endpoint_table(result: sim.Result) -> Table:
    """Of each endpoint the share of requests under each policy, and how busy it was."""
    table = Table(padding=(0, 2, 0, 0))
    table.head("share (utilisation)", no_wrap=True)
    for one in result.policies:
        table.head(one.name, justify="right", no_wrap=True)
    for number, name in enumerate(result.endpoints):
        cells = (
            f"{one.share[number]:.1%} ({one.utilisation_by_endpoint[number]:.0%})" for one in result.policies
        )
        table.row(name, *cells)
    return table


def interval_text(interval: tuple[float, float] | None) -> str:
    """Both ends in one unit, with figures enough to tell them apart."""
    if interval is None:
        return "-"
    low, high = interval
    factor, unit = next(((f, u) for f, u in UNITS if abs(high) * f >= 1), UNITS[-1])
    low, high = low * factor, high * factor
    figures = next((n for n in range(3, 7) if f"{low:.{n}g}" != f"{high:.{n}g}"), 3)
    return f"{low:.{figures}g} to {high:.{figures}g} {unit}"


def count_text(count: int, share: float) -> str:
    return f"{count} ({share:.2%})" if count else "0"


def differences(result: sim.Result) -> list[str]:
    """One sentence for each pair; of many policies only for the pairs with the best."""
    if len(result.policies) <= ALL_PAIRS_OF:
        return [sentence(one) for one in result.differences]
    ranking = result.ranking("mean")
    with_best = [one for one in result.differences if ranking and ranking.best in (one.a, one.b)]
    rest = len(result.differences) - len(with_best)
    return [*(sentence(one) for one in with_best), f"The other {rest} pairs are in --json."]


def sentence(one: sim.Difference) -> str:
    if one.ci_s == (0.0, 0.0):
        return f"{one.a} and {one.b} come out the same to the last digit."
    interval = f" (95 % sure: {interval_text(ordered(one.ci_s))})" if one.ci_s else ""
    if not one.significant:
        told = f"Between {one.a} and {one.b} there is no significant difference in the mean"
        if one.ci_s and one.ci_s[0] * one.ci_s[1] > 0:
            # Of many comparisons one in twenty comes out like this by chance.
            return f"{told}, with so many compared; by itself it would be one{interval}."
        return f"{told}{interval}."
    faster, slower = (one.a, one.b) if one.mean_s < 0 else (one.b, one.a)
    by = seconds_text(abs(one.mean_s))
    return f"{faster} is faster than {slower} by {by} in the mean{interval}."


def ordered(interval: tuple[float, float]) -> tuple[float, float]:
    """The interval of how much faster the faster one is."""
    low, high = interval
    return (-high, -low) if high < 0 else (low, high)


def answer(result: sim.Result) -> str:
    """One line: which policy is best here, and which ones may be as good."""
    ranking = result.ranking(DECIDING)
    if ranking is None:
        return "no request was answered under any policy"
    if len(result.policies) == 1:
        return f"{ranking.best} is the only policy; name others to compare it with"
    measure = MEASURE_HEADS[DECIDING]
    best_s = result.policy(ranking.best).value(DECIDING)
    same = [name for name in ranking.level if result.policy(name).value(DECIDING) == best_s]
    near = [name for name in ranking.level if name not in same]
    if same:
        parts = [f"{names([ranking.best, *same])} are equally good on {measure} here"]
    else:
        parts = [f"{ranking.best} is best on {measure} here"]
    if near:
        parts.append(f"{names(near)} {'is' if len(near) == 1 else 'are'} within its uncertainty")
    if ranking.failing:
        parts.append(failing_text(result, ranking.failing))
    return "; ".join(parts)


def failing_text(result: sim.Result, failing: Sequence[str]) -> str:
    worst = max(result.policy(name).error_share for name in failing)
    one = len(failing) == 1
    return (
        f"{names(failing)} fail{'s' if one else ''} more requests ({'' if one else 'up to '}{worst:.2%}) "
        "and so cannot be compared on time"
    )


def names(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
