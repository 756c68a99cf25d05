"""Bad input: an answer with its reason, and no exception because of who is before the camera."""

from __future__ import annotations

import itertools
from contextlib import nullcontext

import numpy as np
import pytest

from visavis.errors import ImageRefused
from visavis.liveness.active import ActiveSession, verify_frames
from visavis.liveness.answer import Ended, Failure, Phrase
from visavis.liveness.challenge import Action, Challenge, ChallengeConfig, Step, issue
from visavis.liveness.continuity import Cuts, Follows, OnePerson, Repeats, Scene, Timing
from visavis.liveness.limits import DEFAULT_ACTIVE, MEASURED, ActiveConfig, Sameness, errors
from visavis.liveness.looking import found_again
from visavis.liveness.motion import Motion
from visavis.liveness.relief import Relief
from visavis.values import Face, Image

CHALLENGE = Challenge("n", (Step(Action.TURN_LEFT, 0.3), Step(Action.TURN_RIGHT, 0.3)), 0, 90)
FACE = np.array([[-0.5, -0.5], [0.5, -0.5], [0.0, 0.06], [-0.43, 0.5], [0.43, 0.5]], np.float32)
SAMENESS = Sameness(1.1, 1.4)
RATE = 15


def face(x: float = 160, y: float = 120, eyes: float = 50, across: float = 0) -> Face:
    points = FACE * eyes + np.array([x, y], np.float32)
    points[2, 0] += across * eyes
    return Face((x - eyes, y - 1.2 * eyes, 2 * eyes, 2.4 * eyes), points, 0.9)


class Scripted:
    """Sees what it is told to see; everybody's encoding is ``vector``."""

    def __init__(self, *seen: Face) -> None:
        self.seen = list(seen)
        self.vector = np.array([1, 0], np.float32)
        self.encoded = 0

    def faces(self, image: Image) -> list[Face]:
        return self.seen if image.pixels.shape == (240, 320, 3) else []

    def encode(self, *_: object) -> np.ndarray:
        self.encoded += 1
        return self.vector


class Camera:
    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def __call__(self, height: int = 240, width: int = 320) -> np.ndarray:
        frame = np.zeros((height, width, 3), np.uint8)
        frame.reshape(-1)[:8] = np.frombuffer(next(self._numbers).to_bytes(8), np.uint8)
        return frame


@pytest.fixture
def observer() -> Scripted:
    return Scripted(face())


@pytest.fixture
def camera() -> Camera:
    return Camera()


@pytest.fixture
def session(observer: Scripted) -> ActiveSession:
    return ActiveSession(CHALLENGE, observer, SAMENESS, clock=lambda: 10)


def settled(session: ActiveSession, camera: Camera) -> float:
    """Hold still until the challenge begins; gives the time then."""
    for i in range(40):
        guidance = session.update(camera(), i / RATE)
        if guidance.action:
            return i / RATE
    raise AssertionError(guidance)


def failure(session: ActiveSession) -> Failure | None:
    assert session.finished
    return session.verdict().failure


# How it goes well


def lived(session: ActiveSession, observer: Scripted, camera: Camera) -> list[Phrase]:
    """Do what is said half a second later, and give all that was said."""
    said, now = [], 0.0
    guidance = session.update(camera(), now)
    turns = {Phrase.TURN_LEFT: 0.25, Phrase.TURN_RIGHT: -0.25, Phrase.BACK: 0}
    while not guidance.finished and now < 30:
        now += 1 / RATE
        if said[-8:] == [guidance.phrase] * 8 and guidance.phrase in turns:
            observer.seen = [face(across=turns[guidance.phrase])]
        guidance = session.update(camera(), now)
        said.append(guidance.phrase)
        assert 0 <= guidance.done <= guidance.of == 2
        assert guidance.remaining >= 0
    return said


