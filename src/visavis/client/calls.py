"""Every call of the client, described once; see `visavis.client` for what answers lack."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from visavis.client import reading
from visavis.client.desk import Desk
from visavis.client.sending import numbers
from visavis.client.steps import Again, Request, load
from visavis.errors import InputRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from visavis.client.photograph import Source
    from visavis.client.steps import Exchange
    from visavis.values import (
        Consent,
        Decision,
        Enrolment,
        Identification,
        Liveness,
        Looked,
        Sighting,
    )


class Calls(Desk):
    """What the engine is asked; `Client` waits for it and `AsyncClient` awaits it.

    A photograph is the bytes of a file, a path, or an (H, W, 3) RGB or (H, W) grey uint8 array,
    which is sent as a PNG. Besides what is said of each, every call may raise ImageNotFound for a
    photograph that is not there, `ServiceError` for what the service refuses (Unauthenticated,
    Forbidden, TooManyRequests, ...) and `ServiceUnreachable`.
    """

    def compare(self, a: Source, b: Source, *, fmr: float | None = None) -> Exchange[Decision]:
        """Decide whether two photographs are of the same person.

        Parameters
        ----------
        a, b
            Photographs.
        fmr
            The false match rate to decide at; None takes the service's.

        Raises
        ------
        InputRefused, OperatingPointRefused
        """
        files = (("a", (yield from load(a))), ("b", (yield from load(b))))
        request = Request("POST", "/v1/compare", fields=numbers(fmr=fmr), files=files)
        return reading.decision((yield from self.ask(request)))

    def verify(
        self,
        photograph: Source,
        person: str,
        *,
        fmr: float | None = None,
        live: str | None = None,
    ) -> Exchange[Decision]:
        """Decide whether a photograph is of the person it is claimed to be.

        Failures are counted for the key and the person, and a request whose answer was lost is
        sent again, so one try may count twice.

        Parameters
        ----------
        person
            A name or an id.
        fmr
            As for ``compare``.
        live
            ``off`` or ``passive``: what is asked of the face's liveness, by the name of a policy
            (a `visavis.Policy` is one). None is ``off``.

        Raises
        ------
        PersonUnknown, ConsentExpired, InputRefused
        TooManyAttempts
            When the person has to wait; ``seconds`` says how long.
        """
        files = (("image", (yield from load(photograph))),)
        fields = {"person": person, **numbers(fmr=fmr), **_policy(live)}
        request = Request("POST", "/v1/verify", fields=fields, files=files)
        return reading.decision((yield from self.ask(request)))

    def identify(
        self,
        photograph: Source,
        *,
        fpir: float | None = None,
        candidates: int = 0,
        live: str | None = None,
    ) -> Exchange[Identification]:
        """Say for every face in a photograph who it is, or that nobody enrolled is.

        Parameters
        ----------
        fpir
            The false positive identification rate to decide at; None takes the service's.
        candidates
            How many of the nearest people to list, whether or not they are near enough.
        live
            As for ``verify``.

        Raises
        ------
        ImageRefused, GalleryError
        """
        files = (("image", (yield from load(photograph))),)
        fields = {"candidates": str(candidates), **numbers(fpir=fpir), **_policy(live)}
        request = Request("POST", "/v1/identify", fields=fields, files=files)
        return reading.identification((yield from self.ask(request)))

    def enroll(
        self,
        person: str,
        photographs: Sequence[Source],
        *,
        force: bool = False,
        keep_photographs: bool = False,
        consent: Consent | None = None,
    ) -> Exchange[Enrolment]:
        """Enrol somebody, or add photographs to them; all of them or none, and never twice.

        The request carries an Idempotency-Key of its own, the same whenever it is sent again, so
        that the service answers what it did the first time.

        Parameters
        ----------
        person
            Any name; the same name again adds templates.
        photographs
            One is enough.
        force
            Enrol in spite of poor quality, of a likeness to somebody else, or of none to the
            templates already there.
        keep_photographs
            Store the files in the gallery too.
        consent
            What the person agreed to, and until when; in place of what was there before.

        Raises
        ------
        PoorQuality
            Saying what to do.
        DuplicatePerson, PersonMismatch
            Naming whom it looks like.
        ConsentRefused, ConsentExpired, InputRefused, GalleryError
        IdempotencyConflict
            When the service still worked on it after the last try; ask again later, for what was
            enrolled by then is known again by its photographs.
        """
        files = tuple([("images", data) for data in (yield from _all(photographs))])
        fields = {
            "name": person,
            "force": _flag(force),
            "keep_photographs": _flag(keep_photographs),
        }
        if consent is not None:
            fields |= {"consent_reference": consent.reference, "consent_purpose": consent.purpose}
            if consent.expires is not None:
                fields["consent_expires"] = consent.expires.isoformat()
        request = Request(
            "POST",
            "/v1/people",
            fields=fields,
            files=files,
            headers={"Idempotency-Key": uuid.uuid4().hex},
            again=Again.KEYED,
        )
        return reading.enrolment((yield from self.ask(request)))

    def liveness(self, photograph: Source) -> Exchange[Liveness]:
        """Say whether a live human was before the camera, from one photograph.

        An attack, no face and several faces are answers with their reasons, never exceptions.

        Raises
        ------
        ImageRefused
        """
        return (yield from self.liveness_of([photograph]))

    def liveness_of(self, frames: Iterable[Source]) -> Exchange[Liveness]:
        """Say the same from several pictures of one presentation, such as a video's frames.

        Raises
        ------
        BodyTooLarge
            For more pictures than the service takes at once.
        """
        files = tuple([("images", data) for data in (yield from _all(frames))])
        request = Request("POST", "/v1/liveness", files=files)
        return reading.liveness((yield from self.ask(request)))

    def faces(self, photograph: Source) -> Exchange[list[Sighting]]:
        """Find and assess every face, the largest first.

        Raises
        ------
        ImageRefused
        """
        return list((yield from self.look(photograph)).faces)

    def look(self, photograph: Source) -> Exchange[Looked]:
        """Find and assess every face, and say how large the picture is; raises as ``faces``."""
        files = (("image", (yield from load(photograph))),)
        return reading.looked((yield from self.ask(Request("POST", "/v1/faces", files=files))))


def _all(photographs: Iterable[Source]) -> Exchange[list[bytes]]:
    if isinstance(photographs, str | bytes):
        raise TypeError("photographs is a list: [photograph]")
    loaded = []
    for photograph in photographs:
        loaded.append((yield from load(photograph)))  # noqa: PERF401 - a generator's own step
    if not loaded:
        raise InputRefused("give at least one photograph")
    return loaded


def _policy(live: str | None) -> dict[str, str]:
    return {} if live is None else {"live": str(live)}


def _flag(value: bool) -> str:
    return "true" if value else "false"
