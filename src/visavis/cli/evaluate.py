"""visavis evaluate verification, identification, liveness; visavis calibrate."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visavis.cli import figures
from visavis.cli.answers import print_json
from visavis.cli.options import (
    EngineChoice,
    LiveChoice,
    cache_option,
    engine_options,
    json_option,
    live_options,
    settings,
    workers_option,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from visavis.engine import Engine
    from visavis.evaluate.findings import Calibrated, Degraded
    from visavis.evaluate.run import Job

FILE = click.Path(path_type=Path, dir_okay=False)


def _in_a_folder(_: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """Refuse what cannot be written before hours are spent on it."""
    if path is not None and not path.parent.is_dir():
        raise click.BadParameter(f"there is no folder {path.parent}", param=param)
    return path


images_option = click.option(
    "--images",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder that paths are relative to; without a list, a folder for each person.",
)
report_option = click.option(
    "--report",
    type=FILE,
    callback=_in_a_folder,
    help="Write a page with everything (needs 'visavis[report]').",
)
csv_option = click.option(
    "--csv", type=FILE, callback=_in_a_folder, help="Write the curve: tau, fmr, fnmr."
)
also_option = click.option(
    "--also",
    multiple=True,
    metavar="ENCODER[:PRECISION]",
    help="Measure this encoder too, side by side; may be given several times.",
)


@click.group()
def evaluate() -> None:
    """Measure how often an encoder errs, and show it.

    \b
    Example:
      visavis evaluate verification --images photos/ --report report.html
    """


@evaluate.command()
@images_option
@click.option(
    "--pairs",
    multiple=True,
    type=FILE,
    help="LFW's own list, or CSV a,b,same[,fold]; without one, all against all.",
)
@click.option(
    "--degrade",
    multiple=True,
    metavar="KIND",
    help="Measure again with spoilt second photographs: jpeg, resolution, blur, noise, darkness, "
    "occlusion, rotation, or all.",
)
@also_option
@report_option
@csv_option
@cache_option
@workers_option
@json_option
@engine_options
def verification(
    networks: EngineChoice,
    images: Path,
    pairs: tuple[Path, ...],
    degrade: tuple[str, ...],
    also: tuple[str, ...],
    report: Path | None,
    csv: Path | None,
    no_cache: bool,
    workers: int,
    as_json: bool,
) -> None:
    """Compare pairs of photographs: accuracy, EER, TAR at FAR, with intervals over people.

    \b
    Examples:
      visavis evaluate verification --images lfw/ --pairs pairs.txt --pick most-central
      visavis evaluate verification --images staff/ --report staff.html
    """
    from visavis.evaluate import run  # noqa: PLC0415
    from visavis.evaluate.degrade import chosen  # noqa: PLC0415
    from visavis.evaluate.findings import (  # noqa: PLC0415
        verification_json,
        write_curve,
    )

    steps = chosen(degrade)
    if steps and not pairs:
        raise click.UsageError("--degrade spoils the second photograph of a list: give --pairs")
    job = _job(images, pairs, no_cache, workers)
    results, spoilt, calibrated = [], [], []
    for engine in _engines(networks, also, job):
        with _progress(engine, job) as told:
            results.append(run.evaluate_verification(engine, job, told))
        likelihood = run.likelihood_on(engine, job, results[-1])
        calibrated += [likelihood] if likelihood else []
        if steps:
            with _progress(engine, job, len(steps)) as told:
                spoilt += run.evaluate_degraded(engine, job, steps, told)
    if csv:
        write_curve(csv, results[0])
    _finish(results, report, images, spoilt, calibrated)
    if as_json:
        extra: dict[str, Any] = {}
        if len(results) > 1:
            extra["also"] = [verification_json(result) for result in results[1:]]
        if spoilt:
            extra["degraded"] = [figures.degraded_json(row) for row in spoilt]
        print_json({**verification_json(results[0]), **extra})
    else:
        click.echo(figures.verification_text(results))
        if spoilt:
            click.echo(figures.degraded_text(spoilt))


@evaluate.command()
@images_option
@click.option(
    "--templates",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Photographs enrolled of each person; the next one is looked for.",
)
@also_option
@report_option
@csv_option
@cache_option
@workers_option
@json_option
@engine_options
def identification(
    networks: EngineChoice,
    images: Path,
    templates: int,
    also: tuple[str, ...],
    report: Path | None,
    csv: Path | None,
    no_cache: bool,
    workers: int,
    as_json: bool,
) -> None:
    """Search galleries of a folder a person: FNIR at FPIR against gallery size, rank 1, CMC.

    Everybody with enough photographs is enrolled and looked for; people with one photograph are
    the strangers.

    \b
    Example:
      visavis evaluate identification --images lfw/ --pick most-central --report search.html
    """
    from visavis.evaluate.findings import identification_json, write_curve  # noqa: PLC0415
    from visavis.evaluate.identification import Search  # noqa: PLC0415
    from visavis.evaluate.run import evaluate_identification  # noqa: PLC0415

    job = _job(images, (), no_cache, workers)
    results = []
    for engine in _engines(networks, also, job):
        with _progress(engine, job) as told:
            results.append(evaluate_identification(engine, job, Search(templates), told))
    if csv:
        write_curve(csv, results[0])
    _finish(results, report, images)
    if as_json:
        more = [identification_json(result) for result in results[1:]]
        print_json({**identification_json(results[0]), **({"also": more} if more else {})})
    else:
        click.echo(figures.identification_text(results))


@evaluate.command()
@click.argument("presentations", type=click.Path(path_type=Path))
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="Folder that a list's paths are relative to; default the list's own.",
)
@live_options
@report_option
@csv_option
@workers_option
@json_option
@engine_options
def liveness(
    networks: EngineChoice,
    alive: LiveChoice,
    presentations: Path,
    images: Path | None,
    report: Path | None,
    csv: Path | None,
    workers: int,
    as_json: bool,
) -> None:
    """Measure presentation attack detection: APCER a species, BPCER, EER (ISO/IEC 30107-3).

    PRESENTATIONS is a folder a class (live, and one for each species of attack), or CSV
    ``path,live[,species,subject,score]``; live is 1 or 0. Scores may be anybody's, in [0, 1],
    higher for live; without them visavis judges the pictures itself.

    \b
    Examples:
      visavis evaluate liveness shots/ --report liveness.html
      visavis evaluate liveness shots.csv --images shots/
      visavis evaluate liveness scores.csv
    """
    from visavis.evaluate.findings import liveness_json, write_curve  # noqa: PLC0415
    from visavis.evaluate.listing import read_presentations  # noqa: PLC0415
    from visavis.evaluate.run import evaluate_liveness  # noqa: PLC0415
    from visavis.evaluate.scoring import scored  # noqa: PLC0415

    rows = read_presentations(presentations)
    base = presentations if presentations.is_dir() else images or presentations.parent
    if any(row.score is not None for row in rows):
        result = evaluate_liveness(rows, presentations.name)
    else:
        cores = workers or os.cpu_count() or 1
        engine = networks.open(workers=cores, alive=alive)
        with _bar(engine.config.liveness, len(rows)) as told:
            judged = scored(engine, rows, base, told, cores)
        result = evaluate_liveness(judged, presentations.name)
    if csv:
        write_curve(csv, result)
    _finish([result], report, None)
    if as_json:
        print_json(liveness_json(result))
    else:
        click.echo(figures.liveness_text(result))


@click.command()
@images_option
@click.option("--name", help="What these photographs are, for the record; default the folder.")
@click.option("--out", type=FILE, help="Write the points here instead of putting them to use.")
@report_option
@cache_option
@workers_option
@json_option
@engine_options
def calibrate(
    networks: EngineChoice,
    images: Path,
    name: str | None,
    out: Path | None,
    report: Path | None,
    no_cache: bool,
    workers: int,
    as_json: bool,
) -> None:
    """Measure an encoder's operating points on your own photographs, a folder a person.

    From then on compare, verify and identify decide by them on this machine. Points measured on
    one half of the people are checked on the other half, and a broken promise is told first.
    Below what the data can show, the tail is extrapolated, and marked so.

    \b
    Example:
      visavis calibrate --images staff/ --name "door camera, 2026"
    """
    from visavis.evaluate.run import calibrate as measured  # noqa: PLC0415

    job = _job(images, (), no_cache, workers)
    engine = next(_engines(networks, (), job))
    with _progress(engine, job) as told:
        done = measured(engine, job, name or images.name, told)
    path = out or settings().store.calibration_file(engine.encoder.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.part")
    staged.write_text(json.dumps(done.stored, indent=1), "utf-8")
    staged.replace(path)
    _finish([done.checked], report, None)
    if as_json:
        failed = len(done.checked.failed)
        print_json({"path": str(path), **done.stored, "failed_to_acquire": failed})
    else:
        click.echo(figures.calibration_text(done))
        click.echo(f"written to {path}")


def _job(images: Path, pairs: tuple[Path, ...], no_cache: bool, workers: int) -> Job:
    from visavis.evaluate.run import Job  # noqa: PLC0415

    cache = None if no_cache else settings().cache
    return Job(images, pairs, cache, workers or os.cpu_count() or 1)


def _engines(networks: EngineChoice, also: tuple[str, ...], job: Job) -> Iterator[Engine]:
    yield networks.open(workers=job.workers)
    for other in also:
        yield networks.instead(other).open(workers=job.workers)


@contextlib.contextmanager
def _progress(engine: Engine, job: Job, times: int = 1) -> Iterator[Callable[[int], None]]:
    from visavis.evaluate.run import photographs  # noqa: PLC0415

    with _bar(engine.encoder.name, photographs(job) * times) as told:
        yield told


@contextlib.contextmanager
def _bar(name: str, total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=total)
        yield lambda number: progress.advance(task, number)


def _finish(
    results: list[Any],
    report: Path | None,
    images: Path | None,
    spoilt: Sequence[Degraded] = (),
    calibrated: Sequence[Calibrated] = (),
) -> None:
    if report is None:
        return
    from visavis.evaluate.report import Run, report_html  # noqa: PLC0415

    run = Run(command=shlex.join(["visavis", *sys.argv[1:]]))
    page = report_html(results, images=images, degraded=spoilt, calibrated=calibrated, run=run)
    report.write_text(page, "utf-8")
    click.echo(f"report: {report}", err=True)
