"""One page that says how far an encoder can be trusted: ``report_html``.

The page needs no other file and no script. It says first, in words, whether what was promised was
kept; the numbers, plots and pictures that show it follow. Nothing is computed here: the
protocols' results are told, drawn by ``plots`` and laid out by ``report.html.j2``.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

import visavis
from visavis.errors import InputRefused
from visavis.evaluate import page, plots
from visavis.evaluate.calibration import Verdict
from visavis.evaluate.findings import (
    Calibrated,
    Checked,
    Degraded,
    Liveness,
    Result,
    checked_json,
    identification_json,
    liveness_json,
    printable,
    result_json,
    verdict,
    verification_json,
    write_curve,
    write_pairs,
)
from visavis.evaluate.identification import OpenSet
from visavis.evaluate.page import Alarm, Cell, Run, Table
from visavis.evaluate.protocols import Verification
from visavis.image import decode, read_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from visavis.evaluate.intervals import Interval
    from visavis.evaluate.plots import Plot
    from visavis.evaluate.protocols import AtPoint

__all__ = [
    "Calibrated",
    "Checked",
    "Degraded",
    "Liveness",
    "Result",
    "Run",
    "checked_json",
    "identification_json",
    "liveness_json",
    "report_html",
    "result_json",
    "verification_json",
    "verification_numbers",
    "verification_words",
    "write_curve",
    "write_pairs",
]

LISTED = 50
"""Failures that are named; how many more there are is said."""

THUMBNAIL = 120
"""Longer side of the pictures of the worst pairs, in pixels."""

_FARS = ("1e-2", "1e-3", "1e-4", "1e-5")


def report_html(
    results: Sequence[Result],
    *,
    images: Path | None = None,
    degraded: Sequence[Degraded] = (),
    calibrated: Sequence[Calibrated] = (),
    run: Run | None = None,
) -> str:
    """Give the page for one result, or for those of several encoders side by side.

    Parameters
    ----------
    results
        Of any kinds; those of a kind share plots and a table.
    images
        The folder that photographs' names are relative to. With it the worst pairs are shown as
        pictures, so that whoever gets the page sees them; without it there are none.
    degraded
        Rows of the robustness table, in order; those of an encoder stand together.
    calibrated
        How reliable the encoders' log-likelihood ratios are.

    Raises
    ------
    MissingExtra
        Without matplotlib.
    """
    run = run or Run()
    tables, drawn = _tables(results), _plots(results, calibrated)
    told = page.rendered(
        Path(__file__).with_name("report.html.j2"),
        title=_title(results),
        alarms=[alarm for result in results for alarm in _alarms(result)],
        headlines=[_headline(result) for result in results],
        tables=tables,
        plots=drawn,
        worst=[] if images is None else _worst(_of(results, Verification), images),
        robustness=_robustness(degraded),
        failures=_failures(results),
        remarks=_remarks(results),
        provenance=_provenance(results, run),
    )
    return printable(told)


# What is said first


def _alarms(result: Result) -> list[Alarm]:
    name, data = result.setting.encoder, result.setting.data
    advice = "Calibrate it on people like these before deciding with it: visavis calibrate."
    if isinstance(result, Verification):
        told = [_broken_point(point) for point in result.points if not point.kept]
    elif isinstance(result, OpenSet):
        told = [
            f"At FPIR {page.rate(fpir)}, {page.rate(found.value)} of the strangers were taken for "
            f"somebody enrolled (95 %: {page.rates(found)})."
            for fpir, _, found, _ in result.promised
            if found.low > fpir
        ]
    elif isinstance(result, Checked):
        told = [_broken_promise(p) for p in result.outside]
        advice = f"It was tuned on {result.tuned_on}; tune it on more people, like these."
    else:
        told = []
    return [Alarm(f"{name} does not keep its promise on {data}", tuple(told), advice)] * bool(told)


def _broken_point(point: AtPoint) -> str:
    return (
        f"At FMR {page.rate(point.fmr)}, at most {page.rate(point.promised_upper)} of the "
        f"comparisons of different people should match; {page.rate(point.measured_fmr.value)} did "
        f"(95 %: {page.rates(point.measured_fmr)})."
    )


def _broken_promise(p: Any) -> str:  # noqa: ANN401 - Promise, whose class is needed for nothing else
    chance = "" if p.verdict is Verdict.BROKEN else " Chance may have done it."
    return (
        f"At FMR {page.rate(p.point.fmr)}, at most {page.rate(p.point.upper)} were stated; other "
        f"people gave {page.rate(p.measured.value)} (95 %: {page.rates(p.measured)}).{chance}"
    )


# In words


def _title(results: Sequence[Result]) -> str:
    kinds = {
        Verification: "Verification",
        OpenSet: "Identification",
        Liveness: "Liveness",
        Checked: "Calibration",
    }
    what = " and ".join(dict.fromkeys(kinds[type(result)] for result in results))
    return f"{what}: {', '.join(dict.fromkeys(r.setting.encoder for r in results))}"


def _headline(result: Result) -> str:
    if isinstance(result, Verification):
        return verification_words(result)
    if isinstance(result, OpenSet):
        return _search_words(result)
    return _liveness_words(result) if isinstance(result, Liveness) else _checked_words(result)


def verification_words(result: Verification) -> str:
    """Say what was measured, with its interval."""
    setting, done = result.setting, result.comparisons
    told = [f"{setting.encoder} on {setting.data}:"]
    if result.tar:
        far = "1e-3" if "1e-3" in result.tar else list(result.tar)[-1]
        found = result.tar[far]
        told.append(
            f"where {page.one_in(float(far))} comparisons of different people is accepted, "
            f"{page.percent(found.value)} of those of the same person are "
            f"(95 %: {page.percents(found)})."
        )
    else:
        told.append(
            f"with {done.curve.nonmated:,} comparisons of different people there are too few to "
            f"state an error rate; the equal error rate is {page.percent(result.eer)}."
        )
    if result.accuracy:
        told.append(
            f"{page.percent(result.accuracy.mean)} of the decisions are right "
            f"(standard error {page.percent(result.accuracy.se)}, "
            f"{len(result.accuracy.folds)} folds)."
        )
    return " ".join([*told, *_missing_words(done.failed, len(done.names))])


def _search_words(result: OpenSet) -> str:
    whole = result.sizes[-1]
    told = [f"{result.setting.encoder} on {result.setting.data}, {whole.people:,} people enrolled:"]
    if whole.fnir:
        fpir = "1e-2" if "1e-2" in whole.fnir else list(whole.fnir)[-1]
        found = whole.fnir[fpir]
        told.append(
            f"where {page.one_in(float(fpir))} strangers is taken for somebody, "
            f"{page.percent(1 - found.value)} of the searches for people enrolled name the "
            f"right one (95 %: {page.percent(1 - found.high)} to {page.percent(1 - found.low)})."
        )
    told.append(f"The nearest person is the right one in {page.percent(whole.rank1)}.")
    return " ".join([*told, *_missing_words(result.failed)])


def _liveness_words(result: Liveness) -> str:
    point = result.points[0]
    told = [
        f"{result.setting.encoder} on {result.setting.data}: at the threshold "
        f"{point.threshold:.3g}, {page.percent(point.bpcer.value)} of the live faces are refused "
        f"(95 %: {page.percents(point.bpcer)})."
    ]
    if point.worst is not None:
        found = point.apcer[point.worst]
        told.append(
            f"The most dangerous attack is {point.worst}: {page.percent(found.value)} of them pass "
            f"for live (95 %: {page.percents(found)})."
        )
    if result.failed:
        told.append(f"{_photographs(result.failed)} gave no score, and stand in none of this.")
    return " ".join(told)


def _checked_words(result: Checked) -> str:
    kept = len(result.promises) - len(result.outside)
    return (
        f"{result.setting.encoder}, tuned on {result.tuned_on}, checked on {result.setting.data}: "
        f"{kept} of {len(result.promises)} operating points hold."
    )


def _missing_words(failed: Mapping[str, str], of: int | None = None) -> list[str]:
    if not failed:
        return []
    some = f"{len(failed):,} of {of:,} photographs" if of else _photographs(failed)
    counted = "it counts" if len(failed) == 1 else "they count"
    return [f"{some} could not be used; {counted} as never accepted."]


def _photographs(some: Sequence[object] | Mapping[str, str]) -> str:
    return "1 photograph" if len(some) == 1 else f"{len(some):,} photographs"


# Numbers


_R = TypeVar("_R")


def _of(results: Sequence[Result], kind: type[_R]) -> list[_R]:
    return [result for result in results if isinstance(result, kind)]


def _tables(results: Sequence[Result]) -> list[Table]:
    found = []
    if some := _of(results, Verification):
        found.append(verification_numbers(some))
        found += [_points(result) for result in some if result.points]
    if searched := _of(results, OpenSet):
        found.append(_search_numbers(searched))
        found += [_search_points(result) for result in searched if result.promised]
    found += [_liveness_numbers(result) for result in _of(results, Liveness)]
    found += [_promises(result) for result in _of(results, Checked)]
    return found


def _side_by_side(
    title: str,
    some: Sequence[Any],
    rows: Iterable[tuple[str, Callable[[Any], Cell]]],
    note: str = "",
) -> Table:
    """One column for each encoder; rows in which nobody has anything are left out."""
    laid = [(Cell(name), *(tell(one) for one in some)) for name, tell in rows]
    shown = tuple(row for row in laid if any(cell.text != page.NONE for cell in row[1:]))
    return Table(title, ("", *(one.setting.encoder for one in some)), shown, note)


def verification_numbers(some: Sequence[Verification]) -> Table:
    """One column for each encoder."""

    def rate_of(far: str) -> Callable[[Verification], Cell]:
        return lambda r: page.share(r.tar.get(far))

    def accuracy(result: Verification) -> Cell:
        found = result.accuracy
        if found is None:
            return Cell(page.NONE)
        return Cell(page.percent(found.mean), f"\N{PLUS-MINUS SIGN} {page.percent(found.se)}")

    return _side_by_side(
        "Numbers",
        some,
        [
            ("Accuracy", accuracy),
            *((f"TAR at FAR {far}", rate_of(far)) for far in _FARS),
            ("Equal error rate", lambda r: Cell(page.percent(r.eer))),
            ("Area under the ROC", lambda r: Cell(f"{r.auc:.6f}")),
            (
                "d\N{PRIME}",
                lambda r: Cell(f"{r.d_prime:.2f}" if page.told(r.d_prime) else page.NONE),
            ),
            ("Comparisons, same person", lambda r: Cell(f"{r.comparisons.curve.mated:,}")),
            ("Comparisons, different people", lambda r: Cell(f"{r.comparisons.curve.nonmated:,}")),
            ("People", lambda r: Cell(f"{r.comparisons.people:,}")),
            ("Photographs", lambda r: Cell(f"{len(r.comparisons.names):,}")),
            ("Failed to acquire", lambda r: Cell(f"{len(r.comparisons.failed):,}")),
        ],
        "In brackets 95 % intervals over people; after \N{PLUS-MINUS SIGN} the standard error "
        "over folds. TAR is the share of comparisons of the same person that are accepted where "
        "FAR of those of different people are.",
    )


_JUDGED = (
    "Not kept: the whole interval measured lies above the bound. Exceeded: the rate does, though "
    "chance may have done it. Untested: too few comparisons to have shown a breach."
)


def _judged(said: Verdict) -> Cell:
    if said is Verdict.BROKEN:
        return Cell("not kept", "", "no")
    tones = {Verdict.EXCEEDED: "no", Verdict.UNTESTED: ""}
    return Cell(str(said), "", tones.get(said, "yes"))


def _points(result: Verification) -> Table:
    rows = tuple(
        (
            Cell(page.rate(p.fmr), "extrapolated" if p.extrapolated else ""),
            Cell(f"{p.tau:.4f}"),
            Cell(page.rate(p.promised_upper)),
            Cell(page.rate(p.measured_fmr.value), f"[{page.rates(p.measured_fmr)}]"),
            page.share(p.measured_fnmr),
            _judged(verdict(p.measured_fmr, p.promised_upper)),
        )
        for p in result.points
    )
    return Table(
        f"Operating points: {result.setting.encoder}",
        ("FMR", "tau", "at most", "FMR here", "FNMR here", "promise"),
        rows,
        "\N{LEFT DOUBLE QUOTATION MARK}At most\N{RIGHT DOUBLE QUOTATION MARK} is the upper bound "
        f"that came with the point. {_JUDGED}",
    )


def _search_numbers(some: Sequence[OpenSet]) -> Table:
    def missed(fpir: str) -> Callable[[OpenSet], Cell]:
        return lambda r: page.share(r.sizes[-1].fnir.get(fpir))

    rates = dict.fromkeys(rate for result in some for rate in result.sizes[-1].fnir)
    return _side_by_side(
        "Numbers",
        some,
        [
            *((f"FNIR at FPIR {rate}", missed(rate)) for rate in rates),
            ("Nearest is right (closed set)", lambda r: Cell(page.percent(r.sizes[-1].rank1))),
            ("People enrolled", lambda r: Cell(f"{r.sizes[-1].people:,}")),
            ("Templates of each", lambda r: Cell(f"{r.per_person}")),
            ("Searches for people enrolled", lambda r: Cell(f"{r.mated:,}")),
            ("Searches for strangers", lambda r: Cell(f"{r.strangers:,}")),
            ("Failed to acquire", lambda r: Cell(f"{len(r.failed):,}")),
        ],
        "In brackets 95 % intervals over people. FNIR is the share of searches for people enrolled "
        "that do not name them, FPIR that of searches for strangers that name somebody.",
    )


def _search_points(result: OpenSet) -> Table:
    rows = tuple(
        (
            Cell(page.rate(fpir)),
            Cell(f"{tau:.4f}"),
            Cell(page.rate(found.value), f"[{page.rates(found)}]"),
            page.share(missed),
            _judged(verdict(found, fpir)),
        )
        for fpir, tau, found, missed in result.promised
    )
    return Table(
        f"Operating points: {result.setting.encoder}",
        ("FPIR", "tau", "FPIR here", "FNIR here", "promise"),
        rows,
        f"For {result.sizes[-1].people:,} people enrolled. {_JUDGED}",
    )


def _liveness_numbers(result: Liveness) -> Table:
    species = list(result.attacks)
    rows = [(Cell("threshold"), *(Cell(f"{p.threshold:.4g}") for p in result.points))]
    rows += [
        (Cell(f"APCER, {kind}"), *(_worst_species(p, kind) for p in result.points))
        for kind in species
    ]
    rows.append((Cell("BPCER"), *(page.share(p.bpcer) for p in result.points)))
    columns = len(result.points)
    for kind, found in result.separation.items():
        blank = (Cell(""),) * (columns - 1)
        rows.append((Cell(f"Equal error rate, {kind}"), page.share(found.eer), *blank))
    head = ("", "decided at", *(f"point {i + 2}" for i in range(columns - 1)))
    return Table(
        f"Numbers: {result.setting.encoder}",
        head,
        tuple(rows),
        f"{len(result.live.score):,} live presentations; attacks: "
        + ", ".join(f"{len(kind.score):,} {name}" for name, kind in result.attacks.items())
        + ". APCER is the share of attacks taken for live, BPCER that of live faces refused "
        "(ISO/IEC 30107-3); marked is the worst species.",
    )


def _worst_species(point: Any, kind: str) -> Cell:  # noqa: ANN401 - AtThreshold
    found = page.share(point.apcer.get(kind))
    return Cell(found.text, found.fine, "no" if kind == point.worst else "")


def _promises(result: Checked) -> Table:
    rows = tuple(
        (
            Cell(page.rate(p.point.fmr)),
            Cell(f"{p.point.tau:.4f}"),
            Cell(f"{page.rate(p.point.lower)} to {page.rate(p.point.upper)}"),
            Cell(page.rate(p.measured.value), f"[{page.rates(p.measured)}]"),
            Cell(f"{p.matches:,}", f"of {p.comparisons:,}"),
            _judged(p.verdict),
        )
        for p in result.promises
    )
    return Table(
        f"The promise: {result.setting.encoder}",
        ("FMR", "tau", "stated", "measured", "matches", "promise"),
        rows,
        f"Stated after tuning on {result.tuned_on}, measured on {result.setting.data}. {_JUDGED}",
    )


# Plots


def _plots(results: Sequence[Result], scores: Sequence[Calibrated]) -> list[Plot]:
    drawn: list[Plot] = []
    if some := _of(results, Verification):
        drawn.append(plots.det(some))
        drawn += [plots.distributions(one, i) for i, one in enumerate(some)]
        if any(np.ptp(one.comparisons.quality) > 0 for one in some):
            drawn.append(plots.discard(some))
    if scores:
        drawn.append(plots.calibrated(scores))
    if searched := _of(results, OpenSet):
        drawn += [plots.search(searched), plots.sizes(searched), plots.cmc(searched)]
    for i, liveness in enumerate(_of(results, Liveness)):
        drawn += [plots.attacks(liveness, i), plots.scores(liveness, i)]
    drawn += [plots.promise(checked, i) for i, checked in enumerate(_of(results, Checked))]
    return drawn


# The worst pairs


@dataclass(frozen=True, slots=True)
class Picture:
    """A photograph's name, and its thumbnail as base64 of a JPEG; empty where it cannot be read."""

    name: str
    data: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photographs and what was said of them."""

    a: Picture
    b: Picture
    distance: float
    told: str


def _worst(results: Sequence[Verification], images: Path) -> list[tuple[str, str, list[Pair]]]:
    """Give title, note and pairs of each group."""
    seen: dict[str, Picture] = {}

    def picture(name: str) -> Picture:
        if name not in seen:
            seen[name] = Picture(name, _thumbnail(images / name))
        return seen[name]

    groups = []
    for result in results:
        for near, worst in (
            (True, result.worst_false_matches),
            (False, result.worst_false_non_matches),
        ):
            tell = _accepted_words if near else _refused_words
            pairs = [Pair(picture(a), picture(b), d, tell(result.points, d)) for d, a, b in worst]
            title = "Worst false matches" if near else "Worst false non-matches"
            note = "Different people, the nearest first." if near else "The same person, "
            note += "" if near else "the furthest apart first."
            if pairs:
                groups.append((f"{title}: {result.setting.encoder}", note, pairs))
    return groups


def _accepted_words(points: Sequence[AtPoint], d: float) -> str:
    accepting = [p.fmr for p in points if d <= p.tau]
    if accepting:
        return f"accepted at FMR {page.rate(min(accepting))}"
    return "rejected at every point" if points else ""


def _refused_words(points: Sequence[AtPoint], d: float) -> str:
    refusing = [p.fmr for p in points if d > p.tau]
    if refusing:
        return f"rejected at FMR {page.rate(max(refusing))}"
    return "accepted at every point" if points else ""


def _thumbnail(path: Path) -> str:
    import PIL.Image  # noqa: PLC0415

    try:
        shown = PIL.Image.fromarray(decode(read_bytes(path), long_side=THUMBNAIL).pixels)
    except InputRefused:
        return ""
    shown.thumbnail((THUMBNAIL, THUMBNAIL))
    stored = io.BytesIO()
    shown.save(stored, "JPEG", quality=80)
    return base64.b64encode(stored.getvalue()).decode()


# Degradations


def _robustness(rows: Sequence[Degraded]) -> list[Table]:
    encoders = dict.fromkeys(row.encoder for row in rows)
    return [_one_robustness(name, [r for r in rows if r.encoder == name]) for name in encoders]


def _one_robustness(encoder: str, rows: Sequence[Degraded]) -> Table:
    plain = next((row.tar for row in rows if row.step is None), {})
    laid = tuple(
        (
            Cell("as they are" if row.step is None else str(row.step)),
            Cell(page.percent(row.failed / max(1, row.photographs)), f"{row.failed:,}"),
            *(_against(row.tar.get(far), plain.get(far)) for far in ("1e-2", "1e-3")),
            Cell(page.NONE)
            if row.accuracy is None
            else Cell(
                page.percent(row.accuracy.mean),
                f"\N{PLUS-MINUS SIGN} {page.percent(row.accuracy.se)}",
            ),
        )
        for row in rows
    )
    return Table(
        f"Under degradation: {encoder}",
        ("photographs", "not acquired", "TAR at FAR 1e-2", "TAR at FAR 1e-3", "accuracy"),
        laid,
        "Each row spoils every photograph. Marked is a TAR whose 95 % interval lies wholly below "
        "that of the photographs as they are. jpeg: quality; resolution: longer side in pixels; "
        "blur: thousandths of the longer side; noise: grey levels; darkness: % of the light left; "
        "occlusion: % of the height; rotation: degrees.",
    )


def _against(found: Interval | None, plain: Interval | None) -> Cell:
    cell = page.share(found)
    worse = found is not None and plain is not None and found.high < plain.low
    return Cell(cell.text, cell.fine, "no" if worse else "")


# What could not be read, remarks, provenance


@dataclass(frozen=True, slots=True)
class Failures:
    """Photographs that could not be used: how many by whom, the first of them, and all."""

    said: str
    first: tuple[tuple[str, str], ...]
    total: int

    @property
    def more(self) -> int:
        """Number of those that are not listed."""
        return self.total - len(self.first)


def _failures(results: Sequence[Result]) -> list[Failures]:
    """List failures; encoders that share them share a list."""
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for result in results:
        failed = tuple(sorted(_failed(result).items()))
        if failed:
            groups.setdefault(failed, []).append(result.setting.encoder)
    return [
        Failures(
            f"{_photographs(failed)} ({', '.join(dict.fromkeys(names))})",
            failed[:LISTED],
            len(failed),
        )
        for failed, names in groups.items()
    ]


def _failed(result: Result) -> Mapping[str, str]:
    return result.comparisons.failed if isinstance(result, Verification) else result.failed


def _remarks(results: Sequence[Result]) -> list[str]:
    every = (
        result.comparisons.remarks if isinstance(result, Verification) else result.remarks
        for result in results
    )
    return list(dict.fromkeys(remark for remarks in every for remark in remarks))


def _provenance(results: Sequence[Result], run: Run) -> list[tuple[str, str]]:
    told = [
        (f"Encoder {setting.encoder}", setting.encoder_id)
        for setting in {r.setting.encoder_id: r.setting for r in results}.values()
    ]
    told += [("Data", data) for data in dict.fromkeys(r.setting.data for r in results)]
    told += [
        (f"Operating points of {r.setting.encoder}", f"{curve.tuned_on}, {curve.pairs:,} pairs")
        for r in results
        if (curve := r.setting.curve)
    ]
    repeats = ", ".join(dict.fromkeys(f"{r.setting.repeats:,}" for r in results))
    told.append(("Intervals", f"95 %, bootstrap over people, {repeats} repeats"))
    if run.command:
        told.append(("Command", run.command))
    return list(dict.fromkeys([*told, ("Made", run.made), ("visavis", visavis.__version__)]))
