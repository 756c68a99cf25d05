"""A group of twenty in 4000 x 3000 pixels: who is found, and how fast, beside OpenCV.

::

    python benchmarks/large_photographs.py

The picture is laid out from the demo's portraits: twenty faces from 24 to 900 pixels wide on grey
ground, so that what is there is known. OpenCV's FaceDetectorYN searches it at full size, on the
same network file and at the same least score.
"""

from __future__ import annotations

import argparse
import json
from statistics import median

import cv2
import numpy as np

from timing import interleaved, one_core, ratio
from visavis.cli.portraits import portraits
from visavis.detect import Detector, Search
from visavis.image import open_image
from visavis.models import Cores, ModelStore, Precision, RuntimeName
from visavis.values import Image

WIDTHS = [900, 700, 520, 400, 320, 260, 210, 170, 140, 120, 100, 84, 70, 60, 52, 44, 38, 32, 28, 24]


def group(detector: Detector, seed: int) -> tuple[np.ndarray, list[tuple[float, float, float]]]:
    """Lay out twenty faces; gives the picture and (x, y, width) of each face's middle."""
    rng = np.random.default_rng(seed)
    files = portraits(ModelStore.default().cache)
    names = ["obama.jpg", "biden.jpg", "obama2.jpg", "obama3.jpg", "astronaut.png"]
    shots = []
    for name in names:
        image = open_image(files[name])
        x, y, w, h = detector.find(image, Search.ALL)[0].box
        around = 0.25 * w
        top, left = max(0, int(y - around)), max(0, int(x - around))
        shots.append((image.pixels[top : int(y + h + around), left : int(x + w + around)], w))
    picture = np.full((3000, 4000, 3), 118, np.uint8)
    picture += rng.integers(0, 8, picture.shape, np.uint8)
    middles: list[tuple[float, float, float]] = []
    taken = np.zeros(picture.shape[:2], bool)
    for number, width in enumerate(WIDTHS):
        pixels, real = shots[number % len(shots)]
        scale = width / real
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        small = cv2.resize(pixels, size, interpolation=how)
        high, wide = small.shape[:2]
        for _ in range(10_000):
            top, left = rng.integers(0, 3000 - high), rng.integers(0, 4000 - wide)
            if not taken[top : top + high, left : left + wide].any():
                break
        else:
            raise RuntimeError("the faces do not fit: choose another seed")
        taken[top : top + high, left : left + wide] = True
        picture[top : top + high, left : left + wide] = small
        middles.append((left + wide / 2, top + high / 2, width))
    return picture, middles


def hits(
    boxes: list[tuple[float, float, float, float]], middles: list[tuple[float, float, float]]
) -> set[int]:
    """Say which of the faces laid out a list of boxes found."""
    return {
        number
        for number, (x, y, width) in enumerate(middles)
        for bx, by, bw, bh in boxes
        if abs(bx + bw / 2 - x) < width / 2
        and abs(by + bh / 2 - y) < width / 2
        and 0.5 < bw / width < 2
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=10)
    wanted = parser.parse_args()
    one_core()
    cv2.setNumThreads(1)
    store = ModelStore.default()
    manifest = store.manifest("yunet")
    ours = Detector(store.session(manifest, Precision.FP32, RuntimeName.OPENVINO, Cores(threads=1)))
    theirs = cv2.FaceDetectorYN.create(
        str(store.weights(manifest)), "", (4000, 3000), ours.config.score
    )
    rows = []
    for seed in range(wanted.pictures):
        picture, middles = group(ours, seed)
        image, bgr = Image(picture), np.ascontiguousarray(picture[..., ::-1])
        mine = ours.find(image, Search.ALL)
        other = theirs.detect(bgr)[1]
        found = hits([face.box for face in mine], middles)
        known = hits([tuple(map(float, row[:4])) for row in other], middles)
        rows.append((len(found), len(known), sorted(known - found), len(mine) - len(found)))
    taken = interleaved(
        {
            "visavis": lambda: ours.find(image, Search.ALL),
            "opencv": lambda: theirs.detect(bgr),
        },
        wanted.rounds,
        warmup=1,
    )
    print(
        json.dumps(
            {
                "faces": 20 * wanted.pictures,
                "visavis finds": sum(row[0] for row in rows),
                "opencv finds": sum(row[1] for row in rows),
                "opencv finds and visavis does not": [WIDTHS[n] for row in rows for n in row[2]],
                "visavis finds beside those": sum(row[3] for row in rows),
                "milliseconds": {name: round(median(ms)) for name, ms in taken.items()},
                "opencv / visavis": round(ratio(taken, "opencv", "visavis"), 2),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
