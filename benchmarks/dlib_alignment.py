"""Where YuNet's five landmarks lie, on average, in the chips that dlib's encoder was trained on.

::

    pip install --group benchmark
    python benchmarks/dlib_alignment.py --images LFW/images --pairs LFW/pairsDevTrain.txt

dlib cuts a face out by its own detector and its own five landmarks (the corners of the eyes and the
base of the nose; this predictor is free to use, the one with 68 landmarks is not). For each
photograph that both see, YuNet's landmarks are carried into dlib's chip of 150 x 150 pixels; the
median over the photographs is what ``visavis.models.alignment.DLIB_150`` says. Tune on View 1 only.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import dlib
import face_recognition_models
import numpy as np
import platformdirs

import lfw
from visavis.image import open_image

SIZE, PADDING = 150, 0.25


def to_chip(details: dlib.chip_details) -> np.ndarray:
    """Give the (2, 3) matrix from the photograph to dlib's chip."""
    rect, angle = details.rect, details.angle
    middle = np.array([(rect.left() + rect.right()) / 2, (rect.top() + rect.bottom()) / 2])
    scale = (SIZE - 1) / (rect.right() - rect.left())
    turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn, (SIZE - 1) / 2 - turn @ middle])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--pairs", type=Path, nargs="+", required=True)
    parser.add_argument("--limit", type=int, default=1500, help="photographs to look at")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(platformdirs.user_cache_dir("visavis", appauthor=False)) / "benchmarks",
    )
    asked = parser.parse_args()
    pairs = [p for path in asked.pairs for fold in lfw.read_pairs(path) for p in fold]
    cut = lfw.crops(asked.images, sorted({n for p in pairs for n in (p.a, p.b)}), asked.cache)
    detector = dlib.get_frontal_face_detector()
    predictor = dlib.shape_predictor(
        face_recognition_models.pose_predictor_five_point_model_location()
    )
    order = np.random.default_rng(0).permutation(len(cut.names))[: asked.limit]
    found = []
    for number in order:
        pixels = np.ascontiguousarray(open_image(asked.images / cut.names[number]).pixels)
        landmarks = cut.landmarks[number].astype(np.float64)
        x, y = landmarks.mean(0)
        for face in detector(pixels):
            if face.contains(round(float(x)), round(float(y))):
                shape = predictor(pixels, face)
                matrix = to_chip(dlib.get_face_chip_details(shape, SIZE, PADDING))
                found.append(landmarks @ matrix[:, :2].T + matrix[:, 2])
                break
    places = np.array(found)
    print(
        json.dumps(
            {
                "photographs": len(order),
                "seen by both": len(places),
                "median": np.round(np.median(places, 0), 2).tolist(),
                "mean": np.round(places.mean(0), 2).tolist(),
                "standard deviation": np.round(places.std(0), 2).tolist(),
            }
        )
    )


if __name__ == "__main__":
    main()