def test_told_at_every_frame_what_to_do(session, observer, camera, monkeypatch):
    monkeypatch.setattr(Relief, "height", 0.4)
    said = lived(session, observer, camera)
    assert [phrase for phrase, _ in itertools.groupby(said)] == [
        Phrase.HOLD_STILL,
        Phrase.LOOK_AT_CAMERA,
        Phrase.TURN_LEFT,
        Phrase.STAY,
        Phrase.BACK,
        Phrase.LOOK_AT_CAMERA,
        Phrase.TURN_RIGHT,
        Phrase.STAY,
        Phrase.BACK,
        Phrase.DONE,
    ]
    verdict = session.verdict()
    assert verdict.passed
    assert verdict.live is True
    assert verdict.reasons == ()
    assert [p.action for p in verdict.performed] == list(CHALLENGE.actions)
    assert verdict.encoded == observer.encoded < verdict.frames / 4
    assert verdict.portrait[1] is not None


@pytest.mark.parametrize("height", [0.1, None])
def test_a_nose_that_stays_flat_or_cannot_be_followed_does_not_pass(
    session, observer, camera, monkeypatch, height
):
    monkeypatch.setattr(Relief, "height", height)
    assert lived(session, observer, camera)[-1] is Phrase.FAILED
    verdict = session.verdict()
    assert not verdict.passed
    assert verdict.failure is (Failure.UNCLEAR if height is None else Failure.FLAT)
    assert verdict.live is (None if height is None else False)
    assert verdict.relief == height
    assert len(verdict.performed) == 2


# Who is before the camera


def test_nobody_is_waited_for_and_then_said(session, observer, camera):
    observer.seen = []
    guidance = session.update(camera(), 0)
    assert guidance.phrase is Phrase.SHOW_FACE
    assert not guidance.finished
    verdict = session.verdict()
    assert (verdict.passed, verdict.live, verdict.failure) == (False, None, Failure.NO_FACE)
    assert verdict.reasons == ("no face could be seen",)


def test_endless_frames_without_a_face_end(session, observer, camera):
    observer.seen = []
    frames = ((i / RATE, camera()) for i in itertools.count())
    verdict = verify_frames(session, frames)
    assert verdict.failure is Failure.NO_FACE
    assert verdict.seconds < 76
    assert next(frames)  # it was not read to its end


def test_frames_whose_time_stands_almost_still_end_too(session, observer, camera):
    observer.seen = []
    verdict = verify_frames(session, ((i * 1e-6, camera()) for i in itertools.count()))
    assert verdict.frames == ActiveConfig().frames + 1


def test_a_face_that_goes_away_ends_it(session, observer, camera):
    now = settled(session, camera)
    observer.seen = []
    for i in range(1, 50):
        guidance = session.update(camera(), now + i / RATE)
        if not guidance.finished:  # a moment is not worth a word
            assert (guidance.phrase is Phrase.SHOW_FACE) == (i / RATE > 0.4)
    assert failure(session) is Failure.NO_FACE


def test_a_face_lost_for_a_moment_does_not(session, observer, camera):
    now = settled(session, camera)
    observer.seen = []
    for i in range(1, 6):
        session.update(camera(), now + i / RATE)
    observer.seen = [face()]
    assert session.update(camera(), now + 0.5).phrase is Phrase.TURN_LEFT


def test_a_face_that_comes_back_is_looked_at_before_it_goes_on(session, observer, camera):
    """Nobody takes somebody's place while the face cannot be seen."""
    now = settled(session, camera)
    observer.seen = []
    for i in range(1, 10):
        session.update(camera(), now + i / RATE)
    observer.seen, before = [face()], observer.encoded
    session.update(camera(), now + 10 / RATE)
    assert observer.encoded == before + 1


def test_a_face_that_only_the_frame_as_a_whole_does_not_show_is_found(observer, camera):
    class Shy(Scripted):
        """Sees nothing in whole frames."""

        def faces(self, image: Image) -> list[Face]:
            part = image.pixels.shape[0] < 240
            return [face(image.width / 2, image.height / 2)] if part else []

    last = face(x=160, y=120)
    again = found_again(Shy(), Image(camera()), last)
    assert np.abs(again.landmarks - last.landmarks).max() < 10
    assert np.abs(np.array(again.box) - last.box).max() < 10
    assert found_again(Scripted(), Image(camera()), last) is None


