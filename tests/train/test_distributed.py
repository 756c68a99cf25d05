"""Two processes (gloo) learn as one: triplets are mined across them, gradients are the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from visavis.models.manifest import Preprocessing
from visavis.train.augment import PRESETS, Augment, Preset
from visavis.train.learner import Encoder, Siamese
from visavis.train.objectives import Mining, Objective, ObjectiveConfig, Term

HERE = Path(__file__).parent
MEETING = (
    "EADDRINUSE",
    "ddress already in use",
    "onnection refused",
    "onnection reset",
    "onnection closed",
)
MINING = ("semi-hard", "hard", "all", "random")


def siamese(mining, gather=lambda rows: rows):
    """Without batch norms, whose statistics are each process's own."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 5, 4), nn.Tanh(), nn.Flatten(), nn.LazyLinear(16))
    network(torch.zeros(1, 3, 32, 32))
    shape = Preprocessing(mean=(127.5,) * 3, scale=(127.5,) * 3)
    terms = ((Term.TRIPLET, 1.0), (Term.ARCFACE, 0.1), (Term.CONTRASTIVE, 0.3))
    objective = Objective(ObjectiveConfig(terms, mining=Mining(mining)), 16, 8)
    return Siamese(Encoder(network, shape), Augment(PRESETS[Preset.NONE]), objective, gather)


def batch():
    chance = torch.Generator().manual_seed(1)
    crops = torch.randint(0, 256, (24, 32, 32, 3), generator=chance, dtype=torch.uint8)
    return crops, torch.arange(24) // 3


def gradients(of):
    return {name: w.grad.tolist() for name, w in of.named_parameters()}


WORKER = """
import json, sys
sys.path.insert(0, {here!r})
from lightning_fabric import Fabric
from test_distributed import MINING, batch, gradients, siamese
from visavis.train.run import _gather, _part
fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
fabric.launch()
found = {{}}
for mining in MINING:
    own = siamese(mining, _gather(fabric))
    model = fabric.setup(own)
    crops, labels = batch()
    half = slice(12 * fabric.global_rank, 12 * fabric.global_rank + 12)
    loss, *_ = model(crops[half], labels[half], None, 5)
    fabric.backward(loss)
    found[mining] = gradients(own)
if fabric.is_global_zero:
    with open({out!r}, "w") as file:
        json.dump(found, file)
_part(fabric)
"""

WHOLE = """
import sys
sys.path.insert(0, {here!r})
from dataclasses import replace
from pathlib import Path
from test_train_run import QUICK
from visavis.models import ModelStore
from visavis.train.config import Hardware
from visavis.train.run import train_encoder
config = replace(QUICK, steps=6, hardware=Hardware(accelerator="cpu", devices=2, threads=1))
store = ModelStore(Path({out!r}), Path({out!r}))
trained = train_encoder(Path({pack!r}), Path({out!r}), config, store)
sys.stdout.write(f"{{trained.leads}} {{trained.ending}}\\n")
"""


def twice(script, tmp_path):
    """Run a script in two processes, as torchrun does."""
    path = tmp_path / "script.py"
    path.write_text(script)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    for _ in range(2):
        done = subprocess.run(
            [*launcher, str(path)], capture_output=True, text=True, timeout=100, check=False
        )
        # A port that torchrun found free may be taken by another test before it is used.
        if done.returncode == 0 or not any(why in done.stderr for why in MEETING):
            break
    return done


@pytest.mark.slow
def test_two_processes_give_the_gradient_of_one(tmp_path):
    out = tmp_path / "gradients.json"
    done = twice(WORKER.format(here=str(HERE), out=str(out)), tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    shared = json.loads(out.read_text())
    for mining in MINING:
        alone = siamese(mining)
        loss, *_ = alone(*batch(), None, 5)
        loss.backward()
        for name, weight in alone.named_parameters():
            found, wanted = torch.tensor(shared[mining][name]), weight.grad
            assert wanted.abs().max() > 0
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_run_in_two_processes_writes_one_result(small, tmp_path):
    out = tmp_path / "run"
    done = twice(WHOLE.format(here=str(HERE), out=str(out), pack=str(small.path)), tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(done.stdout.split("\n")[:2]) == [
        "False all 6 steps were taken",
        "True all 6 steps were taken",
    ]
    rows = (out / "metrics.csv").read_text().splitlines()
    assert len(rows) == 1 + 2  # the head, a check at the start and one at the end
