"""A wrong label, a photograph that is there twice and a damaged image are found, and no others.

The encoder of these tests reads an angle off a crop's grey: d between two images is 2 - 2 cos of
the degrees between them, which is done by head.
"""

from __future__ import annotations

import numpy as np
import pytest
from packs import flat, written

from visavis.train import inspect as inspect_module
from visavis.train.inspect import Judge, histogram, inspect
from visavis.train.layout import shard_path


def by_grey(crops):
    """One degree a grey level, on a circle."""
    angles = np.radians(np.rint(crops.reshape(len(crops), -1).mean(axis=1)))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def d(degrees):
    return 2 - 2 * np.cos(np.radians(degrees))


JUDGE = Judge(by_grey, "by grey", tau=d(15.5), unlike=d(60.5), twin=d(1.5))

CLEAN = {"Ada": [10, 16, 22], "Bob": [80, 86, 92], "Cyd": [150, 156], "Dee": [220]}


def inspected(path, people, judge=JUDGE, **how):
    return inspect(
        written(path, {n: [flat(g) for g in gs] for n, gs in people.items()}), judge, **how
    )


def test_a_clean_pack_is_found_clean(tmp_path):
    found = inspected(tmp_path / "pack", CLEAN)
    assert (found.twins, found.mislabelled, found.unlike, found.damaged) == ((), (), (), ())
    assert found.index_whole


def test_a_swapped_label_is_found_and_whose_it_is(tmp_path):
    people = {**CLEAN, "Ada": [10, 16, 22, 83]}  # 3 degrees from Bob's nearest, 61 from Ada's
    found = inspected(tmp_path / "pack", people)
    (wrong,) = found.mislabelled
    assert (wrong.source, wrong.person, wrong.who) == ("Ada/3.jpg", "Ada", "Bob")
    assert wrong.near in {"Bob/0.jpg", "Bob/1.jpg"}
    assert wrong.own == pytest.approx(d(61), abs=1e-5)
    assert wrong.other == pytest.approx(d(3), abs=1e-5)
    assert found.unlike == ()


def test_two_that_were_swapped_with_each_other_are_both_found(tmp_path):
    people = {**CLEAN, "Ada": [10, 16, 22, 89], "Bob": [80, 86, 92, 19]}
    found = inspected(tmp_path / "pack", people)
    assert [(s.source, s.who) for s in found.mislabelled] == [
        ("Ada/3.jpg", "Bob"),
        ("Bob/3.jpg", "Ada"),
    ]


def test_an_image_of_nobody_here_is_unlike_its_person(tmp_path):
    found = inspected(tmp_path / "pack", {**CLEAN, "Ada": [10, 16, 22, 185]})
    assert found.mislabelled == ()
    (odd,) = found.unlike
    assert (odd.source, odd.own) == ("Ada/3.jpg", pytest.approx(d(163), abs=1e-5))


def test_one_person_under_two_names_is_found(tmp_path):
    found = inspected(tmp_path / "pack", {**CLEAN, "Deirdre": [226]})
    assert [(s.person, s.own, s.who) for s in found.mislabelled] == [
        ("Dee", None, "Deirdre"),
        ("Deirdre", None, "Dee"),
    ]


def test_a_photograph_that_is_there_twice_is_found_of_one_person_and_of_two(tmp_path):
    people = {**CLEAN, "Ada": [10, 16, 22, 17], "Dee": [220, 92]}
    found = inspected(tmp_path / "pack", people)
    pairs = {(t.a, t.b): t for t in found.twins}
    assert set(pairs) == {("Ada/1.jpg", "Ada/3.jpg"), ("Bob/2.jpg", "Dee/1.jpg")}
    assert pairs["Ada/1.jpg", "Ada/3.jpg"].same_person
    assert pairs["Ada/1.jpg", "Ada/3.jpg"].distance == pytest.approx(d(1), abs=1e-5)
    across = pairs["Bob/2.jpg", "Dee/1.jpg"]
    assert not across.same_person
    assert across.distance == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("block", [1, 2, 3, 1024])
