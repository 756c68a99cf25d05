"""Presentations to scores, by the engine's own liveness network."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from visavis.errors import ImageRefused, ProtocolRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from visavis.engine import Engine
    from visavis.evaluate.listing import Presentation
    from visavis.values import Liveness


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Presentations that a network could judge, and those it could not.

    Attributes
    ----------
    rows
        Each with its score.
    failed
        Path to the reason why there is no score.
    model
        The network's name.
    threshold
        What the network itself decides by; None when it could judge nothing.
    remarks
        How many of each class gave no score: an attack without a face is none that was stopped
        by the network, nor is a live face that it could not find one that was turned away.
    """

    rows: tuple[Presentation, ...]
    failed: Mapping[str, str]
    model: str
    threshold: float | None
    remarks: tuple[str, ...] = ()


def scored(
    engine: Engine,
    rows: Sequence[Presentation],
    images: Path,
    told: Callable[[int], None] = lambda _: None,
    workers: int = 1,
) -> Scored:
    """Judge every presentation, one picture at a time.

    Parameters
    ----------
    images
        The folder that the paths are relative to.
    told
        Called with 1 after each picture.

    Raises
    ------
    ProtocolRefused
        When pictures do not exist, or none of a class could be judged.
    ModelError
        When the network cannot be opened.
    """
    missing = sorted({row.path for row in rows if not (images / row.path).is_file()})
    if missing:
        raise ProtocolRefused(
            f"{len(missing)} picture(s) are not below {images}, such as {missing[0]}; "
            "name the folder with --images"
        )

    def judged(row: Presentation) -> Liveness | str:
        try:
            return engine.liveness(images / row.path)
        except ImageRefused as refused:
            return f"{refused.code}: {refused}"

    found: list[Presentation] = []
    failed: dict[str, str] = {}
    threshold, model = None, engine.config.liveness
    with ThreadPoolExecutor(workers) as pool:
        for row, answer in zip(rows, pool.map(judged, rows), strict=True):
            if isinstance(answer, str):
                failed[row.path] = answer
            elif answer.score is None:
                failed[row.path] = "; ".join(answer.reasons)
            else:
                found.append(replace(row, score=answer.score))
                threshold = answer.threshold
            told(1)
    _both(found, failed)
    return Scored(tuple(found), failed, model, threshold, _remarks(rows, failed))


def _both(found: Sequence[Presentation], failed: Mapping[str, str]) -> None:
    for live, name in ((True, "live"), (False, "attack")):
        if not any(row.live is live for row in found):
            why = next(iter(failed.values()), "there are none")
            raise ProtocolRefused(f"no {name} presentation could be judged, for instance: {why}")


def _remarks(rows: Sequence[Presentation], failed: Mapping[str, str]) -> tuple[str, ...]:
    total = Counter(_kind(row) for row in rows)
    without = Counter(_kind(row) for row in rows if row.path in failed)
    return tuple(
        f"{number} of {total[kind]} {kind} presentations gave no score and stand in no rate"
        for kind, number in sorted(without.items())
    )


def _kind(row: Presentation) -> str:
    return "live" if row.live else row.species
