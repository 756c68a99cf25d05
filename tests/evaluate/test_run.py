"""Whole evaluations: real portraits in small lists, calibration in a made world."""

from __future__ import annotations

import json

import numpy as np
import PIL.Image
import pytest

from visavis.decide import curve_of
from visavis.errors import InputRefused, ProtocolRefused
from visavis.evaluate import run
from visavis.evaluate.degrade import Degradation, Step
from visavis.evaluate.encodings import Encoded
from visavis.evaluate.findings import checked_json, liveness_json
from visavis.evaluate.identification import Search
from visavis.evaluate.listing import Presentation
from visavis.evaluate.run import (
    Job,
    calibrate,
    calibrated_on,
    evaluate_degraded,
    evaluate_identification,
    evaluate_liveness,
    evaluate_verification,
    likelihood_on,
    photographs,
    promises_between,
)

TREE = {
    "obama/1.jpg": "obama.jpg",
    "obama/2.jpg": "obama2.jpg",
    "obama/3.jpg": "obama3.jpg",
    "biden/1.jpg": "biden.jpg",
    "collins/1.jpg": "astronaut.png",
}
PAIRS = """a,b,same,fold
obama/1.jpg,obama/2.jpg,1,0
obama/1.jpg,biden/1.jpg,0,0
obama/2.jpg,obama/3.jpg,1,1
obama/3.jpg,collins/1.jpg,0,1
"""


@pytest.fixture(scope="module")
def tree(photographs, tmp_path_factory):
    """Three people, small."""
    folder = tmp_path_factory.mktemp("run") / "images"
    for name, source in TREE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture = PIL.Image.open(photographs[source]).convert("RGB")
        picture.thumbnail((400, 400))
        picture.save(folder / name, quality=95)
    return folder


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text(PAIRS, "utf-8")
    return path


# Real portraits


def test_a_list_of_real_portraits(engine, tree, pairs):
    job, told = Job(tree, (pairs,)), []
    result = evaluate_verification(engine, job, told.append)
    assert photographs(job) == sum(told) == 5
    assert (result.comparisons.curve.mated, result.comparisons.curve.nonmated) == (2, 2)
    assert (result.eer, result.auc) == (0, 1)
    assert result.accuracy.folds == (1, 1)
    assert result.setting.encoder_id == engine.encoder.id
    assert result.setting.data == "images: pairs.csv"
    assert all(point.kept for point in result.points)
    (d, *names) = result.worst_false_non_matches[0]
    direct = engine.compare(*(tree / name for name in names)).distance
    assert d == pytest.approx(direct, abs=1e-5)


def test_all_against_all_of_real_portraits(engine, tree):
    result = evaluate_verification(engine, Job(tree))
    assert (result.comparisons.curve.mated, result.comparisons.curve.nonmated) == (3, 7)
    assert (result.eer, result.accuracy) == (0, None)
    assert result.setting.data == "images: all photographs against all"


def test_the_second_evaluation_embeds_nothing(engine, tree, tmp_path, monkeypatch):
    job = Job(tree, cache=tmp_path / "cache")
    first = evaluate_verification(engine, job)
    monkeypatch.setattr(engine.sight, "subject", lambda _: pytest.fail("embedded again"))
    second = evaluate_verification(engine, job)
    np.testing.assert_array_equal(first.comparisons.mated.d, second.comparisons.mated.d)


def test_folds_of_several_lists_are_numbered_on(engine, tree, pairs, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text(PAIRS.replace(",0\n", ",7\n"), "utf-8")
    result = evaluate_verification(engine, Job(tree, (pairs, other)))
    assert len(result.accuracy.folds) == 4
    assert result.comparisons.curve.mated == 4


def test_lists_that_contradict_each_other_are_refused(engine, tree, pairs, tmp_path):
    other = tmp_path / "other.csv"
    text = PAIRS.replace("obama/1.jpg,biden/1.jpg,0", "biden/1.jpg,obama/1.jpg,1")
    other.write_text(text, "utf-8")
    with pytest.raises(ProtocolRefused, match="the same in one list and different in another"):
        evaluate_verification(engine, Job(tree, (pairs, other)))


def test_spoilt_photographs_only_get_worse_and_are_counted(engine, tree, pairs):
    steps = [Step(Degradation.JPEG, 90), Step(Degradation.RESOLUTION, 8)]
    told = []
    clean, mild, hard = evaluate_degraded(engine, Job(tree, (pairs,)), steps, told.append)
    assert (clean.step, mild.step, hard.step) == (None, *steps)
    assert (clean.failed, mild.failed, hard.failed) == (0, 0, 4)  # of 8 pixels nobody has a face
    assert {row.photographs for row in (clean, mild, hard)} == {4}  # the second of each pair
    assert clean.accuracy.mean == mild.accuracy.mean == 1
    assert hard.accuracy.mean <= 0.5
    assert sum(told) == 8


def test_degrading_needs_a_list(engine, tree):
    with pytest.raises(ProtocolRefused, match="--pairs"):
        evaluate_degraded(engine, Job(tree), [])


def test_searching_real_portraits(engine, tree, tmp_path):
    for path in tree.rglob("*.jpg"):
        copy = tmp_path / "more" / path.relative_to(tree)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    picture = PIL.Image.open(tree / "biden" / "1.jpg")
    picture.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "more/biden/2.jpg")
    done = evaluate_identification(engine, Job(tmp_path / "more"), Search())
    assert (done.mated, done.strangers, done.sizes[-1].rank1) == (2, 1, 1)
    assert done.failed == {}


