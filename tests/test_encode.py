"""Unit vectors, the same whoever computes them, alone or in company."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from visavis.align import align
from visavis.detect import Detector
from visavis.encode import SessionEncoder, embed
from visavis.errors import ModelRefused
from visavis.image import open_image
from visavis.models import Cores, Precision, RuntimeName
from visavis.values import EncoderId

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from visavis.models import ModelStore
    from visavis.values import Crop

OBAMA = ["obama.jpg", "obama2.jpg", "obama3.jpg", "obama_partial_face.jpg"]
OBAMA += ["obama_partial_face2.jpg"]


def make(
    store: ModelStore,
    precision: Precision = Precision.FP32,
    on: RuntimeName = RuntimeName.OPENVINO,
    cores: Cores = Cores(1),  # noqa: B008 - frozen
) -> SessionEncoder:
    manifest = store.manifest("sface")
    session = store.session(manifest, precision, on, cores)
    return SessionEncoder(session, store.encoder_id(manifest, precision), "sface")


@pytest.fixture(scope="module")
def crops(store: ModelStore, photographs: dict[str, Path]) -> dict[str, Crop]:
    manifest = store.manifest("yunet")
    session = store.session(manifest, Precision.FP32, RuntimeName.OPENVINO, Cores(1))
    detector = Detector(session)
    images = {name: open_image(path) for name, path in photographs.items()}
    return {name: align(image, detector.find(image)[0]) for name, image in images.items()}


@pytest.fixture(scope="module")
def stack(crops: dict[str, Crop]) -> NDArray[np.uint8]:
    return np.stack([crop.pixels for crop in crops.values()])


@pytest.fixture(scope="module")
def encoder(store: ModelStore) -> SessionEncoder:
    return make(store)


@pytest.fixture(scope="module")
def rows(encoder: SessionEncoder, stack: NDArray[np.uint8]) -> NDArray[np.float32]:
    return encoder.encode(stack)


def test_rows_have_unit_length(rows, stack):
    assert rows.shape == (len(stack), 128)
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows.astype(np.float64), axis=1) == pytest.approx(1, abs=1e-6)


def test_noise_black_and_white_have_unit_rows_too(encoder):
    noise = np.random.default_rng(1).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    odd = encoder.encode(np.stack([noise, noise * 0, noise * 0 + 255]))
    assert np.linalg.norm(odd, axis=1) == pytest.approx(1, abs=1e-6)


def test_known_people_are_told_apart(rows, crops):
    """All of the president are nearer to each other than to anybody else."""
    by_name = dict(zip(crops, rows, strict=True))
    d = {(a, b): 2 - 2 * float(by_name[a] @ by_name[b]) for a in crops for b in crops}
    mated = [d[a, b] for a in OBAMA for b in OBAMA if a < b]
    others = [d[a, b] for a in OBAMA for b in ("biden.jpg", "astronaut.png")]
    assert max(mated) < 0.9
    assert min(others) > 1.3
    assert d["biden.jpg", "astronaut.png"] > 1.3


def test_known_distances(rows, crops):
    """Written down from two runtimes that agree to six digits; another picture was other."""
    by_name = dict(zip(crops, rows, strict=True))
    for other, d in (("obama2.jpg", 0.54), ("obama3.jpg", 0.40), ("biden.jpg", 1.77)):
        cosine = float(by_name["obama.jpg"] @ by_name[other])
        assert 2 - 2 * cosine == pytest.approx(d, abs=0.03), other


def test_alone_or_in_a_batch_is_the_same(encoder, rows, stack):
    for row, crop in zip(rows, stack, strict=True):
        assert np.array_equal(encoder.encode(crop[None])[0], row)
    assert np.array_equal(encoder.encode(stack[::-1]), rows[::-1])


def test_what_came_before_does_not_matter(encoder, rows, stack):
    encoder.encode(np.full((3, 112, 112, 3), 255, np.uint8))
    assert np.array_equal(encoder.encode(stack[:1]), rows[:1])


def test_views_and_readonly_arrays_are_taken(encoder, rows, stack):
    wide = np.zeros((len(stack), 112, 224, 3), np.uint8)
    wide[:, :, ::2] = stack
    assert np.array_equal(encoder.encode(wide[:, :, ::2]), rows)
    frozen = stack.copy()
    frozen.flags.writeable = False
    assert np.array_equal(encoder.encode(frozen), rows)


def test_openvino_and_onnx_runtime_agree(store, rows, stack):
    other = make(store, on=RuntimeName.ONNXRUNTIME).encode(stack)
    assert np.abs(other - rows).max() < 1e-4


def test_opencvs_recogniser_agrees(store, rows, stack):
    """The same weights file in OpenCV's own FaceRecognizerSF, which takes BGR."""
    weights = str(store.weights(store.manifest("sface")))
    sface = cv2.FaceRecognizerSF.create(weights, "")
    for row, crop in zip(rows, stack, strict=True):
        feature = sface.feature(np.ascontiguousarray(crop[..., ::-1]))[0]
        cosine = float(feature @ row / np.linalg.norm(feature))
        assert cosine > 0.999


