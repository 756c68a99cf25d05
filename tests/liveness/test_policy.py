"""Who is let in: liveness beside recognition, joined by a named policy, and tries that run out."""

from __future__ import annotations

import itertools
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import Actor, Performer
from stand_in import THRESHOLD, add_bright, darkened

from visavis.decide import squared
from visavis.engine import Engine, EngineConfig
from visavis.engine.alive import MOST_FRAMES, spread
from visavis.errors import EncoderMismatch, ModelUnknown, TooManyAttempts
from visavis.image import open_image
from visavis.liveness.active import verify_frames
from visavis.liveness.answer import Failure, Verdict
from visavis.liveness.attempts import Attempt, AttemptLimits, AttemptMemory, Attempts, Record
from visavis.liveness.challenge import ChallengeConfig, issue
from visavis.liveness.policy import Answered, Policy, Rates, combined, rule
from visavis.models import Cores, ModelStore
from visavis.values import Embedding, EncoderId, Liveness

LIVE = Liveness(True, 0.9, 0.5, 0.05, 0.02, "m")
FAKE = Liveness(False, 0.1, 0.5, 0.05, 0.02, "m", ("looks like paper",))
UNTOLD = Liveness(None, None, 0.5, 0.05, 0.02, "m", ("no face",))
ANSWERED = Liveness(True, None, None, 0.01, 0.10, "challenge")


# What the policies say


@pytest.mark.parametrize(
    ("policy", "passive", "active", "satisfied"),
    [
        (Policy.PASSIVE, LIVE, None, True),
        (Policy.PASSIVE, FAKE, None, False),
        (Policy.PASSIVE, UNTOLD, None, False),
        (Policy.PASSIVE, None, ANSWERED, False),
        (Policy.ACTIVE, None, ANSWERED, True),
        (Policy.ACTIVE, FAKE, ANSWERED, True),
        (Policy.ACTIVE, LIVE, None, False),
        (Policy.PASSIVE_AND_ACTIVE, LIVE, ANSWERED, True),
        (Policy.PASSIVE_AND_ACTIVE, FAKE, ANSWERED, False),
        (Policy.PASSIVE_AND_ACTIVE, LIVE, FAKE, False),
        (Policy.PASSIVE_AND_ACTIVE, LIVE, None, False),
    ],
)
def test_a_policy_wants_every_part_that_it_names(policy, passive, active, satisfied):
    ruling = rule(policy, passive, active)
    assert ruling.satisfied is satisfied
    assert ruling.policy == policy
    assert len(ruling.reasons) == policy.passive + policy.active
    assert all(reason.startswith(("passive", "active")) for reason in ruling.reasons)


def test_a_missing_part_and_an_unclear_one_are_told_apart_from_a_fake():
    assert "none was given" in rule(Policy.ACTIVE, LIVE, None).reasons[0]
    assert "cannot be told (no face)" in rule(Policy.PASSIVE, UNTOLD, None).reasons[0]
    assert "not live (looks like paper)" in rule(Policy.PASSIVE, FAKE, None).reasons[0]


def test_off_says_nothing():
    assert rule(Policy.OFF, FAKE, FAKE) is None


def test_a_ruling_holds_what_was_asked_for_and_nothing_else():
    ruling = rule(Policy.ACTIVE, FAKE, ANSWERED)
    assert (ruling.passive, ruling.active) == (None, ANSWERED)


@pytest.mark.parametrize(
    ("policy", "bpcer", "apcer"),
    [(Policy.PASSIVE, 0.05, 0.02), (Policy.ACTIVE, 0.01, 0.10)],
)
def test_one_part_alone_has_its_own_errors(policy, bpcer, apcer):
    ruling = rule(policy, LIVE, ANSWERED)
    assert (ruling.bpcer, ruling.apcer) == (bpcer, apcer)


