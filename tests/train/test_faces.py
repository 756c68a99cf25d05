"""The drawn faces are a real problem: repeatable, and not to be solved by looking at pixels."""

from __future__ import annotations

import time

import numpy as np
from faces import Draught, album, draw, draw_many
from sklearn.metrics import roc_auc_score


def test_the_same_numbers_draw_the_same_photograph():
    assert np.array_equal(draw(3, 4), draw(3, 4))
    assert not np.array_equal(draw(3, 4), draw(3, 5))
    assert not np.array_equal(draw(3, 4), draw(4, 4))


def test_a_photograph_does_not_depend_on_what_is_drawn_with_it():
    pixels, owners = album(20, 10)
    assert np.array_equal(pixels[137], draw(13, 7))
    assert owners[137] == 13
    assert pixels.shape == (200, 32, 32, 3)
    assert draw(0, 0, 64).shape == (64, 64, 3)


def test_photographs_are_neither_dark_nor_burnt_out():
    pixels, _ = album(20, 5)
    assert 90 < pixels.mean() < 150
    assert ((pixels == 0) | (pixels == 255)).mean() < 0.15


def test_pixels_do_not_tell_people_apart():
    pixels, owners = album(60, 8, first=1_000)
    rows = pixels.reshape(len(pixels), -1).astype(np.float32) / 255
    contrast = rows - rows.mean(1, keepdims=True)
    for seen in (rows, contrast / np.linalg.norm(contrast, axis=1, keepdims=True)):
        likeness = seen @ seen.T * 2 - (seen**2).sum(1) - (seen**2).sum(1)[:, None]
        first, second = np.triu_indices(len(seen), 1)
        auc = roc_auc_score(owners[first] == owners[second], likeness[first, second])
        assert 0.45 < auc < 0.65


def test_who_somebody_is_shows_when_all_else_is_equal():
    """In one light, from one side: nearest in pixels is always the same person, but for noise."""
    who, views = np.repeat(np.arange(20), 3), np.tile(np.arange(3), 20)
    alike = draw_many(who, views, draught=Draught(views=0)).reshape(60, -1).astype(float)
    apart = np.linalg.norm(alike[:, None] - alike[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert np.array_equal(who[apart.argmin(1)], who)


def test_they_are_drawn_fast_enough_for_tests():
    start = time.process_time()
    album(50, 10)
    assert 500 / (time.process_time() - start) > 500
