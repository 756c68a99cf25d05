"""Statements that are spelled once: where one is asked thousands of times a minute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.sql.compiler import SQLCompiler

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ClauseElement, Connection, Row


class Spelled:
    """A statement whose SQL is made once for each kind of database.

    SQLAlchemy keeps what it compiled too, and still looks a statement through to find it again.
    Values must be what the driver takes: text, numbers, bytes, None.

    Parameters
    ----------
    columns
        Of an insertion.
    """

    def __init__(self, statement: ClauseElement, columns: Sequence[str] | None = None) -> None:
        self._statement, self._columns = statement, columns
        self._known: dict[str, tuple[str, Sequence[str] | None, dict[str, Any]]] = {}

    def one(self, db: Connection) -> Row[Any]:
        """Ask for its only row."""
        text, order, constants = self._known.get(db.dialect.name) or self._spell(db)
        return db.exec_driver_sql(text, _given(constants, order)).one()

    def insert(self, db: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows, each with a value for every column."""
        text, order, _ = self._known.get(db.dialect.name) or self._spell(db)
        db.exec_driver_sql(text, [_given(row, order) for row in rows])

    def _spell(self, db: Connection) -> tuple[str, Sequence[str] | None, dict[str, Any]]:
        made = self._statement.compile(dialect=db.dialect, column_keys=self._columns)
        assert isinstance(made, SQLCompiler)
        order = made.positiontup if made.positional else None
        constants = {} if self._columns else dict(made.params)
        found = str(made), order, constants
        self._known[db.dialect.name] = found
        return found


def _given(values: Mapping[str, Any], order: Sequence[str] | None) -> Any:  # noqa: ANN401
    """Lay values out as the driver takes them; None where there are none."""
    if not values:
        return None
    return dict(values) if order is None else tuple(values[name] for name in order)