def test_both_parts_are_bounded_by_the_sum_and_by_the_smaller():
    ruling = rule(Policy.PASSIVE_AND_ACTIVE, LIVE, ANSWERED)
    assert ruling.bpcer == pytest.approx(0.06)
    assert ruling.apcer == 0.02
    unmeasured = Liveness(True, model="challenge")
    ruling = rule(Policy.PASSIVE_AND_ACTIVE, LIVE, unmeasured)
    assert (ruling.bpcer, ruling.apcer) == (None, 0.02)
    assert rule(Policy.ACTIVE, None, unmeasured).apcer is None


rates = st.builds(Rates, st.floats(0, 1), st.floats(0, 1))


@given(passive=rates, active=rates, seed=st.integers(0, 2**32 - 1))
def test_the_stated_errors_hold_however_the_parts_hang_together(passive, active, seed):
    """Any joint behaviour of two detectors with these rates, drawn as a 2 x 2 table."""
    bpcer, apcer = combined(Policy.PASSIVE_AND_ACTIVE, passive, active)
    chance = random.Random(seed)

    def both(p: float, q: float) -> float:
        """P(A and B) of events with these probabilities, anywhere in what is possible."""
        low, high = max(0.0, p + q - 1), min(p, q)
        return low + (high - low) * chance.random()

    near = 1e-9
    passed = both(passive.apcer, active.apcer)
    assert apcer.least - near <= passed <= apcer.most + near
    kept = both(1 - passive.bpcer, 1 - active.bpcer)
    assert bpcer.least - near <= 1 - kept <= bpcer.most + near
    for span in (bpcer, apcer):
        assert span.least - near <= span.independent <= span.most + near


@pytest.mark.parametrize(
    ("policy", "bpcer", "apcer"),
    [
        (Policy.OFF, 0, 1),
        (Policy.PASSIVE, 0.05, 0.02),
        (Policy.ACTIVE, 0.01, 0.1),
        (Policy.PASSIVE_AND_ACTIVE, 0.0595, 0.002),
    ],
)
def test_independent_parts_multiply(policy, bpcer, apcer):
    """Checked by a thousand times a thousand coins: see the numbers of the last row."""
    refused, passed = combined(policy, Rates(0.05, 0.02), Rates(0.01, 0.1))
    assert refused.independent == pytest.approx(bpcer)
    assert passed.independent == pytest.approx(apcer)


def test_rates_outside_of_zero_to_one_are_no_rates():
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        Rates(0.1, 1.5)


# Five failures in three minutes, and a subject waits


