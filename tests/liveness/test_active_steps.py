"""A challenge followed through motions alone: what passes, and what each failure is called."""

from __future__ import annotations

import itertools
import random
from contextlib import suppress

import pytest

from visavis.liveness.answer import Ended, Failure, Phrase
from visavis.liveness.challenge import DEFAULT_CHALLENGE, Action, Challenge, Step, drawn
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


def begun(*actions: Action, pause: float = 0.5, hold: float = 0.0, **config: object) -> Steps:
    challenge = Challenge("n", tuple(Step(a, pause, hold) for a in actions), 0, 90)
    return Steps(challenge, ActiveConfig(**config), 0)


def fed(steps: Steps, *motions: Motion, start: float = 0) -> Steps:
    for i, each in enumerate(motions):
        steps.follow(each, start + i / RATE)
    return steps


def lived(
    steps: Steps, does: dict, reaction: float = 0.5, back: float = 0.5, seconds: float = 60
) -> Steps:
    """Do what is asked after a while, and go back so long after being told."""
    told, since, now, doing = None, 0.0, 0.0, None
    while not steps.finished and now < seconds:
        if steps.phrase is not told and steps.phrase is not Phrase.FURTHER:
            told, since = steps.phrase, now
        if steps.action and now - since >= reaction:
            doing = steps.action
        elif told in {Phrase.BACK, Phrase.GO_BACK} and now - since >= back:
            doing = None
        steps.follow(motion(**does.get(doing, {})), now)
        now += 1 / RATE
    return steps


def test_what_is_asked_and_done_passes_in_its_order():
    steps = lived(begun(*ALL), DOES)
    assert tuple(p.action for p in steps.performed) == ALL
    assert steps.phrase is Phrase.DONE
    for p in steps.performed:
        assert p.asked + 0.5 <= p.reached < p.recalled
        assert p.recalled + 0.5 <= p.left


def test_nothing_is_asked_before_the_pause_is_over():
    steps = begun(Action.TURN_LEFT, Action.TURN_RIGHT, pause=1.0)
    asked = []
    for i in range(40):
        steps.follow(motion(), i / RATE)
        asked.append((i / RATE, steps.action, steps.phrase))
        assert steps.action or steps.remaining == ActiveConfig().slowest  # tells nobody when
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


@pytest.mark.parametrize("when", ["reaction", "back"])
def test_nobody_reacts_at_once(when):
    with pytest.raises(Ended) as end:
        lived(begun(Action.TURN_LEFT, again=0), DOES, **{when: 0})
    assert end.value.failure is Failure.TOO_EARLY


@pytest.mark.parametrize("when", ["reaction", "back"])
def test_nobody_waits_for_long_until_they_begin(when):
    assert lived(begun(Action.TURN_LEFT), DOES, **{when: 2.5}).finished
    with pytest.raises(Ended) as end:
        lived(begun(Action.TURN_LEFT), DOES, **{when: 3.5})
    assert end.value.failure is Failure.TOO_SLOW


@pytest.mark.parametrize("action", ALL)
def test_who_does_not_hold_it_until_told_fails(action):
    """A recording cannot know for how long; a live person waits to be told."""
    assert lived(begun(action, hold=1.5), DOES).finished
    briefly = [motion()] * 20 + [motion(**DOES[action])] * 15 + [motion()] * 20
    with pytest.raises(Ended) as end:
        fed(begun(action, hold=1.5, again=0), *briefly)
    assert (end.value.failure, end.value.detail) == (Failure.TOO_EARLY, f"back from {action}")


# Asked again


def asked_at(steps: Steps, briefly: dict) -> tuple[list[float], Failure]:
    """When it is asked for until it fails; each time the face does it for most of a second."""
    asked, before = [], None
    for i in range(60 * RATE):
        now = i / RATE
        acts = bool(asked) and 0.5 <= now - asked[-1] < 1.3
        try:
            steps.follow(motion(**(briefly if acts else {})), now)
        except Ended as end:
            return asked, end.failure
        if steps.action and not before:
            asked.append(now)
        before = steps.action
    raise AssertionError("it did not end")


