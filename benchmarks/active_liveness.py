"""Active liveness on scripted sequences: genuine ones made from photographs of LFW, and attacks.

A photograph is laid over a head in three dimensions that does what the challenge says, before a
camera that shakes, flickers and has noise (``tests/liveness/scripted.py``); attacks are made from
the same photograph. Nothing was trained on them; the limits were set on people sorted before
``--first``. Every person is one independent trial.

    python benchmarks/active_liveness.py --images LFW/images
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from visavis.engine import Engine, EngineConfig
from visavis.evaluate.intervals import wilson
from visavis.image import open_image
from visavis.liveness.challenge import Challenge, Step, issue
from visavis.models import Cores
from visavis.quality import pose

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "liveness"))
from scripted import Actor, Eyes, Performer, Recording, Solid, Style, answer, played

if TYPE_CHECKING:
    from collections.abc import Iterator

    from visavis.liveness.answer import Verdict

RECORDED = ("replay", "same-order", "frozen", "shuffled", "loop")
PLAYED = ("still", "slid", "tilted", "bent", "swapped")
KINDS = ("genuine", *RECORDED, *PLAYED)


class Case:
    """One person, whose photograph is acted by a head and by pictures."""

    def __init__(self, eyes: Eyes, photo: tuple, other: tuple, seed: int) -> None:
        self.eyes, self.photo, self.other = eyes, photo, other
        self.rng = np.random.default_rng(seed)
        self.rate = self.rng.uniform(9, 18)
        self.nose = self.rng.uniform(0.36, 0.55)
        self.challenge = issue()
        self.recording: Recording = []

    def verdict(self, kind: str) -> Verdict:
        """Let this kind of answer be given, and judge it."""
        if kind == "genuine":
            found, self.recording = self.acted(self.actor(Solid.HEAD))
            return found
        if kind in RECORDED:
            if not self.recording:
                self.verdict("genuine")
            return self.repeated(kind)
        if kind == "swapped":
            other = Actor(*self.other, nose=self.nose)
            return self.acted(self.actor(Solid.HEAD), other=other)[0]
        style = {"slid": Style.SLIDES, "still": Style.STILL}.get(kind, Style.TURNS)
        picture = self.actor(Solid.BENT if kind == "bent" else Solid.PLANE)
        return self.acted(picture, style=style, wide=self.rng.uniform(0.8, 1.5))[0]

    def actor(self, solid: Solid) -> Actor:
        """Lay the photograph on a head, flat, or on a cylinder."""
        return Actor(*self.photo, solid, self.nose, self.rng.uniform(1, 2))

    def acted(self, actor: Actor, **how: object) -> tuple[Verdict, Recording]:
        """Let an actor answer while the session guides."""
        performer = Performer(actor, self.rng, rate=self.rate, **how)
        return answer(self.challenge, self.eyes, performer)

    def repeated(self, kind: str) -> Verdict:
        """Give the genuine answer's recording again, changed."""
        seen, challenge = self.recording, self.challenge
        number = len(seen)
        if kind == "frozen":
            stop = int(self.rng.integers(number // 4, 3 * number // 4))
            seen = [(t, seen[min(i, stop)][1]) for i, (t, _) in enumerate(seen)]
        elif kind == "shuffled":
            mixed = self.rng.permutation(number)
            seen = [(t, seen[mixed[i]][1]) for i, (t, _) in enumerate(seen)]
        elif kind == "loop":
            seen = [(i / self.rate, seen[i % (number // 2)][1]) for i in range(3 * number)]
        else:
            challenge = another(challenge, same=kind == "same-order")
        return played(challenge, self.eyes, seen)


def another(challenge: Challenge, *, same: bool) -> Challenge:
    """Issue a challenge of another order, or of the same order with other pauses."""
    while True:
        new = issue()
        if same:
            pairs = zip(challenge.actions, new.steps, strict=True)
            return replace(new, steps=tuple(Step(action, step.pause) for action, step in pairs))
        if new.actions != challenge.actions:
            return new


def photographs(images: Path, eyes: Eyes) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Give a photograph of each person whose photograph shows one face, from the front."""
    for folder in sorted(p for p in images.iterdir() if p.is_dir()):
        image = open_image(sorted(folder.glob("*.jpg"))[0])
        faces = eyes.faces(image)
        if len(faces) != 1:
            continue
        yaw, pitch, roll = pose(faces[0].landmarks)
        if abs(yaw) < 12 and abs(pitch) < 12 and abs(roll) < 8:
            yield folder.name, image.pixels, faces[0].landmarks


def main() -> None:
    asked = arguments()
    cv2.setNumThreads(1)
    eyes = Eyes(Engine.open(config=EngineConfig(cores=Cores(threads=1))))
    source = photographs(asked.images, eyes)
    taken = [next(source) for _ in range(asked.first + asked.people + 1)][asked.first :]
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    frames, began = 0, time.monotonic()
    for i in range(asked.people):
        case = Case(eyes, taken[i][1:], taken[i + 1][1:], asked.first + i)
        for kind in asked.kinds:
            found = case.verdict(kind)
            frames += found.frames
            outcomes[kind]["passed" if found.passed else str(found.failure)] += 1
            print(f"{i + 1} of {asked.people}: {kind}", end="\r", file=sys.stderr, flush=True)
            if found.passed != (kind == "genuine"):
                print(
                    f"{taken[i][0]} {kind}: {found.reasons} {found.distance}",
                    file=sys.stderr,
                    flush=True,
                )
    spent = (time.monotonic() - began) / max(frames, 1)
    for kind, counted in outcomes.items():
        passed = wilson(counted["passed"], asked.people)
        row = {"kind": kind, "people": asked.people, "passed": passed.as_json(), "why": counted}
        print(json.dumps(row), flush=True)
    print(json.dumps({"frames": frames, "milliseconds a frame, drawing included": 1000 * spent}))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="LFW, a folder a person")
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--first", type=int, default=400, help="so many are passed over")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    return parser.parse_args()


if __name__ == "__main__":
    main()
