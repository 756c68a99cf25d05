"""The model card: what an encoder is, what it learnt from, and how it was measured (Markdown).

After Mitchell et al. 2019, Model Cards for Model Reporting, arXiv:1810.03993.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visavis.evaluate.intervals import Interval
    from visavis.evaluate.protocols import Verification
    from visavis.models import Manifest
    from visavis.train.run import Trained


def card(
    trained: Trained,
    manifest: Manifest,
    results: Sequence[Verification],
    stored: dict[str, Any] | None,
    why: str,
) -> str:
    """Write the card.

    Parameters
    ----------
    results
        On held-out people: the encoder's, and the one's it started from, if any.
    stored
        Its operating points; None, and ``why``, where there are none.
    """
    shape = manifest.preprocessing
    lines = [
        f"# {manifest.name}",
        "",
        "A face encoder: an aligned crop to a unit vector; the squared distance d of two vectors, "
        "in [0, 4], is small for one person.",
        "",
        f"- file: `{manifest.file}`, {manifest.size:,} bytes, SHA-256 `{manifest.sha256}`",
        f"- input: {shape.channels}, {shape.alignment}, (pixel - {shape.mean[0]:g}) / "
        f"{shape.scale[0]:g}; output: {trained.start.dimension} numbers",
        f"- licence: {manifest.licence}",
        f"- origin: {manifest.origin}",
        f"- learnt from: {manifest.training_data}",
        "",
        "## How it learnt",
        "",
        f"It ended because {trained.ending}. Configuration: `config.json`; every look at it: "
        "`metrics.csv`.",
        "",
        *(f"- {note}" for note in trained.notes),
        *([""] if trained.notes else []),
        "## On people it never saw",
        "",
        "They took no part in learning, nor in choosing the weights or the moment to stop.",
        "",
        *_table(results),
        "",
        "## Operating points",
        "",
        *_points(stored, why),
        "",
        "## What it is not for",
        "",
        "It was measured on people like those of the data above and on nobody else. Measure it on "
        "your own cameras and people (`visavis calibrate`) before a gate depends on it. It tells "
        "neither age, sex, mood nor origin, and no liveness: a photograph of a face is a face to "
        "it.",
        "",
    ]
    return "\n".join(lines)


def _table(results: Sequence[Verification]) -> list[str]:
    rates = list(dict.fromkeys(rate for each in results for rate in each.tar))
    head = ["encoder", "people", "mated pairs", "EER", *(f"TAR at FAR {rate}" for rate in rates)]
    rows = [head, ["---"] * len(head)]
    for each in results:
        done = each.comparisons
        rows.append(
            [
                each.setting.encoder,
                f"{done.people:,}",
                f"{done.curve.mated:,}",
                f"{100 * each.eer:.2f} %",
                *(_percent(each.tar[rate]) if rate in each.tar else "-" for rate in rates),
            ]
        )
    return ["| " + " | ".join(row) + " |" for row in rows]


def _percent(found: Interval) -> str:
    return f"{100 * found.value:.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def _points(stored: dict[str, Any] | None, why: str) -> list[str]:
    if stored is None:
        return [
            f"None: {why}. It cannot decide until `visavis calibrate` has measured it on more "
            "people."
        ]
    rows = ["| FMR | tau | 95 % interval of the FMR |", "| --- | --- | --- |"]
    for point in (*stored["points"], *stored["extrapolated"]):
        exponent = math.log10(point["fmr"])
        if exponent > -7 and math.isclose(exponent, round(exponent), abs_tol=1e-3):
            note = " (extrapolated)" if point in stored["extrapolated"] else ""
            span = f"[{point['lower']:.2g}, {point['upper']:.2g}]{note}"
            rows.append(f"| {point['fmr']:.1g} | {point['tau']:.4f} | {span} |")
    return [f"Measured on {stored['tuned_on']}, {stored['pairs']:,} comparisons.", "", *rows]
