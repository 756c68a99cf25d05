"""The log of a service: lines of JSON, whoever writes them, and nobody's name in any."""

from __future__ import annotations

import json
import subprocess
import sys

EVERYBODY_SPEAKS = """
import logging, threading, warnings
from visavis.service import log
log.begin()
log.say("request", route="/v1/verify", status=200)
logging.getLogger("sqlalchemy.engine").error("refused: %s", "Ada Lovelace")
logging.getLogger("asyncio").error("never retrieved: Ada Lovelace")
logging.getLogger("anything").info("Ada Lovelace")
logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
logging.getLogger("uvicorn.error").info("Ada Lovelace")
logging.getLogger("uvicorn.access").info("GET /v1/people/Ada")
warnings.warn("Ada Lovelace", RuntimeWarning)
try:
    raise ValueError("Ada Lovelace")
except ValueError:
    logging.getLogger("concurrent").exception("lost: Ada Lovelace")
def lost():
    raise ValueError("Ada Lovelace")
thread = threading.Thread(target=lost)
thread.start()
thread.join()
class Gone:
    def __del__(self):
        raise ValueError("Ada Lovelace")
Gone()
raise KeyError("Ada Lovelace")
"""


def test_whatever_is_logged_is_a_line_of_json_and_names_nobody():
    done = subprocess.run(
        [sys.executable, "-c", EVERYBODY_SPEAKS], capture_output=True, text=True, check=False
    )
    assert "Ada" not in done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert all({"at", "level", "event"} <= line.keys() for line in lines)
    said = [(line["event"], line.get("logger") or line.get("error")) for line in lines]
    assert said == [
        ("request", None),
        ("library", "sqlalchemy.engine"),
        ("library", "asyncio"),
        ("library", "uvicorn.error"),
        ("warning", None),
        ("library", "concurrent"),
        ("unforeseen", "ValueError"),
        ("unforeseen", "ValueError"),
        ("unforeseen", "KeyError"),
    ]
    assert lines[0] == {**lines[0], "route": "/v1/verify", "status": 200}
    assert lines[3]["message"] == "Invalid HTTP request received."
    assert (lines[4]["category"], lines[4]["place"]) == ("RuntimeWarning", "<string>:12")
    assert (lines[5]["error"], lines[5]["where"]) == ("ValueError", ["<string>:14"])