def test_missing_photographs_are_refused_before_anything_is_embedded(
    engine, tree, tmp_path, monkeypatch
):
    monkeypatch.setattr(engine.sight, "subject", lambda _: pytest.fail("embedded"))
    path = tmp_path / "pairs.csv"
    path.write_text(PAIRS + "obama/9.jpg,obama/1.jpg,1,1\n", "utf-8")
    with pytest.raises(ProtocolRefused, match=r"obama/9\.jpg"):
        evaluate_verification(engine, Job(tree, (path,)))


# A made world


@pytest.fixture
def world(tmp_path, monkeypatch):
    """So many people of two photographs, whose encodings come from a generator."""

    def made(people, spread=0.2, seed=0, length=64):
        chance = np.random.default_rng(seed)
        found = {}
        for i in range(people):
            centre = chance.normal(size=length)
            for k in range(2):
                name = f"p{i:03d}/{k}.jpg"
                (tmp_path / "made" / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / "made" / name).touch()
                vector = centre / np.linalg.norm(centre) + spread * chance.normal(size=length) / 8
                vector = (vector / np.linalg.norm(vector)).astype(np.float32)
                found[name] = Encoded(f"digest of {name}", vector, "", 0.9)
        monkeypatch.setattr(run, "_encoded", lambda *_: found)
        return Job(tmp_path / "made"), found

    return made


def test_calibration_writes_points_that_decisions_read(engine, world):
    job, found = world(160)
    found["p007/0.jpg"] = Encoded("digest", None, "no_face_found: no face", 0.0)
    done = calibrate(engine, job, "a made world", repeats=100)
    stored = json.loads(json.dumps(done.stored, allow_nan=False))
    curve = curve_of(stored, engine.encoder.id, engine.encoder.name)
    assert (curve.tuned_on, stored["photographs_a_person"]) == ("a made world", run.PER_PERSON)
    assert curve.pairs == stored["pairs"] == 4 * 159 * 158 // 2 + 2 * 159
    assert curve.beyond
    last = curve.points[-1].fmr
    assert [curve.at(rate).extrapolated for rate in (last, last / 10)] == [False, True]
    assert curve.at(1e-2).tau > curve.at(last).tau > curve.at(1e-6).tau
    # At the tau of 1e-2 that share of all pairs of different people is accepted.
    names = [name for name, e in found.items() if e.vector is not None]
    matrix = np.stack([found[name].vector for name in names]).astype(float)
    owner = np.array([name[:4] for name in names])
    d = (2 - 2 * matrix @ matrix.T)[np.triu(owner[:, None] != owner[None])]
    assert np.mean(d <= curve.at(1e-2).tau) == pytest.approx(1e-2, abs=1e-4)


def test_calibration_checks_its_promise_on_the_other_half(engine, world):
    job, _ = world(160)
    done = calibrate(engine, job, "a made world", repeats=100)
    assert [promise.point.fmr for promise in done.checked.promises] == [1e-2, 1e-3, 1e-4, 1e-5]
    assert done.checked.outside == ()
    said = checked_json(done.checked)
    assert said["kept"] is True
    assert said["tuned_on"] == "the others of a made world"
    assert said["data"] == "every second person of a made world"
    assert said["points"][0]["comparisons"] == 4 * 80 * 79 // 2
    assert any("5 photographs a person" in remark for remark in said["remarks"])


def test_people_unlike_the_tuned_ones_break_the_promise(world):
    """The people checked crowd together, as relatives would: told, not averaged away."""
    _, found = world(160)
    chance = np.random.default_rng(9)
    centre = chance.normal(size=64) / 8
    tuned = {f"p{i:03d}": [f"p{i:03d}/{k}.jpg" for k in range(2)] for i in range(80)}
    checked = {f"p{i:03d}": [f"p{i:03d}/{k}.jpg" for k in range(2)] for i in range(80, 160)}
    for names in checked.values():
        for name in names:
            vector = found[name].vector + 0.7 * centre
            found[name] = Encoded(name, (vector / np.linalg.norm(vector)).astype("f4"), "", 1.0)
    promises = promises_between(found, tuned, checked, repeats=100)
    assert {str(p.verdict) for p in promises[:2]} == {"broken"}
    assert all(p.measured.value > p.point.upper for p in promises[:2])