@pytest.mark.parametrize("workers", [1, 3])
def test_blocks_and_workers_change_nothing(tmp_path, monkeypatch, block, workers):
    rng = np.random.default_rng(0)
    people = {f"p{n:02d}": rng.integers(0, 256, 1 + n % 4).tolist() for n in range(12)}
    whole = inspected(tmp_path / "1", people)
    monkeypatch.setattr(inspect_module, "_BLOCK", block)
    monkeypatch.setattr(inspect_module, "_TOGETHER", 5)
    judge = Judge(by_grey, "by grey", JUDGE.tau, JUDGE.unlike, JUDGE.twin, workers)
    cut = inspected(tmp_path / "2", people, judge)
    assert {(t.a, t.b) for t in cut.twins} == {(t.a, t.b) for t in whole.twins}
    assert [s.source for s in cut.mislabelled] == [s.source for s in whole.mislabelled]
    assert [s.source for s in cut.unlike] == [s.source for s in whole.unlike]


def test_two_wrong_images_do_not_vouch_for_each_other(tmp_path):
    found = inspected(tmp_path / "pack", {**CLEAN, "Ada": [10, 16, 22, 82, 84]})
    assert [(s.source, s.who) for s in found.mislabelled] == [
        ("Ada/3.jpg", "Bob"),
        ("Ada/4.jpg", "Bob"),
    ]


def test_all_against_all_is_the_judge(tmp_path):
    """Votes, leave-one-out, by the plainest loop there is."""
    rng = np.random.default_rng(1)
    greys = {f"p{n:02d}": (17 * n + rng.integers(0, 8, 1 + n % 5)).tolist() for n in range(15)}
    for name in ("p03", "p09", "p14"):
        greys[name] += rng.integers(0, 250, 2).tolist()
    found = inspected(tmp_path / "pack", greys)
    images = [(f"{n}/{i}.jpg", n, g) for n, those in greys.items() for i, g in enumerate(those)]
    wrong, unlike = set(), set()
    for source, name, grey in images:
        own = [d(grey - g) for s, n, g in images if n == name and s != source]
        other, who = min((d(grey - g), n) for s, n, g in images if n != name)
        theirs = [d(grey - g) for s, n, g in images if n == who]
        votes = [sum(each <= JUDGE.tau for each in those) for those in (own, theirs)]
        if d(1.5) < other <= JUDGE.tau and votes[1] > votes[0]:
            wrong.add(source)
        elif own and min(own) > d(60.5):
            unlike.add(source)
    assert {s.source for s in found.mislabelled} == wrong
    assert {s.source for s in found.unlike} == unlike
    assert len(wrong) > 2


def test_a_damaged_image_is_named_and_the_rest_is_judged(tmp_path):
    pack = written(tmp_path / "pack", {n: [flat(g) for g in gs] for n, gs in CLEAN.items()})
    data = bytearray(shard_path(pack.path, 0).read_bytes())
    data[int(pack._rows["offset"][4]) + 30] ^= 0xFF
    shard_path(pack.path, 0).write_bytes(data)
    for judge in (None, JUDGE):
        found = inspect(pack, judge)
        assert [(each.row, each.source) for each in found.damaged] == [(4, "Bob/1.jpg")]
    assert found.mislabelled == ()


def test_fast_reads_no_image(tmp_path):
    pack = written(tmp_path / "pack", {n: [flat(g) for g in gs] for n, gs in CLEAN.items()})
    shard_path(pack.path, 0).unlink()
    found = inspect(pack, fast=True)
    assert found.damaged is None
    assert dict(found.histogram)[1] == 1
    assert dict(found.histogram)[2] == 1
    assert dict(found.histogram)[3] == 2


def test_the_histogram_counts_everybody_once():
    counts = [1, 1, 2, 4, 5, 9, 10, 499, 500, 9000]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    assert histogram(offsets) == (
        (1, 2), (2, 1), (3, 1), (5, 2), (10, 1), (20, 0), (50, 0), (100, 1), (500, 2),
    )  # fmt: skip


def test_progress_reaches_the_end(tmp_path):
    steps = []
    inspected(tmp_path / "pack", CLEAN, told=lambda *at: steps.append(at))
    assert steps[-1] == (9, 9)
