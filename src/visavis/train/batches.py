"""Batches read ahead of the network: what a step sees follows from its number alone."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from visavis.train.pack import Pack
    from visavis.train.sampler import PeopleSampler

AHEAD = 2
"""Batches that wait for the network; each is read and decoded while it computes."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one forward pass sees.

    Attributes
    ----------
    crops
        (B, S, S, 3) uint8, RGB.
    labels
        (B,) int64: the person, counted among those learnt from.
    kept
        (B, D) float32 encodings that a starting encoder gave; None when they are not asked for.
    """

    crops: Tensor
    labels: Tensor
    kept: Tensor | None


class Batches:
    """Reads the batches of a run in order, a few ahead.

    Parameters
    ----------
    people
        The people learnt from, sorted; a label is a place in it.
    kept
        (images, D) float32, memory-mapped; see ``Batch.kept``.
    place
        Which of how many processes this is.
    workers
        Threads that read and decode.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what a batch is made of
        self,
        pack: Pack,
        sampler: PeopleSampler,
        people: NDArray[np.int64],
        kept: NDArray[np.float32] | None = None,
        place: tuple[int, int] = (0, 1),
        workers: int = 1,
    ) -> None:
        self._pack = pack
        self._sampler = sampler
        self._people = people
        self._kept = kept
        self._place = place
        self._workers = workers
        self._next = 0
        self._pool: ThreadPoolExecutor | None = None
        self._ahead: deque[Future[Batch]] = deque()

    def read(self, number: int) -> Batch:
        """Read one batch by its number, counted from 0."""
        rows = self._sampler.batch(number, *self._place)
        owners = self._pack.owners(rows)
        labels = np.searchsorted(self._people, owners)
        kept = None if self._kept is None else torch.from_numpy(np.array(self._kept[rows]))
        return Batch(torch.from_numpy(self._pack.read(rows)), torch.from_numpy(labels), kept)

    def take(self, number: int) -> Batch:
        """Give one batch, and have those after it read meanwhile; errors of reading come here."""
        if number != self._next:
            self.close()
            self._next = number
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="batches")
        while len(self._ahead) < self._workers + AHEAD:
            self._ahead.append(self._pool.submit(self.read, number + len(self._ahead)))
        self._next += 1
        return self._ahead.popleft().result()

    def close(self) -> None:
        """Stop reading ahead."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None
        self._ahead.clear()
