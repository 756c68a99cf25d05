"""A gallery moved to another encoder: from the very photographs that its people were enrolled from.

A photograph is recognised by its digest, so that nobody's face gets under another's name: only
what was enrolled counts, wherever in the folder it lies. Where it shows several faces, the old
encoder says which of them is the template's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from visavis.engine.at_hand import Absent, AtHand
from visavis.errors import EncoderMismatch, GalleryBusy

if TYPE_CHECKING:
    from pathlib import Path

    from visavis.engine.at_hand import Told
    from visavis.engine.core import Engine
    from visavis.gallery import Gallery
    from visavis.values import EncoderId

_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Reencode:
    """How a gallery is to be re-encoded.

    Attributes
    ----------
    photographs
        Folder to look for the photographs in, with all below it; None takes those that the
        gallery kept.
    drop_missing
        Go on although people are left without a template. They stay enrolled by name, and are
        not recognised until they come again.
    workers
        Photographs worked on side by side; open the engine with ``Cores(workers, workers)``.
    """

    photographs: Path | None = None
    drop_missing: bool = False
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Reencoded:
    """What came of it.

    Attributes
    ----------
    encoder
        The new one.
    people
        How many are recognised with it.
    templates
        New ones; ``lost`` are old ones without a photograph, or with one that cannot be used.
    missing
        Who must come again.
    erased
        False when old vectors may still lie in unused parts of the gallery's file.
    """

    encoder: EncoderId
    people: int
    templates: int
    lost: int
    missing: tuple[Absent, ...]
    erased: bool


def reencode(
    engine: Engine, gallery: Gallery, config: Reencode | None = None, told: Told | None = None
) -> Reencoded:
    """Move a gallery to an engine's encoder.

    Until all is encoded the gallery goes on with the old encoder; then everything changes in one
    transaction, and whoever has the gallery open with the old encoder is refused. Whoever is
    enrolled in between is encoded as well.

    Parameters
    ----------
    engine
        Opened without a gallery, with the new encoder.
    told
        Called with templates done, and templates in all.

    Raises
    ------
    EncoderMismatch
        When the gallery has that encoder already.
    CopyRefused
        When people would be lost and that was not asked for; nothing changes.
    InputRefused, GalleryError, ModelError
    """
    from visavis.gallery.upkeep.reencoding import Newcomers  # noqa: PLC0415

    config = config or Reencode()
    if gallery.encoder == engine.encoder.id:
        raise EncoderMismatch(
            f"the gallery {gallery.where} is {engine.encoder.name}'s already; name the encoder to "
            "move it to (--encoder, --precision)"
        )
    work = AtHand(engine, gallery, config.photographs, config.workers)
    for _ in range(_ROUNDS):
        there = work.catch_up(told)
        try:
            done = work.stored.switch(
                {key: vector for key, vector in work.vectors.items() if key in there},
                (engine.encoder.id, engine.encoder.name),
                seen=frozenset(there),
                drop_missing=config.drop_missing,
            )
        except Newcomers:
            continue
        missing = work.absent(there, set(done.missing))
        people = len({each.person for each in there.values()}) - len(missing)
        return Reencoded(engine.encoder.id, people, done.templates, done.lost, missing, done.erased)
    raise GalleryBusy(
        f"people were enrolled in {gallery.where} all the time, {_ROUNDS} times in a row; try again"
    )
