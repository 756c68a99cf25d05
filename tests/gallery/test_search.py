"""The exact searcher against geometry, and against brute force in float64."""

import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visavis.errors import TemplateRefused
from visavis.gallery import Changes, ExactSearcher

from .given import ENCODER, at_angle, some_vector


def news(vectors, owners, *, since=0, removed=(), names=None):
    """Changes that add vectors of the given owners under the names t<n>."""
    sequence = since + len(vectors) + len(removed)
    names = names or tuple(f"t{since + n}" for n in range(len(vectors)))
    matrix = np.array(vectors, np.float32) if len(vectors) else np.empty((0, 0), np.float32)
    full, owners, removed = since == 0, tuple(owners), tuple(removed)
    mark = f"entry {sequence}"
    return Changes(since, sequence, mark, full, False, ENCODER, names, owners, matrix, removed)


def searcher_of(vectors, owners):
    searcher = ExactSearcher()
    searcher.update(news(vectors, owners))
    return searcher


@pytest.mark.parametrize(("degrees", "d"), [(0, 0), (60, 1), (90, 2), (180, 4)])
def test_distance_follows_the_angle(degrees, d):
    ((hit,),) = searcher_of([at_angle(degrees)], ["ada"]).nearest(at_angle(0)[None], 1)
    assert hit.distance == pytest.approx(d, abs=1e-6)
    assert 0 <= hit.distance <= 4


def test_the_same_vector_is_at_distance_zero_exactly():
    vectors = [some_vector(n, 512) for n in range(20)]
    searcher = searcher_of(vectors, map(str, range(20)))
    for n, hits in enumerate(searcher.nearest(np.array(vectors), 1)):
        assert (hits[0].person, hits[0].distance) == (str(n), 0.0)


def test_tiny_distances_do_not_drown_in_rounding():
    # 2 - 2 cos in float32 would give 0 or 1.2e-7 for all of these.
    small = [1e-5, 2e-5, 4e-5]
    vectors = [np.array([1, x, 0, 0], np.float32) for x in small]
    hits = searcher_of(vectors[::-1], ["c", "b", "a"]).nearest(at_angle(0)[None], 3)[0]
    assert [hit.person for hit in hits] == ["a", "b", "c"]
    assert [hit.distance for hit in hits] == pytest.approx([x * x for x in small], rel=1e-6)


def test_a_person_is_as_near_as_their_nearest_template():
    # Ada has far more templates near the probe than the two people asked for.
    angles = [10 + n / 100 for n in range(500)] + [40, 90]
    searcher = searcher_of([at_angle(a) for a in angles], ["ada"] * 500 + ["bob", "eve"])
    first, second, third = searcher.nearest(at_angle(0)[None], 3)[0]
    assert (first.person, first.template, second.person, third.person) == (
        "ada",
        "t0",
        "bob",
        "eve",
    )
    assert first.distance == pytest.approx(2 - 2 * math.cos(math.radians(10)), abs=1e-6)
    assert searcher.people == 3
    assert len(searcher) == 502


def test_whoever_was_removed_is_not_found_and_their_numbers_are_gone():
    secret = some_vector(1, 16)
    searcher = searcher_of([secret, some_vector(2, 16), some_vector(3, 16)], ["ada", "bob", "eve"])
    searcher.update(news([], [], since=3, removed=["t0", "never seen"]))
    hits = searcher.nearest(secret[None], 5)[0]
    assert {hit.person for hit in hits} == {"bob", "eve"}
    (block,) = searcher._shelf._blocks
    assert secret.tobytes() not in block.rows.tobytes()
    assert np.array_equal(np.flatnonzero(block.codes.any(axis=1)), [1, 2])


def test_an_empty_searcher_finds_nobody():
    assert ExactSearcher().nearest(at_angle(0)[None], 3) == [[]]
    emptied = searcher_of([at_angle(0)], ["ada"])
    emptied.update(news([], [], since=1, removed=["t0"]))
    assert emptied.nearest(np.array([at_angle(0)] * 2), 3) == [[], []]
    assert emptied.people == len(emptied) == 0
    emptied.update(news([some_vector(1, 64)], ["bob"], since=2))
    assert emptied.nearest(some_vector(1, 64)[None], 1)[0][0].person == "bob"


