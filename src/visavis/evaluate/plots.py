"""Plots of reports, as SVG that takes its colours from the page around it.

matplotlib lays out and draws; its object API alone is used, so that no figure outlives its plot.
Names of encoders and files never reach it: they stand in the page's own keys. Colours are put in
as markers and replaced by CSS (``currentColor``, ``var(--s0)``), so that one drawing is legible on
light and dark pages and on paper. Lines differ in dash and colour; the page's palette is Okabe and
Ito's, which the colour-blind can tell apart.
"""

from __future__ import annotations

import io
import math
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from visavis.errors import MissingExtra
from visavis.evaluate import metrics
from visavis.evaluate.intervals import FEW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from matplotlib.axes import Axes

    from visavis.evaluate.findings import Calibrated, Checked, Liveness
    from visavis.evaluate.identification import OpenSet
    from visavis.evaluate.intervals import Interval
    from visavis.evaluate.protocols import Verification

SERIES = 6
"""Colours and dashes; a seventh line looks like the first."""

DASHES: tuple[tuple[float, ...], ...] = ((), (6, 2), (2, 2), (7, 2, 2, 2), (10, 3), (1, 1))

INK, _GRID, _PAPER = "#010203", "#040506", "#070809"
"""Markers for the page's text, grid and ground."""

_WIDTH = 1.6
_SIZE = (4.4, 3.4)
"""Inches; the page scales it, so this decides how large letters are beside the drawing."""

_CSS = {INK: "currentColor", _GRID: "var(--grid)", _PAPER: "Canvas"} | {
    f"#0a0b{i:02x}": f"var(--s{i})" for i in range(SERIES)
}

_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "lines.linewidth": _WIDTH,
}
_ONE_AT_A_TIME = threading.Lock()
"""matplotlib keeps some settings in one place for all threads."""


