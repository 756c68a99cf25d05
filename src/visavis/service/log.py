"""The service's log: a line of JSON each; no names, no pictures, nothing of a body."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

LOG = logging.getLogger("visavis.service")


class Lines(logging.Formatter):
    """Spells a record as JSON; of what was unforeseen the place, but not the values."""

    def format(self, record: logging.LogRecord) -> str:
        """Give one line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"at": at, "level": record.levelname.lower()}
        line["event"] = record.getMessage()
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
            trace, places = record.exc_info[2], []
            while trace is not None:
                code = trace.tb_frame.f_code
                places.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
                trace = trace.tb_next
            line["where"] = places[-6:]
        return json.dumps(line)


def say(event: str, level: int = logging.INFO, *, trace: bool = False, **fields: Any) -> None:  # noqa: ANN401
    """Write a line."""
    LOG.log(level, event, exc_info=trace, extra={"fields": fields})


def begin() -> None:
    """Send the log to standard error, and uvicorn's own warnings with it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    for name, level in (("visavis.service", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
