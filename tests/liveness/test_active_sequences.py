"""Whole sessions with the shipped networks: a head in three dimensions passes, pictures do not.

The sequences are scripted from the demo's portraits; see ``scripted``.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scripted import Actor, Eyes, Performer, Recording, Solid, Style, answer, played

from visavis.image import open_image
from visavis.liveness.answer import Failure, Verdict
from visavis.liveness.challenge import Action, Challenge, Step, issue
from visavis.liveness.limits import ActiveConfig

RATE = 10
L, R, U, C = Action.TURN_LEFT, Action.TURN_RIGHT, Action.LOOK_UP, Action.COME_CLOSER


@pytest.fixture(scope="module")
def eyes(engine) -> Eyes:
    return Eyes(engine)


@pytest.fixture(scope="module")
def portrait(photographs, eyes):
    def of(name: str) -> tuple[np.ndarray, np.ndarray]:
        image = open_image(photographs[name])
        return image.pixels, eyes.faces(image)[0].landmarks

    return of


def asked(*actions: Action, pause: float = 0.5, hold: float = 0.5) -> Challenge:
    steps = tuple(Step(action, pause, hold) for action in actions)
    return dataclasses.replace(issue(), steps=steps)


def performer(photo, solid: Solid = Solid.HEAD, seed: int = 0, **how: object) -> Performer:
    return Performer(Actor(*photo, solid), np.random.default_rng(seed), rate=RATE, **how)


@pytest.fixture(scope="module")
def genuine(eyes, portrait) -> tuple[Challenge, Verdict, Recording]:
    challenge = asked(L, C, R, U)
    return challenge, *answer(challenge, eyes, performer(portrait("obama.jpg")))


def test_a_head_that_does_what_is_asked_passes(genuine, eyes):
    challenge, verdict, recording = genuine
    assert verdict.passed, verdict.reasons
    assert tuple(p.action for p in verdict.performed) == challenge.actions
    assert all(0.5 <= p.reached - p.asked < 6 for p in verdict.performed)
    assert all(0.5 <= p.left - p.recalled < 6 for p in verdict.performed)
    assert verdict.relief > 0.2
    assert verdict.distance < 0.5
    assert verdict.frames == len(recording)
    assert verdict.portrait[1].box[2] > 50
    assert verdict.encoded < verdict.frames / 3


@pytest.mark.parametrize(
    ("name", "order"), [("biden.jpg", (R, L, C, L)), ("astronaut.png", (U, R, L, R))]
)
def test_so_do_others(eyes, portrait, name, order):
    verdict, _ = answer(asked(*order), eyes, performer(portrait(name), seed=1))
    assert verdict.passed, verdict.reasons
    assert verdict.live is True


@pytest.mark.parametrize("style", [Style.STILL, Style.SLIDES, Style.TURNS])
def test_a_photograph_fails_held_still_moved_or_tilted(eyes, portrait, style):
    picture = performer(portrait("biden.jpg"), Solid.PLANE, style=style, wide=1.4)
    verdict, _ = answer(asked(R, L), eyes, picture)
    assert not verdict.passed
    assert verdict.live is False
    assert not verdict.performed
    assert verdict.failure in {Failure.TOO_SLOW, Failure.WRONG_ACTION}


def test_the_recorded_answer_to_another_challenge_fails(eyes, genuine):
    challenge, _, recording = genuine
    assert played(challenge, eyes, recording).passed  # its own would pass: so it is spent at once
    verdict = played(asked(R, C, L, U), eyes, recording)
    assert verdict.failure is Failure.WRONG_ACTION
    assert verdict.reasons[0].endswith("(turn-left instead of turn-right)")


@pytest.mark.parametrize("longer", [{"pause": 3.2}, {"hold": 3.2}])
def test_so_does_the_recorded_answer_to_the_same_order_with_other_waits(eyes, genuine, longer):
    challenge, _, recording = genuine
    verdict = played(asked(*challenge.actions, **longer), eyes, recording)
    assert verdict.failure is Failure.TOO_EARLY
    assert verdict.live is False


def test_a_print_bent_to_a_cylinder_has_no_nose(eyes, portrait):
    """The landmarks' network sees a head that turns; its pixels do not move as a nose's."""
    bent = Performer(
        Actor(*portrait("biden.jpg"), Solid.BENT, bend=1.3),
        np.random.default_rng(0),
        rate=RATE,
        wide=1.4,
    )
    verdict, _ = answer(asked(R, L), eyes, bent)
    assert len(verdict.performed) == 2
    assert verdict.failure is Failure.FLAT
    assert verdict.relief < ActiveConfig().flat


def test_a_face_swapped_half_way_fails(eyes, portrait):
    pair = performer(portrait("obama.jpg"), other=Actor(*portrait("biden.jpg")), seed=3)
    verdict, _ = answer(asked(L, R, L, R), eyes, pair)
    assert verdict.failure in {Failure.OTHER_PERSON, Failure.CUT}
    assert len(verdict.performed) >= 1


def test_a_stream_that_freezes_fails(eyes, genuine):
    challenge, _, recording = genuine
    frozen = [(t, recording[min(i, 30)][1]) for i, (t, _) in enumerate(recording)]
    verdict = played(challenge, eyes, frozen)
    assert verdict.failure is Failure.FROZEN
    assert verdict.live is False


def test_frames_in_another_order_fail(eyes, genuine):
    challenge, _, recording = genuine
    begin = 25
    mixed = np.random.default_rng(0).permutation(np.arange(begin, len(recording)))
    shuffled = recording[:begin] + [
        (recording[begin + i][0], recording[j][1]) for i, j in enumerate(mixed)
    ]
    assert played(challenge, eyes, shuffled).failure in {
        Failure.CUT,
        Failure.WRONG_ACTION,
        Failure.TOO_SLOW,
    }


def test_a_loop_fails(eyes, genuine):
    challenge, _, recording = genuine
    rest = [pixels for t, pixels in recording if t < 1.5]
    looped = [(i / RATE, rest[i % len(rest)]) for i in range(200)]
    assert played(challenge, eyes, looped).failure is Failure.REPEATED
