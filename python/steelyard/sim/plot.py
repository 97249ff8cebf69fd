"""Draws a result: how long requests took, and the load of the endpoints over time. Needs matplotlib."""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from steelyard.errors import SteelyardError, UsageError
from steelyard.sim.result import Result, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "ready"]

SUFFIXES = (".png", ".svg", ".pdf")
DOTS_PER_INCH = 130
WIDTH_INCHES = 11.0
TIMES_INCHES = 4.4
PANEL_INCHES = 2.3
PANELS_A_ROW = 2

# Okabe and Ito's colours, which people who do not see all colours can tell apart; with line styles besides.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
# Curves that coincide are still told apart: a dashed one lies over one that is drawn through.
STYLES: tuple[Any, ...] = ("-", (0, (5, 3)), (0, (1.2, 1.6)), (0, (7, 2, 1.5, 2)))
FAULTY_COLOURS = ("#D55E00", "#CC79A7", "#E69F00", "#000000")
FAULT_SHADE = "#F8EADF"
JOINS: Any = {"color": "#999999", "linestyle": ":"}
# Where there are more faulty endpoints, they have the loud colours and all others the last.
GREY = COLOURS[-1]
# More groups than this are drawn as one, since nobody can tell their lines apart.
GROUPS_MAX = 8
NAME_CHARACTERS_MAX = 32
LEGEND_ROW_INCHES = 0.23
RARE = 1e-4
QUANTILES = ((0.5, "p50"), (0.1, "p90"), (0.01, "p99"), (0.001, "p99.9"), (0.0001, "p99.99"))
# Beyond such a ratio between the fullest panels one scale would flatten the others.
RATIO_FOR_LOGARITHMS = 12.0
# The rate of arrivals gets a panel of its own where it changes by more than chance would make it.
RATE_CHANGES = 1.5
STANDARD_ERRORS = 6.0

STYLE: Any = {
    "font.size": 10.5,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.7,
    "legend.frameon": False,
    # A name is a name, whatever is in it.
    "text.parse_math": False,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.08,
}