def test_several_people_are_asked_to_be_one(session, observer, camera):
    observer.seen = [face(100), face(250, eyes=40)]
    assert session.update(camera(), 0).phrase is Phrase.ONE_PERSON
    assert session.verdict().failure is Failure.SEVERAL_FACES
    observer.seen = [face(100), face(250, eyes=12)]  # somebody far behind
    assert session.update(camera(), 0.1).phrase is Phrase.HOLD_STILL


def test_somebody_who_joins_ends_it(session, observer, camera):
    now = settled(session, camera)
    observer.seen = [face(100), face(250, eyes=40)]
    for i in range(1, 50):
        session.update(camera(), now + i / RATE)
    assert failure(session) is Failure.SEVERAL_FACES


@pytest.mark.parametrize(
    ("seen", "phrase"),
    [
        (face(eyes=15), Phrase.TOO_SMALL),
        (face(x=20), Phrase.MOVE_INTO_PICTURE),
        (face(across=0.25), Phrase.LOOK_AT_CAMERA),
    ],
)
def test_it_does_not_begin_with_a_face_it_cannot_use(session, observer, camera, seen, phrase):
    observer.seen = [seen]
    for i in range(30):
        guidance = session.update(camera(), i / RATE)
    assert guidance.phrase is phrase
    assert guidance.action is None
    assert session.verdict().live is None


def test_another_face_ends_it(session, observer, camera):
    now = settled(session, camera)
    observer.vector = np.array([0, 1], np.float32)  # d = 2
    for i in range(1, 40):
        session.update(camera(), now + i / RATE)
    assert failure(session) is Failure.OTHER_PERSON
    assert "d 2.00" in session.verdict().reasons[0]


def test_a_still_photograph_is_too_slow_and_no_live_face(session, camera):
    now = settled(session, camera)
    for i in range(1, 120):
        session.update(camera(), now + i / RATE)
    assert failure(session) is Failure.TOO_SLOW
    assert session.verdict().live is False


def test_a_detector_that_errs_in_a_picture_that_stands_has_lost_the_face(observer, camera):
    """The person is looked at anew, and goes on: nobody was put in their place."""
    session = ActiveSession(CHALLENGE, observer, SAMENESS, clock=lambda: 10)
    shown = np.kron(np.random.default_rng(0).integers(0, 255, (12, 16, 3)), np.ones((20, 20, 1)))
    now = 0.0
    for seen, number in ((face(), 20), (face(x=250), 3)):
        observer.seen, before = [seen], observer.encoded
        for _ in range(number):
            frame = shown.astype(np.uint8)
            frame[0] = camera()[0]
            guidance = session.update(frame, now)
            now += 1 / RATE
    assert guidance.phrase is Phrase.TURN_LEFT
    assert not session.finished
    assert observer.encoded == before + 1


# Frames


def test_frames_that_change_size_end_it(session, camera):
    session.update(camera(), 0)
    session.update(camera(480, 640), 0.1)
    assert failure(session) is Failure.SIZE_CHANGED


@pytest.mark.parametrize("second", [0.0, 1.0, -5.0, float("nan"), float("inf")])
def test_time_that_does_not_go_on_ends_it(session, camera, second):
    session.update(camera(), 1.0)
    session.update(camera(), second)
    assert failure(session) is Failure.TIME_WENT_BACK


def test_missing_frames_end_it_once_it_began(session, camera):
    now = settled(session, camera)
    session.update(camera(), now + 1.5)
    assert failure(session) is Failure.FRAMES_MISSING


def test_an_expired_challenge_ends_it(observer, camera):
    session = ActiveSession(CHALLENGE, observer, SAMENESS, clock=lambda: 91)
    session.update(camera(), 0)
    assert failure(session) is Failure.EXPIRED


@pytest.mark.parametrize(
    "frame",
    [np.zeros((240, 320), np.float32), np.zeros(5, np.uint8), np.zeros((0, 0, 3), np.uint8)],
)
def test_what_is_no_picture_is_refused_clearly(session, frame):
    with pytest.raises(ImageRefused):
        session.update(frame, 0)


def test_what_comes_after_the_end_changes_nothing(session, camera):
    session.update(camera(), 1)
    session.update(camera(), 0)
    before = session.verdict()
    assert session.update(camera(), 2).finished
    after = session.verdict()
    assert (after.failure, after.frames) == (before.failure, before.frames)