@pytest.mark.parametrize(("action", "times"), [(Action.LOOK_UP, 3), (Action.TURN_LEFT, 1)])
def test_a_look_up_that_was_not_seen_is_asked_for_twice_more_and_a_turn_never(action, times):
    """Turns are seen well, and keep pictures out: they have one try each."""
    asked, why = asked_at(begun(action), {})
    assert (len(asked), why) == (times, Failure.TOO_SLOW)
    # Three seconds to begin, half a second for the phrase, and a long wait drawn anew.
    least, most = DEFAULT_CHALLENGE.long
    for early, late in itertools.pairwise(asked):
        assert 3.5 + least <= late - early < 3.5 + most + 0.5


@pytest.mark.parametrize("action", ALL)
def test_who_came_back_too_soon_is_asked_for_the_same_again(action):
    steps = begun(action, hold=1.5)
    fed(steps, *[motion()] * 20, *[motion(**DOES[action])] * 15, *[motion()] * 5)
    assert not steps.performed
    assert steps.phrase in {Phrase.BACK, Phrase.GO_BACK}
    assert steps.held  # whose face it is is judged when it is back
    start = 41 / RATE
    fed(steps, *[motion()] * 75, start=start)
    assert steps.action is action
    fed(steps, *[motion(**DOES[action])] * 40, *[motion()] * 20, start=start + 76 / RATE)
    assert [p.action for p in steps.performed] == [action]


@pytest.mark.parametrize("again", [0, 1, 2])
def test_it_is_asked_again_so_often_in_a_session_and_no_more(again):
    asked, why = asked_at(begun(Action.TURN_LEFT, hold=1.5, again=again), LEFT)
    assert (len(asked), why) == (1 + again, Failure.TOO_EARLY)


def test_what_was_too_unclear_is_asked_for_again():
    steps = lived(begun(Action.TURN_RIGHT, Action.TURN_LEFT), DOES)
    now = steps.performed[-1].left
    assert steps.turned_last
    steps.unclear(now)
    assert not steps.finished
    assert not steps.turned_last
    assert steps.phrase is Phrase.BACK
    fed(steps, *[motion()] * 80, start=now + 1 / RATE)
    assert steps.action is Action.TURN_LEFT
    for _ in range(2):
        steps = lived(begun(Action.TURN_LEFT, again=0), DOES)
        with pytest.raises(Ended, match="unclear"):
            steps.unclear(steps.performed[-1].left)
        assert len(steps.performed) == 1  # it was done, and is told so


def test_the_last_turn_is_known():
    steps = begun(Action.TURN_LEFT, Action.LOOK_UP, Action.TURN_RIGHT, Action.COME_CLOSER)
    last, follow = [], steps.follow

    def noted(seen: Motion, now: float) -> None:
        before = len(steps.performed)
        follow(seen, now)
        if len(steps.performed) > before:
            last.append(steps.turned_last)

    steps.follow = noted
    assert lived(steps, DOES).finished
    assert last == [False, False, True, False]


def test_who_looks_up_askance_is_told_to_go_on_and_not_that_nothing_came():
    steps = begun(Action.LOOK_UP, again=0)
    askance = {"up": 0.05, "centre": (320.0, 222.0), "across": -0.11}
    fed(steps, *[motion()] * 20, *[motion(**askance)] * 42)
    assert steps.phrase is Phrase.FURTHER
    fed(steps, *[motion(**UP)] * 10, start=62 / RATE)
    assert steps.held


def test_eyes_and_mouth_that_stay_narrow_are_not_back():
    """A detector that hardly knows a turned face places a frontal one's nose in it at times."""
    flips = [motion(across=0.0, tilt=1.1), motion(across=0.0, tilt=1.1), motion(**LEFT)] * 5
    for hold in (0.0, 1.5):
        steps = begun(Action.TURN_LEFT, hold=hold)
        fed(steps, *[motion()] * 20, *[motion(**LEFT)] * 8, *flips)
        assert not steps.performed
        assert steps.phrase is (Phrase.STAY if hold else Phrase.BACK)