def ready(path: Path) -> None:
    """Raises UsageError or SteelyardError where nothing can be drawn to this file."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path} is no picture", hint=f"its name ends in {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", hint=f"mkdir -p {path.parent}")
    if find_spec("matplotlib") is None:
        raise SteelyardError("pictures need matplotlib", hint="pip install 'steelyard[plot]'")


def draw(result: Result, path: Path) -> None:
    """Writes the picture, in the format that the name of the file says."""
    ready(path)
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        panels = [(one.name, one.series) for one in result.policies if one.series]
        rate = panels[0][1] if panels and changes(panels[0][1]) else None
        count = len(panels) + (rate is not None)
        rows = -(-count // PANELS_A_ROW)
        lines = lines_of(result)
        heights = (
            max(TIMES_INCHES, legend_inches(len(result.policies))),
            max(PANEL_INCHES * rows, legend_inches(len(lines) + 2)) if rows else 0.0,
        )
        figure = Figure(figsize=(WIDTH_INCHES, sum(heights)))
        if rows:
            parts: Any = figure.subfigures(2, 1, height_ratios=heights)
            upper, lower = parts
            draw_times(result, upper)
            draw_load(result, panels, rate, lines, lower)
        else:
            draw_times(result, figure)
        try:
            figure.savefig(path, dpi=DOTS_PER_INCH)
        except OSError as error:
            raise SteelyardError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from None


def legend_inches(entries: int) -> float:
    """What a legend needs with its title."""
    return LEGEND_ROW_INCHES * (entries + 2)


def changes(series: Series) -> bool:
    """Whether arrivals come faster in one tenth of the time than in another by more than chance."""
    rate, tenth = series.rate, max(1, len(series.rate) // 10)
    means = [fmean(rate[start : start + tenth]) for start in range(0, len(rate) - tenth + 1, tenth)]
    if len(series.t_s) < 2 or not means:
        return False
    # As many requests as came in a tenth scatter by their square root.
    length_s = (series.t_s[1] - series.t_s[0]) * tenth
    scatter = STANDARD_ERRORS * (max(means) * length_s) ** 0.5
    return max(means) > RATE_CHANGES * min(means) and (max(means) - min(means)) * length_s > scatter


def draw_times(result: Result, figure: Any) -> None:
    """The share of requests that took longer, for every time; both axes are logarithmic."""
    axes: Axes = figure.subplots()
    ends = []
    for number, one in enumerate(result.policies):
        points = [(time, 1 - share) for time, share in one.distribution if time > 0 and share < 1]
        points = [(time, rest) for time, rest in points if rest >= RARE]
        if not points:
            continue
        times, rests = zip(*points, strict=True)
        ends += [times[0], times[-1]]
        axes.plot(
            times,
            rests,
            label=short(one.name),
            color=COLOURS[number % len(COLOURS)],
            # Where colours come again, they come with other styles.
            linestyle=STYLES[(number + number // len(COLOURS)) % len(STYLES)],
        )
    axes.set(xscale="log", yscale="log", ylim=(RARE, 1.05))
    axes.set_xlabel("response time")
    axes.set_ylabel("share of requests that take longer")
    axes.set_title("Response times of good answers (further left is better)")
    axes.set_yticks(
        [1, *(rest for rest, _ in QUANTILES)], ["all", *(f"{rest:g}  {name}" for rest, name in QUANTILES)]
    )
    axes.minorticks_off()
    if ends:
        lowest, highest = min(times_at(result, 0.9) or ends), max(ends)
        axes.set_xlim(lowest, highest * 1.1)
        ticks = tick_times(lowest, highest * 1.1)
        axes.set_xticks(ticks, [time_text(tick) for tick in ticks])
        # Named one by one: the library would leave out what begins with an underscore.
        curves = axes.get_lines()
        names = [str(curve.get_label()) for curve in curves]
        axes.legend(
            curves, names, loc="center left", bbox_to_anchor=(1.01, 0.5), title="policy", alignment="left"
        )
    else:
        axes.set_xticks([])
        axes.text(0.5, 0.5, "no request was answered", transform=axes.transAxes, ha="center")


def short(name: str) -> str:
    """A name of which a legend has room for the beginning."""
    return name if len(name) <= NAME_CHARACTERS_MAX else f"{name[: NAME_CHARACTERS_MAX - 1]}…"


def times_at(result: Result, rest: float) -> list[float]:
    """For each policy the time that this share of requests take longer than."""
    found = []
    for one in result.policies:
        times = [time for time, share in one.distribution if time > 0 and 1 - share <= rest]
        found += times[:1]
    return found


def tick_times(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each power of ten; only the powers where that would be too many."""
    powers = [10.0**power for power in range(-9, 9)]
    fine = [power * step for power in powers for step in (1, 2, 5) if low <= power * step <= high]
    return fine if len(fine) <= 12 else [power for power in powers if low <= power <= high]


def time_text(seconds: float) -> str:
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 0.9995:
            return f"{seconds * factor:g} {unit}"
    return f"{seconds * 1e9:g} ns"


@dataclass(frozen=True)
class Line:
    """Endpoints that are drawn as one: their mean, and a band from the least to the most loaded."""

    label: str
    members: tuple[int, ...]
    colour: str
    style: Any = STYLES[0]


