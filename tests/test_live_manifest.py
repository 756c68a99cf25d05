"""A liveness network's manifest: what it sees of a face is part of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from visavis.errors import ModelRefused
from visavis.models import Kind, Surroundings, manifest_of, read_manifest, write_manifest


def table(**changes):
    return {
        "name": "door",
        "kind": "liveness",
        "file": "door.onnx",
        "sha256": "0" * 64,
        "size": 10,
        "licence": "MIT",
        "origin": "made up",
        "surroundings": {"scale": 2.5, "size": 80},
    } | changes


def test_it_comes_back_as_it_was_written(tmp_path):
    manifest = manifest_of(table())
    assert manifest.kind is Kind.LIVENESS
    assert manifest.surroundings == Surroundings(2.5, 80)
    assert manifest.side == 80
    (tmp_path / "door.toml").write_text(write_manifest(manifest), "utf-8")
    assert read_manifest(tmp_path / "door.toml") == manifest


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"surroundings": None}, "has surroundings"),
        ({"kind": "encoder"}, "no other kind has"),
        ({"surroundings": {"scale": 0.5, "size": 80}}, "scale must be in 1 to 10"),
        ({"surroundings": {"scale": "2", "size": 80}}, "scale must be in 1 to 10"),
        ({"surroundings": {"scale": 2, "size": 8}}, "16 to 1024 pixels"),
        ({"surroundings": {"scale": 2, "size": 80.5}}, "16 to 1024 pixels"),
        ({"surroundings": {"scale": 2}}, "size"),
        ({"surroundings": {"scale": 2, "size": 80, "turn": 1}}, "turn"),
    ],
)
def test_what_could_not_be_is_refused(changes, told):
    with pytest.raises(ModelRefused, match=told):
        manifest_of(table(**changes))


def test_the_shipped_one_is_found_checked_and_described(store):
    manifest = store.manifest("visavis-live")
    assert manifest.kind is Kind.LIVENESS
    assert store.weights(manifest).name == "visavis-live.onnx"
    assert manifest.licence == "Apache-2.0"
    assert "LFW" in manifest.training_data
    with pytest.raises(ModelRefused, match="shipped model's name"):
        store.add(replace(manifest), store.weights(manifest), {})


def test_an_encoder_s_side_is_its_alignment_s(store):
    assert store.manifest("sface").side == 112
