"""A run of training: killed and resumed on the same path, full disks, NaN, other packs."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from faces import draw_many
from packs import written

from visavis.errors import CheckpointRefused, PackRefused, TrainingRefused
from visavis.train import checkpoint
from visavis.train.augment import PRESETS, Preset
from visavis.train.checkpoint import load_checkpoint, save_checkpoint
from visavis.train.config import Hardware, HeldOut, Learning, TrainConfig, of_json
from visavis.train.health import HealthConfig
from visavis.train.journal import Journal
from visavis.train.keeper import BEST, LAST
from visavis.train.objectives import Mining, ObjectiveConfig, Term
from visavis.train.run import stored_config, train_encoder

HERE = Path(__file__).parent

QUICK = TrainConfig(
    start="tiny",
    augment=PRESETS[Preset.LIGHT],
    people=6,
    images=3,
    steps=24,
    keep_every=5,
    learning=Learning(warmup=3),
    held_out=HeldOut(0.2, 0.2, every=8, photographs=40),
    hardware=Hardware(accelerator="cpu", threads=1),
)


def losses(folder):
    with (folder / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def run(small, folder, store, config=QUICK, **how):
    return train_encoder(small.path, folder, config, store, **how)


def test_a_run_leaves_what_its_reader_wants(small, tmp_path, store):
    told = []
    trained = run(small, tmp_path / "run", store, told=told.append)
    assert trained.ending == "all 24 steps were taken"
    assert [p.step for p in told if not p.check and not p.note] == list(range(1, 25))
    assert [check["step"] for check in trained.checks] == [0, 8, 16, 24]
    assert {"config.json", "metrics.csv", LAST, BEST} <= {
        path.name for path in (tmp_path / "run").iterdir()
    }
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    best = max(trained.checks, key=lambda check: check["score"])
    assert load_checkpoint(tmp_path / "run" / BEST)["step"] == best["step"]
    groups = trained.split
    together = np.concatenate([groups.train, groups.validation, groups.calibration])
    assert sorted(together) == list(range(30))


def test_the_configuration_is_read_back_as_it_was():
    config = replace(
        QUICK,
        objective=ObjectiveConfig(((Term.ARCFACE, 1.0), (Term.TRIPLET, 0.5)), mining=Mining.HARD),
        exclude=("Ada", "Z/oe"),
        health=HealthConfig(patience=3),
    )
    assert of_json(config.as_json()) == config
    with pytest.raises(TrainingRefused, match="no colour"):
        of_json({**config.as_json(), "colour": 1})


def test_two_runs_of_one_seed_are_one(small, tmp_path, store):
    for name in ("a", "b"):
        run(small, tmp_path / name, store)
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    run(small, tmp_path / "c", store, replace(QUICK, seed=1))
    assert losses(tmp_path / "a") != losses(tmp_path / "c")


def test_a_run_that_is_stopped_goes_on_along_the_same_path(small, tmp_path, store):
    run(small, tmp_path / "whole", store)
    stop = threading.Event()
    told = lambda p: stop.set() if p.step == 13 else None  # noqa: E731
    halted = run(small, tmp_path / "halted", store, told=told, stop=stop)
    assert halted.interrupted
    with pytest.raises(TrainingRefused, match="--resume"):
        run(small, tmp_path / "halted", store)
    resumed = run(
        small, tmp_path / "halted", store, stored_config(tmp_path / "halted"), resume=True
    )
    assert not resumed.interrupted
    assert losses(tmp_path / "halted") == losses(tmp_path / "whole")
    weights = [load_checkpoint(tmp_path / n / LAST)["encoder"] for n in ("whole", "halted")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


KILLED = """
import sys
sys.path.insert(0, {here!r})
from pathlib import Path
from test_train_run import QUICK, run
from visavis.models import ModelStore
from visavis.train.pack import Pack
store = ModelStore(Path({cache!r}), Path({cache!r}))
print("ready", flush=True)
run(Pack.open(Path({pack!r})), Path({out!r}), store, told=lambda p: print(p.step, flush=True))
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [7, 16])
def test_a_killed_run_goes_on_along_the_same_path(small, tmp_path, store, after):
    run(small, tmp_path / "whole", store)
    script = KILLED.format(
        here=str(HERE), cache=str(tmp_path / "c"), pack=str(small.path), out=str(tmp_path / "cut")
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    for line in child.stdout:
        if line.strip() == str(after):
            time.sleep(0.02)  # into the middle of whatever comes next
            break
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert child.returncode == -signal.SIGKILL
    run(small, tmp_path / "cut", store, stored_config(tmp_path / "cut"), resume=True)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_a_loss_that_is_no_number_leaves_the_best_weights(small, tmp_path, store, monkeypatch):
    from visavis.train.objectives import Objective  # noqa: PLC0415

    real = Objective.forward
    seen = {"steps": 0}

    def broken(self, *args):
        seen["steps"] += 1
        outcome = real(self, *args)
        if seen["steps"] > 10:
            return replace(outcome, loss=outcome.loss * float("nan"))
        return outcome

    monkeypatch.setattr(Objective, "forward", broken)
    health = HealthConfig(recoveries=1, warmup=1)
    trained = run(small, tmp_path / "run", store, replace(QUICK, health=health))
    assert "not-finite" in trained.ending
    assert len(trained.notes) == 2
    assert "going back" in trained.notes[0]
    assert all(torch.isfinite(w).all() for w in trained.encoder.state_dict().values())
    assert all(np.isfinite(check["score"]) for check in trained.checks)


def test_without_recovery_it_stops_at_once(small, tmp_path, store):
    config = replace(
        QUICK,
        recover=False,
        steps=200,
        held_out=replace(QUICK.held_out, every=100),
        objective=ObjectiveConfig(((Term.TRIPLET, 1.0),), alpha=0.0),
        health=HealthConfig(patience=1, slow=1, nothing=1.0, smoothing=0.0),
    )
    trained = run(small, tmp_path / "run", store, config)
    assert "stuck-at-margin" in trained.ending
    assert len(trained.checks) == 1


def test_patience_ends_a_run_that_gets_no_better(small, tmp_path, store):
    learning = Learning(rate=1e-12, ema=0.0)
    held_out = replace(QUICK.held_out, every=2, patience=3)
    config = replace(QUICK, learning=learning, held_out=held_out, steps=100)
    trained = run(small, tmp_path / "run", store, config)
    assert trained.ending.startswith("no better for 3 checks")
    assert len(trained.checks) < 20


def test_a_full_disk_leaves_the_checkpoint_before(small, tmp_path, store, monkeypatch):
    folder = tmp_path / "run"
    real, calls = torch.save, []

    def full(state, file):
        calls.append(1)
        if len(calls) > 3:
            file.write(b"half of it")
            raise OSError(28, "No space left on device")
        real(state, file)

    monkeypatch.setattr(checkpoint.torch, "save", full)
    with pytest.raises(TrainingRefused, match="No space left"):
        run(small, folder, store)
    monkeypatch.undo()
    assert not list(folder.glob(".*.part"))
    run(small, folder, store, stored_config(folder), resume=True)
    run(small, tmp_path / "whole", store)
    assert losses(folder) == losses(tmp_path / "whole")


def test_checkpoints_that_cannot_be_gone_on_from_are_refused(small, tmp_path, store):
    folder = tmp_path / "run"
    with pytest.raises(CheckpointRefused, match="no checkpoint"):
        run(small, folder, store, resume=True)
    run(small, folder, store)
    whole = (folder / LAST).read_bytes()
    (folder / LAST).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointRefused, match="damaged"):
        run(small, folder, store, resume=True)
    (folder / LAST).write_bytes(whole)
    state = load_checkpoint(folder / LAST)
    for changed, match in (
        ({"identity": "another"}, "other photographs"),
        ({"encoder": {}}, "another network"),
        ({"course": {"mining": "deep"}}, "damaged"),
    ):
        save_checkpoint(folder / LAST, state | changed)
        with pytest.raises(CheckpointRefused, match=match):
            run(small, folder, store, resume=True)
    torch.save({"schema": 99}, folder / LAST)
    with pytest.raises(CheckpointRefused, match="schema 99"):
        run(small, folder, store, resume=True)