@dataclass(frozen=True, slots=True)
class Key:
    """A line of a plot's legend: the number of its colour and dash, and what it is.

    ``mark`` tells that it is drawn as points.
    """

    series: int
    label: str
    mark: bool = False

    @property
    def dash(self) -> str:
        """Give it as SVG's stroke-dasharray."""
        return " ".join(f"{_WIDTH * part:g}" for part in DASHES[self.series % SERIES])


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing and the words around it.

    Attributes
    ----------
    title, note
        What is drawn, and how to read it.
    svg
        One ``<svg>`` element, to stand in a page that defines ``--s0`` to ``--s5`` and ``--grid``.
    keys
        The legend.
    """

    title: str
    note: str
    svg: str
    keys: tuple[Key, ...]


# Verification


def det(results: Sequence[Verification]) -> Plot:
    """FNMR over FMR on logarithmic axes, with operating points as measured here."""
    lines = [result.comparisons.curve for result in results]

    def draw(axes: Axes) -> None:
        left, low = _log_square(axes, lines)
        for i, (result, line) in enumerate(zip(results, lines, strict=True)):
            _tradeoff(axes, line, i)
            for point in result.points:
                if point.measured_fmr.high < left or point.measured_fnmr.high < low:
                    continue
                _cross(axes, point.measured_fmr, point.measured_fnmr, i, hollow=point.extrapolated)
        axes.set(xlabel="false match rate (FMR)", ylabel="false non-match rate (FNMR)")

    return Plot(
        "Detection error trade-off",
        "Lower is better. Circles are operating points at the rates measured here, with 95 % "
        "intervals; hollow ones are extrapolated, triangles at the edge lie beyond it.",
        svg("det", f"FNMR over FMR of {_count(results)}, both axes logarithmic", draw),
        _keys(result.setting.encoder for result in results),
    )


def distributions(result: Verification, number: int = 0) -> Plot:
    """Share of mated and non-mated comparisons by distance."""
    line = result.comparisons.curve
    taus = [(p.fmr, p.tau) for p in result.points if p.fmr in {1e-2, 1e-4, 1e-6}]

    def draw(axes: Axes) -> None:
        tau = line.tau[1:]
        edges = np.linspace(0, max(0.1, float(tau[-1])), 101)
        for series, rate in ((0, -np.diff(line.fnmr)), (1, np.diff(line.fmr))):
            shares = np.histogram(tau, edges, weights=rate)[0]
            bars(axes, shares, edges, series)
        axes.set(xlabel="distance d", ylabel="share of comparisons")
        axes.set_xlim(float(edges[0]), float(edges[-1]))
        axes.set_ylim(0, axes.get_ylim()[1] * 1.25)
        for fmr, at in taus:
            axes.axvline(at, color=INK, linewidth=0.9, linestyle=":")
            axes.annotate(
                f"FMR {_power(fmr)}",
                (at, 1.0),
                (-3, 0),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                rotation=90,
                fontsize=7.5,
                ha="right",
                va="top",
            )

    return Plot(
        f"Distances: {result.setting.encoder}",
        "The further apart the two hills, the better. Dotted: thresholds of the operating points.",
        svg(f"distances{number}", "distances of mated and of non-mated pairs", draw),
        (Key(0, "same person"), Key(1, "different people")),
    )


def discard(results: Sequence[Verification]) -> Plot:
    """FNMR of what is left over the share of pairs discarded for quality."""

    def draw(axes: Axes) -> None:
        for i, result in enumerate(results):
            kept = result.discard.share <= 0.5
            share, missed = result.discard.share[kept], result.discard.fnmr[kept]
            axes.plot(share, missed, **stroke(i), drawstyle="steps-post")
        axes.set_xlim(0, 0.5)
        axes.set_ylim(0, None)
        axes.set(xlabel="share of pairs discarded", ylabel="FNMR of the others")
        in_percent(axes.xaxis)
        in_percent(axes.yaxis)

    return Plot(
        "Error against discard",
        "Pairs with the worst quality are discarded first. A line that falls steeply says that "
        "quality foresees errors; a level one, that it does not.",
        svg("discard", f"FNMR against discarded share of {_count(results)}", draw),
        _keys(result.setting.encoder for result in results),
    )


def calibrated(scores: Sequence[Calibrated]) -> Plot:
    """Observed over stated probability that a pair is mated, at equal priors."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
        for i, score in enumerate(scores):
            found = score.reliability
            axes.plot(found.stated, found.observed, **stroke(i))
            few = np.minimum(found.mated, found.nonmated) < FEW
            for which, fill in ((few, _PAPER), (~few, colour(i))):
                marked: Any = {"marker": "o", "markersize": 4, "markerfacecolor": fill}
                at = found.stated[which], found.observed[which]
                axes.plot(*at, color=colour(i), linestyle="none", clip_on=False, **marked)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set(xlabel="stated probability of the same person", ylabel="share that was")

    words = (f"{s.encoder}: Cllr {s.cllr:.4f} bit, at best {s.least:.4f}" for s in scores)
    return Plot(
        "Reliability of the calibrated score",
        "On the dotted line, the log-likelihood ratio means what it says. Cllr is its cost: 0 is "
        f"perfect, 1 tells nothing. Hollow: fewer than {FEW} pairs of a kind.",
        svg("reliability", f"reliability diagram of {_count(scores)}", draw),
        _keys(words),
    )


# Identification


def search(results: Sequence[OpenSet]) -> Plot:
    """FNIR over FPIR with everybody enrolled, with operating points as measured here."""
    lines = [result.sizes[-1].curve for result in results]

    def draw(axes: Axes) -> None:
        left, low = _log_square(axes, lines)
        for i, (result, line) in enumerate(zip(results, lines, strict=True)):
            _tradeoff(axes, line, i)
            for _, _, found, missed in result.promised:
                if found.high >= left and missed.high >= low:
                    _cross(axes, found, missed, i)
        axes.set(
            xlabel="false positive identification rate (FPIR)",
            ylabel="false negative id. rate (FNIR)",
        )

    people = ", ".join(dict.fromkeys(f"{r.sizes[-1].people:,}" for r in results))
    return Plot(
        "Searching for people and strangers",
        f"Lower is better; {people} people enrolled. Circles are operating points at the rates "
        "measured here, with 95 % intervals.",
        svg("search", f"FNIR over FPIR of {_count(results)}, both axes logarithmic", draw),
        _keys(result.setting.encoder for result in results),
    )


