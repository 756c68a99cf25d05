"""One page that says how a run of training went and what came of it: ``training_html``.

Nothing is computed here: what ``metrics.csv``, the checks and the measurement on held-out people
say is told in words, drawn by ``plots`` and laid out by ``training.html.j2``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import visavis
from visavis.evaluate import plots as drawn
from visavis.evaluate.findings import printable
from visavis.evaluate.page import NONE, Alarm, Cell, Run, Table, percent, rate, rates, rendered
from visavis.evaluate.page import share as share_cell
from visavis.evaluate.report import verification_numbers, verification_words
from visavis.train import plots
from visavis.train.journal import read_journal
from visavis.train.objectives import Term
from visavis.train.sampler import paired

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from visavis.evaluate.plots import Plot
    from visavis.evaluate.protocols import Verification
    from visavis.train.finish import Delivered
    from visavis.train.objectives import ObjectiveConfig
    from visavis.train.run import Trained

METRICS = "metrics.csv"


def training_html(trained: Trained, delivered: Delivered, run: Run | str = "") -> str:
    """Give the page.

    Parameters
    ----------
    trained
        A run that has ended; its folder holds ``metrics.csv``.
    delivered
        What ``finish.deliver`` made of it.
    run
        How it came about: the command as typed, or that and when.

    Raises
    ------
    MissingExtra
        Without matplotlib.
    """
    run = run if isinstance(run, Run) else Run(run)
    looks = plots.Looks(read_journal(trained.folder / METRICS))
    template = Path(__file__).with_name("training.html.j2")
    page = rendered(
        template,
        title=f"Training: {_name(delivered)}",
        alarms=list(_alarms(trained, delivered)),
        headlines=_headlines(trained, delivered),
        results=[verification_numbers(delivered.held_out), *_points(delivered)],
        held_out=[drawn.det(delivered.held_out), drawn.distributions(delivered.held_out[0])],
        ill=looks.noted,
        no_points="" if delivered.points else delivered.why,
        checks=_checks(trained),
        looks=_on_validation(trained, looks),
        course=_course(trained, looks),
        settings=[_settings(trained)],
        provenance=_provenance(trained, delivered, looks, run),
    )
    return printable(page)


# What is said first


def _alarms(trained: Trained, delivered: Delivered) -> Iterator[Alarm]:
    if trained.notes:
        stopped = any(": stopped: " in note for note in trained.notes)
        yield Alarm(
            "The run was ill and was stopped" if stopped else "The run was ill and was mended",
            trained.notes,
            "Dotted lines in the plots below show where. The weights delivered are those of the "
            "best check on validation people.",
        )
    if _best(trained.checks) == 0 and len(trained.checks) > 1:
        yield Alarm(
            "Nothing was gained by training",
            (
                f"None of the {len(trained.checks) - 1} checks after the first step was better "
                "than the one before it, so that what is delivered is what the run started from.",
            ),
            "A lower learning rate, another objective or more people may help.",
        )
    own, *before = delivered.held_out
    if before and _against(own, before[0]) < 0:
        yield Alarm(
            f"{own.setting.encoder} is worse than {before[0].setting.encoder}, which it started "
            "from",
            (_compared(own, before[0]),),
            "A lower learning rate, or 'keep' as part of the objective, forgets less.",
        )


def _headlines(trained: Trained, delivered: Delivered) -> list[str]:
    own, *before = delivered.held_out
    told = [_learnt(trained, delivered), _ended(trained), verification_words(own)]
    # One that is worse is said above all.
    return [*told, *(_compared(own, other) for other in before if _against(own, other) >= 0)]


def _learnt(trained: Trained, delivered: Delivered) -> str:
    pack, start = trained.pack, trained.start
    people = paired(pack.offsets, trained.split.train)
    photographs = int((pack.offsets[people + 1] - pack.offsets[people]).sum())
    begun = f"the encoder {start.name}" if start.pretrained else f"{start.name} with random weights"
    return (
        f"{_name(delivered)} was trained from {begun} on {photographs:,} photographs of "
        f"{len(people):,} people of {pack.path.name}, by {_objective(trained.config.objective)}. "
        f"Held out were {len(trained.split.validation):,} people to choose the weights by, and "
        f"{len(trained.split.calibration):,} others to measure the result on."
    )


def _ended(trained: Trained) -> str:
    checks = trained.checks
    best = _best(checks)
    told = (
        f"It ended because {trained.ending}. The weights are those of step "
        f"{checks[best]['step']:,}, the best of {len(checks):,} checks on validation people."
    )
    if best == len(checks) - 1 and best and not trained.notes:
        told += " That was the last check: more steps may bring more."
    return told


def _against(own: Verification, other: Verification) -> int:
    """Give 1 when better, -1 when worse, 0 when the intervals do not tell."""
    far = _shared(own, other)
    if far is None:
        return 0
    new, old = own.tar[far], other.tar[far]
    return (new.low > old.high) - (new.high < old.low)


def _compared(own: Verification, other: Verification) -> str:
    name, far = other.setting.encoder, _shared(own, other)
    if far is None:
        return (
            f"The encoder it started from, {name}, has an equal error rate of "
            f"{percent(other.eer)} there."
        )
    told = {
        1: "so that training made it better.",
        -1: "so that training made it worse.",
        0: "a difference that chance may have made.",
    }[_against(own, other)]
    new, old = own.tar[far], other.tar[far]
    return (
        f"At FAR {far} {percent(new.value)} of the mated pairs are accepted; by the encoder it "
        f"started from, {name}, {percent(old.value)} "
        f"(95 %: {percent(old.low)} to {percent(old.high)}), {told}"
    )


def _shared(own: Verification, other: Verification) -> str | None:
    """Choose the rate that is spoken of: 1e-3, or the lowest that both were measured at."""
    both = [far for far in own.tar if far in other.tar]
    return "1e-3" if "1e-3" in both else both[-1] if both else None


def _best(checks: Sequence[dict[str, Any]]) -> int:
    """Give the number of the best check, the earliest of equals."""
    return max(range(len(checks)), key=lambda i: (checks[i]["score"], -i))


def _name(delivered: Delivered) -> str:
    return delivered.held_out[0].setting.encoder


def _terms(objective: ObjectiveConfig) -> str:
    return " + ".join(
        f"{weight:g} {term}" if weight != 1 else str(term) for term, weight in objective.terms
    )


def _objective(objective: ObjectiveConfig) -> str:
    told = f"the objective {_terms(objective)}"
    if Term.TRIPLET in {term for term, _ in objective.terms}:
        told += f" ({objective.mining} negatives, alpha {objective.alpha:g})"
    return told


# Plots


def _on_validation(trained: Trained, looks: plots.Looks) -> list[Plot]:
    checks, best = trained.checks, _best(trained.checks)
    both = [checks[0], checks[best]]
    top = plots.highest(both)
    return [
        plots.distances(both[0], "at the first check", "train-first", top),
        plots.distances(both[1], "at the best check", "train-best", top),
        *(plots.sights(looks, checks, name, best) for name in ("accuracy", "tar", "eer")),
    ]


def _course(trained: Trained, looks: plots.Looks) -> list[Plot]:
    found = []
    if looks.has("loss"):
        found.append(plots.loss(looks, *_margin(trained.config.objective)))
    if looks.has("active"):
        found.append(plots.active(looks))
    if looks.has("nonmated"):
        found.append(plots.pairs(looks))
    if looks.has("dimension"):
        found.append(plots.dimension(looks))
    if looks.has("gradient"):
        found.append(plots.gradient(looks, trained.config.learning.clip))
    if looks.has("rate"):
        found.append(plots.rate(looks))
    return found


def _margin(objective: ObjectiveConfig) -> tuple[float | None, str]:
    """Give the loss of a network that has collapsed; known where triplets are all there is."""
    (term, weight), *more = objective.terms
    if more or term is not Term.TRIPLET or not objective.alpha:
        return None, ""
    return weight * objective.alpha, "alpha" if weight == 1 else f"{weight:g} times alpha"


# Tables


def _points(delivered: Delivered) -> list[Table]:
    own = delivered.held_out[0]
    curve = own.setting.curve
    if curve is None or not delivered.points:
        return []
    rows = tuple(
        (
            Cell(rate(point.fmr), "extrapolated" if point.extrapolated else ""),
            Cell(f"{point.tau:.4f}"),
            Cell(rate(point.promised_upper)),
            Cell(rate(point.measured_fmr.value), f"[{rates(point.measured_fmr)}]"),
            share_cell(point.measured_fnmr),
        )
        for point in own.points
    )
    return [
        Table(
            f"Operating points: {own.setting.encoder}",
            ("FMR", "tau", "at most", "FMR here", "FNMR here"),
            rows,
            f"Measured on {curve.tuned_on}, {curve.pairs:,} comparisons of different people. "
            "At most: the upper end of the 95 % interval. Here: on the very people it was measured "
            "on, so that this is no test of the points; measuring other people is.",
        )
    ]


def _checks(trained: Trained) -> Table:
    """Tell of the first check, the best and the last."""
    checks, best = trained.checks, _best(trained.checks)
    named: dict[int, list[str]] = {}
    for number, name in ((0, "first"), (best, "best"), (len(checks) - 1, "last")):
        named.setdefault(number, []).append(name)
    shown = [checks[number] for number in named]
    rows = [
        (Cell("Step"), *(Cell(f"{check['step']:,}") for check in shown)),
        (Cell("Score"), *(Cell(f"{check['score']:.4f}") for check in shown)),
    ]
    for n, sight in enumerate(checks[0]["sights"]):
        at = f"faces {sight['width']} pixels wide" if sight["width"] else ""
        rows += [
            (Cell(words, at), *(Cell(percent(check["sights"][n][name])) for check in shown))
            for name, words in _MEASURES.items()
        ]
    return Table(
        "Checks on validation people",
        ("", *(" and ".join(names) for names in named.values())),
        tuple(rows),
        "The best weights are those with the highest score, the mean of TAR and accuracy. These "
        "people chose them, so that these numbers flatter; those above, on people who chose "
        "nothing, do not.",
    )


_MEASURES = {"accuracy": "Accuracy", "tar": "TAR at FAR 1e-2", "eer": "Equal error rate"}


def _settings(trained: Trained) -> Table:
    """Tell every setting; of people left out only how many there are."""
    plain = trained.config.as_json()
    plain["exclude"] = f"{len(trained.config.exclude):,} people"
    plain["objective"]["terms"] = _terms(trained.config.objective)
    rows = tuple((Cell(name), Cell(value)) for name, value in _flat(plain))
    return Table("Configuration", ("setting", "value"), rows)


def _flat(part: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in part.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        elif isinstance(value, list):
            yield above + name, ", ".join(f"{each}" for each in value) or NONE
        else:
            yield above + name, NONE if value is None else f"{value}"


def _provenance(
    trained: Trained, delivered: Delivered, looks: plots.Looks, run: Run
) -> list[tuple[str, str]]:
    pack, start = trained.pack, trained.start
    told = [
        (f"Encoder {each.setting.encoder}", each.setting.encoder_id) for each in delivered.held_out
    ]
    if start.pretrained:
        made = f"{start.name}, SHA-256 {start.pretrained.sha256}, {start.pretrained.licence}"
        told.append(("Started from", made))
    seconds = [float(row["seconds"]) for row in looks.rows if row["seconds"]]
    told += [
        ("Pack", f"{pack.path.name}, {len(pack):,} photographs of {pack.people:,} people"),
        ("Digest of the pack", pack.digest),
        ("Held out to measure", delivered.held_out[0].setting.data),
        ("Seed", f"{trained.config.seed}"),
        ("Time taken", _time(max(seconds, default=0.0))),
    ]
    if run.command:
        told.append(("Command", run.command))
    repeats = f"95 %, bootstrap over people, {delivered.held_out[0].setting.repeats:,} repeats"
    return [
        *told,
        ("Intervals", repeats),
        ("Made", run.made),
        ("visavis", visavis.__version__),
        ("torch", torch.__version__),
    ]


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
