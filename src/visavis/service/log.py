"""The service's log: a line of JSON each; no names, no pictures, nothing of a body.

What libraries say goes into the same lines, but not in their words: those may hold what was sent, a
name in a refused SQL statement for one. Their place in the code says what it is about.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

LOG = logging.getLogger("visavis.service")
_SERVER = "uvicorn"
_LONGEST = 500


class Lines(logging.Formatter):
    """Spells a record as JSON; of what was unforeseen the place, but not the values."""

    def format(self, record: logging.LogRecord) -> str:
        """Give one line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"at": at, "level": record.levelname.lower()}
        line |= _ours(record) if record.name == LOG.name else _of_others(record)
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
            trace, places = record.exc_info[2], []
            while trace is not None:
                places.append(_place(trace.tb_frame.f_code.co_filename, trace.tb_lineno))
                trace = trace.tb_next
            line["where"] = places[-6:]
        return json.dumps(line)


def say(event: str, level: int = logging.INFO, *, trace: bool = False, **fields: Any) -> None:  # noqa: ANN401
    """Write a line."""
    LOG.log(level, event, exc_info=trace, extra={"fields": fields})


def begin() -> None:
    """Send all that is logged in this process to standard error, and what would be printed there.

    What libraries written in C print by themselves cannot be caught here.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    LOG.setLevel(logging.INFO)
    logging.getLogger(_SERVER).setLevel(logging.WARNING)
    for name in (LOG.name, _SERVER, f"{_SERVER}.error", f"{_SERVER}.access"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
    warnings.showwarning = _warned
    sys.excepthook = lambda kind, _, trace: _escaped(kind, trace)
    sys.unraisablehook = lambda lost: _escaped(lost.exc_type, lost.exc_traceback)
    threading.excepthook = lambda lost: _escaped(lost.exc_type, lost.exc_traceback)


def _ours(record: logging.LogRecord) -> dict[str, Any]:
    return {"event": record.getMessage(), **getattr(record, "fields", {})}


def _of_others(record: logging.LogRecord) -> dict[str, Any]:
    line = {"event": "library", "logger": record.name}
    if record.name.partition(".")[0] == _SERVER:
        # Its sentences are known, and what would be put into them is left out.
        line["message"] = " ".join(str(record.msg).split())[-_LONGEST:]
    return {**line, "place": _place(record.pathname, record.lineno)}


def _place(file: str, number: int | None) -> str:
    return f"{file.rpartition('/')[2]}:{number}"


def _warned(  # noqa: PLR0913, PLR0917 - as Python calls it
    message: Warning | str,  # noqa: ARG001 - the words of others
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    say("warning", logging.WARNING, category=category.__name__, place=_place(filename, lineno))


def _escaped(kind: type[BaseException], trace: TracebackType | None) -> None:
    if issubclass(kind, (KeyboardInterrupt, SystemExit)):
        return
    # A bare one in its place: of the fault itself nothing is written but its kind and where it was.
    LOG.error("unforeseen", exc_info=(kind, BaseException(), trace), extra={"fields": {}})