def sizes(results: Sequence[OpenSet]) -> Plot:
    """FNIR over the number of people enrolled, at each FPIR that was measured."""
    rates = list(dict.fromkeys(rate for r in results for s in r.sizes for rate in s.fnir))
    lines = [(i, r, rate) for i, r in enumerate(results) for rate in rates]
    if len(results) > 1:  # a line an encoder: the strictest rate that all have
        common = [rate for rate in rates if all(rate in r.sizes[-1].fnir for r in results)]
        lines = [(i, r, common[-1]) for i, r in enumerate(results) if common]

    def draw(axes: Axes) -> None:
        axes.set_xscale("log")
        for number, (_, result, rate) in enumerate(lines):
            there = [(s.people, s.fnir[rate]) for s in result.sizes if rate in s.fnir]
            _whiskers(axes, _beside(there, number, len(lines)), number)
        axes.set_ylim(0, None)
        axes.set(xlabel="people enrolled", ylabel="false negative id. rate (FNIR)")
        _decades(axes.xaxis, whole=True)
        in_percent(axes.yaxis)

    return Plot(
        "Against the size of the gallery",
        "The threshold follows the size, so that strangers are named at the same rate. Bars are "
        "95 % intervals.",
        svg("sizes", f"FNIR against gallery size of {_count(results)}", draw),
        tuple(
            Key(n, f"{result.setting.encoder}, FPIR {rate}")
            for n, (_, result, rate) in enumerate(lines)
        ),
    )


def cmc(results: Sequence[OpenSet]) -> Plot:
    """Share of searches that find the right person among the nearest k (closed set)."""

    def draw(axes: Axes) -> None:
        axes.set_xscale("log")
        last = min(100, max(len(result.cmc) for result in results))
        for i, result in enumerate(results):
            shares = result.cmc[:last]
            axes.plot(np.arange(1, len(shares) + 1), shares, **stroke(i), clip_on=False)
        axes.set_xlim(1, max(2, last))
        axes.set(xlabel="rank", ylabel="found at this rank or before")
        low = min(float(result.cmc[0]) for result in results)
        axes.set_ylim(max(0.0, low - (1 - low) * 0.3 - 0.002), 1.0)
        _decades(axes.xaxis, whole=True)
        in_percent(axes.yaxis)

    return Plot(
        "Cumulative match characteristic",
        "Closed set: everybody looked for is enrolled, and no threshold applies. It says nothing "
        "of strangers.",
        svg("cmc", f"cumulative match characteristic of {_count(results)}", draw),
        _keys(result.setting.encoder for result in results),
    )


# Liveness and the promise


def attacks(result: Liveness, number: int = 0) -> Plot:
    """BPCER over APCER of each species on logarithmic axes."""
    live = result.live.as_distance().d
    lines = [metrics.curve(live, kind.as_distance().d) for kind in result.attacks.values()]

    def draw(axes: Axes) -> None:
        left, low = _log_square(axes, lines)
        for i, (species, line) in enumerate(zip(result.attacks, lines, strict=True)):
            _tradeoff(axes, line, i)
            for point in result.points:
                found = point.apcer.get(species)
                if found and found.high >= left and point.bpcer.high >= low:
                    _cross(axes, found, point.bpcer, i)
        axes.set(xlabel="attacks taken for live (APCER)", ylabel="live refused (BPCER)")

    return Plot(
        f"Attacks: {result.setting.encoder}",
        "Lower is better, a line for each species of attack. Circles are the thresholds of the "
        "table, with 95 % intervals.",
        svg(f"attacks{number}", "BPCER over APCER for each species of attack", draw),
        _keys(result.attacks),
    )


