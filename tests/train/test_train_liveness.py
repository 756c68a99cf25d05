"""Learning liveness: what is learnt from, the loop, and the command from photographs to a model."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch
from faces import draw_many

from visavis.cli import main
from visavis.errors import TrainingRefused
from visavis.models import Kind, ModelStore, Surroundings, read_manifest
from visavis.train.attacks import CANVAS_SIZE, CROP_SIZE, Species
from visavis.train.live_bank import Bank, Canvases, presented, render, split
from visavis.train.live_config import LivenessConfig
from visavis.train.live_net import Answer, LiveNet
from visavis.train.liveness import fit, scores, worst_eer

SMALL = LivenessConfig(rounds=1, epochs=2, batch=32)


@pytest.fixture(scope="module")
def canvases():
    """Sixteen drawn people seen live twice, and once each in a print that somebody really made."""
    people = np.repeat(np.arange(16), 3)
    pixels = draw_many(people, np.arange(48), CANVAS_SIZE)
    live = np.tile([True, True, False], 16)
    species = np.where(live, "live", "print")
    return Canvases(pixels, live, species, np.array([f"p{n:02d}" for n in people]))


def easy(count: int, seed: int) -> Bank:
    """Live is bright above, an attack below: any network can learn it."""
    random = np.random.default_rng(seed)
    crops = random.integers(0, 120, (count, CROP_SIZE, CROP_SIZE, 3)).astype(np.uint8)
    live = np.arange(count) % 2 == 0
    crops[live, : CROP_SIZE // 2] += 100
    crops[~live, CROP_SIZE // 2 :] += 100
    species = np.where(live, "live", "print")
    return Bank(crops, live, species, np.arange(count).astype(str))


def test_the_subjects_of_the_two_parts_are_others(canvases):
    learn, check = split(canvases, replace(SMALL, held_out=0.25))
    assert set(learn.subject) & set(check.subject) == set()
    assert len(set(check.subject)) == 4
    assert len(learn) + len(check) == 48
    again = split(canvases, replace(SMALL, held_out=0.25))[1]
    assert np.array_equal(again.subject, check.subject)
    assert set(split(canvases, replace(SMALL, seed=9))[1].subject) != set(check.subject)


def test_one_subject_cannot_be_held_out(canvases):
    with pytest.raises(TrainingRefused, match="one subject cannot be held out"):
        split(canvases.take(canvases.subject == "p00"), SMALL)


def test_every_live_photograph_becomes_every_species(canvases):
    bank = render(canvases, SMALL)
    counts = {str(kind): int((bank.species == kind).sum()) for kind in set(bank.species)}
    # As it is and through the simulated camera; each real attack once; each simulated one.
    assert counts == {"live": 64, "print": 16, "simulated-print": 32, "simulated-screen": 32}
    assert np.array_equal(bank.live, bank.species == "live")
    assert np.array_equal(render(canvases, SMALL).crops, bank.crops)
    twice = render(canvases, replace(SMALL, rounds=2))
    assert len(twice) == 2 * len(bank)
    assert not np.array_equal(twice.crops[: len(bank)], twice.crops[len(bank) :])
    only = render(canvases, replace(SMALL, attacks=(Species.SCREEN,)))
    assert set(only.species) == {"live", "print", "simulated-screen"}


def test_too_few_photographs_have_no_backgrounds(canvases):
    with pytest.raises(TrainingRefused, match="3 photographs are too few; 8 are needed"):
        render(canvases.take(canvases.subject == "p00"), SMALL)


def test_real_presentations_stay_as_they_are(canvases):
    bank = presented(canvases)
    assert np.array_equal(bank.crops, canvases.pixels[:, 22:118, 22:118])
    assert np.array_equal(bank.subject, canvases.subject)


def test_it_learns_what_can_be_learnt_and_keeps_the_best_epoch():
    heard = []
    config = LivenessConfig(epochs=3, batch=16, rate=2e-3)
    learn, check = easy(96, 0), easy(32, 1)
    fitted = fit(learn, check, config, heard.append)
    assert [epoch.number for epoch in heard] == [1, 2, 3]
    assert worst_eer(scores(fitted.network, check.crops), check) == 0
    assert heard[fitted.best - 1].eer == min(epoch.eer for epoch in heard)
    assert not fitted.network.training
    again = fit(learn, check, config)
    assert np.allclose(scores(again.network, check.crops), scores(fitted.network, check.crops))


def test_it_stops_when_asked():
    fitted = fit(easy(32, 0), easy(16, 1), replace(SMALL, epochs=5), lambda epoch: epoch.number > 1)
    assert len(fitted.epochs) == 2


def test_both_classes_are_needed():
    bank = easy(16, 0)
    with pytest.raises(TrainingRefused, match="both needed to learn from"):
        fit(bank.take(bank.live), bank, SMALL)
    with pytest.raises(TrainingRefused, match="both needed to check with"):
        fit(bank, bank.take(~bank.live), SMALL)


def test_the_network_is_within_its_budget():
    network = LiveNet().eval()
    assert 4 * sum(p.numel() for p in network.parameters()) < 3_000_000
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, CROP_SIZE, CROP_SIZE))
    assert counter.get_total_flops() < 100e6


def test_what_is_exported_adds_up_to_one():
    network = LiveNet().eval()
    crops = torch.randn(3, 3, CROP_SIZE, CROP_SIZE)
    with torch.no_grad():
        rows, odds = Answer(network, 2.0)(crops), network(crops)
    assert torch.allclose(rows.sum(1), torch.ones(3))
    assert torch.allclose(rows[:, 1], torch.sigmoid(odds / 2))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"epochs": 0}, "epochs must be 1 or more"),
        ({"rate": 0.0}, "rate must be above 0"),
        ({"held_out": 1.0}, "held out is above 0 and below 1"),
        ({"attacks": (Species.LIVE,)}, "live is no attack"),
    ],
)
def test_what_cannot_be_run_is_refused(wrong, told):
    with pytest.raises(TrainingRefused, match=told):
        LivenessConfig(**wrong)


@pytest.fixture
def people(photographs, tmp_path):
    """Portraits of five, cut and mirrored into twenty people's folders."""
    names = ("obama.jpg", "obama2.jpg", "obama3.jpg", "biden.jpg", "astronaut.png")
    for n, name in enumerate(names):
        photo = PIL.Image.open(photographs[name]).convert("RGB")
        photo.thumbnail((400, 400))
        for k in range(4):
            folder = tmp_path / "people" / f"p{n}{k}"
            folder.mkdir(parents=True)
            turned = photo.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT) if k % 2 else photo
            turned.point(lambda v, k=k: int(v * (1 - 0.1 * k))).save(folder / "1.png")
    return tmp_path / "people"


