"""The command line: it reads words, calls the engine, and prints answers. It holds no logic."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module

import click

import visavis
from visavis.cli.answers import report
from visavis.errors import VisavisError

_COMMANDS = {
    "compare": "decide",
    "verify": "decide",
    "identify": "decide",
    "liveness": "liveness",
    "enroll": "enroll",
    "people": "people",
    "cluster": "cluster",
    "models": "models",
    "evaluate": "evaluate",
    "calibrate": "evaluate",
    "train": "train",
    "data": "data",
    "gallery": "gallery",
    "audit": "audit",
    "serve": "serve",
    "keys": "keys",
    "doctor": "doctor",
    "demo": "demo",
}
"""Command to the module it lives in, imported only when it is called."""


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"visavis.cli.{_COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 it did what was asked, 1 the answer is no (with --exit-status), "
    "2 wrong usage, 3 an input or the gallery was refused.",
)
@click.version_option(visavis.__version__, prog_name="visavis")
def cli() -> None:
    """Recognise people by one photograph, and know how far to trust the answer.

    \b
    Begin with:
      visavis demo                          see it at work
      visavis compare a.jpg b.jpg           the same person?
      visavis enroll Ada ada.jpg            one photograph is enough
      visavis verify door.jpg Ada           is it Ada?
      visavis identify door.jpg             who is it, if anybody enrolled?
      visavis liveness door.jpg             a live face, or a picture of one?

    Shell completion (bash; zsh and fish alike):

    \b
      eval "$(_VISAVIS_COMPLETE=bash_source visavis)"
    """


def main() -> None:
    """Run the command line and exit with its status; never with a traceback."""
    as_json = "--json" in sys.argv[1:]
    # What OpenCV and FFmpeg remark on a damaged video is said in our own words, in one line.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal cannot show must not cost the answer.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = cli.main(prog_name="visavis", standalone_mode=False)
    except click.exceptions.Exit as done:
        status = done.exit_code
    except click.ClickException as wrong:
        wrong.show()
        status = wrong.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; what was acknowledged is stored", err=True)
        status = 130
    except VisavisError as refused:
        status = report(refused, as_json)
    except BrokenPipeError:
        # Who read our output has gone: leave quietly, and do not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 3
    except Exception as unforeseen:
        if os.environ.get("VISAVIS_TRACEBACK"):
            raise
        wrapped = VisavisError(
            f"{type(unforeseen).__name__}: {unforeseen} (a defect of visavis or of what it stands "
            "on: please report it; VISAVIS_TRACEBACK=1 shows where)"
        )
        status = report(wrapped, as_json)
    sys.exit(status or 0)
