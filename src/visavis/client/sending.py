"""How requests spell what they ask, and that they are asked until answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from visavis.client.parts import Part
from visavis.client.tries import Retrying, Tries
from visavis.errors import InputRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from visavis.client.steps import Exchange, Request


class Asking:
    """Asks a service, by rules on when to ask again."""

    def __init__(self, rules: Retrying) -> None:
        self.rules = rules

    def ask(self, request: Request, tries: Tries | None = None) -> Exchange[Part]:
        """Give the answer to a request; see `Tries`.

        Raises
        ------
        InputRefused
            For text that cannot be sent.
        """
        for text in _texts(request):
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise InputRefused("the text holds half of a character: it was decoded wrongly")
        said = yield from (tries or Tries(self.rules)).ask(request)
        return Part(said)


def numbers(**given: float | None) -> dict[str, str]:
    """Spell the numbers that are given, exactly."""
    return {name: repr(float(value)) for name, value in given.items() if value is not None}


def quoted(text: str) -> str:
    """Spell a text as one part of a path.

    Raises
    ------
    InputRefused
    """
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise InputRefused("the text holds half of a character: it was decoded wrongly") from None


def _texts(request: Request) -> Iterator[str]:
    yield from request.params.values()
    yield from request.fields.values()
    yield from _within(request.json)


def _within(said: Any) -> Iterator[str]:  # noqa: ANN401 - what JSON holds
    if isinstance(said, str):
        yield said
    elif isinstance(said, dict):
        for value in said.values():
            yield from _within(value)
    elif isinstance(said, list):
        for value in said:
            yield from _within(value)
