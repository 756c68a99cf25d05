"""From a trained liveness network to one in use: ONNX, manifest, operating points, model card."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from visavis.evaluate.intervals import draws
from visavis.evaluate.presentation import (
    Presentations,
    at_threshold,
    separation,
    threshold_at_apcer,
    threshold_at_bpcer,
)
from visavis.models.manifest import Kind, Manifest, Preprocessing, Surroundings, write_manifest
from visavis.train.attacks import CROP, CROP_SIZE
from visavis.train.export import export_onnx
from visavis.train.live_net import Answer
from visavis.train.liveness import MEAN, SCALE, scores

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from visavis.evaluate.intervals import Interval, Weights
    from visavis.evaluate.presentation import Separation
    from visavis.train.live_bank import Bank
    from visavis.train.live_config import LivenessConfig
    from visavis.train.liveness import Fitted

AIMS = (("bpcer", 0.01), ("bpcer", 0.05), ("apcer", 0.01), ("apcer", 0.05))
_REPEATS = 500


@dataclass(frozen=True, slots=True, eq=False)
class LiveDelivered:
    """What a run leaves for others: files, of which ``visavis models add`` takes the first.

    Attributes
    ----------
    held_out
        EER and AUC on the subjects held out, by species and under ``all``.
    """

    manifest: Path
    onnx: Path
    card: Path
    points: Path
    stored: dict[str, Any]
    held_out: dict[str, Separation]


@dataclass(frozen=True, slots=True)
class Told:
    """What people are to be told of a network, and the folder that it is written to."""

    name: str
    licence: str
    folder: Path
    training_data: str = ""
    tuned_on: str = ""
    command: str = ""


def deliver_liveness(
    fitted: Fitted, check: Bank, config: LivenessConfig, told: Told
) -> LiveDelivered:
    """Write a liveness network as others use it, with points measured on subjects held out.

    Raises
    ------
    ModelRefused
        For a name that cannot be, or when the exported file does not agree with the module.
    """
    folder = told.folder
    odds = scores(fitted.network, check.crops)
    temperature = max(1.0, float(np.percentile(np.abs(odds), 95)) / 5)
    onnx = folder / f"{told.name}.onnx"
    export_onnx(Answer(fitted.network, temperature), CROP_SIZE, onnx)
    manifest = _manifest(onnx, told)
    live, attacks, weights = grouped(1 / (1 + np.exp(-odds / temperature)), check)
    apart = separation(live, attacks, weights)
    stored = {
        "schema": 1,
        "model": told.name,
        "sha256": manifest.sha256,
        "tuned_on": told.tuned_on,
        "interval": f"95 %, bootstrap over subjects, {_REPEATS} repeats",
        "presentations": {"live": len(live.score)}
        | {name: len(kind.score) for name, kind in attacks.items()},
        "eer": {name: _told(each.eer) for name, each in apart.items()},
        "points": [_point(live, attacks, weights, rate, at) for rate, at in AIMS],
    }
    described = folder / f"{told.name}.toml"
    described.write_text(write_manifest(manifest), "utf-8")
    points = folder / f"{told.name}.fp32.points.json"
    points.write_text(json.dumps(stored, indent=1) + "\n", "utf-8")
    card = folder / f"{told.name}.md"
    card.write_text(_card(manifest, fitted, told, {**stored, "asked": config.as_json()}), "utf-8")
    return LiveDelivered(described, onnx, card, points, stored, apart)


def grouped(
    score: NDArray[np.float64], bank: Bank
) -> tuple[Presentations, dict[str, Presentations], Weights]:
    """Sort scores by species, with weights that draw subjects."""
    subjects, at = np.unique(bank.subject, return_inverse=True)
    live = Presentations(score[bank.live], at[bank.live])
    attacks = {
        str(each): Presentations(score[bank.species == each], at[bank.species == each])
        for each in np.unique(bank.species[~bank.live])
    }
    return live, attacks, draws(len(subjects), _REPEATS)


def _manifest(onnx: Path, told: Told) -> Manifest:
    data = onnx.read_bytes()
    return Manifest(
        name=told.name,
        kind=Kind.LIVENESS,
        file=onnx.name,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        licence=told.licence,
        origin="trained with visavis from random weights: visavis train liveness",
        training_data=told.training_data,
        preprocessing=Preprocessing(mean=(MEAN,) * 3, scale=(SCALE,) * 3),
        surroundings=Surroundings(CROP, CROP_SIZE),
    )


def _point(
    live: Presentations,
    attacks: Mapping[str, Presentations],
    weights: Weights,
    rate: str,
    at: float,
) -> dict[str, Any]:
    if rate == "bpcer":
        threshold = threshold_at_bpcer(live.score, at)
    else:
        threshold = threshold_at_apcer(attacks, at)
    threshold = float(np.clip(threshold, 0, 1))
    found = at_threshold(live, attacks, threshold, weights)
    worst = found.worst or ""
    return {
        "rate": rate,
        "at": at,
        "threshold": threshold,
        "bpcer": _told(found.bpcer),
        "apcer": _told(found.apcer[worst]),
        "worst": worst,
        "apcer_by_species": {name: _told(each) for name, each in found.apcer.items()},
    }


def _told(found: Interval) -> dict[str, float]:
    return {
        "value": round(found.value, 6),
        "low": round(found.low, 6),
        "high": round(found.high, 6),
    }


def _card(manifest: Manifest, fitted: Fitted, told: Told, stored: Mapping[str, Any]) -> str:
    lines = [
        f"# {manifest.name}",
        "",
        "A liveness network: the square around a face to the probability that a live person is "
        "before the camera, and not a picture of one on paper or on a screen.",
        "",
        f"- file: `{manifest.file}`, {manifest.size:,} bytes, SHA-256 `{manifest.sha256}`",
        f"- input: RGB, {CROP_SIZE} x {CROP_SIZE} pixels, {CROP} times the longer side of the "
        f"face's box, (pixel - {MEAN:g}) / {SCALE:g}; output: attack, live",
        "- cost: 0.49 million parameters, 83 MFLOPs",
        f"- licence: {manifest.licence}",
        f"- learnt from: {manifest.training_data}",
        *([f"- made by: `{told.command}`"] if told.command else []),
        f"- configuration: `{json.dumps(stored['asked'])}`; epoch {fitted.best} of "
        f"{len(fitted.epochs)} did best on the subjects who chose it",
        "",
        "## On subjects it never learnt from",
        "",
        f"{stored['tuned_on']}. The epoch was chosen on others, who were not learnt from either; "
        "the thresholds are those of these subjects. The attacks are of the kinds that it learnt: "
        "other cameras, printers and screens give higher errors.",
        "",
        "| species | presentations | EER |",
        "| --- | --- | --- |",
        *(
            f"| {name} | {stored['presentations'].get(name, '')} | {_percent(each)} |"
            for name, each in stored["eer"].items()
        ),
        "",
        "## Operating points",
        "",
        "| chosen by | threshold | BPCER | APCER of the worst species |",
        "| --- | --- | --- | --- |",
        *(
            f"| {each['rate'].upper()} {100 * each['at']:g} % | {each['threshold']:.4f} | "
            f"{_percent(each['bpcer'])} | {_percent(each['apcer'])} ({each['worst']}) |"
            for each in stored["points"]
        ),
        "",
        "## What it is not for",
        "",
        "It knows flat pictures on paper and on screens. Masks, puppets, make-up and video that is "
        "fed in behind the camera are not among what it learnt. It needs colour and a face of 36 "
        "pixels or more with its surroundings. Measure it on your own camera (`visavis evaluate "
        "liveness`) before a door depends on it, and ask for a challenge over frames where a door "
        "matters.",
        "",
    ]
    return "\n".join(lines)


def _percent(each: Mapping[str, float]) -> str:
    low, high = 100 * each["low"], 100 * each["high"]
    return f"{100 * each['value']:.2f} % [{low:.2f}, {high:.2f}]"
