"""A challenge followed through motions alone: what passes, and what each failure is called."""

from __future__ import annotations

import pytest

from visavis.liveness.answer import Ended, Failure, Phrase
from visavis.liveness.challenge import Action, Challenge, Step
from visavis.liveness.limits import ActiveConfig
from visavis.liveness.motion import Motion
from visavis.liveness.steps import Steps

REST = {"across": 0.0, "up": 0.0, "closer": 1.0, "tilt": 0.2, "centre": (320.0, 240.0)}
LEFT = {"across": 0.25, "tilt": 0.55}
RIGHT = {"across": -0.25, "tilt": 0.55}
UP = {"up": 0.06, "centre": (320.0, 205.0)}
CLOSER = {"closer": 1.35}
DOES = {
    Action.TURN_LEFT: LEFT,
    Action.TURN_RIGHT: RIGHT,
    Action.LOOK_UP: UP,
    Action.COME_CLOSER: CLOSER,
}
ALL = tuple(Action)
RATE = 15


def motion(**changed: object) -> Motion:
    return Motion(**(REST | changed), yaw=0, pitch=0, size=60)


def begun(*actions: Action, pause: float = 0.5, **config: object) -> Steps:
    challenge = Challenge("n", tuple(Step(a, pause) for a in actions), 0, 90)
    return Steps(challenge, ActiveConfig(**config), 0)


def fed(steps: Steps, *motions: Motion) -> Steps:
    for i, each in enumerate(motions):
        steps.follow(each, i / RATE)
    return steps


def lived(steps: Steps, does: dict, reaction: float = 0.5, seconds: float = 60) -> Steps:
    """Do what is asked after a while, and go back when told."""
    told, since, now = None, 0.0, 0.0
    while not steps.finished and now < seconds:
        if steps.phrase is not told and steps.phrase is not Phrase.FURTHER:
            told, since = steps.phrase, now
        acts = steps.action if now - since >= reaction else None
        steps.follow(motion(**does.get(acts, {})), now)
        now += 1 / RATE
    return steps


def test_what_is_asked_and_done_passes_in_its_order():
    steps = lived(begun(*ALL), DOES)
    assert tuple(p.action for p in steps.performed) == ALL
    assert steps.phrase is Phrase.DONE
    for p in steps.performed:
        assert p.asked + 0.5 <= p.reached < p.left


def test_nothing_is_asked_before_the_pause_is_over():
    steps = begun(Action.TURN_LEFT, Action.TURN_RIGHT, pause=1.0)
    asked = []
    for i in range(40):
        steps.follow(motion(), i / RATE)
        asked.append((i / RATE, steps.action, steps.phrase))
    assert all(a is None and p is Phrase.LOOK_AT_CAMERA for t, a, p in asked if t < 1)
    assert all(a is Action.TURN_LEFT and p is Phrase.TURN_LEFT for t, a, p in asked if t > 1.1)


@pytest.mark.parametrize("action", ALL)
def test_who_does_nothing_is_too_slow(action):
    with pytest.raises(Ended) as end:
        lived(begun(action, pause=0.3), {})
    assert end.value.failure is Failure.TOO_SLOW


@pytest.mark.parametrize("action", ALL)
def test_who_never_goes_back_is_too_slow(action):
    steps = begun(action)
    stays = [motion()] * 20 + [motion(**DOES[action])] * 200
    with pytest.raises(Ended) as end:
        fed(steps, *stays)
    assert end.value.failure is Failure.TOO_SLOW


@pytest.mark.parametrize(
    ("asked", "done"), [(a, b) for a in ALL for b in ALL if a is not b], ids=str
)
def test_another_action_than_the_one_asked_fails(asked, done):
    with pytest.raises(Ended) as end:
        lived(begun(asked), {asked: DOES[done]})
    assert end.value.failure is Failure.WRONG_ACTION
    assert end.value.detail == f"{done} instead of {asked}"


@pytest.mark.parametrize("action", ALL)
def test_a_movement_before_it_is_asked_fails(action):
    steps = begun(action, pause=1.0)
    early = [motion()] * 4 + [motion(**DOES[action])] * 10
    with pytest.raises(Ended) as end:
        fed(steps, *early)
    assert end.value.failure is Failure.TOO_EARLY


def test_nobody_reacts_at_once():
    with pytest.raises(Ended) as end:
        lived(begun(Action.TURN_LEFT), DOES, reaction=0)
    assert end.value.failure is Failure.TOO_EARLY


def test_a_recording_keeps_no_pauses_and_is_never_too_early():
    steps = lived(begun(*ALL, prompted=False), DOES, reaction=0)
    assert steps.finished


def test_a_tilted_picture_shows_too_little_parallax_for_its_tilt():
    tilted = {"across": 0.13, "tilt": 1.2}
    assert lived(begun(Action.TURN_LEFT), {Action.TURN_LEFT: LEFT}).finished
    with pytest.raises(Ended) as end:
        lived(begun(Action.TURN_LEFT), {Action.TURN_LEFT: tilted})
    assert end.value.failure is Failure.TOO_SLOW


def test_mirrored_frames_change_the_sides():
    assert lived(begun(Action.TURN_LEFT, mirrored=True), {Action.TURN_LEFT: RIGHT}).finished
    with pytest.raises(Ended):
        lived(begun(Action.TURN_LEFT, mirrored=True), {Action.TURN_LEFT: LEFT})


def test_who_begins_but_not_far_enough_is_told_so():
    steps = begun(Action.TURN_LEFT)
    said = []
    for i in range(45):
        steps.follow(motion(across=0.08 if i > 15 else 0), i / RATE)
        said.append(steps.phrase)
    assert said[20] is Phrase.TURN_LEFT
    assert said[-1] is Phrase.FURTHER


def test_one_frame_of_the_detectors_error_is_no_action():
    seen = [motion(**(RIGHT if i % 10 == 5 else {})) for i in range(60)]
    assert not fed(begun(Action.TURN_LEFT, pause=5), *seen).performed
