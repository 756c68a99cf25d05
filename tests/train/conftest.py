"""What the tests of training share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from faces import draw_many
from packs import written

torch.set_num_threads(1)  # two tests at a time: more threads would wait for each other


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Thirty drawn people with five views each, 64 pixels."""
    people, views = np.divmod(np.arange(150), 5)
    crops = draw_many(people, views, 64).reshape(30, 5, 64, 64, 3)
    path = tmp_path_factory.mktemp("packs") / "small"
    return written(
        path, {f"p{n:02d}": list(some) for n, some in enumerate(crops)}, alignment="arcface-64"
    )
