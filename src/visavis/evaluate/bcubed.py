"""How good a clustering is: B-cubed precision, recall and F1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class BCubed:
    """Precision and recall, each the mean over items, in [0, 1]; higher is better."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """Give the harmonic mean of the two."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def bcubed(truth: ArrayLike, found: ArrayLike, counted: ArrayLike | None = None) -> BCubed:
    """Hold a clustering against the truth (Bagga and Baldwin 1998).

    An item's precision is the share of its cluster that belongs with it, its recall the share of
    what belongs with it that is in its cluster; the item itself counts in both.

    Parameters
    ----------
    truth, found
        (N,) whose each item is, and in which cluster it was put.
    counted
        (N,) bool, over which items the mean is taken; all N make up clusters and people all the
        same, so that a stranger in a cluster costs its precision. None counts all.

    Examples
    --------
    >>> bcubed([0, 0, 0, 1], [5, 5, 6, 6])
    BCubed(precision=0.75, recall=0.6666666666666666)
    """
    whose, cluster = _numbered(truth), _numbered(found)
    if whose.shape != cluster.shape or not whose.size:
        raise ValueError("truth and found name the same items, at least one")
    both = whose * (cluster.max() + 1) + cluster
    _, pair, size = np.unique(both, return_inverse=True, return_counts=True)
    together = size[pair]
    mean_over = np.ones(len(whose), bool) if counted is None else np.asarray(counted, bool)
    precision = together / np.bincount(cluster)[cluster]
    recall = together / np.bincount(whose)[whose]
    return BCubed(float(precision[mean_over].mean()), float(recall[mean_over].mean()))


def _numbered(labels: ArrayLike) -> NDArray[np.int64]:
    return np.unique(np.asarray(labels), return_inverse=True)[1].astype(np.int64)
