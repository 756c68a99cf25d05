"""visavis data pack, info."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visavis.cli.answers import print_json
from visavis.cli.options import EngineChoice, json_option, workers_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from visavis.train.inspect import Inspection, Judge, Suspect
    from visavis.train.pack import Pack
    from visavis.train.packing import Packed

_SHOWN = 20
"""Findings of a kind that the terminal shows; JSON holds all."""


@click.group()
def data() -> None:
    """Make a training set of photographs, and look what is in it.

    \b
    Example:
      visavis data pack photos/ faces.pack
    """


@data.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--alignment",
    default="arcface-112",
    show_default=True,
    metavar="NAME",
    help="What faces are cut to: arcface-112, arcface-96, arcface-64 or dlib-150.",
)
@click.option(
    "--min-face",
    default=30,
    show_default=True,
    type=click.IntRange(0),
    help="Leave out faces narrower than this, in pixels.",
)
@click.option(
    "--pick",
    default="most-central",
    show_default=True,
    type=click.Choice(["clear-subject", "largest", "most-central"]),
    help="Whom a photograph with several faces is of.",
)
@workers_option
@json_option
def pack(
    folder: Path,
    out: Path,
    alignment: str,
    min_face: int,
    pick: str,
    workers: int,
    as_json: bool,
) -> None:
    """Find, align and pack the faces of DIR, a folder a person, into the folder OUT.

    What is left out, and why, stands in OUT/refused.csv: photographs without a usable face, those
    that are there twice, pictures that do not lie in a person's folder. It may be interrupted,
    even killed: called again with the same arguments, it goes on where it was.

    \b
    Example:
      visavis data pack photos/ faces.pack --alignment arcface-112
    """
    from visavis.train.packing import PackConfig, pack_folder  # noqa: PLC0415
    from visavis.values import Pick  # noqa: PLC0415

    workers = workers or os.cpu_count() or 1
    config = PackConfig(alignment, min_face, Pick(pick), workers)
    engine = EngineChoice("sface", None, "openvino", 1, pick).open(workers=workers)
    with _progress("packing") as told:
        done = pack_folder(engine, folder, out, config, told)
    if as_json:
        print_json(_packed_json(done))
        return
    click.echo(f"{done.path}: {done.images:,} images of {done.people:,} people, {alignment}")
    if done.went_on:
        click.echo(f"  {done.went_on:,} entries of the folder had been dealt with before")
    if done.refused:
        left = ", ".join(f"{count:,} {code}" for code, count in done.refused.items())
        click.echo(f"  left out: {left} (each with its reason in {done.path / 'refused.csv'})")


@data.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--fast", is_flag=True, help="Only count; read no image.")
@click.option(
    "--encoder",
    default="sface",
    show_default=True,
    metavar="NAME",
    help="Who judges labels: a model of 'visavis models list', or none.",
)
@workers_option
@json_option
def info(out: Path, fast: bool, encoder: str, workers: int, as_json: bool) -> None:
    """Say what the pack OUT holds: counts, damaged images, twins, likely wrong labels.

    Every image is read and checked, and encoded: those that look more like somebody else than like
    their own person are named, as are pairs that are likely one photograph. Comparing takes time
    that grows with the square of the number of images; --encoder none leaves it out.

    \b
    Examples:
      visavis data info faces.pack
      visavis data info faces.pack --fast --json
    """
    from visavis.train.inspect import inspect  # noqa: PLC0415
    from visavis.train.pack import Pack  # noqa: PLC0415

    opened = Pack.open(out)
    judge = None if fast or encoder == "none" else _judge(opened, encoder, workers)
    with _progress("reading") as told:
        found = inspect(opened, judge, fast=fast, told=told)
    if as_json:
        print_json(_inspection_json(found))
    else:
        click.echo("\n".join(_inspection_lines(found)))


def _judge(pack: Pack, encoder: str, workers: int) -> Judge:
    """Give the encoder that judges, with thresholds from its operating points."""
    from visavis.errors import PackRefused  # noqa: PLC0415
    from visavis.train.inspect import Judge  # noqa: PLC0415

    workers = workers or os.cpu_count() or 1
    engine = EngineChoice(encoder, None, "openvino", 1, "most-central").open(workers=workers)
    wants = [each.name for each in engine.encoder.alignments]
    if wants != [pack.alignment]:
        raise PackRefused(
            f"{pack.path}: its crops are cut to {pack.alignment}, {encoder} wants "
            f"{' and '.join(wants)}: choose another --encoder, or 'none'"
        )
    return Judge(
        engine.encoder.encode,
        engine.encoder.name,
        engine.curve.identification(engine.config.fpir, len(pack)).tau,
        engine.curve.at(1e-2).tau,
        workers=workers,
    )


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)


def _packed_json(done: Packed) -> dict[str, Any]:
    return {
        "path": str(done.path),
        "people": done.people,
        "images": done.images,
        "digest": done.digest,
        "refused": done.refused,
        "went_on": done.went_on,
    }


def _inspection_json(found: Inspection) -> dict[str, Any]:
    facts = found.facts
    row: dict[str, Any] = {
        "path": str(found.path),
        **{name: facts[name] for name in ("alignment", "side", "people", "images", "digest")},
        "bytes": found.bytes,
        "people_by_images": dict(_histogram(found)),
        "refused": facts["refused"],
        "damaged": None,
        "encoder": found.encoder or None,
        "tau": found.tau,
        "twins": None,
        "mislabelled": None,
        "unlike": None,
    }
    if found.damaged is not None:
        row["index_whole"] = found.index_whole
        row["damaged"] = [{"photograph": d.source, "why": d.why} for d in found.damaged]
    if found.twins is not None:
        row["twins"] = [
            {"a": t.a, "b": t.b, "distance": round(t.distance, 6), "same_person": t.same_person}
            for t in found.twins
        ]
    for name in ("mislabelled", "unlike"):
        suspects: tuple[Suspect, ...] | None = getattr(found, name)
        row[name] = None if suspects is None else [_suspect_json(each) for each in suspects]
    return row


def _suspect_json(suspect: Suspect) -> dict[str, Any]:
    return {
        "photograph": suspect.source,
        "person": suspect.person,
        "own": None if suspect.own is None else round(suspect.own, 6),
        "other": None if suspect.other is None else round(suspect.other, 6),
        "who": suspect.who or None,
        "near": suspect.near or None,
    }


def _histogram(found: Inspection) -> list[tuple[str, int]]:
    """Label the groups of people: 1, 2, 3-4, 5-9, and so on."""
    edges = [edge for edge, _ in found.histogram]
    ends = [*(edge - 1 for edge in edges[1:]), None]
    labels = [
        f"{edge}+" if end is None else str(edge) if end == edge else f"{edge}-{end}"
        for edge, end in zip(edges, ends, strict=True)
    ]
    return [(label, n) for label, (_, n) in zip(labels, found.histogram, strict=True)]


def _inspection_lines(found: Inspection) -> Iterator[str]:
    facts = found.facts
    yield (
        f"{found.path}: {facts['images']:,} images of {facts['people']:,} people, "
        f"{facts['alignment']}, {found.bytes / 1e6:,.0f} MB"
    )
    yield "  people by images   " + "   ".join(f"{k}: {n:,}" for k, n in _histogram(found) if n)
    left = ", ".join(f"{count:,} {code}" for code, count in facts["refused"].items())
    yield f"  left out           {left or 'nothing'}"
    if found.damaged is None:
        return
    yield f"  damaged            {len(found.damaged) or 'none'}"
    yield from _some([f"{each.source} {each.why}" for each in found.damaged])
    if not found.index_whole:
        yield click.style("  the index is not the one that was written: pack again", fg="red")
    if found.twins is None or found.mislabelled is None or found.unlike is None:
        return
    yield f"  judged by          {found.encoder}, tau {found.tau:.3f}"
    across = [t for t in found.twins if not t.same_person]
    within = [t for t in found.twins if t.same_person]
    for twins, whose in ((across, "of two people"), (within, "of one person")):
        yield f"  likely one photograph, {whose}: {len(twins):,} pair(s)"
        near = sorted(twins, key=lambda t: t.distance)
        yield from _some([f"d = {t.distance:.3f}  {t.a}  {t.b}" for t in near])
    yield f"  likely mislabelled, or one person under two names: {len(found.mislabelled):,}"
    yield from _some([_suspect_line(each) for each in found.mislabelled])
    yield f"  unlike all others of their person: {len(found.unlike):,}"
    yield from _some([_suspect_line(each) for each in found.unlike])


def _suspect_line(suspect: Suspect) -> str:
    own = "no other image" if suspect.own is None else f"d = {suspect.own:.3f} to their own"
    if suspect.other is None:
        return f"{suspect.source}: {own}"
    return f"{suspect.source}: {own}, {suspect.other:.3f} to {suspect.near}"


def _some(lines: list[str]) -> Iterator[str]:
    yield from (f"    {line}" for line in lines[:_SHOWN])
    if len(lines) > _SHOWN:
        yield f"    and {len(lines) - _SHOWN:,} more: --json names all"