def test_asking_again_gives_nothing_to_a_recording_of_the_same_order():
    """Of 60 recordings with other waits hardly one passes, and no more than without."""
    dice, passed = random.Random(0), {0: 0, 2: 0}
    for seed in range(60):
        steps, others = drawn(dice), drawn(dice)
        waits = zip(steps, others, strict=True)
        same = tuple(Step(a.action, b.pause, b.hold) for a, b in waits)
        first = Steps(Challenge("n", steps, 0, 90), ActiveConfig(), 0)
        recorded: list[tuple[Motion, float]] = []
        follow = first.follow
        first.follow = lambda s, t, f=follow, r=recorded: (r.append((s, t)), f(s, t))
        assert lived(first, DOES, dice.uniform(0.4, 1.6), dice.uniform(0.4, 1.2)).finished
        still = [(motion(), recorded[-1][1] + i / RATE) for i in range(1, 200)]
        for again in passed:
            steps_again = Steps(
                Challenge("n", same, 0, 90), ActiveConfig(again=again), 0, random.Random(seed)
            )
            with suppress(Ended):
                passed[again] += replayed(steps_again, recorded + still).finished
    assert passed[2] <= passed[0] < 5


def replayed(steps: Steps, recorded: list[tuple[Motion, float]]) -> Steps:
    for seen, now in recorded:
        if not steps.finished:
            steps.follow(seen, now)
    return steps


def test_the_answer_to_the_same_order_fails_where_the_waits_were_others():
    """Told at which times to move, by the first challenge; the second has other waits."""
    first = begun(Action.TURN_LEFT, Action.TURN_RIGHT, pause=0.5, hold=0.5)
    recorded: list[tuple[Motion, float]] = []
    follow = first.follow
    first.follow = lambda seen, now: (recorded.append((seen, now)), follow(seen, now))
    assert lived(first, DOES).finished
    again = begun(Action.TURN_LEFT, Action.TURN_RIGHT, pause=0.5, hold=0.5)
    assert replayed(again, recorded).finished
    for waits in ({"pause": 3.2, "hold": 0.5}, {"pause": 0.5, "hold": 3.2}):
        other = begun(Action.TURN_LEFT, Action.TURN_RIGHT, **waits)
        with pytest.raises(Ended) as end:
            replayed(other, recorded)
        assert end.value.failure is Failure.TOO_EARLY


def test_a_recording_keeps_no_waits_and_is_never_too_early():
    steps = begun(*ALL, hold=2, prompted=False)
    assert lived(steps, DOES, reaction=0, back=0).finished


def lost(steps: Steps, before: Motion, after: Motion, seconds: float = 1.0) -> Steps:
    """Do ``before`` until it is held, be lost for a while, and be ``after`` when seen again."""
    fed(steps, *[motion()] * 20, *[before] * 8)
    now = 28 / RATE + seconds
    steps.regained(now)
    for i in range(12):
        steps.follow(after, now + i / RATE)
    return steps


def test_who_turned_too_far_to_be_seen_is_asked_again_when_back():
    steps = lost(begun(Action.TURN_LEFT, hold=2), motion(**LEFT), motion())
    assert not steps.performed
    assert steps.phrase in {Phrase.LOOK_AT_CAMERA, Phrase.TURN_LEFT}
    steps = lost(begun(Action.TURN_LEFT, hold=1), motion(**LEFT), motion(**LEFT))
    assert steps.phrase is Phrase.BACK  # seen again where it was: nothing was missed


def test_a_face_that_is_lost_gains_time_but_not_without_end():
    steps = fed(begun(Action.TURN_LEFT), *[motion()] * 20)
    now = 20 / RATE
    for _ in range(3):
        fed(steps, *[motion()] * 30, start=now)
        now += 30 / RATE
        steps.regained(now)
    fed(steps, *[motion()] * 30, start=now)
    now += 30 / RATE
    steps.regained(now)  # once too often
    with pytest.raises(Ended) as end:
        fed(steps, *[motion()] * 30, start=now)
    assert end.value.failure is Failure.TOO_SLOW


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