def test_what_cannot_be_compared_is_refused():
    searcher = searcher_of([at_angle(0)], ["ada"])
    with pytest.raises(TemplateRefused, match="8 numbers"):
        searcher.nearest(some_vector(1, 8)[None], 1)
    with pytest.raises(TemplateRefused, match="unit"):
        searcher.nearest(np.full((1, 4), np.nan, np.float32), 1)
    with pytest.raises(TemplateRefused, match="rows"):
        searcher.nearest(at_angle(0), 1)
    with pytest.raises(ValueError, match="k is 0"):
        searcher.nearest(at_angle(0)[None], 0)


def test_changes_may_come_twice_but_not_with_a_gap():
    searcher = ExactSearcher()
    first = news([at_angle(0), at_angle(90)], ["ada", "bob"])
    searcher.update(first)
    searcher.update(first)
    assert (len(searcher), searcher.sequence) == (2, 2)
    with pytest.raises(ValueError, match="do not follow 2"):
        searcher.update(news([at_angle(45)], ["eve"], since=3))
    # Two threads asked at different moments: what both were told is taken once.
    late = news([at_angle(90), at_angle(45)], ["bob", "eve"], since=1, names=("t1", "t2"))
    searcher.update(late)
    assert (len(searcher), searcher.people, searcher.sequence) == (3, 3, 3)
    searcher.update(first)  # a first load that comes late
    assert (len(searcher), searcher.sequence) == (3, 3)


def test_a_gallery_put_back_from_a_backup_replaces_everything():
    searcher = searcher_of([at_angle(0), at_angle(90)], ["ada", "bob"])
    past = Changes(2, 1, "other", True, False, ENCODER, ("x",), ("eve",), at_angle(45)[None], ())
    searcher.update(past)
    assert (len(searcher), searcher.sequence) == (1, 1)
    assert searcher.nearest(at_angle(0)[None], 2)[0][0].person == "eve"


def brute_force(vectors, owners, probe):
    """Distance of every person's nearest template, in float64."""
    distances = ((vectors.astype(np.float64) - probe.astype(np.float64)) ** 2).sum(axis=1)
    nearest = {}
    for owner, distance in zip(owners, distances, strict=True):
        nearest[owner] = min(distance, nearest.get(owner, 5))
    return nearest


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 400),
    people=st.integers(1, 60),
    length=st.sampled_from([2, 3, 16, 128, 512]),
    k=st.integers(1, 80),
    spread=st.sampled_from([1e-7, 1e-4, 0.1, 10.0]),
)
def test_it_finds_what_brute_force_finds(*, seed, count, people, length, k, spread):
    """Also among near-duplicates, where float32 cosines cannot tell who is nearer."""
    rng = np.random.default_rng(seed)

    def around(centre, n):
        rows = centre + spread * rng.normal(size=(n, length))
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    centre = rng.normal(size=length)
    centre /= np.linalg.norm(centre)
    vectors, probes = around(centre, count), around(centre, 3)
    owners = [f"p{n}" for n in rng.integers(people, size=count)]
    searcher = searcher_of(vectors, owners)
    gone = set(rng.choice(count, size=count // 3, replace=False).tolist())
    searcher.update(news([], [], since=count, removed=[f"t{n}" for n in gone]))
    stay = [n for n in range(count) if n not in gone]
    owners = [owners[n] for n in stay]
    for probe, hits in zip(probes, searcher.nearest(probes, k), strict=True):
        truth = brute_force(vectors[stay], owners, probe)
        assert len(hits) == len({hit.person for hit in hits}) == min(k, len(truth))
        # float32 rows are of length 1 up to 2**-22, and so is the probe
        near = {"rel": 1e-6, "abs": 1e-13}
        assert [hit.distance for hit in hits] == pytest.approx(
            sorted(truth.values())[: len(hits)], **near
        )
        for hit in hits:
            assert hit.distance == pytest.approx(truth[hit.person], **near)
            assert owners[stay.index(int(hit.template[1:]))] == hit.person


def test_it_may_be_searched_while_it_changes():
    """Ada is there all the time; every search finds her, whatever else comes and goes."""
    ada = some_vector(1, 64)
    searcher = searcher_of([ada], ["ada"])
    faults = []

    def search():
        while not over.is_set():
            hit = searcher.nearest(ada[None], 2)[0][0]
            if (hit.person, hit.distance) != ("ada", 0.0):
                faults.append(hit)

    over = threading.Event()
    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for round_ in range(1, 150):
        since = searcher.sequence
        others = [some_vector(1000 * round_ + n, 64) for n in range(5)]
        searcher.update(news(others, ["x"] * 5, since=since))
        drop = [f"t{since + n}" for n in range(4)]
        searcher.update(news([], [], since=since + 5, removed=drop))
    over.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(searcher) == 150
