"""From a run that has ended to an encoder in use: ONNX, manifest, operating points, model card."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from visavis.decide import curve_of
from visavis.encode import Encoder, open_encoder
from visavis.errors import InputRefused
from visavis.evaluate.encodings import Encoded
from visavis.evaluate.protocols import Setting, Verification, compare_all, verification
from visavis.evaluate.run import PER_PERSON, calibrated_on
from visavis.models import Cores, Manifest, ModelStore, Precision, RuntimeName
from visavis.models.manifest import Kind, write_manifest
from visavis.train.card import card
from visavis.train.export import export_onnx
from visavis.train.sampler import paired
from visavis.train.watch import chosen_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from visavis.train.pack import Pack
    from visavis.train.run import Trained

MEASURED = 20_000
"""At most so many photographs are measured on: all are compared with all."""

_BATCH = 64
_REPEATS = 500


@dataclass(frozen=True, slots=True, eq=False)
class Delivered:
    """What a run leaves for others.

    Attributes
    ----------
    manifest, onnx, card
        Files: ``visavis models add`` takes the first.
    points
        Operating points measured on held-out people; None when these were too few, see ``why``.
    held_out
        The encoder on the calibration people, and after it the one the run started from, if any.
    """

    manifest: Path
    onnx: Path
    card: Path
    points: Path | None
    why: str
    held_out: tuple[Verification, ...]


def deliver(
    trained: Trained,
    store: ModelStore,
    name: str,
    licence: str,
    told: Callable[[int], None] = lambda _: None,
) -> Delivered:
    """Write an encoder as others use it, and measure it on people it never saw.

    What is measured is the exported file as the runtime computes it, not the module.

    Parameters
    ----------
    name
        What the encoder will be called, as in a manifest.
    licence
        Under which terms it may be used; yours to say.

    Raises
    ------
    ModelRefused
        For a name that cannot be, or when the exported file does not agree with the module.
    """
    folder, pack = trained.folder, trained.pack
    onnx = folder / f"{name}.onnx"
    export_onnx(trained.encoder.network, pack.side, onnx)
    manifest = _manifest(trained, onnx, name, licence)
    described = folder / f"{name}.toml"
    described.write_text(write_manifest(manifest), "utf-8")
    rows = _rows(pack, chosen_rows(pack.offsets, trained.split.calibration, MEASURED))
    people = {person: [pack.source(row) for row in some] for person, some in rows.items()}
    with tempfile.TemporaryDirectory(prefix="visavis-") as passing:
        own = ModelStore(Path(passing) / "cache", Path(passing) / "data")
        own.add(manifest, onnx, {})
        encoder = _opened(own, manifest)
        encoded = _encoded(encoder, pack, rows, told)
    stored, why = _points(encoder, encoded, people, trained)
    points = folder / f"{name}.{Precision.FP32}.points.json"
    if stored:
        points.write_text(json.dumps(stored, indent=1), "utf-8")
    else:
        points.unlink(missing_ok=True)
    data = f"{len(people)} held-out people of {pack.path.name}"
    results = [_measured(encoder, encoded, people, data, stored)]
    if trained.start.pretrained:
        before = _opened(store, trained.start.pretrained)
        results.append(_measured(before, _encoded(before, pack, rows, told), people, data, None))
    told_of = folder / f"{name}.md"
    told_of.write_text(card(trained, manifest, results, stored, why), "utf-8")
    return Delivered(described, onnx, told_of, points if stored else None, why, tuple(results))


def name_of(folder: Path) -> str:
    """Make a model's name of a folder's."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", folder.resolve().name.lower()).strip("-._")[:64]
    return plain or "trained"


def _manifest(trained: Trained, onnx: Path, name: str, licence: str) -> Manifest:
    data = onnx.read_bytes()
    config, pack, start = trained.config, trained.pack, trained.start
    terms = " + ".join(
        f"{weight:g} {term}" if weight != 1 else str(term)
        for term, weight in config.objective.terms
    )
    people = paired(pack.offsets, trained.split.train)  # of whom alone it learns
    learnt = int((pack.offsets[people + 1] - pack.offsets[people]).sum())
    return Manifest(
        name=name,
        kind=Kind.ENCODER,
        file=onnx.name,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        licence=licence,
        origin=f"trained with visavis from {_from(start.name, start.pretrained)}: {terms}",
        training_data=(
            f"{learnt:,} photographs of {len(people):,} people, pack {pack.digest[:16]}"
        ),
        preprocessing=start.preprocessing,
    )


def _from(name: str, pretrained: Manifest | None) -> str:
    if pretrained is None:
        return f"{name} with random weights"
    return f"{name} ({pretrained.licence}, {pretrained.sha256[:12]})"


def _rows(pack: Pack, rows: NDArray[np.int64]) -> dict[str, list[int]]:
    """Sort rows by person."""
    found: dict[str, list[int]] = {}
    for row, person in zip(rows.tolist(), pack.owners(rows).tolist(), strict=True):
        found.setdefault(pack.name(person), []).append(row)
    return found


def _opened(store: ModelStore, manifest: Manifest) -> Encoder:
    return open_encoder(store, manifest, Precision.FP32, RuntimeName.OPENVINO, Cores())


def _encoded(
    encoder: Encoder,
    pack: Pack,
    people: Mapping[str, Sequence[int]],
    told: Callable[[int], None],
) -> dict[str, Encoded]:
    rows = np.array([row for some in people.values() for row in some], np.int64)
    found: dict[str, Encoded] = {}
    for start in range(0, len(rows), _BATCH):
        some = rows[start : start + _BATCH]
        crops = pack.read(some)
        for row, crop, vector in zip(some, crops, encoder.encode(crops), strict=True):
            digest = hashlib.sha256(crop.tobytes()).hexdigest()
            found[pack.source(int(row))] = Encoded(digest, vector, "", 1.0)
        told(len(some))
    return found


def _points(
    encoder: Encoder,
    encoded: Mapping[str, Encoded],
    people: Mapping[str, Sequence[str]],
    trained: Trained,
) -> tuple[dict[str, Any] | None, str]:
    """Measure operating points; nothing, and why, when the held-out people are too few."""
    tuned_on = f"{len(people)} held-out people of {trained.pack.path.name}"
    try:
        done = calibrated_on(encoded, people, _REPEATS)
        stored = done.as_json(encoder.id, encoder.name, tuned_on)
        curve_of(stored, encoder.id, encoder.name)
    except InputRefused as few:
        return None, str(few)
    return {**stored, "photographs_a_person": PER_PERSON}, ""


def _measured(
    encoder: Encoder,
    encoded: Mapping[str, Encoded],
    people: Mapping[str, Sequence[str]],
    data: str,
    stored: dict[str, Any] | None,
) -> Verification:
    curve = curve_of(stored, encoder.id, encoder.name) if stored else None
    setting = Setting(encoder.name, encoder.id, data, curve)
    return verification(compare_all(encoded, people), setting)
