"""Parts of an answer, read by name and type: what is of another type is not guessed at."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from visavis.errors import ServiceUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterator


class Part:
    """A JSON object; each reader raises ServiceUnreachable for what is missing or not of its type.

    Parameters
    ----------
    said
        As it came.
    where
        Its place in the answer, for messages.
    """

    def __init__(self, said: object, where: str = "answer") -> None:
        self._where = where
        self._said: dict[str, Any] = said if isinstance(said, dict) else self._strange("")

    def text(self, name: str) -> str:
        """Give a text."""
        value = self._value(name)
        return value if isinstance(value, str) else self._strange(name)

    def flag(self, name: str) -> bool:
        """Give true or false."""
        value = self._value(name)
        return value if isinstance(value, bool) else self._strange(name)

    def number(self, name: str) -> float:
        """Give a number, whole or not."""
        return self._number(self._value(name), name)

    def count(self, name: str) -> int:
        """Give a whole number."""
        value = self._value(name)
        return value if type(value) is int else self._strange(name)

    def moment(self, name: str) -> datetime:
        """Give a date and time."""
        try:
            return datetime.fromisoformat(self.text(name))
        except ValueError:
            self._strange(name)

    def has(self, name: str) -> bool:
        """Tell whether it is not null."""
        return self._value(name) is not None

    def part(self, name: str) -> Part:
        """Give an object in it."""
        return Part(self._value(name), f"{self._where}.{name}")

    def parts(self, name: str) -> Iterator[Part]:
        """Give a list's objects."""
        for number, each in enumerate(self._list(name)):
            yield Part(each, f"{self._where}.{name}.{number}")

    def texts(self, name: str) -> tuple[str, ...]:
        """Give a list of texts."""
        values = self._list(name)
        if not all(isinstance(value, str) for value in values):
            self._strange(name)
        return tuple(values)

    def numbers(self, name: str, length: int) -> tuple[float, ...]:
        """Give a list of so many numbers."""
        return self._numbers(self._list(name), length, name)

    def points(self, name: str, count: int) -> list[tuple[float, ...]]:
        """Give a list of so many pairs of numbers."""
        pairs = self._list(name)
        if len(pairs) != count or not all(isinstance(pair, list) for pair in pairs):
            self._strange(name)
        return [self._numbers(pair, 2, name) for pair in pairs]

    def raw(self, name: str) -> dict[str, Any]:
        """Give an object as it is."""
        value = self._value(name)
        return value if isinstance(value, dict) else self._strange(name)

    def strange(self, name: str) -> NoReturn:
        """Say that a field holds what it should not; raises ServiceUnreachable."""
        self._strange(name)

    def _value(self, name: str) -> Any:  # noqa: ANN401 - what JSON holds
        return self._said[name] if name in self._said else self._strange(name)

    def _list(self, name: str) -> list[Any]:
        value = self._value(name)
        return value if isinstance(value, list) else self._strange(name)

    def _number(self, value: object, name: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._strange(name)
        try:
            return float(value)
        except OverflowError:
            self._strange(name)

    def _numbers(self, values: list[Any], length: int, name: str) -> tuple[float, ...]:
        if len(values) != length:
            self._strange(name)
        return tuple(self._number(value, name) for value in values)

    def _strange(self, name: str) -> NoReturn:
        where = f"{self._where}.{name}".rstrip(".")
        raise ServiceUnreachable(
            f"the service's answer is not understood: {where} is missing or of another kind; use "
            "a client and a service of the same version"
        )