def lines_of(result: Result) -> list[Line]:
    """Endpoints with a fault one by one where they are few, the others by group."""
    faulty = sorted({fault.endpoint for fault in result.faults})
    few = len(faulty) <= len(FAULTY_COLOURS)
    loud = FAULTY_COLOURS if few else tuple(colour for colour in COLOURS if colour != GREY)
    alone = faulty if len(faulty) <= len(loud) else []
    lines = []
    groups: dict[str, list[int]] = {}
    for number, name in enumerate(result.endpoints):
        if number not in alone:
            groups.setdefault(re.sub(r"-\d+$", "", name), []).append(number)
    if len(groups) > GROUPS_MAX:
        groups = {"endpoint": [number for members in groups.values() for number in members]}
    calm = [colour for colour in COLOURS if colour not in loud or not alone]
    for index, (name, members) in enumerate(groups.items()):
        if len(members) == 1:
            label = result.endpoints[members[0]]
        elif len(groups) == 1 and name == "endpoint":
            label = f"{'the other ' if alone else ''}{len(members)} endpoints"
        else:
            label = f"{name} ({len(members)})"
        style = STYLES[index // len(calm) % len(STYLES)]
        lines.append(Line(short(label), tuple(members), calm[index % len(calm)], style))
    lines += [Line(result.endpoints[number], (number,), loud[index]) for index, number in enumerate(alone)]
    return lines


def draw_load(
    result: Result,
    panels: list[tuple[str, Series]],
    rate: Series | None,
    lines: list[Line],
    figure: "Figure | Any",
) -> None:
    """For every policy how many requests endpoints hold over time, all to one scale."""
    count = len(panels) + (rate is not None)
    columns = min(PANELS_A_ROW, count)
    grid = figure.subplots(-(-count // columns), columns, sharex=True, squeeze=False)
    cells: list[Axes] = [axes for row in grid for axes in row]
    for axes in cells[count:]:
        axes.remove()
    for axes, (name, series) in zip(cells, panels, strict=False):
        draw_panel(axes, name, series, lines)
    tops = [max(max(loads, default=0.0) for loads in series.in_flight) for _, series in panels]
    logarithms = max(tops) > RATIO_FOR_LOGARITHMS * max(min(tops), 1.0)
    for axes in cells[: len(panels)]:
        if logarithms:
            axes.set_yscale("symlog", linthresh=1.0)
            axes.set_ylim(0, max(tops) * 1.3)
            powers = [10**power for power in range(9) if 10**power <= max(tops) * 1.3]
            axes.set_yticks([0, *powers], ["0", *(f"{power:,}" for power in powers)])
            axes.minorticks_off()
        else:
            axes.set_ylim(0, max(tops) * 1.08 or 1.0)
    if rate is not None:
        axes = cells[len(panels)]
        axes.plot(rate.t_s, rate.rate, color="#555555")
        axes.set_title("arrivals a second")
        axes.set_ylim(0, max(rate.rate) * 1.08)
    for number, axes in enumerate(cells[:count]):
        for fault in result.faults:
            if fault.kind != "add":
                axes.axvspan(
                    fault.at_s, fault.until_s or rest_of(panels), color=FAULT_SHADE, zorder=0, linewidth=0
                )
            else:
                axes.axvline(fault.at_s, zorder=0, **JOINS)
        begin_s, end_s = panels[0][1].t_s[0], rest_of(panels)
        # One stretch of time alone is a point.
        axes.set_xlim((begin_s, end_s) if begin_s < end_s else (0, 2 * end_s))
        if number + columns >= count:
            axes.set_xlabel("virtual time in seconds")
            axes.tick_params(labelbottom=True)
    handles: list[Any] = list(cells[0].get_lines())[: len(lines)]
    labels = [line.label for line in lines]
    if any(fault.kind != "add" for fault in result.faults):
        from matplotlib.patches import Patch

        handles.append(Patch(color=FAULT_SHADE))
        labels.append("a fault lasts")
    if any(fault.kind == "add" for fault in result.faults):
        from matplotlib.lines import Line2D

        handles.append(Line2D([], [], **JOINS))
        labels.append("an endpoint joins")
    figure.suptitle(
        "Requests in flight at an endpoint (lines: mean, bands: least to most loaded)"
        + (", logarithmic" if logarithms else ""),
        x=0.01,
        ha="left",
        fontsize=11,
        fontweight="bold",
    )
    figure.legend(handles, labels, loc="outside right center", title="endpoints", alignment="left")


def rest_of(panels: list[tuple[str, Series]]) -> float:
    return max(series.t_s[-1] for _, series in panels)


def draw_panel(axes: "Axes", name: str, series: Series, lines: list[Line]) -> None:
    for line in lines:
        loads = [[loads[number] for number in line.members] for loads in series.in_flight]
        if len(line.members) > 1:
            axes.fill_between(
                series.t_s,
                [min(one) for one in loads],
                [max(one) for one in loads],
                color=line.colour,
                alpha=0.25,
                linewidth=0,
            )
        axes.plot(
            series.t_s,
            [fmean(one) for one in loads],
            color=line.colour,
            linestyle=line.style,
            label=line.label,
            marker="o" if len(series.t_s) == 1 else None,
        )
    axes.set_title(short(name))
