"""A challenge cannot be foreseen, altered, answered twice or answered late."""

from __future__ import annotations

import base64
import itertools
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visavis.errors import ChallengeRefused
from visavis.liveness.challenge import (
    Action,
    Challenge,
    ChallengeBook,
    ChallengeConfig,
    SpentHere,
    Step,
    again,
    issue,
    orders,
    seal,
    unseal,
)

KEY = b"sixteen bytes or more"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# Orders


@pytest.mark.parametrize(("steps", "count"), [(2, 2), (3, 14), (4, 56), (5, 168)])
def test_as_many_orders_as_the_documents_say(steps, count):
    """14 by hand: LRL, RLR, and six orders each of L and R with one of the other two."""
    assert len(orders(steps)) == len(set(orders(steps))) == count


@pytest.mark.parametrize("steps", [2, 3, 4, 5])
def test_every_order_asks_for_what_a_picture_cannot_do_on_both_sides(steps):
    for order in orders(steps):
        assert {Action.TURN_LEFT, Action.TURN_RIGHT} <= set(order)
        assert order.count(Action.COME_CLOSER) <= 1
        assert all(a != b for a, b in itertools.pairwise(order))


def test_all_orders_are_drawn_about_as_often():
    drawn = Counter(issue(config=ChallengeConfig(steps=3)).actions for _ in range(2800))
    assert set(drawn) == set(orders(3))
    # Expected 200 each, deviation 14: six deviations.
    assert 115 < min(drawn.values()) <= max(drawn.values()) < 285


def test_no_two_challenges_share_a_nonce_or_their_waits():
    many = [issue(now=0) for _ in range(200)]
    assert len({c.nonce for c in many}) == 200
    waits = [[w for step in c.steps for w in (step.pause, step.hold)] for c in many]
    assert len({tuple(each) for each in waits}) > 190
    config = ChallengeConfig()
    for each in waits:
        long = [config.long[0] <= w <= config.long[1] for w in each]
        short = [config.short[0] <= w <= config.short[1] for w in each]
        assert (sum(long), sum(short)) == (2, 6)


def test_the_long_waits_may_be_anywhere():
    """28 places for two of eight."""
    places = Counter(
        tuple(i for i, wait in enumerate(waits) if wait > 2)
        for c in (issue(now=0) for _ in range(2800))
        for waits in [[w for step in c.steps for w in (step.pause, step.hold)]]
    )
    assert len(places) == 28
    # Expected 100 each, deviation 10: six deviations.
    assert 40 < min(places.values()) <= max(places.values()) < 160


def test_what_is_asked_again_is_the_same_after_a_long_wait_drawn_anew():
    step, config = Step(Action.LOOK_UP, 0.5, 0.5), ChallengeConfig()
    many = [again(step) for _ in range(100)]
    assert {each.action for each in many} == {Action.LOOK_UP}
    assert all(config.long[0] <= each.pause <= config.long[1] for each in many)
    assert all(config.short[0] <= each.hold <= config.short[1] for each in many)
    assert len({(each.pause, each.hold) for each in many}) > 90


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 1},
        {"steps": 9},
        {"short": (2, 1)},
        {"short": (-1, 1)},
        {"short": (1, 5)},
        {"long": (4, float("inf"))},
        {"long": (4, float("nan"))},
        {"longs": 9},
        {"longs": -1},
        {"lifetime": 0},
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=r"steps|waits|lifetime"):
        ChallengeConfig(**wrong)


# As JSON


def test_json_gives_the_challenge_back():
    challenge = issue("door 3, Ada")
    assert Challenge.from_json(json.loads(json.dumps(challenge.as_json()))) == challenge


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 1},
        {"steps": []},
        {"steps": [{"action": "stand-on-head", "pause": 1, "hold": 1}]},
        {"steps": [{"action": "turn-left", "pause": 1}]},
        {"steps": [{"action": "turn-left", "pause": "nan", "hold": 1}]},
        {"steps": [{"action": "turn-left", "pause": 1, "hold": "inf"}]},
        {"steps": [{"action": "turn-left", "pause": 1, "hold": 1}] * 9},
        {"steps": 7},
        {"expires": None},
        {"expires": "inf"},
        {"nonce": ""},
    ],
)
def test_json_that_is_no_challenge_is_refused(change):
    with pytest.raises(ChallengeRefused):
        Challenge.from_json(issue().as_json() | change)


