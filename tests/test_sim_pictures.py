"""Pictures of runs: what is drawn, how it can be told apart, and what is needed for it."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from language.scenarios import SMALL, policy, result_of, small_scenario
from steelyard import sim
from steelyard.cli import simulate as command
from steelyard.errors import SteelyardError
from steelyard.sim import plot
from test_cli import steelyard


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return small_scenario(tmp_path)


@pytest.fixture(scope="module")
def fonts_are_open(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The library for pictures keeps its fonts open for the process; that is no descriptor left behind."""
    folder = tmp_path_factory.mktemp("fonts")
    plot.draw(result_of(policy("a", 1.0) | {"distribution": [(1.0, 0.1), (2.0, 0.9)]}), folder / "a.png")


@pytest.mark.usefixtures("fonts_are_open")
def test_pictures_are_drawn_in_the_format_of_their_name(small: Path) -> None:
    done = steelyard("simulate", small.name, "--plot", "a.png", cwd=small.parent)
    assert (done.returncode, done.stderr) == (0, "drawn: a.png\n")
    assert (small.parent / "a.png").read_bytes().startswith(b"\x89PNG")
    result = sim.simulate(small)
    plot.draw(result, small.parent / "a.svg")
    text = (small.parent / "a.svg").read_text(encoding="utf-8")
    assert "<svg" in text


@pytest.mark.usefixtures("fonts_are_open")
def test_a_picture_without_loads_over_time_has_the_times_alone(small: Path) -> None:
    result = sim.simulate(small)
    bare = [one.model_copy(update={"series": None}) for one in result.policies]
    plot.draw(result.model_copy(update={"policies": tuple(bare)}), small.parent / "a.png")
    assert (small.parent / "a.png").stat().st_size > 10_000


def drawn(result: sim.Result, monkeypatch: pytest.MonkeyPatch) -> Figure:
    """The figure that would be written."""
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    plot.draw(result, Path("a.png"))
    figures[0].draw_without_rendering()
    return figures[0]


@pytest.mark.usefixtures("fonts_are_open")
def test_no_two_curves_of_a_picture_look_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    curve = {"distribution": [(1.0, 0.1), (2.0, 0.9)]}
    figure = drawn(result_of(*(policy(f"p{n}", 1.0) | curve for n in range(24))), monkeypatch)
    looks = {
        (line.get_color(), line.get_linestyle(), str(line._dash_pattern)) for line in figure.axes[0].lines
    }
    assert len(looks) == 24
    legend = figure.axes[0].get_legend()
    assert legend is not None
    # And all of them are named, within the picture.
    box = legend.get_window_extent()
    assert len(legend.get_texts()) == 24
    assert box.y0 >= 0
    assert box.y1 <= figure.bbox.height


@pytest.mark.usefixtures("fonts_are_open")
@pytest.mark.parametrize("name", ["_mine:score", r"prequal probe_path=/$\frac$", "x" * 200])
def test_a_name_is_drawn_as_it_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    curve = {"distribution": [(1.0, 0.1), (2.0, 0.9)]}
    figure = drawn(result_of(policy(name, 1.0) | curve), monkeypatch)
    legend = figure.axes[0].get_legend()
    assert legend is not None
    (text,) = legend.get_texts()
    assert text.get_text() in (name, f"{'x' * 31}…")
    assert legend.get_window_extent().x1 <= figure.bbox.width


@pytest.mark.usefixtures("fonts_are_open")
def test_a_picture_without_answers_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = drawn(result_of(policy("a", 1.0)), monkeypatch)
    assert [text.get_text() for text in figure.axes[0].texts] == ["no request was answered"]


@pytest.mark.usefixtures("fonts_are_open")
@pytest.mark.parametrize(
    ("endpoints", "faulty", "lines"),
    [
        # Of as many faults as there are loud colours each has one, and all others have another.
        ("{ count = 9 }", 4, 5),
        ("{ count = 9 }", 7, 8),
        # More can be told apart by nobody.
        ("{ count = 9 }", 8, 1),
        (", ".join(f'{{ name = "g{number}" }}' for number in range(8)), 0, 8),
        (", ".join(f'{{ name = "g{number}" }}' for number in range(9)), 0, 1),
    ],
)
def test_lines_of_endpoints_can_be_told_apart(
    endpoints: str, faulty: int, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = SMALL.partition("[[faults]]")[0].replace(
        '{ count = 3 }, { name = "slow", speed = 0.5 }', endpoints
    )
    fault = f'[[faults]]\nat = "1s"\nendpoint = {list(range(faulty))}\nkind = "stop"\n'
    scenario = sim.load_text(text + fault if faulty else text)
    figure = drawn(sim.simulate(scenario), monkeypatch)
    lower = figure.subfigs[1]
    shown = lower.axes[0].lines[:lines]
    assert len({(line.get_color(), line.get_linestyle()) for line in shown}) == lines
    (legend,) = lower.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert len([name for name in names if name != "a fault lasts"]) == lines
    assert legend.get_window_extent().y0 >= 0


@pytest.mark.usefixtures("fonts_are_open")
def test_whatever_is_drawn_over_the_loads_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    text = SMALL + '[[faults]]\nat = "50s"\nendpoint = 0\nkind = "add"\n'
    (legend,) = drawn(sim.simulate(sim.load_text(text)), monkeypatch).subfigs[1].legends
    names = [one.get_text() for one in legend.get_texts()]
    assert names == ["the other 2 endpoints", "endpoint-0", "slow", "a fault lasts", "an endpoint joins"]


@pytest.mark.usefixtures("fonts_are_open")
@pytest.mark.parametrize("points", [1, 2])
def test_a_short_run_can_be_drawn(points: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = SMALL.replace("series_buckets = 20", f"series_buckets = {points}")
    # A warning would be an error here.
    drawn(sim.simulate(sim.load_text(text)), monkeypatch)


@pytest.mark.usefixtures("fonts_are_open")
@pytest.mark.parametrize(
    ("arrivals", "panel"),
    [
        ('{ kind = "poisson", rate = 1.5 }', False),
        ('{ kind = "profile", points = [["0s", 0.5], ["600s", 0.5], ["601s", 2.0]] }', True),
    ],
)
def test_the_rate_is_drawn_where_it_changes_by_more_than_chance(
    arrivals: str, panel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = SMALL.replace('{ kind = "poisson", rate = 1.5 }', arrivals)
    if not panel:
        # So few that ten parts of the run differ a lot.
        text = text.partition("[[faults]]")[0].replace("2_000", "200")
    figure = drawn(sim.simulate(sim.load_text(text)), monkeypatch)
    titles = [axes.get_title(loc="left") for axes in figure.subfigs[1].axes]
    assert ("arrivals a second" in titles) is panel


def test_without_matplotlib_the_remedy_is_told(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot, "find_spec", lambda name: None)
    with pytest.raises(SteelyardError) as caught:
        command.simulate(
            small,
            policies=None,
            seed=None,
            plot=small.parent / "a.png",
            endpoints=False,
            as_json=False,
            series=False,
        )
    assert str(caught.value) == "pictures need matplotlib\nhint: pip install 'steelyard[plot]'"
