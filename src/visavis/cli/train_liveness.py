"""visavis train liveness."""

from __future__ import annotations

import contextlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visavis.cli.answers import print_json
from visavis.cli.options import json_option, settings
from visavis.cli.train_encoder import INTERRUPTED, interruptible
from visavis.errors import MissingExtra

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence

    from visavis.train.live_finish import LiveDelivered
    from visavis.train.live_run import Teller

FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)
FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command()
@click.option(
    "--data",
    multiple=True,
    type=FILE,
    help="CSV path,live[,species,subject] of live and attack photographs; may be given again.",
)
@click.option("--images", type=FOLDER, help="What its paths are relative to; default its folder.")
@click.option(
    "--live",
    "people",
    multiple=True,
    type=FOLDER,
    help="Photographs of live people, a folder a person, to make attacks of; may be given again.",
)
@click.option(
    "--each",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="How many a person of --live.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the run.",
)
@click.option("--name", help="What the network is called; default the folder's name.")
@click.option(
    "--licence", default="not stated", show_default=True, help="Of the network; yours to say."
)
@click.option(
    "--attack",
    "attacks",
    multiple=True,
    default=("print", "screen"),
    show_default=True,
    type=click.Choice(["print", "screen", "none"]),
    help="Attacks to make from live photographs; may be given again.",
)
@click.option(
    "--close",
    default=0.0,
    show_default=True,
    help="Share of attacks that are made to fill the view, so that no edge tells.",
)
@click.option("--rounds", default=2, show_default=True, help="Presentations a photograph and kind.")
@click.option(
    "--real",
    default=4,
    show_default=True,
    help="How much oftener photographs of a list with real attacks are looked at.",
)
@click.option("--epochs", default=8, show_default=True, help="Times each is learnt from.")
@click.option("--batch", default=128, show_default=True, help="Presentations a step.")
@click.option("--rate", default=4e-3, show_default=True, help="Highest learning rate.")
@click.option("--map-weight", default=0.0, show_default=True, help="Of the face map; 0: without.")
@click.option(
    "--fourier-weight", default=0.0, show_default=True, help="Of the spectrum's map; 0: without."
)
@click.option(
    "--look/--no-look", default=False, show_default=True, help="Light, tint and move crops anew."
)
@click.option(
    "--held-out", default=0.17, show_default=True, help="Share of subjects who choose and measure."
)
@click.option(
    "--start", default="", metavar="FILE", help="best.pt of an earlier run to go on from."
)
@click.option("--half", is_flag=True, help="Learn in bfloat16; for processors that have it.")
@click.option(
    "--compile", "compiled", is_flag=True, help="Compile the network; needs a C++ compiler."
)
@click.option("--resume", is_flag=True, help="Go on with the run in --out; ask for the same again.")
@click.option("--seed", default=0, show_default=True, help="Everything drawn follows from it.")
@click.option("--threads", default=0, show_default="torch's choice", help="Of the CPU.")
@json_option
def liveness(
    data: tuple[Path, ...],
    images: Path | None,
    people: tuple[Path, ...],
    each: int,
    out: Path,
    name: str | None,
    licence: str,
    attacks: tuple[str, ...],
    threads: int,
    resume: bool,
    as_json: bool,
    **asked: Any,  # noqa: ANN401 - click's values, by name
) -> None:
    """Learn to tell live faces from pictures of faces.

    Attacks on paper and on screens are made from the live photographs by a simulation of what ink,
    panels and cameras do. Some subjects are held out: on them the result is measured, with
    operating points. OUT then holds the network as ONNX, its manifest for 'visavis models add',
    its operating points and a model card. Ctrl-C ends the run after the epoch it is at, and
    --resume goes on as if it had not been ended.

    \b
    Example:
      visavis train liveness --live photos/ --data door/attacks.csv --out runs/door
    """
    try:
        from visavis.train.attacks import Species  # noqa: PLC0415
        from visavis.train.finish import name_of  # noqa: PLC0415
        from visavis.train.live_config import LivenessConfig  # noqa: PLC0415
        from visavis.train.live_finish import Told  # noqa: PLC0415
        from visavis.train.live_run import (  # noqa: PLC0415
            Means,
            listed,
            live_folder,
            train_liveness,
            use_threads,
        )
    except ModuleNotFoundError as missing:
        raise MissingExtra(
            f"training needs {missing.name}: pip install 'visavis[train]'"
        ) from missing
    if not data and not people:
        raise click.UsageError("name --data, --live, or both")
    if threads:
        use_threads(threads)
    wanted = tuple(Species(kind) for kind in dict.fromkeys(attacks) if kind != "none")
    config = LivenessConfig(attacks=wanted, **asked)
    lists = [listed(path, images) for path in data]
    lists += [live_folder(folder, each) for folder in people]
    told = Told(name or name_of(out), licence, out, command=_command(sys.argv[1:]))
    with interruptible() as stop, _progress(stop) as teller:
        trained = train_liveness(lists, config, told, Means(settings().store, teller, resume))
    delivered = trained.delivered
    if delivered is None:
        words = f"stopped after epoch {trained.epochs} of {config.epochs}; go on with the same "
        click.echo(f"{words}command and --resume", err=True)
        sys.exit(INTERRUPTED)
    if as_json:
        print_json(_json(delivered))
        return
    click.echo(_text(delivered))


def _command(words: Sequence[str]) -> str:
    """Give the command as a model card tells it: whole paths are nobody's business."""
    told, left_out = ["visavis"], False
    for word in words:
        if not left_out and word not in {"--out", "--resume", "--json"}:
            path = Path(word)
            told.append("/".join(path.parts[-2:]) if path.is_absolute() else word)
        left_out = word == "--out"
    return shlex.join(told)


def _json(delivered: LiveDelivered) -> dict[str, Any]:
    files = (delivered.manifest, delivered.onnx, delivered.card, delivered.points)
    return {**delivered.stored, "written": [str(path) for path in files]}


def _text(delivered: LiveDelivered) -> str:
    lines = ["On the subjects held out:"]
    for species, apart in delivered.held_out.items():
        eer = apart.eer
        lines.append(
            f"  {species:<18} EER {100 * eer.value:.2f} % "
            f"[{100 * eer.low:.2f}, {100 * eer.high:.2f}]"
        )
    lines += [f"written to {delivered.onnx}", f"use it: visavis models add {delivered.manifest}"]
    return "\n".join(lines)


@contextlib.contextmanager
def _progress(stop: threading.Event) -> Iterator[Teller]:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    from visavis.train.live_run import Teller  # noqa: PLC0415
    from visavis.train.live_state import Epoch  # noqa: PLC0415, TC001

    class Bars(Teller):
        def stage(self, what: str, total: int) -> None:
            self.task = progress.add_task(what, total=total)

        def done(self, count: int) -> None:
            progress.advance(self.task, count)

        def epoch(self, epoch: Epoch) -> bool:
            progress.advance(self.task)
            progress.console.print(
                f"epoch {epoch.number} of {epoch.of}: loss {epoch.loss:.4f}, worst EER held out "
                f"{100 * epoch.eer:.2f} %, {epoch.pace:.0f} a second"
            )
            return stop.is_set()

    with Progress(console=Console(stderr=True), transient=True) as progress:
        yield Bars()
