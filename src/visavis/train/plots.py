"""Plots of a run of training, drawn as those of evaluations are (see ``evaluate.plots``)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from visavis.evaluate.plots import INK, Key, Plot, bars, colour, in_percent, stroke, svg

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

POINTS = 300
"""Of a line; of more looks neighbours are averaged, and their range is shaded."""

_DECADES = 10.0
"""Numbers that differ by more than this factor are drawn on a logarithmic axis."""


@dataclass(frozen=True, slots=True)
class Looks:
    """The rows of a run's ``metrics.csv``, and where something was noted."""

    rows: Sequence[Mapping[str, str]]

    def of(self, column: str) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Give (steps, values) of each stretch between which the run went back.

        Cells that are empty, infinite or no number are left out.
        """
        stretches: list[list[tuple[float, float]]] = [[]]
        last = -1.0
        for row in self.rows:
            step = float(row["step"])
            if step < last:
                stretches.append([])
            last = step
            value = float(row[column] or "nan")
            if math.isfinite(value):
                stretches[-1].append((step, value))
        return [(array[:, 0], array[:, 1]) for array in map(np.array, stretches) if array.size]

    @property
    def noted(self) -> list[float]:
        """Give the steps of the notes."""
        return [float(row["step"]) for row in self.rows if row["note"]]

    def has(self, column: str) -> bool:
        """Tell whether there is a number."""
        return bool(self.of(column))


def loss(looks: Looks, margin: float | None, name: str = "alpha") -> Plot:
    """Loss over steps.

    Parameters
    ----------
    margin
        Where the loss of a network stays that sends every face to one point; None where that is
        at no fixed number.
    name
        Of that number.
    """
    told = f"{name}, {margin:g}" if margin else ""
    note = "Of single batches, so it trembles; what counts are the checks on people held out."
    if margin:
        note += (
            f" A network whose loss rests on {name} may tell nobody apart. On semi-hard triplets "
            "it need not fall: the ones that are still hard are looked for."
        )

    def draw(axes: Axes) -> None:
        if margin:
            axes.axhline(margin, **stroke(1))
        _lines(axes, looks, [("loss", 0)])
        _logarithmic(axes, looks, "loss")
        axes.set(xlabel="step", ylabel="loss")

    keys = (Key(0, "loss"), *([Key(1, told)] if margin else []))
    return _plot("Loss", note, "loss", keys, draw)


def active(looks: Looks) -> Plot:
    """Share of triplets that give a gradient."""
    return _plain(
        looks,
        "active",
        "Active triplets",
        "share that gives a gradient",
        "The rest of the triplets (or pairs of strangers) already lie as far apart as asked. At "
        "0 nothing is left to learn in a batch; a share that stays near 100 % says that nothing "
        "has been learnt.",
    )


def pairs(looks: Looks) -> Plot:
    """Mean d of mated and non-mated pairs within a batch."""

    def draw(axes: Axes) -> None:
        _lines(axes, looks, [("mated", 0), ("nonmated", 1)])
        axes.set_ylim(0, None)
        axes.set(xlabel="step", ylabel="mean distance d")

    return _plot(
        "Pairs within a batch",
        "The lines must part. Strangers are 2 apart when their vectors are at right angles; both "
        "lines at 0 are a collapse.",
        "pairs",
        (Key(0, "same person"), Key(1, "different people")),
        draw,
    )


def dimension(looks: Looks) -> Plot:
    """Give the effective dimension over steps."""
    return _plain(
        looks,
        "dimension",
        "Effective dimension",
        "dimensions used",
        "In how many directions a batch's vectors spread evenly; at most one fewer than there are "
        "photographs in it. Near 1, all faces lie on a line.",
        share=False,
    )


def gradient(looks: Looks, clip: float) -> Plot:
    """Length of the gradient, and where it is cut off."""

    def draw(axes: Axes) -> None:
        if clip:
            axes.axhline(clip, **stroke(1))
        _lines(axes, looks, [("gradient", 0)])
        _logarithmic(axes, looks, "gradient")
        axes.set(xlabel="step", ylabel="length of the gradient")

    keys = (Key(0, "before clipping"), *([Key(1, f"clipped at {clip:g}")] if clip else []))
    note = "One that grows without end is a learning rate too high."
    return _plot("Gradient", note, "gradient", keys, draw)


def rate(looks: Looks) -> Plot:
    """Learning rate over steps."""
    return _plain(
        looks,
        "rate",
        "Learning rate",
        "learning rate",
        "As it was: schedule, warm-up, and what a recovery took off it.",
        share=False,
    )


_MEASURES = {
    "accuracy": ("Accuracy", "Share of pairs told right at the best threshold of each check."),
    "tar": (
        "TAR at FAR 1e-2",
        "Share of mated pairs accepted where one in 100 of the others is.",
    ),
    "eer": ("Equal error rate", "Lower is better."),
}


def sights(looks: Looks, checks: Sequence[dict[str, Any]], measure: str, best: int) -> Plot:
    """Draw one measure of each check, a line for each width of faces.

    Parameters
    ----------
    measure
        "accuracy", "tar" or "eer".
    best
        Number of the check whose weights were kept.
    """
    widths = [sight["width"] for sight in checks[0]["sights"]]
    title, note = _MEASURES[measure]
    stretches = _stretches([check["step"] for check in checks])

    def draw(axes: Axes) -> None:
        for series in range(len(widths)):
            for places, kept in stretches:
                steps = [checks[i]["step"] for i in places]
                values = [checks[i]["sights"][series][measure] for i in places]
                faint: Any = {"alpha": 1.0 if kept else 0.35, "marker": "o", "markersize": 3}
                axes.plot(steps, values, **stroke(series), **faint, clip_on=False)
        axes.axvline(checks[best]["step"], color=INK, linewidth=0.9, alpha=0.6)
        _notes(axes, looks)
        axes.set_xlim(0, max(1, *(check["step"] for check in checks)))
        in_percent(axes.yaxis)
        axes.set(xlabel="step", ylabel=title)

    keys = tuple(Key(n, _width(width)) for n, width in enumerate(widths))
    note += " On validation people; the upright line is the check whose weights were kept."
    return _plot(f"{title} over steps", note, measure, keys, draw)


def distances(check: dict[str, Any], title: str, name: str, top: float) -> Plot:
    """Shares of validation pairs by d, at one check.

    Parameters
    ----------
    name
        Of the drawing, once in a page.
    top
        Of the y axis, so that drawings can be compared; see ``highest``.
    """
    sight = check["sights"][0]

    def draw(axes: Axes) -> None:
        for series, kind in enumerate(("mated", "nonmated")):
            shares = np.array(sight[kind])
            bars(axes, shares, np.linspace(0, 4, len(shares) + 1), series)
        axes.set_xlim(0, 4)
        axes.set_ylim(0, top)
        in_percent(axes.yaxis)
        axes.set(xlabel="distance d", ylabel="share of pairs")

    return Plot(
        f"Distances {title}",
        f"Step {check['step']:,}, validation people, faces as they are. The further apart the two "
        "hills, the better.",
        svg(name, f"distances of mated and of non-mated validation pairs {title}", draw),
        (Key(0, "same person"), Key(1, "different people")),
    )


def highest(checks: Sequence[dict[str, Any]]) -> float:
    """Give the top of an axis on which the distances of some checks have room."""
    first = (check["sights"][0] for check in checks)
    return 1.08 * float(max(max(*sight["mated"], *sight["nonmated"]) for sight in first))


# What they share


def _plain(  # noqa: PLR0913 - what a plot is made of
    looks: Looks, column: str, title: str, label: str, note: str, *, share: bool = True
) -> Plot:
    """Draw one column from 0 up."""

    def draw(axes: Axes) -> None:
        _lines(axes, looks, [(column, 0)])
        axes.set_ylim(0, None)
        if share:
            in_percent(axes.yaxis)
        axes.set(xlabel="step", ylabel=label)

    return _plot(title, note, column, (), draw)


def _plot(
    title: str,
    note: str,
    name: str,
    keys: tuple[Key, ...],
    draw: Callable[[Axes], None],
) -> Plot:
    alt = title if title.endswith("steps") else f"{title} over steps"
    return Plot(title, note, svg(f"train-{name}", alt, draw), keys)


def _lines(axes: Axes, looks: Looks, columns: Sequence[tuple[str, int]]) -> None:
    each = -(-len(looks.rows) // POINTS)
    for column, series in columns:
        stretches = looks.of(column)
        for number, (steps, values) in enumerate(stretches):
            later = [other[0][0] for other in stretches[number + 1 :]]
            gone = steps >= min(later, default=math.inf)
            if gone.any():
                _line(axes, _thinned(steps[gone], values[gone], each), series, 0.35)
            if not gone.all():
                _line(axes, _thinned(steps[~gone], values[~gone], each), series, 1.0)
    last = max(float(row["step"]) for row in looks.rows)
    axes.set_xlim(0, max(1.0, last))
    _notes(axes, looks)


@dataclass(frozen=True, slots=True)
class _Thinned:
    """Means of neighbours, and the least and the greatest of them."""

    at: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def _thinned(steps: NDArray[np.float64], values: NDArray[np.float64], each: int) -> _Thinned:
    """Average so many neighbours at a time."""
    starts = np.arange(0, len(steps), each)
    counts = np.diff(np.append(starts, len(steps)))
    at, mean = (np.add.reduceat(some, starts) / counts for some in (steps, values))
    low, high = (least.reduceat(values, starts) for least in (np.minimum, np.maximum))
    return _Thinned(at, mean, low, high)


def _line(axes: Axes, told: _Thinned, series: int, alpha: float) -> None:
    if (told.low < told.high).any():
        band: Any = {"color": colour(series), "alpha": 0.18 * alpha, "linewidth": 0}
        axes.fill_between(told.at, told.low, told.high, **band)
    single: Any = {"marker": "o", "markersize": 3} if len(told.at) == 1 else {}
    axes.plot(told.at, told.mean, **stroke(series), **single, alpha=alpha)


def _notes(axes: Axes, looks: Looks) -> None:
    for step in looks.noted:
        axes.axvline(step, color=INK, linewidth=1.0, linestyle=":")


def _logarithmic(axes: Axes, looks: Looks, column: str) -> None:
    values = np.concatenate([values for _, values in looks.of(column)])
    if values.min() > 0 and values.max() > _DECADES * values.min():
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415

        axes.set_yscale("log")
        few = values.max() < _DECADES**3 * values.min()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(min(0.0, float(values.min())), None)


def _stretches(steps: Sequence[int]) -> list[tuple[list[int], bool]]:
    """Part checks into lines: those that were kept, and those that the run went back behind."""
    kept: list[int] = []
    gone: list[list[int]] = []
    for i, step in enumerate(steps):
        back = [j for j in kept if steps[j] >= step]
        if back:
            kept = [j for j in kept if steps[j] < step]
            gone.append([*kept[-1:], *back])
        kept.append(i)
    return [*((places, False) for places in gone), (kept, True)]


def _width(width: int) -> str:
    return f"faces {width} pixels wide" if width else "faces as they are"
