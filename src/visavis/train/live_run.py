"""A run of ``visavis train liveness``, from photographs to a network in use."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from visavis.detect import Detector
from visavis.errors import TrainingRefused
from visavis.evaluate.listing import Presentation, read_people, read_presentations
from visavis.models import Cores, Kind, Precision, RuntimeName
from visavis.train.live_bank import Bank, Canvases, cut_canvases, render, split
from visavis.train.live_finish import LiveDelivered, Told, deliver_liveness
from visavis.train.liveness import fit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from visavis.models import ModelStore
    from visavis.train.live_config import LivenessConfig
    from visavis.train.liveness import Epoch


@dataclass(frozen=True, slots=True)
class Listed:
    """Presentations to learn from, and the folder their paths are relative to."""

    presentations: tuple[Presentation, ...]
    images: Path
    name: str


class Teller:
    """Is told how a run goes on; as it is, keeps it to itself."""

    def stage(self, what: str, total: int) -> None:
        """Hear that something of so many parts begins."""

    def done(self, count: int) -> None:
        """Hear that so many parts more are done."""

    def epoch(self, epoch: Epoch) -> bool:  # noqa: ARG002
        """Hear how an epoch ended; says whether to stop after it."""
        return False


def listed(path: Path, images: Path | None) -> Listed:
    """Read ``path,live[,species,subject]``; paths are relative to ``images``, or to the file."""
    return Listed(tuple(read_presentations(path)), images or path.parent, path.name)


def live_folder(folder: Path, each: int) -> Listed:
    """Take up to ``each`` photographs a person, all live, from a folder a person."""
    found = [
        Presentation(photo, True, "live", f"{folder.name}/{person}")
        for person, photos in read_people(folder).items()
        for photo in photos[:each]
    ]
    return Listed(tuple(found), folder, folder.name)


def use_threads(count: int) -> None:
    """Let torch compute on so many threads of the CPU."""
    torch.set_num_threads(count)


def train_liveness(
    lists: Sequence[Listed],
    config: LivenessConfig,
    store: ModelStore,
    told: Told,
    teller: Teller | None = None,
) -> LiveDelivered:
    """Learn liveness, and write network, manifest, points and card into a folder.

    ``config.json``, ``metrics.csv`` and the best epoch's weights (``best.pt``) lie beside them.

    Parameters
    ----------
    told
        Its ``training_data`` and ``tuned_on``, when empty, are filled in with the sets' names and
        counts.

    Raises
    ------
    TrainingRefused
        When the photographs are too few, or of one subject.
    """
    teller, folder = teller or Teller(), told.folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config.as_json(), indent=1) + "\n", "utf-8")
    canvases = _canvases(lists, store, teller)
    learn, check = split(canvases, config)
    banks: list[Bank] = []
    for part, seed in ((learn, config.seed), (check, config.seed + 1)):
        alive, real = int(part.live.sum()), int((~part.live).sum())
        teller.stage("presenting", config.rounds * (alive * (2 + len(config.attacks)) + real))
        banks.append(render(part, replace(config, seed=seed), teller.done))
    teller.stage("learning", config.epochs)
    heard: list[Epoch] = []

    def hear(epoch: Epoch) -> bool:
        heard.append(epoch)
        _keep_metrics(heard, folder / "metrics.csv")
        return teller.epoch(epoch)

    fitted = fit(banks[0], banks[1], config, hear, _weights(config.start))
    torch.save(fitted.network.state_dict(), folder / "best.pt")
    names = " and ".join(each.name for each in lists)
    told = replace(
        told,
        training_data=told.training_data or f"{_counted(learn)} of {names}",
        tuned_on=told.tuned_on or f"{_counted(check)} of {names}, held out by subject",
    )
    return deliver_liveness(fitted, banks[1], config, told)


def _weights(start: str) -> dict[str, torch.Tensor] | None:
    if not start:
        return None
    try:
        stored: dict[str, torch.Tensor] = torch.load(start, "cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as wrong:
        raise TrainingRefused(f"{start} holds no weights to go on from: {wrong}") from wrong
    return stored


def _canvases(lists: Sequence[Listed], store: ModelStore, teller: Teller) -> Canvases:
    if not lists:
        raise TrainingRefused("there is nothing to learn from: name a list or a folder")
    manifest = store.manifest("yunet")
    if manifest.kind is not Kind.DETECTOR:
        raise TrainingRefused("yunet is no detector here")
    session = store.session(manifest, Precision.FP32, RuntimeName.OPENVINO, Cores())
    detector = Detector(session)
    teller.stage("finding faces", sum(len(each.presentations) for each in lists))
    parts = [cut_canvases(each.presentations, each.images, detector, teller.done) for each in lists]
    return Canvases(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.live for part in parts]),
        np.concatenate([part.species for part in parts]),
        np.concatenate([part.subject for part in parts]),
    )


def _counted(canvases: Canvases) -> str:
    alive, digest = int(canvases.live.sum()), hashlib.sha256(canvases.pixels.tobytes())
    return (
        f"{alive:,} live photographs and {len(canvases) - alive:,} real attacks, "
        f"{len(np.unique(canvases.subject)):,} subjects ({digest.hexdigest()[:12]}),"
    )


def _keep_metrics(epochs: Sequence[Epoch], path: Path) -> None:
    rows = [f"{e.number},{e.loss:.5f},{e.eer:.5f},{e.pace:.1f}" for e in epochs]
    path.write_text("\n".join(["epoch,loss,eer,pace", *rows]) + "\n", "utf-8")
