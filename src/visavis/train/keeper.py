"""What a run keeps: its checkpoints, its journal, its best look at held-out people, its health."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from visavis.errors import CheckpointRefused
from visavis.train.checkpoint import load_checkpoint, save_checkpoint
from visavis.train.health import Monitor, Recovery
from visavis.train.journal import Journal
from visavis.train.objectives import Mining
from visavis.train.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from visavis.train.config import TrainConfig
    from visavis.train.health import Action, Vitals
    from visavis.train.learner import Learner
    from visavis.train.watch import Check

LAST, BEST = "last.ckpt", "best.ckpt"
"""Where the run stands, and the weights that told held-out people apart best."""

_BETTER = 1e-6


@dataclass(slots=True)
class Course:
    """What recovery changed, and from which step on.

    Attributes
    ----------
    factor
        Of the learning rate.
    since, warmup
        The rate rises to it again in so many steps.
    """

    mining: Mining
    factor: float = 1.0
    since: int = 0
    warmup: int = 0


class Keeper:
    """Judges the run by its looks and its health, and writes what must survive it.

    Parameters
    ----------
    identity
        Of the data; a checkpoint goes on with no other.
    leads
        True in one process of a run, which writes.
    told
        Called after every step.
    """

    def __init__(  # noqa: PLR0913 - what is kept, and for whom
        self,
        folder: Path,
        config: TrainConfig,
        learner: Learner,
        identity: str,
        *,
        leads: bool = True,
        told: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self.checks: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self._folder, self._config, self._learner = folder, config, learner
        self._identity, self._leads, self._report = identity, leads, told
        self._course = Course(config.objective.mining)
        self._monitor = Monitor(config.health)
        self._recovery = Recovery(config.health)
        self._journal: Journal | None = None
        self._seconds, self._since = 0.0, time.monotonic()

    @property
    def mining(self) -> Mining:
        """Which triplets the next step sees."""
        return self._course.mining

    def rate_factor(self, step: int) -> float:
        """Give what the scheduled learning rate is multiplied by."""
        course = self._course
        risen = (step - course.since + 1) / (course.warmup + 1) if course.warmup else 1.0
        return course.factor * min(1.0, max(risen, 0.0))

    @property
    def best(self) -> dict[str, Any] | None:
        """The best check so far, the earliest of equals."""
        return max(self.checks, key=lambda check: check["score"], default=None)

    def told(self, progress: Progress) -> None:
        """Pass on how far the run is."""
        self._report(progress)

    def judge(self, check: Check) -> str:
        """Take a look at held-out people to the records; gives why to stop, or nothing."""
        best = self.best
        self.checks.append(check.as_json())
        first = check.sights[0]
        self._write(check.step, {"accuracy": first.accuracy, "eer": first.eer, "tar": first.tar})
        self._report_check(check)
        if best is None or check.score > best["score"] + _BETTER:
            self._save(BEST)
        self.keep()
        patience = self._config.held_out.patience
        since = len(self.checks) - 1 - self.checks.index(self.best or {})
        if patience and since >= patience:
            return f"no better for {since} checks on held-out people"
        return ""

    def look(self, signs: Vitals) -> str:
        """Watch over the run's health; mends it where it can, or gives why to stop."""
        known = {k: v for k, v in signs.as_row().items() if v is not None and not math.isnan(v)}
        rate = self._learner.optimizer.param_groups[0]["lr"]
        self._write(signs.step, {"rate": rate, "mining": str(self.mining), **known})
        diagnosis = self._monitor.update(signs)
        if diagnosis is None:
            return ""
        action = self._recovery.next(diagnosis) if self._config.recover else None
        if action is None:
            self._note(signs.step, f"stopped: {diagnosis}")
            return f"{diagnosis}; the best weights before it are kept"
        self._note(signs.step, f"{diagnosis}; going back and on with {action}")
        self._mend(action)
        return ""

    def keep(self) -> None:
        """Write where the run stands."""
        self._save(LAST)

    def resume(self) -> None:
        """Take the run up where ``keep`` left it.

        Raises
        ------
        CheckpointRefused
            When there is none, it is damaged, another version's, or of other data.
        """
        state = load_checkpoint(self._folder / LAST)
        if state.get("identity") != self._identity:
            raise CheckpointRefused(
                f"{self._folder / LAST} was learning from other photographs: go on with the same "
                "pack, or start anew in another folder"
            )
        self._learner.load(state)
        try:
            self._take(state)
        except (KeyError, TypeError, ValueError) as other:
            raise CheckpointRefused(f"{self._folder / LAST} is damaged: {other}") from other

    def open(self, position: int = 0) -> None:
        """Open the journal, cut off where the checkpoint vouches for it no more."""
        if self._leads:
            self._journal = Journal(self._folder, position, self._learner.step)

    def close(self) -> None:
        """Write out what is held back."""
        if self._journal:
            self._journal.close()

    def _take(self, state: dict[str, Any]) -> None:
        self.checks, self.notes = list(state["checks"]), list(state["notes"])
        course = dict(state["course"])
        self._course = Course(**course | {"mining": Mining(course["mining"])})
        self._monitor.load_state_dict(state["monitor"])
        self._recovery.load_state_dict(state["recovery"])
        self._seconds, self._since = float(state["seconds"]), time.monotonic()
        self.open(int(state["position"]))

    def _mend(self, action: Action) -> None:
        if action.restore:
            self._learner.load(load_checkpoint(self._folder / BEST))
        factor = self._course.factor * action.rate_factor
        mining = action.mining or self._course.mining
        self._course = Course(mining, factor, self._learner.step, action.warmup_steps)
        self._monitor = Monitor(self._config.health)
        self.keep()

    def _save(self, name: str) -> None:
        if not self._leads:
            return
        state = {
            **self._learner.state(),
            "identity": self._identity,
            "config": self._config.as_json(),
            "checks": self.checks,
            "notes": self.notes,
            "course": {**asdict(self._course), "mining": str(self.mining)},
            "monitor": self._monitor.state_dict(),
            "recovery": self._recovery.state_dict(),
            "seconds": self._elapsed(),
            "position": self._journal.position if self._journal else 0,
        }
        save_checkpoint(self._folder / name, state)

    def _write(self, step: int, row: dict[str, float | str]) -> None:
        if self._journal:
            self._journal.write(step, {"seconds": round(self._elapsed(), 3), **row})

    def _note(self, step: int, text: str) -> None:
        self.notes.append(f"step {step}: {text}")
        self._write(step, {"note": text})
        self._report(Progress(step, self._config.steps, note=text))

    def _report_check(self, check: Check) -> None:
        self._report(Progress(check.step, self._config.steps, check=check))

    def _elapsed(self) -> float:
        """Seconds of the run, those before an interruption included."""
        return self._seconds + time.monotonic() - self._since
