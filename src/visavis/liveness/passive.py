"""Whether one picture shows a live face: a network over the face with its surroundings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from visavis.align import inside_surroundings, surroundings
from visavis.errors import ModelRefused
from visavis.liveness.points import Aim, point_at, points_of
from visavis.models import Cores, Kind, Precision, RuntimeName
from visavis.values import Liveness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from visavis.liveness.points import LivePoint
    from visavis.models import ModelStore, Session, Surroundings
    from visavis.values import Face, Image

SHIPPED = "visavis-live"
SMALLEST = 36.0
"""Longer side of a face's box in pixels, below which a face shows too little to tell."""
WHOLE = 0.9
"""Share of the face's box that must lie within the picture."""
AROUND = 0.4
"""Share of the surroundings that must lie within the picture."""
COLOURLESS = 2.0
"""Mean difference of the colours in grey levels, up to which a picture counts as grey."""
DARK, BRIGHT = 16.0, 245.0
"""Mean grey levels outside of which nothing can be told."""


class PassiveLiveness:
    """Judges single pictures; several of one person can be combined.

    Parameters
    ----------
    session
        Takes (1, S, S, 3) uint8 RGB, gives (1, 2): the probabilities of an attack and of a live
        face.
    point
        The threshold decided by.
    """

    def __init__(self, session: Session, seen: Surroundings, point: LivePoint, name: str) -> None:
        self._session = session
        self._seen = seen
        self.point = point
        self.name = name

    @classmethod
    def open(
        cls,
        store: ModelStore,
        name: str = SHIPPED,
        aim: Aim | None = None,
        on: RuntimeName = RuntimeName.OPENVINO,
        cores: Cores | None = None,
    ) -> Self:
        """Open a liveness network by name, to decide at the error rate named.

        Raises
        ------
        ModelUnknown, ModelNotFound, ModelDigestMismatch, MissingExtra
            As ``ModelStore`` does.
        ModelRefused
            When it is no liveness network, or was not measured at this rate.
        """
        manifest = store.manifest(name)
        if manifest.kind is not Kind.LIVENESS or manifest.surroundings is None:
            raise ModelRefused(f"{name} is no liveness network, it is a {manifest.kind}")
        points = points_of(store.points(manifest, Precision.FP32), name)
        point = point_at(points, aim or Aim(), name)
        session = store.session(manifest, Precision.FP32, on, cores or Cores())
        return cls(session, manifest.surroundings, point, name)

    def judge(self, image: Image, face: Face) -> Liveness:
        """Say whether a face in a picture is live; never raises because it is not."""
        return self.judge_many([(image, face)])

    def judge_picture(self, image: Image, faces: Sequence[Face]) -> Liveness:
        """Judge a picture by all the faces found in it: it takes exactly one."""
        if len(faces) != 1:
            return self.unknown(
                "several faces are in the picture: one person at a time can be judged"
                if faces
                else "no face is in the picture"
            )
        return self.judge(image, faces[0])

    def judge_many(self, shots: Sequence[tuple[Image, Face]]) -> Liveness:
        """Combine pictures of one person, such as frames: the mean of their log odds decides.

        Those that cannot be judged are left out; when none is left, the answer has their reasons.
        """
        if not shots:
            return self.unknown("no picture was given")
        odds, reasons = [], []
        for image, face in shots:
            hindrance = self._hindrance(image, face)
            crop = None if hindrance else self.crop(image, face)
            hindrance = hindrance or _unfit(crop)
            if crop is None or hindrance:
                reasons.append(hindrance)
            else:
                odds.append(self._log_odds(crop))
        if not odds:
            return self.unknown(*dict.fromkeys(reasons))
        score = float(1 / (1 + np.exp(-np.mean(odds))))
        live = score >= self.point.threshold
        if len(odds) < len(shots):
            reasons = [f"{len(odds)} of {len(shots)} pictures could be judged", *reasons]
        if not live:
            reasons.insert(0, "looks like a picture of a face, on paper or on a screen")
        return self._answer(live, score, tuple(dict.fromkeys(reasons)))

    def crop(self, image: Image, face: Face) -> NDArray[np.uint8]:
        """Cut out what the network sees: (S, S, 3) uint8 RGB."""
        return surroundings(image, face, self._seen.scale, self._seen.size)

    def unknown(self, *reasons: str) -> Liveness:
        """Answer that it cannot be told, and why."""
        return self._answer(None, None, reasons)

    def _answer(self, live: bool | None, score: float | None, reasons: tuple[str, ...]) -> Liveness:
        point = self.point
        return Liveness(
            live=live,
            score=score,
            threshold=point.threshold,
            bpcer=point.bpcer,
            apcer=point.apcer,
            model=self.name,
            reasons=reasons,
        )

    def _log_odds(self, crop: NDArray[np.uint8]) -> float:
        attack, live = (float(p) for p in self._session.run(crop[None])[0][0])
        if not np.isfinite(attack + live):
            raise ModelRefused(f"{self.name} gives a score that is not finite")
        return float(np.log(max(live, 1e-7)) - np.log(max(attack, 1e-7)))

    def _hindrance(self, image: Image, face: Face) -> str:
        """Say what about the face's place and size hinders a judgement, or nothing."""
        if not np.isfinite(face.box).all():
            return "the face has no place in the picture"
        longer = max(0.0, *face.box[2:])
        if longer < SMALLEST:
            return (
                f"the face is too small to tell: {longer:.0f} pixels, {SMALLEST:.0f} are needed; "
                "come closer"
            )
        x, y, wide, high = face.box
        across = min(x + wide, image.width) - max(x, 0)
        down = min(y + high, image.height) - max(y, 0)
        if max(0, across) * max(0, down) < WHOLE * wide * high:
            return "the face is cut off by the picture's border: move it into the picture"
        if inside_surroundings(image, face, self._seen.scale) < AROUND:
            return "too little is seen around the face: move back, or to the middle of the picture"
        return ""


def _unfit(crop: NDArray[np.uint8] | None) -> str:
    """Say what about the pixels hinders a judgement, or nothing."""
    if crop is None:
        return ""
    pixels = crop.astype(np.int16)
    mean = float(pixels.mean())
    if mean < DARK:
        return "the picture is too dark to tell: more light on the face"
    if mean > BRIGHT:
        return "the picture is too bright to tell: less light on the face"
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    if max(np.abs(red - green).mean(), np.abs(green - blue).mean()) < COLOURLESS:
        return "the picture has no colour (grey or infrared): liveness is judged in colour only"
    return ""
