"""Learning liveness: what is learnt from, the loop, and the command from photographs to a model."""

from __future__ import annotations

import json
import os
import signal
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
from visavis.train.live_augment import another_look
from visavis.train.live_bank import Bank, Canvases, planned, presented, render, split
from visavis.train.live_config import LivenessConfig
from visavis.train.live_keep import Keep
from visavis.train.live_net import Answer, LiveNet
from visavis.train.liveness import Course, fit, scores, spectrum_of, worst_eer

SMALL = LivenessConfig(rounds=1, epochs=2, batch=32)


@pytest.fixture(scope="module")
def canvases():
    """Sixteen drawn people seen live twice, and once each in a print that somebody really made."""
    people = np.repeat(np.arange(16), 3)
    pixels = draw_many(people, np.arange(48), CANVAS_SIZE)
    live = np.tile([True, True, False], 16)
    species = np.where(live, "live", "print")
    return Canvases(
        pixels, live, species, np.array([f"p{n:02d}" for n in people]), np.ones(48, bool)
    )


def easy(count: int, seed: int) -> Bank:
    """Live is bright above, an attack below: any network can learn it."""
    random = np.random.default_rng(seed)
    crops = random.integers(0, 120, (count, CROP_SIZE, CROP_SIZE, 3)).astype(np.uint8)
    live = np.arange(count) % 2 == 0
    crops[live, : CROP_SIZE // 2] += 100
    crops[~live, CROP_SIZE // 2 :] += 100
    species = np.where(live, "live", "print")
    return Bank(crops, live, species, np.arange(count).astype(str))


def test_the_subjects_of_the_three_parts_are_others(canvases):
    parts = split(canvases, replace(SMALL, held_out=0.25))
    subjects = [set(part.subject) for part in parts]
    assert [len(each) for each in subjects] == [12, 2, 2]
    assert len(set.union(*subjects)) == 16
    assert sum(map(len, parts)) == 48
    again = split(canvases, replace(SMALL, held_out=0.25))
    assert np.array_equal(again[2].subject, parts[2].subject)
    assert set(split(canvases, replace(SMALL, seed=9))[0].subject) != subjects[0]


def test_recorded_subjects_are_in_every_part(canvases):
    """Three of sixteen are of a set with real attacks: one each learns, chooses and measures."""
    few = np.isin(canvases.subject, ["p00", "p07", "p15"])
    parts = split(replace(canvases, recorded=few), replace(SMALL, held_out=0.25))
    assert [len(set(part.subject[part.recorded])) for part in parts] == [1, 1, 1]


def test_two_subjects_cannot_be_held_out_twice(canvases):
    with pytest.raises(TrainingRefused, match="photographs of three or more are needed"):
        split(canvases.take(np.isin(canvases.subject, ["p00", "p01"])), SMALL)


def test_every_live_photograph_becomes_every_species(canvases):
    bank = render(canvases, SMALL)
    counts = {str(kind): int((bank.species == kind).sum()) for kind in set(bank.species)}
    # Each live photograph once through the camera and four times as it is; real attacks alike.
    assert counts == {"live": 160, "print": 64, "simulated-print": 32, "simulated-screen": 32}
    assert len(bank) == planned(canvases, SMALL)
    unrecorded = replace(canvases, recorded=np.zeros(48, bool))
    assert (render(unrecorded, SMALL).species == "live").sum() == 32
    assert np.array_equal(bank.live, bank.species == "live")
    assert np.array_equal(render(canvases, SMALL).crops, bank.crops)
    twice = render(canvases, replace(SMALL, rounds=2))
    assert len(twice) == 2 * len(bank)
    assert not np.array_equal(twice.crops[: len(bank)], twice.crops[len(bank) :])
    only = render(canvases, replace(SMALL, attacks=(Species.SCREEN,)))
    assert set(only.species) == {"live", "print", "simulated-screen"}


def test_to_measure_real_presentations_stay_as_they_are(canvases):
    bank = render(canvases, replace(SMALL, real=0))
    plain = presented(canvases)
    assert len(bank) == 32 * 3 + 48
    assert np.array_equal(bank.crops[-48:], plain.crops)
    assert np.array_equal(bank.species[-48:], plain.species)


def test_a_bank_on_disk_is_the_one_in_memory(canvases, tmp_path):
    bank = render(canvases, SMALL, into=tmp_path / "crops.npy")
    assert np.array_equal(np.load(tmp_path / "crops.npy"), render(canvases, SMALL).crops)
    keep = Keep(tmp_path / "kept", {"seed": 0})
    assert not keep.whole()
    render(canvases, SMALL, into=keep.file("learn"))
    keep.labelled("learn", bank, "drawn people")
    assert not keep.whole()  # until it is said
    keep.finished()
    assert keep.whole()
    opened = keep.opened("learn")
    assert opened.said == "drawn people"
    for part in ("crops", "live", "species", "subject"):
        assert np.array_equal(getattr(opened.bank, part), getattr(bank, part))
    with pytest.raises(TrainingRefused, match="asked for something else"):
        Keep(tmp_path / "kept", {"seed": 1}).whole()


def test_too_few_photographs_have_no_backgrounds(canvases):
    with pytest.raises(TrainingRefused, match="3 photographs are too few; 8 are needed"):
        split(canvases.take(np.isin(canvases.subject, ["p00", "p01", "p02"])), SMALL)
    few = canvases.take(canvases.subject == "p00")
    assert len(render(few, replace(SMALL, real=0))) == 9  # to measure, they do


def test_real_presentations_stay_as_they_are(canvases):
    bank = presented(canvases)
    assert np.array_equal(bank.crops, canvases.pixels[:, 22:118, 22:118])
    assert np.array_equal(bank.subject, canvases.subject)


def test_it_learns_what_can_be_learnt_and_keeps_the_best_epoch():
    heard = []
    config = LivenessConfig(epochs=3, batch=16, rate=2e-3)
    learn, check = easy(96, 0), easy(32, 1)
    fitted = fit(learn, check, config, Course(heard.append))
    assert [epoch.number for epoch in heard] == [1, 2, 3]
    assert worst_eer(scores(fitted.network, check.crops), check) == 0
    assert heard[fitted.best - 1].eer == min(epoch.eer for epoch in heard)
    assert not fitted.network.training
    again = fit(learn, check, config)
    assert np.allclose(scores(again.network, check.crops), scores(fitted.network, check.crops))


def test_a_resumed_run_is_the_unbroken_one(tmp_path):
    """Weights, optimiser, chance of order and of dropout: all of it goes on."""
    learn, check = easy(64, 0), easy(32, 1)
    config = LivenessConfig(epochs=4, batch=16)
    whole = fit(learn, check, config)
    halves = Course(lambda epoch: epoch.number == 2, checkpoint=tmp_path / "last.pt")
    assert len(fit(learn, check, config, halves).epochs) == 2
    torch.rand(7)  # what else has happened since
    heard = []
    resumed = fit(learn, check, config, Course(heard.append, checkpoint=tmp_path / "last.pt"))
    assert [epoch.number for epoch in heard] == [1, 2, 3, 4]
    assert [(e.loss, e.eer) for e in resumed.epochs] == [(e.loss, e.eer) for e in whole.epochs]
    assert resumed.best == whole.best
    for name, weights in whole.network.state_dict().items():
        assert torch.equal(weights, resumed.network.state_dict()[name]), name


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    learn, check, last = easy(32, 0), easy(16, 1), tmp_path / "last.pt"
    fit(learn, check, SMALL, Course(checkpoint=last))
    with pytest.raises(TrainingRefused, match="of a run with another map weight"):
        fit(learn, check, replace(SMALL, map_weight=0.3), Course(checkpoint=last))
    last.write_bytes(b"half of it")
    with pytest.raises(TrainingRefused, match="holds no state to go on from"):
        fit(learn, check, SMALL, Course(checkpoint=last))


@pytest.mark.parametrize("changed", [{"map_weight": 0.3}, {"fourier_weight": 0.5}, {"look": True}])
def test_what_can_be_added_still_learns(changed):
    learn, check = easy(96, 0), easy(32, 1)
    fitted = fit(learn, check, LivenessConfig(epochs=3, batch=16, rate=2e-3, **changed))
    assert worst_eer(scores(fitted.network, check.crops), check) < 0.1


def test_stripes_lie_where_their_frequency_is():
    """Thirty-six stripes a side: two peaks as far from the middle, whatever their phase."""
    across = torch.cos(torch.arange(96) / 96 * 2 * torch.pi * 36)
    crops = across.expand(2, 3, 96, 96).clone()
    crops[1] = crops[1].roll(1, -1)
    found = spectrum_of(crops, 12)
    assert torch.allclose(found[0], found[1], atol=0.2)
    brightest = found[0].flatten().topk(2).indices.tolist()
    # Row 6 is the middle; 36 of 48 away from it, to either side.
    assert sorted(divmod(at, 12) for at in brightest) == [(6, 1), (6, 10)]


def test_another_look_keeps_what_is_seen():
    crops = np.full((200, CROP_SIZE, CROP_SIZE, 3), 90, np.uint8)
    crops[:, 40:56, 40:56] = 200
    seen = another_look(crops, torch.Generator().manual_seed(0))
    assert seen.shape == (200, 3, CROP_SIZE, CROP_SIZE)
    assert float(seen.min()) >= -1
    assert float(seen.max()) <= 1
    middle, rim = seen[..., 44:52, 44:52].mean((1, 2, 3)), seen[..., 20:30, 44:52].mean((1, 2, 3))
    assert float((middle > rim).float().mean()) > 0.85  # the others are covered
    assert torch.equal(seen, another_look(crops, torch.Generator().manual_seed(0)))
    sides = crops.copy()
    sides[:, :, : CROP_SIZE // 2] = 20
    seen = another_look(sides, torch.Generator().manual_seed(1))
    mirrored = seen[..., :30].mean((1, 2, 3)) > seen[..., -30:].mean((1, 2, 3))
    assert 0.3 < float(mirrored.float().mean()) < 0.7


def test_it_stops_when_asked():
    fitted = fit(easy(32, 0), easy(16, 1), replace(SMALL, epochs=5), Course(lambda e: e.number > 1))
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
        ({"map_weight": -0.1}, "map_weight must be 0 or more"),
        ({"close": 1.1}, "close attacks is 0 to 1"),
        ({"real": -1}, "real must be 0 or more"),
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


ASKED = ["--rounds", "1", "--epochs", "2", "--held-out", "0.3", "--threads", "1", "--batch", "16"]


def test_from_photographs_to_a_network_in_use(people, tmp_path, visavis):
    asked = ["train", "liveness", "--live", str(people), "--out", str(tmp_path / "door"), *ASKED]
    status, out, err = visavis(*asked, "--json")
    assert status == 0, err
    told = json.loads(out)
    assert told["model"] == "door"
    assert {each["rate"] for each in told["points"]} == {"bpcer", "apcer"}
    manifest = read_manifest(tmp_path / "door" / "door.toml")
    assert manifest.kind is Kind.LIVENESS
    assert manifest.surroundings == Surroundings(2.2, 96)
    assert "14 live photographs" in manifest.training_data
    assert (tmp_path / "door" / "metrics.csv").read_text("utf-8").startswith("epoch,loss,eer,pace")
    assert (tmp_path / "door" / "best.pt").is_file()
    assert "simulated-screen" in (tmp_path / "door" / "door.md").read_text("utf-8")
    store = ModelStore(tmp_path / "c", tmp_path / "d")
    points = tmp_path / "door" / "door.fp32.points.json"
    store.add(manifest, tmp_path / "door" / "door.onnx", {points.name: points})

    from visavis.liveness.passive import PassiveLiveness  # noqa: PLC0415

    assert PassiveLiveness.open(store, "door").point.aim.at == 0.01


def test_ctrl_c_ends_an_epoch_and_resume_goes_on(people, tmp_path, visavis, monkeypatch):
    """Ended after the first of two epochs, it says how to go on, and then does the second only."""
    from visavis.train import liveness  # noqa: PLC0415

    begun = []
    epoch = liveness._Step.epoch

    def interrupted(step):
        begun.append(1)
        if len(begun) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return epoch(step)

    monkeypatch.setattr(liveness._Step, "epoch", interrupted)
    asked = ["train", "liveness", "--live", str(people), "--out", str(tmp_path / "door"), *ASKED]
    status, out, err = visavis(*asked)
    assert status == 130
    assert out == ""
    assert "stopped after epoch 1 of 2; go on with the same command and --resume" in err
    assert not (tmp_path / "door" / "door.onnx").exists()
    status, _, err = visavis(*asked)
    assert status == 3
    assert "holds a run: go on with --resume, or name another folder" in err
    status, _, err = visavis(*asked, "--resume", "--rate", "1e-3")
    assert status == 3
    assert "is of a run with another rate" in err
    status, out, err = visavis(*asked, "--resume")
    assert status == 0, err
    assert "On the subjects held out:" in out
    assert len(begun) == 2
    assert (tmp_path / "door" / "door.onnx").is_file()


def test_something_to_learn_from_is_needed(tmp_path, visavis):
    status, _, err = visavis("train", "liveness", "--out", tmp_path / "x")
    assert status == 2
    assert "--data, --live, or both" in err


def test_a_run_goes_on_from_another_s_weights(tmp_path):
    learn, check = easy(48, 0), easy(16, 1)
    first = fit(learn, check, replace(SMALL, epochs=1, rate=2e-3))
    still = replace(SMALL, epochs=1, rate=1e-9, decay=0.0)
    went_on = fit(learn, check, still, Course(start=first.network.state_dict()))
    last = went_on.network.decide.weight - first.network.decide.weight
    assert float(last.detach().abs().max()) < 1e-6
    with pytest.raises(TrainingRefused, match="no weights of a liveness network"):
        fit(learn, check, SMALL, Course(start={"other": torch.zeros(1)}))
