"""Labeled Faces in the Wild: verification accuracy of an encoder, on easy and on hard pairs.

Run from the repository, with the data set unpacked anywhere (``<Name>/<Name>_0001.jpg`` below
``--images``; Huang et al. 2007, http://vis-www.cs.umass.edu/lfw)::

    python benchmarks/lfw.py --images LFW/images --pairs LFW/pairs.txt
    python benchmarks/lfw.py --images LFW/images --pairs LFW/pairs.txt --hard --precision fp32

View 2 (``pairs.txt``) is for reporting. Tune on View 1 (``--pairs pairsDevTrain.txt
pairsDevTest.txt``: each file is one fold, so the threshold for one is chosen on the other).

``--hard`` degrades the second photograph of each pair: turned as a flat picture would be in space,
shrunk, blurred, or darkened with noise, one of the four in turn, from a seed that depends on the
pair alone. Strengths are such that SFace in fp32 accepts about 85 % of mated pairs at a false match
rate of 1e-2. The photograph is degraded, not the crop; but the face is cut out by the landmarks
found in the *undegraded* photograph, moved along where it is turned. So the numbers tell what the
encoder makes of a bad picture, and nothing of whether the detector would have found the face.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import zlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import platformdirs

from visavis.align import align
from visavis.detect import Detector, Search
from visavis.encode import Encoder, SessionEncoder
from visavis.image import open_image
from visavis.models import Cores, ModelStore, Precision, RuntimeName
from visavis.values import CROP_SIZE, Face, Image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FARTHEST = 4.0
"""Distance given to a pair of which one photograph shows no face: never accepted."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photographs, as paths below the images' folder, and whether they show one person."""

    a: str
    b: str
    same: bool


class Degradation(StrEnum):
    """What befalls the second photograph of a hard pair."""

    TURNED = "turned"
    SHRUNK = "shrunk"
    BLURRED = "blurred"
    DARKENED = "darkened"


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """Aligned faces of photographs.

    Attributes
    ----------
    names
        Paths below the images' folder; those without a face are missing.
    pixels
        (N, 112, 112, 3) uint8 RGB.
    landmarks
        (N, 5, 2) float32, pixels of the photograph.
    """

    names: list[str]
    pixels: NDArray[np.uint8]
    landmarks: NDArray[np.float32]


def read_pairs(path: Path) -> list[list[Pair]]:
    """Read one of LFW's pairs files: View 2 gives ten folds, a file of View 1 gives one."""
    rows = [line.split() for line in path.read_text("utf-8").splitlines() if line.strip()]
    (*count, half), rows = map(int, rows[0]), rows[1:]
    size = 2 * half
    if len(rows) != size * (count[0] if count else 1):
        raise ValueError(f"{path}: its first line promises another number of pairs")
    pairs = [_pair(row) for row in rows]
    return [pairs[i : i + size] for i in range(0, len(pairs), size)]


def _pair(row: list[str]) -> Pair:
    if len(row) == 3:
        return Pair(_photograph(row[0], row[1]), _photograph(row[0], row[2]), same=True)
    return Pair(_photograph(row[0], row[1]), _photograph(row[2], row[3]), same=False)


def _photograph(person: str, number: str) -> str:
    return f"{person}/{person}_{int(number):04d}.jpg"


