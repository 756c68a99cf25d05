"""The only composer: photographs in, answers out."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from visavis.decide import OperatingCurve, curve_of, squared
from visavis.encode import Encoder, embed
from visavis.engine import enrolment
from visavis.engine.alive import Alive, Eyes, told, under
from visavis.engine.clustering import cluster_faces
from visavis.engine.config import EngineConfig
from visavis.engine.duplicates import find_duplicates, merge_people
from visavis.engine.judge import Judge, head_judge
from visavis.engine.lookup import Lookup
from visavis.engine.opening import open_networks, open_people
from visavis.engine.sight import Observed, Photograph, Ready, Sight
from visavis.errors import (
    ConsentExpired,
    EncoderMismatch,
    GalleryRequired,
    InputRefused,
    PersonUnknown,
    TooManyAttempts,
)
from visavis.values import (
    Candidate,
    DecideBy,
    Embedding,
    Enrolment,
    Identification,
    Identified,
    Looked,
    Person,
    Sighting,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from visavis.detect import Detector
    from visavis.engine.clustering import ClusterConfig, Clusters
    from visavis.engine.duplicates import Duplicates
    from visavis.engine.enrolment import Admission
    from visavis.gallery import Gallery, Hit, Merged
    from visavis.image import Source
    from visavis.liveness.active import ActiveSession
    from visavis.liveness.answer import Verdict
    from visavis.liveness.challenge import Challenge
    from visavis.liveness.limits import ActiveConfig
    from visavis.liveness.policy import Answered, Policy
    from visavis.values import Consent, Decision, Liveness, PersonId, Ruling

_TURNED_FMR = 1e-2
"""Turning costs distance; a turned face must resemble the others of its session so well."""


class Engine:
    """Compares, enrols, verifies and identifies; may be used from several threads.

    Open one with `Engine.open` and keep it: the networks are loaded once.
    """

    def __init__(
        self,
        detector: Detector,
        encoder: Encoder,
        curve: dict[str, Any] | None,
        gallery: Gallery | None = None,
        config: EngineConfig | None = None,
    ) -> None:
        self.config = config or EngineConfig()
        self.encoder = encoder
        self.sight = Sight(detector, self.config, encoder.alignments)
        self.alive = Alive(self.config, self.sight)
        self._points = curve
        self._gallery = gallery
        self._lookup = None if gallery is None else Lookup(gallery, self.config)
        self._head: Judge | None = None

    @classmethod
    def open(
        cls,
        gallery: str | os.PathLike[str] | Gallery | None = None,
        config: EngineConfig | None = None,
    ) -> Self:
        """Load the networks and, when one is named, the gallery.

        Parameters
        ----------
        gallery
            A file (made when there is none) or a URL, an open Gallery, or None to compare only.

        Raises
        ------
        ModelError, GalleryError
            What could not be loaded, and what to do.
        """
        networks = open_networks(config or EngineConfig())
        detector, encoder, config = networks.detector, networks.encoder, networks.config
        people = None if gallery is None else open_people(gallery, config, encoder)
        return cls(detector, encoder, networks.points, people, config)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the gallery, when there is one, and what it is searched with."""
        if self._lookup is not None:
            self._lookup.close()
        if self._gallery is not None:
            self._gallery.close()

    @property
    def gallery(self) -> Gallery:
        """The people; raises GalleryRequired when the engine was opened without."""
        if self._gallery is None:
            raise _no_gallery()
        return self._gallery

    @property
    def lookup(self) -> Lookup:
        """What the people are searched with; raises GalleryRequired as ``gallery`` does."""
        if self._lookup is None:
            raise _no_gallery()
        return self._lookup

    @property
    def curve(self) -> OperatingCurve:
        """What was measured of the encoder; raises NotCalibrated when nothing was."""
        return curve_of(self._points, self.encoder.id, self.encoder.name)

    def faces(self, photograph: Source) -> list[Sighting]:
        """Find and assess every face, the largest first; raises what ``image`` raises."""
        return [seen.sighting for seen in self.sight.everyone(self.read(photograph))]

    def look(self, photograph: Source) -> Looked:
        """Find and assess every face, and say how large the picture is; raises as ``image``."""
        taken = self.read(photograph)
        image = taken.image(self.config.limits)
        found = tuple(seen.sighting for seen in self.sight.those_in(image))
        return Looked(image.width, image.height, found)

    def embedding(self, photograph: Source) -> Embedding:
        """Encode the one face that a photograph is of; raises NoFaceFound, SeveralFaces."""
        return self._embed([self.sight.subject(self.read(photograph))])[0]

    def liveness(self, photograph: Source) -> Liveness:
        """Say whether a live human was before the camera, from one photograph.

        An attack, no face and several faces are answers with their reasons, never exceptions.

        Raises
        ------
        ImageRefused, ModelError
        """
        return self.alive.of_photograph(self.read(photograph))

    def liveness_of(self, frames: Iterable[Source]) -> Liveness:
        """Say the same from several pictures of one presentation, such as a video's frames.

        Of many, some are judged that are spread over all of them; frames of changing size are
        welcome. See ``liveness``.
        """
        return self.alive.of_frames(self.read(frame) for frame in frames)

    def session(self, challenge: Challenge, config: ActiveConfig | None = None) -> ActiveSession:
        """Begin to hold frames against a challenge; see ``liveness.active``.

        Raises
        ------
        NotCalibrated
        """
        from visavis.liveness.active import ActiveSession  # noqa: PLC0415
        from visavis.liveness.limits import DEFAULT_ACTIVE, Sameness  # noqa: PLC0415

        eyes = Eyes(self.sight, self.encoder)
        sameness = Sameness(self._same_session, self.curve.verification(_TURNED_FMR).tau)
        return ActiveSession(challenge, eyes, sameness, config or DEFAULT_ACTIVE)

    def answered(self, verdict: Verdict) -> Answered:
        """Make of a session's verdict what ``verify`` and ``identify`` take."""
        return self.alive.answered(verdict, self.encoder)

    @property
    def _same_session(self) -> float:
        return self.curve.verification(self.config.fmr).tau

    def compare(
        self,
        a: Source,
        b: Source,
        *,
        fmr: float | None = None,
        decide_by: DecideBy | None = None,
    ) -> Decision:
        """Decide whether two photographs are of the same person.

        Parameters
        ----------
        a, b
            Bytes, a path, or an (H, W, 3) RGB uint8 array.
        fmr
            The false match rate to decide at; None takes the engine's.
        decide_by
            The plain distance or the encoder's head; None takes the engine's.

        Raises
        ------
        InputRefused, ModelError
        """
        judge = self._judge(decide_by)
        point = judge.curve.verification(self._fmr(fmr))
        seen = [self.sight.subject(self.read(photograph)) for photograph in (a, b)]
        first, second = self._embed(seen)
        return judge.decision(judge.distance(first, second), point, self.encoder.id, seen)

    def enroll(
        self,
        person: str,
        photographs: Sequence[Source],
        *,
        force: bool = False,
        keep_photographs: bool = False,
        consent: Consent | None = None,
    ) -> Enrolment:
        """Enrol somebody, or add photographs to them; all of them or none.

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
            Store the files in the gallery too; they are not unless asked.
        consent
            What the person agreed to, and until when; in place of what was there before.

        Raises
        ------
        PoorQuality
            Saying what to do.
        ConsentRefused, ConsentExpired
            When it cannot be recorded, or an earlier one has ended and there is no new one.
        DuplicatePerson, PersonMismatch
            Naming whom it looks like.
        InputRefused, GalleryError
        """
        if isinstance(photographs, str | bytes):
            raise TypeError("photographs is a list: [photograph]")
        if not photographs:
            raise InputRefused(f"give at least one photograph of {person}")
        taken = [self.read(photograph) for photograph in photographs]
        ready = [self.prepare(photo, force=force, keep=keep_photographs) for photo in taken]
        return self.store(person, ready, force=force, consent=consent)

    def prepare(self, taken: Photograph, *, force: bool = False, keep: bool = False) -> Ready:
        """Do the costly half of an enrolment: everything but the gallery.

        Raises
        ------
        PoorQuality, InputRefused, ModelError
        """
        return enrolment.prepared(self, taken, force=force, keep=keep)

    def store(
        self,
        person: str,
        ready: Sequence[Ready],
        *,
        force: bool = False,
        consent: Consent | None = None,
    ) -> Enrolment:
        """Do the other half: check the likeness and write, in one transaction.

        Raises
        ------
        DuplicatePerson, PersonMismatch, GalleryError
        """
        admissions = () if force else (self.admit(person, ready),)
        return self.commit([(person, ready)], consent, admissions)[0]

    def admit(self, person: str, ready: Sequence[Ready]) -> Admission:
        """Check that faces are this person's and nobody else's; writes nothing.

        Returns
        -------
        What ``commit`` needs so that the check still holds when it writes.

        Raises
        ------
        DuplicatePerson, PersonMismatch
            Naming whom a face looks like, or that it does not look like this person.
        """
        return enrolment.admitted(self, person, ready)

    def commit(
        self,
        people: Sequence[tuple[str, Sequence[Ready]]],
        consent: Consent | None = None,
        admissions: Sequence[Admission] = (),
    ) -> list[Enrolment]:
        """Write several people in one transaction: all of them or nobody.

        Parameters
        ----------
        admissions
            What ``admit`` gave for them; without, nothing is checked.

        Raises
        ------
        NameRefused, GalleryError
        DuplicatePerson, PersonMismatch
            When one of them does not fit to somebody who was enrolled since they were admitted.
        """
        return enrolment.stored(self, people, consent, admissions)

    def check_name(self, name: str) -> None:
        """Raise NameRefused for a name that nobody can have."""
        from visavis.gallery import clean_name  # noqa: PLC0415

        clean_name(name)

    def alike(self, one: Sequence[Ready], other: Sequence[Ready]) -> bool:
        """Tell whether two people who are about to be enrolled may be one."""
        return enrolment.alike(self, one, other)

    def verify(  # noqa: PLR0913 - named options, each with a default
        self,
        photograph: Source,
        person: str | Person,
        *,
        fmr: float | None = None,
        decide_by: DecideBy | None = None,
        live: Policy | None = None,
        answered: Answered | None = None,
    ) -> Decision:
        """Decide whether a photograph is of the person it is claimed to be.

        Parameters
        ----------
        person
            A name, an id, or somebody as the gallery gave them; of several templates the nearest
            counts.
        fmr, decide_by
            As for ``compare``.
        live
            What is asked of the face's liveness; None takes the engine's policy. With one, the
            decision accepts only a face that satisfies it, and failures are counted.
        answered
            What came of a challenge, for the policies that ask for one.

        Raises
        ------
        PersonUnknown, InputRefused, ModelError
        ConsentExpired
            When the person may not be recognised any more.
        TooManyAttempts
            When the person has to wait, after too many failures under a policy.
        """
        claimed = person if isinstance(person, Person) else self.gallery.person(person)
        if claimed.expired(datetime.now(UTC)):
            raise ConsentExpired(
                f"the consent of {claimed.name} ended at {claimed.consent.expires}; ask for a new "
                "one, or erase them"
            )
        templates = self.gallery.templates(claimed.id)
        if not templates:
            raise PersonUnknown(f"{claimed.name} has no templates: enrol a photograph")
        judge = self._judge(decide_by)
        point = judge.curve.verification(self._fmr(fmr), len(templates))
        policy = self.alive.policy(live)
        with self.alive.attempt(policy, claimed) as attempt:
            seen = self.sight.subject(self.read(photograph))
            probe = self._embed([seen])[0]
            nearest = min(judge.distance(probe, t) for t in templates)
            decision = judge.decision(nearest, point, self.encoder.id, [seen])
            ruling = self._ruling(policy, seen, answered, probe.vector)
            told(attempt, ruling, decision.accepted)
        return decision if ruling is None else under(decision, ruling)

    def identify(
        self,
        photograph: Source,
        *,
        fpir: float | None = None,
        candidates: int = 0,
        live: Policy | None = None,
        answered: Answered | None = None,
    ) -> Identification:
        """Say for every face in a photograph who it is, or that nobody enrolled is.

        Parameters
        ----------
        fpir
            The false positive identification rate to decide at; None takes the engine's.
        candidates
            How many of the nearest people to list, whether or not they are near enough.
        live, answered
            As for ``verify``. A face that does not satisfy the policy, or whose person has to
            wait, is not recognised as anybody; its ``liveness`` says why.

        Returns
        -------
        No faces when the photograph shows none.

        Raises
        ------
        ImageRefused, ModelError, GalleryError
        """
        seen = self.sight.everyone(self.read(photograph))
        searcher = self.lookup.fresh()
        rate = self.config.fpir if fpir is None else fpir
        point = self.curve.identification(rate, len(searcher))
        policy = self.alive.policy(live)
        found: list[list[Hit]] = []
        people: dict[PersonId, Person] = {}
        vectors = np.empty((0, 0), np.float32)
        if seen:
            vectors = np.stack([e.vector for e in self._embed(seen)])
            found, people = self.lookup.nearest(searcher, vectors, max(1, candidates))
        faces = []
        for face, vector, hits in zip(seen, vectors, found, strict=True):
            named = _identified(face.sighting, hits, people, point.tau, candidates)
            ruling = self._ruling(policy, face, answered, vector)
            faces.append(named if ruling is None else self._admitted(named, ruling, policy))
        return Identification(
            tuple(faces), point.tau, rate, searcher.people, self.encoder.id, point.extrapolated
        )

    def _ruling(
        self,
        policy: Policy,
        seen: Observed,
        answered: Answered | None,
        vector: NDArray[np.float32],
    ) -> Ruling | None:
        def same(other: Embedding) -> bool:
            if other.encoder != self.encoder.id:
                raise EncoderMismatch("the challenge was judged with another encoder than this one")
            return squared(vector, other.vector) <= self._same_session

        return self.alive.ruling(policy, seen, answered, same)

    def _admitted(self, named: Identified, ruling: Ruling, policy: Policy) -> Identified:
        """Take the name from a face that may not have it."""
        who = named.person
        if who is None:
            return replace(named, liveness=ruling)
        try:
            with self.alive.attempt(policy, who) as attempt:
                told(attempt, ruling, matched=True)
        except TooManyAttempts as wait:
            ruling = replace(ruling, satisfied=False, reasons=(*ruling.reasons, str(wait)))
        person = who if ruling.satisfied else None
        return replace(named, person=person, liveness=ruling)

    def cluster(
        self,
        photographs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        state: str | os.PathLike[str] | None = None,
        config: ClusterConfig | None = None,
    ) -> Clusters:
        """Group the faces of photographs that nobody labelled by person.

        Parameters
        ----------
        photographs
            A folder, with all folders below it, or files.
        state
            A file that remembers encodings by photograph, so that another call with more
            photographs embeds only those and the clusters keep their ids. What is no longer
            among ``photographs`` is erased from it. None remembers nothing.

        Returns
        -------
        What cannot be read stands in ``unusable``, with the reason.

        Raises
        ------
        InputRefused
            For a folder without photographs, or a state file that cannot be used.
        EncoderMismatch
            When the state was made with another encoder.
        ModelError
        """
        if isinstance(photographs, str | os.PathLike):
            given: Path | list[Path] = Path(photographs)
        else:
            given = [Path(each) for each in photographs]
        remembered = None if state is None else Path(state)
        return cluster_faces(self, given, state=remembered, config=config)

    def duplicates(
        self,
        *,
        fpir: float | None = None,
        most: int = 10_000,
        told: Callable[[int, int], None] = lambda *_: None,
    ) -> Duplicates:
        """Find people who are enrolled twice: pairs so near that ``enroll`` would refuse them.

        Parameters
        ----------
        fpir
            How often a stranger may be taken for one of the enrolled; None takes the engine's, at
            which ``enroll`` refuses. Among all pairs a few strangers are so near: see
            ``Duplicates.false_pairs``.
        most
            Pairs to give at most, the nearest.
        told
            Called with the comparisons done and all of them.

        Raises
        ------
        GalleryError, NotCalibrated, OperatingPointRefused
        """
        return find_duplicates(self, fpir=fpir, most=most, told=told)

    def merge(
        self,
        person: str,
        into: str,
        *,
        fpir: float | None = None,
        force: bool = False,
        consent: Consent | None = None,
    ) -> Merged:
        """Make one person of two: the first goes into the second, and is erased.

        Parameters
        ----------
        person, into
            Names or ids; the second keeps both.
        fpir
            As for ``duplicates``: who is farther apart than its tau is refused.
        force
            Merge them however far apart they are.
        consent
            What the person agreed to; None joins what both did, see `Gallery.merge`.

        Raises
        ------
        PersonUnknown, PersonMismatch, ConsentRefused, ConsentExpired, GalleryError
        """
        return merge_people(self, person, into, fpir=fpir, force=force, consent=consent)

    def read(self, source: Source) -> Photograph:
        """Read a photograph once, within the limits; raises what ``image`` raises."""
        return Photograph.read(source, self.config.limits)

    def _embed(self, seen: Sequence[Observed]) -> list[Embedding]:
        return embed(self.encoder, [face.crop for face in seen])

    def _fmr(self, asked: float | None) -> float:
        return self.config.fmr if asked is None else asked

    def _judge(self, asked: DecideBy | None) -> Judge:
        by = self.config.decide_by if asked is None else DecideBy(asked)
        if by is DecideBy.DISTANCE:
            return Judge(self.curve)
        if self._head is None:
            self._head = head_judge(self.config.store, self.encoder)
        return self._head


def _no_gallery() -> GalleryRequired:
    return GalleryRequired("no gallery: open one with Engine.open('people.db')")


def _identified(
    sighting: Sighting,
    hits: Sequence[Hit],
    people: dict[PersonId, Person],
    tau: float,
    candidates: int,
) -> Identified:
    # Somebody removed between the search and now is not an answer.
    near = [Candidate(people[h.person], h.distance) for h in hits if h.person in people]
    known = near[0].person if near and near[0].distance <= tau else None
    nearest = near[0].distance if near else None
    return Identified(known, nearest, sighting, tuple(near[:candidates]), matched=known)