def scores(result: Liveness, number: int = 0) -> Plot:
    """Share of presentations by score, live and each species."""
    kinds = {"live": result.live, **result.attacks}

    def draw(axes: Axes) -> None:
        edges = np.linspace(0, 1, 51)
        for i, kind in enumerate(kinds.values()):
            counts = np.histogram(kind.score, edges)[0]
            bars(axes, counts / len(kind.score), edges, i)
        axes.set(xlabel="liveness score", ylabel="share of presentations")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, None)
        for point in result.points[:1]:
            if math.isfinite(point.threshold):
                axes.axvline(point.threshold, color=INK, linewidth=0.9, linestyle=":")

    return Plot(
        f"Scores: {result.setting.encoder}",
        "Live faces should lie right of the dotted threshold, attacks left of it.",
        svg(f"scores{number}", "liveness scores of live faces and attacks", draw),
        _keys(kinds),
    )


def promise(result: Checked, number: int = 0) -> Plot:
    """Rates measured on other people over the rates stated, with both intervals."""

    def draw(axes: Axes) -> None:
        stated = np.array([p.point.fmr for p in result.promises])
        measured = [p.measured for p in result.promises]
        low = 10.0 ** math.floor(math.log10(stated.min()) - 0.5)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(low, 1)
        axes.set_xlim(low, 1)
        order = np.argsort(stated)
        lower = np.array([max(low, p.point.lower) for p in result.promises])
        upper = np.array([p.point.upper for p in result.promises])
        axes.fill_between(
            stated[order], lower[order], upper[order], color=colour(0), alpha=0.25, linewidth=0
        )
        axes.plot(stated[order], stated[order], **stroke(0))
        there = list(zip(stated.tolist(), measured, strict=True))
        _whiskers(axes, there, 1, joined=False)
        _decades(axes.xaxis)
        _decades(axes.yaxis)
        axes.set(xlabel="false match rate stated", ylabel="measured on other people")

    return Plot(
        f"The promise: {result.setting.encoder}",
        "Points within the band are kept promises; below it the encoder is safer than stated.",
        svg(f"promise{number}", "measured over stated false match rates", draw),
        (Key(0, "stated, with its 95 % bounds"), Key(1, "measured, with 95 % interval", mark=True)),
    )


# What the plots share


def _keys(labels: Iterable[str]) -> tuple[Key, ...]:
    return tuple(Key(i, label) for i, label in enumerate(labels))


def _count(drawn: Sequence[object]) -> str:
    return "one encoder" if len(drawn) == 1 else f"{len(drawn)} encoders"


def colour(series: int) -> str:
    """Give the marker that the page's colour takes the place of."""
    return f"#0a0b{series % SERIES:02x}"


def stroke(series: int) -> dict[str, Any]:
    """Give colour and dash of a line, as its ``Key`` shows them."""
    dash = DASHES[series % SERIES]
    return {"color": colour(series), "linestyle": (0, dash) if dash else "-"}