def crops(images: Path, names: Sequence[str], cache: Path) -> Crops:
    """Detect and align each photograph once; of several faces the most central one.

    The result is kept in ``cache`` under a name made from the folder and the names.
    """
    wanted = sorted(set(names))
    key = hashlib.sha256("\n".join([str(images.resolve()), *wanted]).encode()).hexdigest()[:16]
    folder = cache / f"lfw-{key}"
    if not (folder / "names.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        found = _cut(images, wanted)
        np.save(folder / "pixels.npy", found.pixels)
        np.save(folder / "landmarks.npy", found.landmarks)
        (folder / "names.json").write_text(json.dumps(found.names), "utf-8")
    listed = json.loads((folder / "names.json").read_text("utf-8"))
    return Crops(listed, np.load(folder / "pixels.npy"), np.load(folder / "landmarks.npy"))


def _cut(images: Path, names: list[str]) -> Crops:
    store = ModelStore.default()
    session = store.session(store.manifest("yunet"), Precision.FP32, RuntimeName.OPENVINO, Cores(1))
    detector = Detector(session)
    kept, pixels, landmarks = [], [], []
    for number, name in enumerate(names):
        image = open_image(images / name)
        face = _central(detector.find(image, Search.SUBJECT), image)
        if face is not None:
            kept.append(name)
            pixels.append(align(image, face).pixels)
            landmarks.append(face.landmarks)
        if number % 1000 == 999:
            print(f"{number + 1} of {len(names)} photographs cut", file=sys.stderr)
    return Crops(kept, np.stack(pixels), np.stack(landmarks).astype(np.float32))


def _central(faces: list[Face], image: Image) -> Face | None:
    def off_centre(face: Face) -> float:
        x, y, w, h = face.box
        return float(np.hypot(x + w / 2 - image.width / 2, y + h / 2 - image.height / 2))

    return min(faces, key=off_centre, default=None)


def hard_crop(
    image: Image, landmarks: NDArray[np.float32], how: Degradation, seed: int
) -> NDArray[np.uint8]:
    """Degrade a photograph and cut its face out by the landmarks of the good one."""
    rng = np.random.default_rng(seed)
    width = float(np.ptp(landmarks[:, 0]) * 2.2)  # of the face, roughly
    pixels = image.pixels
    match how:
        case Degradation.TURNED:
            pixels, landmarks = _turned(pixels, landmarks, width, rng)
        case Degradation.SHRUNK:
            factor = width / rng.uniform(*_SHRUNK_TO)
            size = [max(1, round(side / factor)) for side in pixels.shape[1::-1]]
            small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
            pixels = cv2.resize(small, pixels.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        case Degradation.BLURRED:
            pixels = cv2.GaussianBlur(pixels, (0, 0), width * rng.uniform(*_BLUR))
        case Degradation.DARKENED:
            light = pixels * rng.uniform(*_LIGHT) + rng.normal(0, _NOISE, pixels.shape)
            pixels = np.clip(np.rint(light), 0, 255).astype(np.uint8)
    face = Face((0.0, 0.0, 1.0, 1.0), landmarks, 1.0)
    return align(Image(np.asarray(pixels, np.uint8)), face).pixels


_YAW = (60.0, 70.0)
"""Degrees."""
_SHRUNK_TO = (11.0, 14.0)
"""Width of the face in pixels."""
_BLUR = (0.04, 0.06)
"""Standard deviation as a share of the face's width."""
_LIGHT = (0.035, 0.06)
"""Share of the light that is left."""
_NOISE = 1.0
"""Standard deviation of the noise in grey levels."""


def _turned(
    pixels: NDArray[np.uint8],
    landmarks: NDArray[np.float32],
    width: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """See the photograph, as a plane, from one side and a little from above or below."""
    yaw = np.deg2rad(rng.uniform(*_YAW)) * rng.choice([-1, 1])
    pitch = np.deg2rad(rng.uniform(-15, 15))
    x, y = landmarks.mean(0)
    far = 3.0 * width
    about_y = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    about_x = [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    turn = np.array(about_x) @ np.array(about_y)
    # The plane's point (u, v, 0) goes to turn @ (u, v, 0), then before the camera, far away.
    project = np.array([[far, 0, x], [0, far, y], [0, 0, 1.0]]) @ np.column_stack(
        [turn[:, 0], turn[:, 1], [0, 0, far]]
    )
    # Rows of x and y must be divided by depth: K = [[f, 0, x], [0, f, y], [0, 0, 1]] with f = far.
    matrix = project @ np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1.0]])
    out = cv2.warpPerspective(pixels, matrix, pixels.shape[1::-1], flags=cv2.INTER_LINEAR)
    moved = cv2.perspectiveTransform(landmarks[None].astype(np.float64), matrix)[0]
    return np.asarray(out, np.uint8), moved.astype(np.float32)


def hard_crops(
    images: Path, cut: Crops, pairs: Sequence[Pair], kinds: Sequence[Degradation], cache: Path
) -> NDArray[np.uint8]:
    """Degrade the second photograph of each pair: (P, 112, 112, 3); black where it has no face.

    ``kinds`` are dealt out in turn, to mated and non-mated pairs alike.
    """
    spell = repr((str(images.resolve()), [p.b for p in pairs], list(kinds), _STRENGTHS))
    path = cache / f"lfw-hard-{hashlib.sha256(spell.encode()).hexdigest()[:16]}.npy"
    if path.is_file():
        return np.asarray(np.load(path))
    row = {name: i for i, name in enumerate(cut.names)}
    result = np.zeros((len(pairs), CROP_SIZE, CROP_SIZE, 3), np.uint8)
    for number, pair in enumerate(pairs):
        if pair.b not in row:
            continue
        image = open_image(images / pair.b)
        kind = kinds[number % len(kinds)]
        seed = zlib.crc32(f"{pair.a} {pair.b} {kind}".encode())
        result[number] = hard_crop(image, cut.landmarks[row[pair.b]], kind, seed)
    cache.mkdir(parents=True, exist_ok=True)
    np.save(path, result)
    return result


_STRENGTHS = (_YAW, _SHRUNK_TO, _BLUR, _LIGHT, _NOISE)


def distances(
    encoder: Encoder, cut: Crops, pairs: Sequence[Pair], hard: NDArray[np.uint8] | None = None
) -> NDArray[np.float64]:
    """Squared distance of each pair; ``FARTHEST`` where a photograph shows no face."""
    row = {name: i for i, name in enumerate(cut.names)}
    whole = encoder.encode(cut.pixels)
    seconds = None if hard is None else encoder.encode(hard)
    d = np.full(len(pairs), FARTHEST)
    for number, pair in enumerate(pairs):
        if pair.a in row and pair.b in row:
            b = whole[row[pair.b]] if seconds is None else seconds[number]
            d[number] = 2 - 2 * float(whole[row[pair.a]] @ b)
    return d


def ten_fold_accuracy(
    d: NDArray[np.float64], same: NDArray[np.bool_], folds: NDArray[np.int_]
) -> tuple[float, float]:
    """Mean accuracy over the folds and its standard error (Huang et al. 2007, sec. III).

    For each fold the threshold is the one that errs least on all the others.
    """
    scores = []
    for fold in np.unique(folds):
        inside = folds == fold
        tau = _best_threshold(d[~inside], same[~inside])
        scores.append(float(np.mean((d[inside] <= tau) == same[inside])))
    return float(np.mean(scores)), float(np.std(scores, ddof=1) / np.sqrt(len(scores)))


def _best_threshold(d: NDArray[np.float64], same: NDArray[np.bool_]) -> float:
    order = np.argsort(d, kind="stable")
    right = np.cumsum(np.where(same[order], 1, -1))
    best = int(np.argmax(right))
    after = d[order[best + 1]] if best + 1 < len(d) else d[order[best]]
    return float((d[order[best]] + after) / 2)


def tar_at_far(d: NDArray[np.float64], same: NDArray[np.bool_], far: float) -> float:
    """Share of mated pairs accepted where at most ``far`` of the non-mated ones are."""
    strangers = np.sort(d[~same])
    allowed = int(np.floor(far * len(strangers)))
    # The first stranger who must stay outside; accepted is what lies nearer.
    return float(np.mean(d[same] < strangers[allowed]))


def open_encoder(precision: Precision, name: str = "sface") -> SessionEncoder:
    """Open an encoder of the user's model store on one thread."""
    store = ModelStore.default()
    manifest = store.manifest(name)
    session = store.session(manifest, precision, RuntimeName.OPENVINO, Cores(1))
    return SessionEncoder(session, store.encoder_id(manifest, precision), name)


def report(
    encoder: Encoder, images: Path, folds: list[list[Pair]], cache: Path, *, hard: bool
) -> dict[str, object]:
    """Run the whole protocol and give what is printed."""
    pairs = [pair for fold in folds for pair in fold]
    number = np.repeat(np.arange(len(folds)), [len(fold) for fold in folds])
    names = sorted({name for pair in pairs for name in (pair.a, pair.b)})
    cut = crops(images, names, cache)
    spoilt = hard_crops(images, cut, pairs, list(Degradation), cache) if hard else None
    d = distances(encoder, cut, pairs, spoilt)
    same = np.array([pair.same for pair in pairs])
    mean, error = ten_fold_accuracy(d, same, number) if len(folds) > 1 else (None, None)
    return {
        "schema": 1,
        "pairs": len(pairs),
        "hard": hard,
        "failed_to_acquire": len(names) - len(cut.names),
        "accuracy": {"mean": mean, "se": error},
        "tar": {"1e-2": tar_at_far(d, same, 1e-2), "1e-3": tar_at_far(d, same, 1e-3)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="folder of LFW's photographs")
    parser.add_argument("--pairs", type=Path, nargs="+", required=True, help="LFW's pairs files")
    parser.add_argument("--precision", type=Precision, choices=list(Precision), default="int8")
    parser.add_argument("--hard", action="store_true", help="degrade one side of each pair")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(platformdirs.user_cache_dir("visavis", appauthor=False)) / "benchmarks",
        help="where crops are kept (default: %(default)s)",
    )
    asked = parser.parse_args()
    folds = [fold for path in asked.pairs for fold in read_pairs(path)]
    encoder = open_encoder(Precision(asked.precision))
    print(
        json.dumps(
            {
                "encoder": encoder.id,
                "precision": asked.precision,
                **report(encoder, asked.images, folds, asked.cache, hard=asked.hard),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