def test_one_person_with_very_many_photographs_weighs_no_more_than_five(world):
    _, found = world(100)
    people = {f"p{i:03d}": [f"p{i:03d}/{k}.jpg" for k in range(2)] for i in range(100)}
    chance = np.random.default_rng(1)
    many = []
    for k in range(60):
        vector = found["p000/0.jpg"].vector + chance.normal(size=64) / 40
        many.append(f"p000/x{k}.jpg")
        vector = (vector / np.linalg.norm(vector)).astype("f4")
        found[many[-1]] = Encoded(many[-1], vector, "", 1.0)
    done = calibrated_on(found, {**people, "p000": many}, repeats=20)
    assert done.pairs == 4 * 99 * 98 // 2 + 5 * 2 * 99


def test_fewer_than_sixty_people_are_refused_before_anything_is_embedded(engine, world):
    job, _ = world(59)
    with pytest.raises(ProtocolRefused, match="59 people; calibrating needs at least 60"):
        calibrate(engine, job, "x", lambda _: pytest.fail("embedded"))


def test_sixty_people_give_points_and_it_is_said_that_the_promise_was_not_checked(engine, world):
    job, _ = world(60)
    done = calibrate(engine, job, "x", repeats=20)
    assert done.calibration.points
    assert not done.checked.promises
    assert "could not be checked" in done.checked.remarks[-1]


def test_a_likelihood_needs_folds(engine, tree, pairs, tmp_path):
    job = Job(tree, (pairs,))
    found = likelihood_on(engine, job, evaluate_verification(engine, job))
    assert found.tuned_on == "every second fold"
    assert 0 <= found.least <= found.cllr < 1
    assert likelihood_on(engine, Job(tree), evaluate_verification(engine, Job(tree))) is None


def test_a_fold_without_both_kinds_tells_no_likelihood_and_stops_nothing(engine, tree, tmp_path):
    path = tmp_path / "odd.csv"
    path.write_text(PAIRS.replace(",1,1\n", ",1,0\n"), "utf-8")  # fold 1 has no mated pair
    job = Job(tree, (path,))
    assert likelihood_on(engine, job, evaluate_verification(engine, job)) is None


def test_a_likelihood_from_even_folds_with_a_photograph_that_shows_no_face(engine, tree, tmp_path):
    PIL.Image.new("RGB", (200, 200), "grey").save(tree / "obama" / "grey.png")
    path = tmp_path / "even.csv"
    rows = PAIRS.replace(",1\n", ",2\n").replace("1,2\n", "1,2\nobama/grey.png,obama/2.jpg,1,2\n")
    path.write_text(rows.replace(",0,0\n", ",0,0\nobama/grey.png,biden/1.jpg,0,0\n"), "utf-8")
    job = Job(tree, (path,))
    result = evaluate_verification(engine, job)
    found = likelihood_on(engine, job, result)
    (tree / "obama" / "grey.png").unlink()
    assert len(result.comparisons.failed) == 1
    assert 0 <= found.least <= found.cllr < 10


# Liveness


def test_liveness_by_hand():
    rows = [Presentation(f"l{i}", True, "live", f"s{i}", s) for i, s in enumerate((0.9, 0.8, 0.6))]
    rows += [
        Presentation(f"p{i}", False, "print", f"s{i}", s) for i, s in enumerate((0.1, 0.7, 0.6, 0))
    ]
    rows += [Presentation(f"r{i}", False, "replay", f"s{i}", s) for i, s in enumerate((0.59, 0.2))]
    said = liveness_json(evaluate_liveness(rows, "by hand", repeats=50))
    assert (said["threshold"], said["bpcer"]) == (0.6, 0)
    assert said["apcer"] == {"print": 0.5, "replay": 0}  # at the threshold is let through
    assert said["worst_species"] == "print"
    assert said["separation"]["replay"]["auc"]["value"] == 1
    # 12 pairs of live and print: 0.7 beats 0.6, 0.6 ties with it.
    assert said["separation"]["print"]["auc"]["value"] == pytest.approx(10.5 / 12)
    assert said["attacks"] == {"print": 4, "replay": 2}


@pytest.mark.parametrize(
    ("score", "why"),
    [(None, "needs a score"), (1.5, r"lie in \[0, 1\]"), (float("nan"), "not a number")],
)
def test_scores_that_are_none_are_refused(score, why):
    rows = [
        Presentation("a", True, "live", "a", 0.9),
        Presentation("b", False, "print", "b", score),
    ]
    with pytest.raises(InputRefused, match=why):
        evaluate_liveness(rows, "x", repeats=10)
