"""Who came in between a check and the write that relies on it.

A check of whoever is to be enrolled against everybody there takes a search, which nobody else may
be held up by: it is made before the write. Two processes that check at once do not see each other
then. So the writer, once it is alone, looks at what the change log got since the check: nothing as
a rule, which costs one small query.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .changes import PORTION, read_changes
from .people import found

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from visavis.gallery.secrets.vault import Vault
    from visavis.values import Person, PersonId


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """Templates that were not there when the check was made, or a portion of them.

    Attributes
    ----------
    persons
        Whose the N templates are.
    vectors
        (N, D) float32 unit rows, in the same order; (0, 0) when there are none.
    people
        Those persons, and those whom the recheck asked for, as they are now; somebody who is gone
        is missing.
    """

    persons: tuple[PersonId, ...]
    vectors: NDArray[np.float32]
    people: Mapping[PersonId, Person]


@dataclass(frozen=True, slots=True)
class Recheck:
    """What a check saw, and how what came later is judged.

    Attributes
    ----------
    since, mark
        Where the searcher was before it was asked, see `Changes`.
    look
        Called by the writer, for a portion at a time; it raises to refuse, and then nothing is
        stored. It must ask no gallery for anything: the writer holds the only connection.
    of
        People whom the check relied on, and whose names may have changed since.
    """

    since: int
    mark: str
    look: Callable[[Arrivals], None]
    of: frozenset[PersonId] = frozenset()


def look_again(db: Connection, rechecks: Sequence[Recheck], vault: Vault) -> None:
    """Show each recheck what came since, inside the transaction that will write.

    The earliest decides from where on: seen twice, nothing changes. After a backup was put in the
    gallery's place everything counts as new.
    """
    if not rechecks:
        return
    first = min(rechecks, key=lambda recheck: recheck.since)
    since, mark = first.since, first.mark
    relied = {person for recheck in rechecks for person in recheck.of}
    while True:
        changes = read_changes(db, since, mark, PORTION, vault)
        if changes.added or relied:
            people = found(db, list(relied.union(changes.persons)), vault.where)
            arrivals = Arrivals(changes.persons, changes.vectors, people)
            for recheck in rechecks:
                recheck.look(arrivals)
        if not changes.more:
            return
        since, mark = changes.sequence, changes.mark