class Clock:
    """Time as a test tells it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attempts(clock) -> Attempts:
    return Attempts(clock=clock)


def fail(attempts: Attempts, subject: str = "Ada", times: int = 1) -> None:
    for _ in range(times):
        with attempts.attempt(subject) as attempt:
            attempt.failed()


def test_after_five_failures_the_sixth_try_waits(attempts, clock):
    fail(attempts, times=4)
    assert attempts.seconds_left("Ada") == 0
    fail(attempts)
    assert attempts.seconds_left("Ada") == 180
    clock.now += 60.5
    with pytest.raises(TooManyAttempts, match="again in 120 seconds") as refused:
        fail(attempts)
    assert (refused.value.code, refused.value.seconds) == ("too_many_attempts", 119.5)
    with pytest.raises(TooManyAttempts):
        attempts.check("Ada")
    clock.now += 119.5
    attempts.check("Ada")
    fail(attempts, times=4)
    assert attempts.seconds_left("Ada") == 0


def test_a_try_while_waiting_does_not_make_it_longer(attempts, clock):
    fail(attempts, times=5)
    clock.now += 100
    for _ in range(20):
        with pytest.raises(TooManyAttempts):
            fail(attempts)
    assert attempts.seconds_left("Ada") == 80


def test_failures_further_apart_than_three_minutes_are_borne(attempts, clock):
    for _ in range(50):
        fail(attempts)
        clock.now += 46  # four within any three minutes
    assert attempts.seconds_left("Ada") == 0
    fail(attempts)
    clock.now += 1
    fail(attempts)
    assert attempts.seconds_left("Ada") > 0


def test_one_who_waits_does_not_keep_another_waiting(attempts):
    fail(attempts, "Ada", 5)
    fail(attempts, "Bob", 4)
    assert attempts.seconds_left("Bob") == 0
    assert attempts.seconds_left("Ada") > 0


def test_a_success_forgets_the_failures(attempts):
    fail(attempts, times=4)
    with attempts.attempt("Ada") as attempt:
        attempt.succeeded()
    fail(attempts, times=4)
    attempts.check("Ada")


def broken(attempt: Attempt) -> None:
    attempt.failed()
    raise ZeroDivisionError


def test_what_told_nothing_counts_for_nothing(attempts):
    for _ in range(20):
        with attempts.attempt("Ada"):
            pass
        with pytest.raises(ZeroDivisionError), attempts.attempt("Ada") as attempt:
            broken(attempt)
    fail(attempts, times=4)
    attempts.check("Ada")


def test_a_failure_that_ends_after_somebody_succeeded_is_still_one(attempts):
    with attempts.attempt("Ada") as slow:
        with attempts.attempt("Ada") as attempt:
            attempt.succeeded()
        slow.failed()
    fail(attempts, times=4)
    assert attempts.seconds_left("Ada") == 180


def test_a_hundred_tries_at_once_are_five(attempts):
    """All begin before any of them ends: who counts only at the end lets all hundred through."""
    gate, through = threading.Barrier(100), []

    def attack(_: int) -> None:
        gate.wait(10)
        try:
            with attempts.attempt("Ada") as attempt:
                through.append(1)
                while len(through) < 5:
                    pass
                attempt.failed()
        except TooManyAttempts:
            pass

    with ThreadPoolExecutor(100) as pool:
        list(pool.map(attack, range(100)))
    assert len(through) == 5


def test_the_limits_are_a_choice(clock):
    strict = Attempts(AttemptLimits(failures=2, within=10, wait=600), clock=clock)
    fail(strict, times=2)
    assert strict.seconds_left("Ada") == 600
    for wrong in ({"failures": 0}, {"within": 0}, {"wait": float("inf")}):
        with pytest.raises(ValueError, match="failures must be"):
            AttemptLimits(**wrong)


def test_a_store_can_outlive_the_keeper(clock):
    """What a registry will do: two processes, one record."""
    kept = AttemptMemory()
    one, two = Attempts(store=kept, clock=clock), Attempts(store=kept, clock=clock)
    fail(one, times=3)
    fail(two, times=2)
    assert one.seconds_left("Ada") == two.seconds_left("Ada") == 180


def test_names_that_nobody_has_do_not_fill_the_memory(clock):
    kept = AttemptMemory(most=10)
    attempts = Attempts(store=kept, clock=clock)
    for i in range(1000):
        fail(attempts, f"nobody {i}")
    assert len(kept) == 10
    for i in range(1000):
        attempts.seconds_left(f"only asked {i}")
    assert len(kept) == 10


def test_what_is_over_leaves_nothing_behind(attempts, clock):
    kept = AttemptMemory()
    attempts = Attempts(store=kept, clock=clock)
    fail(attempts, times=5)
    assert len(kept) == 1
    clock.now += 181
    attempts.check("Ada")
    assert len(kept) == 0
    assert kept.change("Ada", lambda old: old) == Record()


# The engine joins the two, and never lets liveness make somebody of anybody


@pytest.fixture(scope="module")
def bright(tmp_path_factory) -> ModelStore:
    base = tmp_path_factory.mktemp("bright")
    store = ModelStore(base / "cache", base / "data")
    add_bright(store, base)
    return store


@pytest.fixture
def door(bright, photographs, tmp_path):
    """Two men enrolled; the stand-in judges liveness."""
    config = EngineConfig(store=bright, liveness="bright", cores=Cores(1))
    with Engine.open(tmp_path / "people.db", config) as engine:
        engine.enroll("Obama", [photographs["obama.jpg"]])
        engine.enroll("Biden", [photographs["biden.jpg"]])
        yield engine


def test_the_right_face_and_live(door, photographs):
    decision = door.verify(photographs["obama2.jpg"], "Obama", live=Policy.PASSIVE)
    assert decision.accepted
    assert decision.matched
    seen = decision.liveness
    assert (seen.policy, seen.satisfied, seen.active) == ("passive", True, None)
    assert (seen.bpcer, seen.apcer) == (0.01, 0.02)
    assert seen.passive.live
    assert seen.passive.threshold == THRESHOLD
    assert seen.passive.model == "bright"
    assert any("passive liveness: live" in reason for reason in decision.reasons)


def test_the_right_face_on_paper_is_recognised_and_not_accepted(door, photographs, tmp_path):
    dark = darkened(photographs["obama2.jpg"], tmp_path)
    plain = door.verify(dark, "Obama")
    assert plain.accepted
    assert plain.liveness is None
    decision = door.verify(dark, "Obama", live=Policy.PASSIVE)
    assert not decision.accepted
    assert decision.matched
    assert decision.distance == plain.distance
    assert decision.liveness.passive.live is False
    assert decision.reasons[0] == "not accepted: the policy passive is not satisfied"


def test_a_live_stranger_stays_a_stranger(door, photographs):
    decision = door.verify(photographs["biden.jpg"], "Obama", live=Policy.PASSIVE)
    assert not decision.accepted
    assert not decision.matched
    assert decision.liveness.satisfied


def test_an_engine_can_have_a_policy_of_its_own(bright, photographs, tmp_path):
    dark = darkened(photographs["obama2.jpg"], tmp_path)
    config = EngineConfig(store=bright, liveness="bright", cores=Cores(1), live=Policy.PASSIVE)
    with Engine.open(tmp_path / "people.db", config) as engine:
        engine.enroll("Obama", [photographs["obama.jpg"]])
        assert not engine.verify(dark, "Obama").accepted
        assert engine.verify(dark, "Obama", live=Policy.OFF).accepted
        assert engine.identify(dark).faces[0].person is None
        with pytest.raises(ValueError, match="pasive"):
            engine.verify(dark, "Obama", live="pasive")


def test_who_it_is_in_a_picture_and_on_paper(door, photographs, tmp_path):
    (face,) = door.identify(photographs["obama2.jpg"], live=Policy.PASSIVE).faces
    assert face.person.name == face.matched.name == "Obama"
    assert face.liveness.satisfied
    dark = darkened(photographs["obama2.jpg"], tmp_path)
    (face,) = door.identify(dark, live=Policy.PASSIVE).faces
    assert face.person is None
    assert face.matched.name == "Obama"
    assert not face.liveness.satisfied
    (face,) = door.identify(dark).faces
    assert face.person.name == "Obama"
    assert face.liveness is None
    (face,) = door.identify(photographs["astronaut.png"], live=Policy.PASSIVE).faces
    assert face.person is face.matched is None
    assert face.liveness.satisfied
    empty = np.full((200, 200, 3), 128, np.uint8)
    assert door.identify(empty, live=Policy.PASSIVE).faces == ()


def test_a_challenge_opens_only_for_the_face_that_answered_it(door, photographs):
    def answered(name: str, verdict: Liveness = ANSWERED) -> Answered:
        return Answered(verdict, door.embedding(photographs[name]))

    def verify(policy: Policy, answer: Answered | None):
        return door.verify(photographs["obama2.jpg"], "Obama", live=policy, answered=answer)

    assert verify(Policy.ACTIVE, answered("obama3.jpg")).accepted
    decision = verify(Policy.PASSIVE_AND_ACTIVE, answered("obama3.jpg"))
    assert decision.accepted
    assert decision.liveness.bpcer == pytest.approx(0.02)
    other = verify(Policy.ACTIVE, answered("biden.jpg"))
    assert not other.accepted
    assert any("another face" in reason for reason in other.reasons)
    assert not verify(Policy.ACTIVE, answered("obama3.jpg", FAKE)).accepted
    none = verify(Policy.ACTIVE, None)
    assert not none.accepted
    assert any("none was given" in reason for reason in none.reasons)
    (face,) = door.identify(
        photographs["obama2.jpg"], live=Policy.ACTIVE, answered=answered("biden.jpg")
    ).faces
    assert face.person is None
    foreign = Answered(ANSWERED, Embedding(np.ones(128, np.float32), EncoderId("other")))
    with pytest.raises(EncoderMismatch, match="another encoder"):
        verify(Policy.ACTIVE, foreign)


def verdict(portrait, failure: Failure | None = None) -> Verdict:
    """What a session would have said."""
    return Verdict(failure is None, failure, (), (), 0.1, 0.9, 100, 9, 12.0, portrait)


def test_a_sessions_verdict_is_bound_to_its_face(door, photographs):
    seen = door.sight.subject(door.read(photographs["obama3.jpg"]))
    portrait = (seen.image, seen.crop.face)
    answered = door.answered(verdict(portrait))
    assert answered.liveness == Liveness(True, model="challenge")
    assert squared(answered.embedding.vector, door.embedding(photographs["obama3.jpg"]).vector) == 0

    def verify(answer: Answered, name: str = "Obama"):
        return door.verify(photographs["obama2.jpg"], name, live=Policy.ACTIVE, answered=answer)

    assert verify(answered).accepted
    assert verify(door.answered(verdict(portrait, Failure.CUT))).liveness.active.live is False
    assert verify(door.answered(verdict(None, Failure.NO_FACE))).liveness.active.live is None
    faceless = verify(door.answered(verdict(None)))
    assert not faceless.accepted
    assert faceless.liveness.active.live is False


def test_a_challenge_answered_before_the_engine_opens_the_door(door, photographs):
    """From the challenge to the decision: a head that turns, and who it is."""
    seen = door.sight.subject(door.read(photographs["astronaut.png"]))
    actor = Actor(seen.image.pixels, seen.crop.face.landmarks)
    door.enroll("Eileen", [photographs["astronaut.png"]])
    performer = Performer(actor, np.random.default_rng(0))
    session = door.session(issue(config=ChallengeConfig(steps=2)))
    verdict = verify_frames(session, performer.frames(), performer.hear)
    assert verdict.passed, verdict.reasons
    image, _ = verdict.portrait
    answered = door.answered(verdict)
    assert door.verify(image.pixels, "Eileen", live=Policy.ACTIVE, answered=answered).accepted
    other = door.verify(photographs["obama2.jpg"], "Obama", live=Policy.ACTIVE, answered=answered)
    assert other.matched
    assert not other.accepted


def test_a_still_photograph_answers_no_challenge(door, photographs):
    session = door.session(issue())
    pixels = open_image(photographs["astronaut.png"]).pixels
    for i in range(400):
        if session.update(pixels, i / 10).finished:
            break
    found = door.answered(session.verdict())
    assert found.liveness.live is False
    assert found.embedding is not None


def test_five_fakes_and_the_door_waits(door, photographs, tmp_path, clock):
    door.alive.attempts = Attempts(clock=clock)
    dark = darkened(photographs["obama2.jpg"], tmp_path)
    good = photographs["obama2.jpg"]
    for photograph in [dark, dark, photographs["biden.jpg"], dark]:
        assert not door.verify(photograph, "Obama", live=Policy.PASSIVE).accepted
    assert not door.identify(dark, live=Policy.PASSIVE).faces[0].liveness.satisfied
    with pytest.raises(TooManyAttempts, match="Obama: 5 failures") as wait:
        door.verify(good, "Obama", live=Policy.PASSIVE)
    assert wait.value.seconds == 180
    (face,) = door.identify(good, live=Policy.PASSIVE).faces
    assert face.person is None
    assert "180 seconds" in face.liveness.reasons[-1]
    assert door.verify(photographs["biden.jpg"], "Biden", live=Policy.PASSIVE).accepted
    clock.now += 181
    assert door.verify(good, "Obama", live=Policy.PASSIVE).accepted


def test_no_policy_no_waiting(door, photographs):
    for _ in range(8):
        assert not door.verify(photographs["biden.jpg"], "Obama").accepted


def test_what_cannot_be_told_is_no_failure(door, photographs, clock):
    """A picture without colour opens nothing, and locks nobody out either."""
    door.alive.attempts = Attempts(clock=clock)
    grey = open_image(photographs["obama2.jpg"]).pixels.mean(axis=2).astype(np.uint8)
    for _ in range(7):
        decision = door.verify(grey, "Obama", live=Policy.PASSIVE)
        assert decision.matched
        assert not decision.accepted
        assert decision.liveness.passive.live is None
        assert "colour" in decision.liveness.passive.reasons[0]
        assert door.identify(grey, live=Policy.PASSIVE).faces[0].person is None
    assert door.verify(photographs["obama2.jpg"], "Obama", live=Policy.PASSIVE).accepted


# Liveness alone


def test_no_face_is_an_answer(door):
    seen = door.liveness(np.full((300, 300, 3), 128, np.uint8))
    assert (seen.live, seen.score) == (None, None)
    assert "no face" in seen.reasons[0]


def test_several_faces_are_an_answer(door, photographs):
    one = open_image(photographs["astronaut.png"]).pixels
    seen = door.liveness(np.concatenate([one, one], axis=1))
    assert seen.live is None
    assert "2 faces" in seen.reasons[0]


def test_frames_are_one_presentation(door, photographs, tmp_path):
    good, dark = photographs["obama2.jpg"], darkened(photographs["obama2.jpg"], tmp_path)
    alone, worse = door.liveness(good), door.liveness(dark)
    assert alone.live
    assert worse.live is False
    both = door.liveness_of([good, dark])
    assert worse.score < both.score < alone.score
    small = open_image(good).pixels[::2, ::2]
    assert door.liveness_of([good, np.ascontiguousarray(small)]).live


def test_a_face_that_shows_in_few_frames_is_not_told(door, photographs):
    empty = np.full((300, 300, 3), 128, np.uint8)
    good = photographs["obama2.jpg"]
    assert door.liveness_of([good, empty]).live
    seen = door.liveness_of([good, empty, empty])
    assert seen.live is None
    assert "only 1 of 3" in seen.reasons[0]
    assert door.liveness_of([]).live is None


@given(st.integers(0, 500), st.integers(1, 20).map(lambda half: 2 * half))
def test_frames_are_taken_evenly_from_a_stream(length, most):
    taken = spread(iter(range(length)), most)
    assert len(taken) <= most
    assert len(taken) > most // 2 or len(taken) == length
    gaps = {b - a for a, b in itertools.pairwise(taken)}
    assert len(gaps) <= 1
    assert taken[:1] == [0][:length]
    if length:
        assert length - taken[-1] <= max(gaps, default=1)


def test_no_more_frames_are_held_than_are_judged(door, photographs, monkeypatch):
    judged = []
    monkeypatch.setattr(
        type(door.alive.passive), "judge_many", lambda _, shots: judged.append(len(shots)) or LIVE
    )
    pixels = open_image(photographs["astronaut.png"]).pixels
    door.liveness_of(pixels for _ in range(40))
    assert 0 < judged[0] <= MOST_FRAMES


def test_the_network_is_opened_when_it_is_asked_for(bright, photographs, tmp_path):
    config = EngineConfig(store=bright, liveness="nobody", cores=Cores(1))
    with Engine.open(tmp_path / "people.db", config) as engine:
        engine.enroll("Obama", [photographs["obama.jpg"]])
        assert engine.verify(photographs["obama2.jpg"], "Obama").accepted
        with pytest.raises(ModelUnknown, match="nobody"):
            engine.liveness(photographs["obama2.jpg"])
        with pytest.raises(ModelUnknown):
            engine.verify(photographs["obama2.jpg"], "Obama", live=Policy.PASSIVE)