@pytest.fixture
def visavis(monkeypatch, capsys, tmp_path):
    """Call the command line in this process; gives its exit status, output and errors."""
    monkeypatch.setenv("VISAVIS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("VISAVIS_CACHE", str(tmp_path / "cache"))

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["visavis", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code or 0, *capsys.readouterr()

    return call


def test_from_photographs_to_a_network_in_use(people, tmp_path, visavis):
    asked = ["train", "liveness", "--live", str(people), "--out", str(tmp_path / "door")]
    asked += ["--rounds", "1", "--epochs", "1", "--held-out", "0.45", "--threads", "1", "--json"]
    status, out, err = visavis(*asked)
    assert status == 0, err
    told = json.loads(out)
    assert told["model"] == "door"
    assert {each["rate"] for each in told["points"]} == {"bpcer", "apcer"}
    manifest = read_manifest(tmp_path / "door" / "door.toml")
    assert manifest.kind is Kind.LIVENESS
    assert manifest.surroundings == Surroundings(2.2, 96)
    assert "11 live photographs" in manifest.training_data
    assert (tmp_path / "door" / "metrics.csv").read_text("utf-8").startswith("epoch,loss,eer,pace")
    assert (tmp_path / "door" / "best.pt").is_file()
    assert "simulated-screen" in (tmp_path / "door" / "door.md").read_text("utf-8")
    store = ModelStore(tmp_path / "c", tmp_path / "d")
    points = tmp_path / "door" / "door.fp32.points.json"
    store.add(manifest, tmp_path / "door" / "door.onnx", {points.name: points})

    from visavis.liveness.passive import PassiveLiveness  # noqa: PLC0415

    assert PassiveLiveness.open(store, "door").point.aim.at == 0.01


def test_something_to_learn_from_is_needed(tmp_path, visavis):
    status, _, err = visavis("train", "liveness", "--out", tmp_path / "x")
    assert status == 2
    assert "--data, --live, or both" in err


def test_a_run_goes_on_from_another_s_weights(tmp_path):
    learn, check = easy(48, 0), easy(16, 1)
    first = fit(learn, check, replace(SMALL, epochs=1, rate=2e-3))
    still = replace(SMALL, epochs=1, rate=1e-9, decay=0.0)
    went_on = fit(learn, check, still, start=first.network.state_dict())
    last = went_on.network.decide.weight - first.network.decide.weight
    assert float(last.detach().abs().max()) < 1e-6
    with pytest.raises(TrainingRefused, match="no weights of a liveness network"):
        fit(learn, check, SMALL, start={"other": torch.zeros(1)})