def _log_square(axes: Axes, lines: Sequence[metrics.Curve]) -> tuple[float, float]:
    """Set both axes to whole decades around what is to be drawn; gives their lower ends."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    left = _decade_below(1 / line.nonmated for line in lines)
    low = _decade_below(1 / line.mated for line in lines)
    axes.set_xlim(left, 1)
    axes.set_ylim(low, 1)
    _decades(axes.xaxis)
    _decades(axes.yaxis)
    return left, low


def _decade_below(rates: Iterable[float]) -> float:
    return float(10.0 ** min(-1, math.floor(math.log10(min(rates)) + 1e-9)))


def _tradeoff(axes: Axes, line: metrics.Curve, series: int) -> None:
    thin = line.thinned(400)
    shown = (thin.fmr > 0) & (thin.fnmr > 0)
    axes.plot(thin.fmr[shown], thin.fnmr[shown], **stroke(series))


def _cross(axes: Axes, x: Interval, y: Interval, series: int, *, hollow: bool = False) -> None:
    """Mark a point with the intervals of both its rates; a triangle where one is off the axes."""
    left, low = axes.get_xlim()[0], axes.get_ylim()[0]
    at = max(x.value, left), max(y.value, low)
    own = colour(series)
    thin: Any = {"color": own, "linewidth": 1.0, "alpha": 0.8}
    axes.plot([max(x.low, left), max(x.high, left)], [at[1], at[1]], **thin)
    axes.plot([at[0], at[0]], [max(y.low, low), max(y.high, low)], **thin)
    fill = _PAPER if hollow else own
    marker = "<" if x.value < left else "v" if y.value < low else "o"
    face: Any = {"markersize": 5, "markerfacecolor": fill, "clip_on": False, "zorder": 3}
    axes.plot(*at, marker=marker, color=own, **face)


def _whiskers(
    axes: Axes, there: Sequence[tuple[float, Interval]], series: int, *, joined: bool = True
) -> None:
    """Draw values with their intervals, cut off where the axes end."""
    floor = axes.get_ylim()[0] if axes.get_yscale() == "log" else 0.0
    for at, found in there:
        ends = [max(found.low, floor), max(found.high, floor)]
        axes.plot([at, at], ends, color=colour(series), linewidth=1.0, alpha=0.8)
    line = stroke(series) if joined else {"color": colour(series), "linestyle": "none"}
    y = [max(found.value, floor) for _, found in there]
    axes.plot([at for at, _ in there], y, **line, marker="o", markersize=4, clip_on=False)


def _beside(
    there: Sequence[tuple[float, Interval]], number: int, of: int
) -> list[tuple[float, Interval]]:
    """Move one of several series a little aside on a logarithmic axis, so that bars stay apart."""
    return [(at * 1.04 ** (number - (of - 1) / 2), found) for at, found in there]


def bars(axes: Axes, shares: metrics.Floats, edges: np.ndarray[Any, Any], series: int) -> None:
    """Draw (N,) shares between (N + 1,) edges."""
    axes.stairs(shares, edges, fill=True, color=colour(series), alpha=0.25, linewidth=0)
    axes.stairs(shares, edges, **stroke(series), linewidth=_WIDTH)


def _power(rate: float) -> str:
    """Say 0.001 as 1e-3."""
    return f"{rate:.0e}".replace("e-0", "e-").replace("e+00", "")


def _decades(axis: Any, *, whole: bool = False) -> None:  # noqa: ANN401 - XAxis or YAxis
    """Label decades only: 1e-3, or 1000 for whole numbers; at most seven of them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415

    axis.set_major_locator(LogLocator(numticks=8))
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.0f}" if whole else _power(value))
    )
    axis.set_minor_formatter(NullFormatter())


def in_percent(axis: Any) -> None:  # noqa: ANN401 - XAxis or YAxis
    """Label shares as 12.5 %."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator  # noqa: PLC0415

    axis.set_major_locator(MaxNLocator(6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.6g} %"))


def svg(name: str, alt: str, draw: Callable[[Axes], None]) -> str:
    """Draw on fresh axes; the same drawing gives the same text.

    Raises
    ------
    MissingExtra
        Without matplotlib.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        raise MissingExtra("reports need matplotlib: pip install 'visavis[report]'") from missing
    stored = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with _ONE_AT_A_TIME, mpl.rc_context():
        mpl.rcdefaults()  # whatever matplotlibrc says
        mpl.rcParams.update(_STYLE | {"svg.hashsalt": name})
        figure = Figure(figsize=_SIZE, layout="constrained")
        draw(figure.add_subplot())
        figure.savefig(stored, format="svg", transparent=True, metadata=nothing)
    return _inlined(stored.getvalue(), name, alt)


def _inlined(svg: str, name: str, alt: str) -> str:
    """Cut a file down to an element of a page: own ids, the page's colours, words for the blind."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", body)
    for marker, css in _CSS.items():
        body = body.replace(marker, css)
    view = re.search(r'viewBox="[^"]*"', body)
    assert view is not None
    start = f'<svg class="plot" {view[0]} role="img" aria-label="{alt}">'
    return start + body[body.index(">") + 1 :].strip()
