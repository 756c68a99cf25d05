"""A run of ``visavis train liveness``, from photographs to a network in use."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from visavis.detect import Detector
from visavis.errors import TrainingRefused
from visavis.evaluate.listing import Presentation, read_people, read_presentations
from visavis.models import Cores, Kind, Precision, RuntimeName
from visavis.train.live_bank import Canvases, cut_canvases, planned, render, split
from visavis.train.live_finish import LiveDelivered, Told, deliver_liveness
from visavis.train.live_keep import PARTS, RENDERED, Keep
from visavis.train.liveness import Course, fit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from visavis.models import ModelStore
    from visavis.train.live_config import LivenessConfig
    from visavis.train.live_keep import Kept
    from visavis.train.live_state import Epoch

LAST = "last.pt"


@dataclass(frozen=True, slots=True)
class Listed:
    """Presentations to learn from, and the folder their paths are relative to."""

    presentations: tuple[Presentation, ...]
    images: Path
    name: str

    @property
    def called(self) -> str:
        """What it is called where others read of it: its name and that of the folder it is in."""
        within = self.images if self.images.name != self.name else self.images.parent
        return f"{within.name}/{self.name}"


@dataclass(frozen=True, slots=True)
class LiveTrained:
    """How a run ended: with files for others, or asked to stop, ready to be resumed."""

    epochs: int
    delivered: LiveDelivered | None


class Teller:
    """Is told how a run goes on; as it is, keeps it to itself."""

    def stage(self, what: str, total: int) -> None:
        """Hear that something of so many parts begins."""

    def done(self, count: int) -> None:
        """Hear that so many parts more are done."""

    def epoch(self, epoch: Epoch) -> bool:  # noqa: ARG002
        """Hear how an epoch ended; says whether to stop after it."""
        return False


@dataclass(frozen=True, slots=True)
class Means:
    """What a run has beside photographs and configuration.

    Attributes
    ----------
    store
        Holds the detector.
    resume
        Whether to go on with the run in the folder.
    """

    store: ModelStore
    teller: Teller = field(default_factory=Teller)
    resume: bool = False


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
    told: Told,
    means: Means,
) -> LiveTrained:
    """Learn liveness, and write network, manifest, points and card into a folder.

    ``config.json``, ``metrics.csv``, the best epoch's weights (``best.pt``) and, to go on from, the
    presentations (``presentations/``) and the last epoch's state (``last.pt``) lie beside them.

    Parameters
    ----------
    told
        Its ``training_data`` and ``tuned_on``, when empty, are filled in with the sets' names and
        counts.

    Raises
    ------
    TrainingRefused
        When the photographs are too few, or of one subject; when the folder holds a run that is
        not to be resumed, or one that was asked for something else.
    """
    teller, folder = means.teller, told.folder
    if (folder / LAST).exists() and not means.resume:
        raise TrainingRefused(f"{folder} holds a run: go on with --resume, or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config.as_json(), indent=1) + "\n", "utf-8")
    learn, choose, measure = _banks(lists, config, means, folder)
    teller.stage("learning", config.epochs)
    heard: list[Epoch] = []

    def hear(epoch: Epoch) -> bool:
        heard.append(epoch)
        _keep_metrics(heard, folder / "metrics.csv")
        return teller.epoch(epoch)

    course = Course(hear, _weights(config.start), folder / LAST)
    fitted = fit(learn.bank, choose.bank, config, course)
    torch.save(fitted.network.state_dict(), folder / "best.pt")
    if len(fitted.epochs) < config.epochs:
        return LiveTrained(len(fitted.epochs), None)
    names = " and ".join(each.called for each in lists)
    told = replace(
        told,
        training_data=told.training_data or f"{learn.said} of {names}",
        tuned_on=told.tuned_on or f"{measure.said} of {names}, held out by subject",
    )
    return LiveTrained(len(fitted.epochs), deliver_liveness(fitted, measure.bank, config, told))


def _banks(
    lists: Sequence[Listed],
    config: LivenessConfig,
    means: Means,
    folder: Path,
) -> list[Kept]:
    """Render what is learnt from, chosen by and measured on, or map what was rendered before."""
    if not lists:
        raise TrainingRefused("there is nothing to learn from: name a list or a folder")
    asked = {
        "config": {name: value for name, value in config.as_json().items() if name in RENDERED},
        "lists": [[each.name, str(each.images), len(each.presentations)] for each in lists],
    }
    kept = Keep(folder / "presentations", asked)
    if kept.whole():
        return [kept.opened(part) for part in PARTS]
    teller = means.teller
    parts = split(_canvases(lists, means.store, teller), config)
    once = replace(config, seed=config.seed + 1, rounds=1, real=0)
    plans = (config, once, replace(once, seed=config.seed + 2))
    for name, part, plan in zip(PARTS, parts, plans, strict=True):
        teller.stage(f"presenting, to {name}", planned(part, plan))
        bank = render(part, plan, teller.done, kept.file(name))
        kept.labelled(name, bank, _counted(part))
    kept.finished()
    return [kept.opened(part) for part in PARTS]


def _weights(start: str) -> dict[str, torch.Tensor] | None:
    if not start:
        return None
    try:
        stored: dict[str, torch.Tensor] = torch.load(start, "cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, LookupError, pickle.UnpicklingError) as wrong:
        raise TrainingRefused(f"{start} holds no weights to go on from: {wrong}") from wrong
    return stored


def _canvases(lists: Sequence[Listed], store: ModelStore, teller: Teller) -> Canvases:
    manifest = store.manifest("yunet")
    if manifest.kind is not Kind.DETECTOR:
        raise TrainingRefused("yunet is no detector here")
    session = store.session(manifest, Precision.FP32, RuntimeName.OPENVINO, Cores())
    detector = Detector(session)
    teller.stage("finding faces", sum(len(each.presentations) for each in lists))
    parts = [cut_canvases(each.presentations, each.images, detector, teller.done) for each in lists]
    return Canvases.joined(parts)


def _counted(canvases: Canvases) -> str:
    alive, digest = int(canvases.live.sum()), hashlib.sha256(canvases.pixels.tobytes())
    return (
        f"{alive:,} live photographs and {len(canvases) - alive:,} real attacks, "
        f"{len(np.unique(canvases.subject)):,} subjects ({digest.hexdigest()[:12]}),"
    )


def _keep_metrics(epochs: Sequence[Epoch], path: Path) -> None:
    rows = [f"{e.number},{e.loss:.5f},{e.eer:.5f},{e.pace:.1f}" for e in epochs]
    path.write_text("\n".join(["epoch,loss,eer,pace", *rows]) + "\n", "utf-8")