def test_no_frames_at_all_are_unfinished(session):
    verdict = verify_frames(session, [])
    assert (verdict.passed, verdict.live, verdict.failure) == (False, None, Failure.UNFINISHED)


# What must hold from frame to frame


def frames(*numbers: int) -> list[np.ndarray]:
    return [np.full((4, 4, 3), n, np.uint8) for n in numbers]


def repeated(numbers: list[int]) -> Failure | None:
    repeats = Repeats(ActiveConfig())
    try:
        for i, frame in enumerate(frames(*numbers)):
            repeats.check(frame, i / RATE)
    except Ended as end:
        return end.failure
    return None


def test_a_loop_is_known_by_its_frames():
    assert repeated([1, 2, 3, 4, 5, 1, 2, 3]) is Failure.REPEATED
    assert repeated([1, 2, 3, 4, 5, 4, 6, 5, 7]) is None  # two frames out of order


def test_a_frozen_picture_is_known_and_a_late_frame_forgiven():
    assert repeated([1, 2, *[3] * 12]) is Failure.FROZEN
    assert repeated([1, 1, 2, 2, 2, 3, 3, 4, 4]) is None


def moved(**changed: object) -> Motion:
    rest = {"across": 0.0, "up": 0.0, "closer": 1.0, "tilt": 0.2, "centre": (160.0, 120.0)}
    return Motion(**(rest | changed), yaw=0, pitch=0, size=50)


@pytest.mark.parametrize(
    "leap", [{"centre": (230.0, 120.0)}, {"closer": 1.5}, {"across": 0.5}, {"up": -0.5}]
)
def test_a_leap_is_a_cut_and_one_bad_frame_is_not(leap):
    cuts = Cuts()
    assert cuts.follows(moved(), 0, CHANGES) is Follows.YES
    assert cuts.follows(moved(**leap), 1 / RATE, CHANGES) is Follows.UNTOLD
    assert cuts.follows(moved(), 2 / RATE, CHANGES) is Follows.YES
    assert cuts.follows(moved(**leap), 3 / RATE, CHANGES) is Follows.UNTOLD
    assert cuts.follows(moved(**leap), 4 / RATE, CHANGES) is Follows.UNTOLD
    with pytest.raises(Ended, match="cut"):
        cuts.follows(moved(**leap), 5 / RATE, CHANGES)


def test_a_leap_in_a_picture_that_stands_is_the_detectors():
    cuts, leap = Cuts(), moved(across=0.5)
    told = [cuts.follows(each, i / RATE, STANDS) for i, each in enumerate([moved(), *[leap] * 4])]
    assert told == [Follows.YES, Follows.UNTOLD, Follows.UNTOLD, Follows.ANEW, Follows.YES]
    # A picture that changes and then stands is what a cut looks like.
    cut = Cuts()
    cut.follows(moved(), 0, CHANGES)
    for i, stands in enumerate([CHANGES, STANDS], 1):
        assert cut.follows(leap, i / RATE, stands) is Follows.UNTOLD
    with pytest.raises(Ended, match="cut"):
        cut.follows(leap, 3 / RATE, STANDS)


def test_an_error_just_within_bounds_is_not_what_the_next_frames_are_held_against():
    cuts = Cuts()
    for i, across in enumerate([0.0, -0.2, 0.05, -0.4, -0.45]):  # the third is the detector's
        assert cuts.follows(moved(across=across), i / 10, CHANGES) is Follows.YES


def room(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (12, 16, 3))
    return np.kron(coarse, np.ones((20, 20, 1))).astype(np.uint8)


@pytest.mark.parametrize("box", [(100, 60, 90, 110), (-30, -20, 90, 110), (260, 170, 90, 110)])
def test_a_picture_stands_when_nothing_but_the_camera_changed_it(box):
    scene, before = Scene(), room(0)
    assert not scene.stands(before)  # there is nothing to hold it against
    scene.note(before, box)
    noise = np.random.default_rng(5).normal(0, 3, before.shape)
    assert scene.stands(np.clip(0.9 * before + noise, 0, 255).astype(np.uint8))
    assert not scene.stands(room(1))
    assert not scene.stands(np.roll(before, 30, axis=1))


