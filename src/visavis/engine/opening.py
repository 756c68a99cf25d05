"""From a configuration to what an engine is made of: networks, operating points, a gallery."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from visavis.detect import Detector
from visavis.encode import Encoder, open_encoder
from visavis.errors import ModelRefused
from visavis.models import Kind, ModelStore, Precision, RuntimeName

if TYPE_CHECKING:
    import os

    from visavis.engine.config import EngineConfig
    from visavis.gallery import Gallery
    from visavis.models import Manifest


@dataclass(frozen=True, slots=True, eq=False)
class Networks:
    """What was loaded, and the configuration with the choices that were left open made."""

    detector: Detector
    encoder: Encoder
    points: dict[str, Any] | None
    config: EngineConfig


def open_networks(config: EngineConfig) -> Networks:
    """Load detector and encoder, side by side; raises ModelError."""
    store = config.store or ModelStore.default()
    manifest = _require(store.manifest(config.encoder), Kind.ENCODER)
    precision = _precision(store, manifest, config)
    config = replace(config, precision=precision, store=store)
    with ThreadPoolExecutor(2) as both:
        finding = both.submit(_detector, store, config)
        encoding = both.submit(
            open_encoder, store, manifest, precision, config.runtime, config.cores
        )
        detector, encoder = finding.result(), encoding.result()
    return Networks(detector, encoder, store.points(manifest, precision), config)


def open_people(
    gallery: str | os.PathLike[str] | Gallery, config: EngineConfig, encoder: Encoder
) -> Gallery:
    """Open a gallery, unless it is open, for the vectors of one encoder; raises GalleryError."""
    from visavis.gallery import Gallery  # noqa: PLC0415 - SQLAlchemy takes 0.2 s

    if isinstance(gallery, Gallery):
        people = gallery
    else:
        people = Gallery.open(gallery, keys=config.keys, actor=config.actor)
    people.unlock()  # a missing key is told before the first photograph, not after
    people.bind(encoder.id, encoder.name)
    return people


def _require(manifest: Manifest, kind: Kind) -> Manifest:
    if manifest.kind is not kind:
        raise ModelRefused(f"{manifest.name} is a {manifest.kind}, not a {kind}")
    return manifest


def _precision(store: ModelStore, manifest: Manifest, config: EngineConfig) -> Precision:
    """Take what was asked for, else the encoder's best on this runtime."""
    if config.precision is not None:
        return config.precision
    if config.runtime is not RuntimeName.OPENVINO:
        return Precision.FP32
    return store.precisions(manifest)[0]


def _detector(store: ModelStore, config: EngineConfig) -> Detector:
    manifest = _require(store.manifest(config.detector), Kind.DETECTOR)
    session = store.session(manifest, Precision.FP32, config.runtime, config.cores)
    return Detector(session, config.detection)