class Evil:
    def __reduce__(self):
        return (os.system, ("touch /tmp/visavis-was-here",))


def test_a_checkpoint_runs_no_code(tmp_path):
    torch.save({"schema": 1, "config": Evil()}, tmp_path / LAST)
    with pytest.raises(CheckpointRefused):
        load_checkpoint(tmp_path / LAST)
    assert not Path("/tmp/visavis-was-here").exists()


def test_too_few_people_are_told(tmp_path, store):
    crops = draw_many(np.zeros(4, np.int64), np.arange(4), 64)
    pack = written(tmp_path / "one", {"Ada": list(crops)}, alignment="arcface-64")
    with pytest.raises(Exception, match="people") as refused:
        run(pack, tmp_path / "run", store)
    assert refused.type.__module__ == "visavis.errors"
    assert not (tmp_path / "run").exists()


def test_people_who_are_excluded_take_no_part(small, tmp_path, store):
    config = replace(QUICK, steps=2, exclude=tuple(f"p{n:02d}" for n in range(8)))
    trained = run(small, tmp_path / "run", store, config)
    split = trained.split
    there = {
        small.name(p) for group in (split.train, split.validation, split.calibration) for p in group
    }
    assert there == {f"p{n:02d}" for n in range(8, 30)}


def test_excluding_too_many_is_told_before_the_run(small, tmp_path, store):
    config = replace(QUICK, exclude=tuple(f"p{n:02d}" for n in range(29)))
    with pytest.raises(TrainingRefused, match="exclude fewer"):
        run(small, tmp_path / "run", store, config)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_journal_on_a_full_disk_is_told(tmp_path):
    journal = Journal(tmp_path, board=False)
    (tmp_path / "metrics.csv").unlink()
    (tmp_path / "metrics.csv").symlink_to("/dev/full")
    with pytest.raises(TrainingRefused, match="make room"):
        journal.write(1, {"loss": 0.5})


def test_a_shard_cut_in_half_is_told(small, tmp_path, store):
    import shutil  # noqa: PLC0415

    copy = tmp_path / "pack"
    shutil.copytree(small.path, copy)
    shard = next((copy / "shards").iterdir())
    os.truncate(shard, shard.stat().st_size // 2)
    with pytest.raises(PackRefused):
        train_encoder(copy, tmp_path / "run", QUICK, store)


def test_a_pretrained_start_wants_its_own_crops(small, tmp_path, store):
    with pytest.raises(TrainingRefused, match="--alignment arcface-112"):
        run(small, tmp_path / "run", store, replace(QUICK, start="sface"))
    keep = ObjectiveConfig(((Term.TRIPLET, 1.0), (Term.KEEP, 1.0)))
    with pytest.raises(TrainingRefused, match="pretrained"):
        run(small, tmp_path / "run", store, replace(QUICK, objective=keep))