@pytest.mark.parametrize("box", [(400, 300, 50, 60), (0, 0, 0, 0), (-90, -90, 50, 50)])
def test_what_holds_no_picture_does_not_stand(box):
    scene = Scene()
    scene.note(room(0), box)
    assert not scene.stands(room(0))


def STANDS() -> bool:  # noqa: N802
    return True


def CHANGES() -> bool:  # noqa: N802
    return False


def glitches(seconds_apart: float) -> Failure | None:
    cuts, now = Cuts(), 0.0
    try:
        for i in range(40):
            now += seconds_apart / 2
            cuts.follows(moved(across=0.5 * (i % 2)), now, CHANGES)
    except Ended as end:
        return end.failure
    return None


def test_detectors_err_now_and_then_and_mixed_frames_all_the_time():
    assert glitches(1.0) is None
    assert glitches(0.2) is Failure.CUT


def test_a_hasty_head_is_no_cut():
    cuts = Cuts()
    for i in range(12):  # 200 degrees a second
        turn = np.radians(min(40, 200 * i / RATE))
        across = 0.45 * np.tan(turn)
        assert cuts.follows(moved(across=across), i / RATE, CHANGES) is Follows.YES


def at_angle(degrees: float) -> np.ndarray:
    turn = np.radians(degrees)
    return np.array([np.cos(turn), np.sin(turn)], np.float32)


def test_at_rest_the_first_face_counts_and_turned_the_nearest():
    person = OnePerson(Sameness(1.0, 1.0))  # 60 degrees
    person.check(at_angle(0), at_rest=True)
    person.check(at_angle(50))
    person.check(at_angle(100))  # near the one before
    person.check(at_angle(55), at_rest=True)
    assert person.distance == pytest.approx(2 - 2 * np.cos(np.radians(55)), abs=1e-6)
    with pytest.raises(Ended, match="other-person"):
        person.check(at_angle(70), at_rest=True)


def test_a_moving_face_may_be_strange_once():
    person = OnePerson(Sameness(1.0, 1.0))
    person.check(at_angle(0), at_rest=True)
    person.check(at_angle(90))
    with pytest.raises(Ended, match="other-person"):
        person.check(at_angle(90))


@pytest.mark.parametrize(("strange", "passes"), [(2, True), (3, False)])
def test_a_face_that_is_held_turned_is_judged_by_most_of_what_was_seen_of_it(strange, passes):
    """Who puts their own head in for the turns of somebody's picture is found when it is back."""
    person = OnePerson(Sameness(1.0, 1.0))
    person.check(at_angle(0), at_rest=True)
    for degrees in [40] * (5 - strange) + [90] * strange:
        person.check(at_angle(degrees), held=True)
    with nullcontext() if passes else pytest.raises(Ended, match="other-person"):
        person.check(at_angle(0), at_rest=True)


def test_time_is_measured_from_the_first_frame():
    timing = Timing(ActiveConfig())
    for stamp in (100.0, 100.1, 103.0):
        timing.check(stamp, began=False)
    assert timing.seconds == pytest.approx(3)
    assert timing.frames == 3


# What it is worth


def told(challenge: Challenge, config: ActiveConfig, observer: Scripted) -> tuple:
    verdict = ActiveSession(challenge, observer, SAMENESS, config).verdict()
    return verdict.bpcer, verdict.apcer


def test_errors_are_stated_for_what_was_measured_and_nothing_else(observer):
    measured = MEASURED.bpcer, MEASURED.apcer
    assert 0 < max(measured) < 1
    assert told(issue(), DEFAULT_ACTIVE, observer) == measured
    assert told(issue(), ActiveConfig(mirrored=True), observer) == measured
    assert told(issue(), ActiveConfig(turn=0.01), observer) == (None, None)
    assert told(issue(), ActiveConfig(prompted=False), observer) == (None, None)
    assert errors(DEFAULT_ACTIVE, issue(config=ChallengeConfig(steps=3))) is None
    assert errors(DEFAULT_ACTIVE, issue(config=ChallengeConfig(longs=0))) is None
