"""Active liveness on scripted sequences: genuine ones made from photographs of LFW, and attacks.

A photograph is laid over a head in three dimensions that does what the challenge says, before a
camera that shakes, flickers and has noise (``tests/liveness/scripted.py``); attacks are made from
the same photograph. Nothing was trained on them; the limits were set on people 201 to 400 of those
whose photographs will do, sorted by name, and what failed of people 401 to 600 was looked into.
Every person is one independent trial.

    python benchmarks/active_liveness.py --images LFW/images
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import random
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from visavis.engine import Engine, EngineConfig
from visavis.evaluate.intervals import wilson
from visavis.image import open_image
from visavis.liveness.challenge import Challenge, drawn, issue
from visavis.models import Cores
from visavis.quality import pose

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "liveness"))
from scripted import Actor, Eyes, Performer, Recording, Solid, Style, answer, played

if TYPE_CHECKING:
    from collections.abc import Iterator

    from visavis.liveness.answer import Verdict

RECORDED = ("replay", "same-order", "frozen", "shuffled", "loop")
PLAYED = ("still", "slid", "tilted", "bent", "swapped", "stand-in")
KINDS = ("genuine", *RECORDED, *PLAYED)


class Case:
    """One person, whose photograph is acted by a head and by pictures."""

    def __init__(self, eyes: Eyes, photo: tuple, other: tuple, seed: int) -> None:
        self.eyes, self.photo, self.other = eyes, photo, other
        self.rng = np.random.default_rng(seed)
        self.rate = self.rng.uniform(8, 12)
        self.nose = self.rng.uniform(0.36, 0.55)
        self.dice = random.Random(seed)
        self.challenge = replace(issue(), steps=drawn(self.dice))
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
        if kind in {"swapped", "stand-in"}:
            other = Actor(*self.other, nose=self.nose)
            lent = kind == "stand-in"
            return self.acted(self.actor(Solid.HEAD), other=other, for_turns=lent)[0]
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
            challenge = another(challenge, self.dice, same=kind == "same-order")
        return played(challenge, self.eyes, seen)


def another(challenge: Challenge, dice: random.Random, *, same: bool) -> Challenge:
    """Draw a challenge of another order, or of the same order with other waits."""
    while True:
        new = replace(issue(), steps=drawn(dice))
        if same:
            pairs = zip(challenge.actions, new.steps, strict=True)
            steps = tuple(replace(step, action=action) for action, step in pairs)
            return replace(new, steps=steps)
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


class Outcome(NamedTuple):
    """Why it failed, or ``passed``; frames and seconds looked at; the nose's height, if told."""

    why: str
    frames: int
    seconds: float
    height: float | None


Answers = dict[str, Outcome]
"""By kind."""

_HERE: dict[str, Eyes] = {}


def here() -> Eyes:
    """Open the networks once in each process."""
    cv2.setNumThreads(1)
    if not _HERE:
        _HERE["eyes"] = Eyes(Engine.open(config=EngineConfig(cores=Cores(threads=1))))
    return _HERE["eyes"]


def tried(number: int, name: str, photo: tuple, other: tuple, kinds: list[str]) -> Answers:
    """Let one person's photograph answer in every way."""
    case = Case(here(), photo, other, number)
    answers: Answers = {}
    for kind in kinds:
        found = case.verdict(kind)
        why = "passed" if found.passed else str(found.failure)
        answers[kind] = Outcome(why, found.frames, found.seconds, found.relief)
        if found.passed != (kind == "genuine"):
            said = " ".join(found.reasons)
            print(f"{number} {name} {kind}: {why} {said}", file=sys.stderr, flush=True)
    return answers


def told(every: list[Answers], began: float) -> None:
    """Print a line for each kind: how many passed, with an interval, and why the others not."""
    for kind in every[0]:
        found = [answers[kind] for answers in every]
        why = Counter(each.why for each in found)
        heights = [each.height for each in found if each.height is not None]
        row = {
            "kind": kind,
            "people": len(every),
            "passed": wilson(why["passed"], len(every)).as_json(),
            "why": why,
            "seconds": spread([each.seconds for each in found]),
            "noses": len(heights),
            "height": spread(heights),
        }
        print(json.dumps(row), flush=True)
    frames = sum(each.frames for answers in every for each in answers.values())
    print(json.dumps({"frames": frames, "seconds": round(time.monotonic() - began)}), flush=True)


def spread(values: list[float]) -> list[float]:
    """Give the least, 5 %, median, 95 % and largest of some values."""
    return np.percentile(values, [0, 5, 50, 95, 100]).round(3).tolist() if values else []


def main() -> None:
    asked = arguments()
    began = time.monotonic()
    source = itertools.islice(photographs(asked.images, here()), asked.first + asked.people + 1)
    taken = list(source)[asked.first :]
    with ProcessPoolExecutor(asked.jobs, multiprocessing.get_context("spawn")) as pool:
        waiting = [
            pool.submit(tried, asked.first + i, name, photo, taken[i + 1][1:], asked.kinds)
            for i, (name, *photo) in enumerate(taken[:-1])
        ]
        every: list[Answers] = []
        for done in as_completed(waiting):
            every.append(done.result())
            if len(every) % 20 == 0:
                told(every, began)
    told(every, began)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="LFW, a folder a person")
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="so many are passed over")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--jobs", type=int, default=1, help="processes, of one thread each")
    return parser.parse_args()


if __name__ == "__main__":
    main()