@pytest.mark.parametrize("other", [None, [], "x", {}, {"schema": 2}])
def test_what_is_no_object_is_refused(other):
    with pytest.raises(ChallengeRefused):
        Challenge.from_json(other)


# Carried by the client


def test_a_token_is_good_once():
    challenge, spent = issue("s"), SpentHere()
    token = seal(challenge, KEY)
    assert unseal(token, KEY, spent, "s") == challenge
    with pytest.raises(ChallengeRefused, match="answered before"):
        unseal(token, KEY, spent, "s")


def test_a_token_of_another_key_session_or_time_is_refused():
    challenge = issue("s", now=1000)
    token = seal(challenge, KEY)
    with pytest.raises(ChallengeRefused, match="not issued here"):
        unseal(token, KEY + b"!", SpentHere(), "s", now=1001)
    with pytest.raises(ChallengeRefused, match="another session"):
        unseal(token, KEY, SpentHere(), "t", now=1001)
    with pytest.raises(ChallengeRefused, match="expired"):
        unseal(token, KEY, SpentHere(), "s", now=1091)


def test_a_refused_token_is_not_spent_by_a_stranger():
    spent, token = SpentHere(), seal(issue("s"), KEY)
    with pytest.raises(ChallengeRefused):
        unseal(token, KEY, spent, "stranger")
    assert unseal(token, KEY, spent, "s").session == "s"


def test_an_order_of_ones_own_choice_is_not_signed():
    challenge = issue()
    easy = replace(challenge, steps=(Step(Action.COME_CLOSER, 0.0),))
    payload = base64.urlsafe_b64encode(json.dumps(easy.as_json()).encode()).decode().rstrip("=")
    forged = payload + "." + seal(challenge, KEY).split(".")[1]
    with pytest.raises(ChallengeRefused, match="altered"):
        unseal(forged, KEY, SpentHere())


@given(st.integers(0, 10_000), st.characters())
def test_no_character_of_a_token_can_be_changed(place, character):
    token = seal(issue(now=0), KEY)
    place %= len(token)
    changed = token[:place] + character + token[place + 1 :]
    if changed == token:
        return
    try:
        got = unseal(changed, KEY, SpentHere(), now=1)
    except ChallengeRefused:
        return
    # The last character of base64 may hold bits that mean nothing.
    assert got == unseal(token, KEY, SpentHere(), now=1)


@given(st.text(max_size=60))
def test_what_is_no_token_is_refused(text):
    with pytest.raises(ChallengeRefused):
        unseal(text, KEY, SpentHere())


def test_a_token_without_end_is_refused_unread():
    with pytest.raises(ChallengeRefused):
        unseal(seal(issue(), KEY) + "A" * 10_000_000, KEY, SpentHere())


def test_a_short_key_is_refused():
    with pytest.raises(ValueError, match="at least 16 bytes"):
        seal(issue(), b"secret")


def test_spent_nonces_are_forgotten_when_they_have_expired():
    clock = Clock()
    spent = SpentHere(clock)
    assert spent.spend("a", 1010)
    assert not spent.spend("a", 1010)
    clock.now = 1011
    assert spent.spend("a", 1020)


# Kept by the server


def test_the_book_gives_a_challenge_out_once():
    book = ChallengeBook()
    challenge = book.issue("s")
    assert book.take(challenge.nonce, "s") == challenge
    with pytest.raises(ChallengeRefused, match="no such challenge"):
        book.take(challenge.nonce, "s")


def test_the_book_gives_it_to_nobody_else_and_not_late():
    clock = Clock()
    book = ChallengeBook(clock=clock)
    with pytest.raises(ChallengeRefused, match="another session"):
        book.take(book.issue("s").nonce, "t")
    late = book.issue("s")
    clock.now += 91
    with pytest.raises(ChallengeRefused, match="expired"):
        book.take(late.nonce, "s")


def test_the_book_does_not_grow_without_end():
    clock = Clock()
    book = ChallengeBook(most=5, clock=clock)
    made = [book.issue() for _ in range(9)]
    assert len(book) == 5
    assert book.take(made[-1].nonce)
    clock.now += 1000
    book.issue()
    assert len(book) == 1


def test_of_many_threads_one_gets_it():
    book = ChallengeBook()
    nonce = book.issue().nonce

    def taken(_: int) -> bool:
        try:
            return bool(book.take(nonce))
        except ChallengeRefused:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(taken, range(64))) == 1
