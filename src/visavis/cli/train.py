"""visavis train encoder, pair-head, liveness."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visavis.cli.answers import print_json
from visavis.cli.options import (
    EngineChoice,
    cache_option,
    engine_options,
    json_option,
    settings,
)
from visavis.cli.train_encoder import encoder
from visavis.cli.train_liveness import liveness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from visavis.models import ModelStore
    from visavis.train.head_trial import Trial, Tried
    from visavis.train.pack import Pack


@click.group()
def train() -> None:
    """Learn from photographs: an encoder, what says yes or no to a pair, or liveness.

    \b
    Example:
      visavis train encoder --data packs/staff --out runs/staff --objective triplet
    """


train.add_command(encoder)
train.add_command(liveness)


@train.command("pair-head")
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="A training set that 'visavis data pack' made.",
)
@click.option(
    "--form",
    default="squared",
    show_default=True,
    type=click.Choice(["absolute", "chi-square", "squared"]),
    help="What is weighed of each feature: |a-b|, (a-b)^2/(|a|+|b|), or (a-b)^2.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write head, operating points, ONNX and report here instead of putting them to use.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a page that shows head and distance side by side (needs matplotlib).",
)
@click.option("--seed", default=0, show_default=True, help="Which people learn, and which test.")
@cache_option
@click.option(
    "--workers",
    default=0,
    type=click.IntRange(0),
    show_default="one a core",
    help="Batches encoded side by side.",
)
@json_option
@engine_options
def pair_head(
    networks: EngineChoice,
    data: Path,
    form: str,
    out: Path | None,
    report: Path | None,
    seed: int,
    no_cache: bool,
    workers: int,
    as_json: bool,
) -> None:
    """Learn a unit that says whether two encodings are of one person, and measure it.

    Three groups of people, none in two: on the first the weights are learnt, on the second its
    operating points are calibrated, on the third it is held against the plain distance. It is then
    there for ``verify --decide-by head``; the answer says whether it is worth it.

    \b
    Example:
      visavis train pair-head --encoder sface --data packs/staff --form chi-square
    """
    from visavis.head import Form  # noqa: PLC0415
    from visavis.train.head_trial import Trial, try_pair_head  # noqa: PLC0415
    from visavis.train.pack import Pack  # noqa: PLC0415
    from visavis.train.pair_head import HeadConfig  # noqa: PLC0415

    for folder in (report.parent if report else None, out.parent if out else None):
        if folder is not None and not folder.is_dir():
            raise click.UsageError(f"there is no folder {folder}")
    pack = Pack.open(data)
    workers = workers or os.cpu_count() or 1
    cache = None if no_cache else settings().cache
    trial = Trial(HeadConfig(Form(form), seed=seed), cache=cache, workers=workers)
    encoder = networks.open(workers=workers).encoder
    with _progress(pack, trial) as told:
        tried = try_pair_head(pack, encoder, trial, told)
    written = _write(tried, out) if out else _put_to_use(tried, settings().store)
    if report:
        _report(tried, report)
    if as_json:
        print_json({**tried.as_json(), "written": [str(path) for path in written]})
        return
    click.echo(_text(tried))
    for path in written:
        click.echo(f"written to {path}")


def _put_to_use(tried: Tried, store: ModelStore) -> list[Path]:
    """Keep head and points for the encoder; the points last, for they name the head."""
    encoder = tried.head.encoder
    files = {
        store.head_file(encoder): tried.head.as_json(),
        store.head_points_file(encoder): tried.points,
    }
    store.head_file(encoder).parent.mkdir(parents=True, exist_ok=True)
    for path, told in files.items():
        _replace(path, told)
    return list(files)


def _write(tried: Tried, folder: Path) -> list[Path]:
    from visavis.train.head_onnx import write_head_onnx  # noqa: PLC0415

    folder.mkdir(exist_ok=True)
    name = tried.head.encoder
    files = {
        folder / f"{name}.head.json": tried.head.as_json(),
        folder / f"{name}.head.points.json": tried.points,
        folder / f"{name}.head.report.json": tried.as_json(),
    }
    for path, told in files.items():
        _replace(path, told)
    graph = folder / f"{name}.head.onnx"
    write_head_onnx(tried.head, graph)
    return [*files, graph]


def _replace(path: Path, told: dict[str, Any]) -> None:
    staged = path.with_name(f".{path.name}.part")
    staged.write_text(json.dumps(told, indent=1), "utf-8")
    staged.replace(path)


def _report(tried: Tried, path: Path) -> None:
    from visavis.evaluate.report import Run, report_html  # noqa: PLC0415

    run = Run(command=shlex.join(["visavis", *sys.argv[1:]]))
    path.write_text(report_html([tried.plain, tried.learnt], run=run), "utf-8")
    click.echo(f"report: {path}", err=True)


def _text(tried: Tried) -> str:
    learning = tried.learning
    counts = "{} people to learn from, {} to calibrate on, {} to test on".format(*tried.people)
    lines = [tried.verdict, f"  {counts}; {learning.pairs:,} pairs, C = {learning.strength:g}"]
    for name, result, right in zip(
        ("distance", "head"), (tried.plain, tried.learnt), tried.right, strict=True
    ):
        rates = "".join(
            f", TAR at FAR {far} {100 * t.value:.2f} % [{100 * t.low:.2f}, {100 * t.high:.2f}]"
            for far, t in result.tar.items()
        )
        lines.append(f"  {name:<9} right {100 * right:.2f} %, EER {100 * result.eer:.2f} %{rates}")
    return "\n".join(lines)


@contextlib.contextmanager
def _progress(pack: Pack, trial: Trial) -> Iterator[Callable[[int], None]]:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    from visavis.train.head_trial import photographs  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("encoding", total=photographs(pack, trial))
        yield lambda number: progress.advance(task, number)