def test_the_order_of_colours_matters(encoder, rows, stack):
    """Otherwise the agreement above would not show that it is right."""
    swapped = encoder.encode(np.ascontiguousarray(stack[..., ::-1]))
    assert (swapped * rows).sum(1).max() < 0.999


def test_int8_is_near_fp32(store, rows, stack):
    table = store.table(store.manifest("sface"))
    assert table is not None
    assert table.name == "sface.int8.npz"
    small = make(store, Precision.INT8)
    cosine = (small.encode(stack) * rows).sum(1)
    assert cosine.min() > 0.97
    assert cosine.max() < 1 - 1e-6  # or it was fp32 under another name
    assert small.id != store.encoder_id(store.manifest("sface"), Precision.FP32)


@pytest.mark.parametrize("cores", [Cores(1, 1), Cores(2, 1), Cores(2, 2), Cores()])
def test_threads_and_streams_do_not_change_the_vectors(store, rows, stack, cores):
    assert np.abs(make(store, cores=cores).encode(stack) - rows).max() < 1e-5


@pytest.mark.parametrize("on", RuntimeName)
def test_eight_threads_get_the_same_vectors(store, stack, on):
    encoder = make(store, on=on, cores=Cores(2, 2))
    alone = encoder.encode(stack)
    order = [i % len(stack) for i in range(64)]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda i: encoder.encode(stack[i][None])[0], order))
    for i, row in zip(order, together, strict=True):
        assert np.abs(row - alone[i]).max() < 1e-6


def test_results_are_kept_when_the_network_runs_again(encoder, stack):
    """A view of the runtime's own memory would change under the caller."""
    first = encoder.encode(stack[:1])
    copy = first.copy()
    encoder.encode(stack[1:])
    assert np.array_equal(first, copy)


@pytest.mark.parametrize(
    "crops",
    [
        np.zeros((112, 112, 3), np.uint8),
        np.zeros((1, 3, 112, 112), np.uint8),
        np.zeros((1, 96, 96, 3), np.uint8),
        np.zeros((1, 112, 112, 3), np.float32),
    ],
)
def test_other_arrays_are_a_programming_error(encoder, crops):
    with pytest.raises(ValueError, match="112"):
        encoder.encode(crops)


class Constant:
    """A network that gives the same whatever it sees."""

    def __init__(self, output: np.ndarray) -> None:
        self.output = output

    def run(self, _: np.ndarray) -> list[np.ndarray]:
        return [self.output]


@pytest.mark.parametrize(
    "output",
    [
        np.zeros((1, 4), np.float32),
        np.array([[1, np.nan, 0]], np.float32),
        np.array([[1, np.inf, 0]], np.float32),
        np.ones((1, 4, 1, 1), np.float32),
        np.ones(4, np.float32),
    ],
)
def test_what_is_no_vector_is_refused(output):
    encoder = SessionEncoder(Constant(output), EncoderId("x"), "odd")
    with pytest.raises(ModelRefused, match="odd"):
        encoder.encode(np.zeros((1, 112, 112, 3), np.uint8))


def test_the_length_is_taken_out_by_head():
    encoder = SessionEncoder(Constant(np.array([[3, 4]], np.float32)), EncoderId("x"), "short")
    assert (
        encoder.encode(np.zeros((2, 112, 112, 3), np.uint8)).tolist()
        == [pytest.approx([0.6, 0.8])] * 2
    )


def test_embeddings_carry_their_encoder(encoder, rows, crops):
    embeddings = embed(encoder, list(crops.values()))
    assert [e.encoder for e in embeddings] == [encoder.id] * len(crops)
    assert np.array_equal(np.stack([e.vector for e in embeddings]), rows)
    assert embed(encoder, []) == []
