"""A challenge over a socket: issued, answered by frames, and one question about who answered."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError

from visavis.errors import InputRefused, PersonUnknown, VisavisError
from visavis.gallery.access import Role
from visavis.image import Limits, decode
from visavis.liveness.answer import Phrase
from visavis.liveness.challenge import issue
from visavis.liveness.policy import Policy
from visavis.service.bodies import Body, Rate
from visavis.service.refusals import in_words
from visavis.spelling import decision_json, identification_json, identified_json

if TYPE_CHECKING:
    from visavis.liveness.answer import Guidance, Verdict
    from visavis.service.live_line import Frame, Line

_FRAMES = Limits(max_bytes=2 * 1024 * 1024, max_pixels=4_000_000, min_side=64)
_SIDE = 640
_EACH = "challenge"
"""Stands where a claim's failures name a person: those of a key's challenges are all one."""


class Question(Body):
    """What is asked of whoever answered: whether it is somebody, or who it is."""

    verify: Annotated[str, Field(min_length=1, max_length=400)] | None = None
    identify: Literal[True] | None = None
    fmr: Rate | None = None
    fpir: Rate | None = None
    live: Literal["active", "passive-and-active"] = "active"


class Dialogue:
    """One challenge of one line; what is not ``async`` is run in threads, its making too.

    Raises
    ------
    TooManyAttempts, NotCalibrated
    """

    def __init__(self, line: Line) -> None:
        self._line, self._caller = line, line.caller
        self._house, self._engine = line.caller.house, line.caller.house.engine
        self._turn = threading.Lock()
        self._verdict: Verdict | None = None
        self._try = ExitStack()
        self._attempt = self._try.enter_context(
            self._house.challenges.attempt(self._caller.id, _EACH)
        )
        self._challenge = issue(self._caller.id)
        self._session = self._engine.session(self._challenge)

    async def run(self) -> None:
        """Hold frames against it until there is a verdict; then answer one question."""
        line, challenge = self._line, self._challenge
        opening = {"nonce": challenge.nonce, "of": len(challenge.steps)}
        phrase = str(Phrase.SHOW_FACE)
        await line.say({**opening, "phrase": phrase, "expires": challenge.expires})
        async for frame in line.frames():
            try:
                guidance = await line.work(self._look, frame)
            except VisavisError as refused:
                await line.refuse(refused)
                continue
            if not guidance.finished:
                await line.say(guidance_json(guidance))
                continue
            verdict = await line.work(self._judge)
            await line.say({**guidance_json(guidance), "verdict": verdict_json(verdict)})
            break
        await line.say(await line.work(self._answer, self._question(await line.message())))

    def close(self) -> None:
        """End the try: a challenge that was left counts as one that failed."""
        with self._turn:
            if self._verdict is None:
                self._attempt.failed()
            self._try.close()

    def _look(self, frame: Frame) -> Guidance:
        with self._turn:
            image = decode(frame.jpeg, _FRAMES, name="frame", long_side=_SIDE)
            return self._session.update(image, frame.timestamp)

    def _judge(self) -> Verdict:
        with self._turn:
            verdict = self._verdict = self._session.verdict()
        if not verdict.passed:
            self._attempt.failed()
        outcome = str(verdict.failure or "passed")
        self._house.ledger.record(self._caller.actor, "challenge", outcome=outcome)
        self._line.state.metrics.decisions.labels("challenge", outcome).inc()
        return verdict

    def _question(self, message: str | bytes) -> Question:
        if isinstance(message, bytes) or len(message) > self._line.limits.text:
            raise InputRefused('after the verdict one question is expected: {"verify": "NAME"}')
        try:
            asked = Question.model_validate_json(message)
        except ValidationError as fault:
            raise InputRefused(in_words(fault.errors())) from None
        if (asked.verify is None) == (asked.identify is None):
            raise InputRefused('ask either {"verify": "NAME"} or {"identify": true}')
        return asked

    def _answer(self, asked: Question) -> dict[str, Any]:
        verdict = self._verdict
        if verdict is None or verdict.portrait is None:
            raise InputRefused("nobody could be seen, so nothing can be said of them")
        pixels, policy = verdict.portrait[0].pixels, Policy(asked.live)
        answered = self._engine.answered(verdict)
        if asked.verify is not None:
            person = self._person(asked.verify)
            with self._house.lockout.attempt(self._caller.id, person.id) as attempt:
                decision = self._engine.verify(
                    pixels, person, fmr=asked.fmr, live=policy, answered=answered
                )
                if decision.accepted:
                    attempt.succeeded()
                elif not decision.matched or verdict.live is False:
                    attempt.failed()
            spelled = decision_json(decision)
            self._decided("verify", person.id, spelled["decision"])
            return {"person": asked.verify, **spelled}
        found = self._engine.identify(pixels, fpir=asked.fpir, live=policy, answered=answered)
        people: list[str] = [face.person.id for face in found.faces if face.person]
        for each in people or [""]:
            self._decided("identify", each, "recognized" if each else "not recognized")
        faces = [identified_json(face) for face in found.faces]
        return {**identification_json(found), "faces": faces}

    def _person(self, name: str) -> Any:  # noqa: ANN401
        try:
            return self._house.gallery.person(name)
        except PersonUnknown:
            if self._caller.may(Role.READ):
                raise
            raise PersonUnknown("nobody of that name or id is enrolled") from None

    def _decided(self, kind: str, subject: str, outcome: str) -> None:
        self._house.ledger.record(self._caller.actor, kind, subject, outcome=outcome, live="active")
        self._line.state.metrics.decisions.labels(kind, outcome).inc()


def guidance_json(guidance: Guidance) -> dict[str, Any]:
    """Spell where a challenge stands."""
    return {
        "phrase": str(guidance.phrase),
        "action": None if guidance.action is None else str(guidance.action),
        "done": guidance.done,
        "of": guidance.of,
        "remaining": round(guidance.remaining, 2),
        "finished": guidance.finished,
    }


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """Spell what came of a challenge; the picture stays here."""
    return {
        "passed": verdict.passed,
        "failure": None if verdict.failure is None else str(verdict.failure),
        "reasons": list(verdict.reasons),
        "performed": [
            {
                "action": str(each.action),
                "asked": each.asked,
                "reached": each.reached,
                "recalled": each.recalled,
                "left": each.left,
            }
            for each in verdict.performed
        ],
        "distance": verdict.distance,
        "tau": verdict.tau,
        "bpcer": verdict.bpcer,
        "apcer": verdict.apcer,
    }
