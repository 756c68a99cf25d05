"""visavis cluster."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visavis.cli.answers import REFUSED, print_json
from visavis.cli.options import (
    EngineChoice,
    engine_options,
    force_option,
    gallery_option,
    gallery_path,
    json_option,
    workers_option,
)
from visavis.errors import VisavisError

if TYPE_CHECKING:
    from collections.abc import Callable

    from visavis.engine import Clusters, Engine, Found

_LINES = 20
"""Clusters that are listed on the terminal; all are in the page and in the JSON."""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out",
    default=Path("clusters.html"),
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The contact sheet to write: one page with everybody's faces.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File that remembers encodings and clusters; default beside the contact sheet.",
)
@click.option(
    "--fpir",
    default=0.2,
    show_default=True,
    type=float,
    metavar="RATE",
    help="At most this share of people seen once may be put with somebody.",
)
@click.option(
    "--min-face",
    default=30,
    show_default=True,
    type=click.IntRange(0),
    metavar="PIXELS",
    help="Leave out narrower faces.",
)
@click.option(
    "--enroll",
    "named",
    multiple=True,
    metavar="CLUSTER=NAME",
    help="Enrol a cluster's person by its best faces; may be given several times.",
)
@click.option(
    "--templates",
    default=3,
    show_default=True,
    type=click.IntRange(1),
    help="With --enroll: faces of a cluster that are enrolled, at most.",
)
@force_option
@gallery_option
@workers_option
@json_option
@engine_options
def cluster(
    networks: EngineChoice,
    folder: Path,
    out: Path,
    state: Path | None,
    fpir: float,
    min_face: int,
    named: tuple[str, ...],
    templates: int,
    force: bool,
    gallery: str | None,
    workers: int,
    as_json: bool,
) -> None:
    """Group the faces in FOLDER, which nobody labelled, by person.

    Faces that are near nobody's are strangers, and stay alone. It may be interrupted: called
    again, it continues; with more photographs, it looks at those only, and clusters keep their
    numbers. What is gone from FOLDER is erased from what it remembers, which is biometric data.

    \b
    Examples:
      visavis cluster photos/
      visavis cluster photos/ --enroll 1=Ada --enroll 4=Bob
    """
    from visavis.engine import ClusterConfig, cluster_faces  # noqa: PLC0415

    if not out.parent.is_dir():
        raise click.UsageError(f"there is no folder {out.parent}")
    wanted = [_wish(each) for each in named]
    workers = workers or os.cpu_count() or 1
    state = state or out.with_suffix(".faces")
    if state == out:
        raise click.UsageError(f"the contact sheet and what is remembered are both {out}")
    config = ClusterConfig(fpir, min_face, workers)
    with networks.open(gallery_path(gallery) if wanted else None, workers=workers) as engine:
        with _Bar() as told:
            found = cluster_faces(engine, folder, state=state, config=config, told=told)
        found, enrolled, refused = _enrolled(engine, found, state, wanted, templates, force)
        _sheet(engine, found, folder, out)
    for unusable in found.unusable:
        click.echo(f"{unusable.code}: {unusable.message}", err=True)
    for wrong in refused:
        click.echo(f"{wrong['code']}: {wrong['message']}", err=True)
    if as_json:
        more = {"folder": str(folder), "page": str(out), "state": str(state)}
        print_json({**more, **_json(found), "enrolled": enrolled, "refused": refused})
    else:
        _print(found, enrolled, out)
    sys.exit(REFUSED if found.unusable or refused else 0)


def _wish(told: str) -> tuple[int, str]:
    number, equals, name = told.partition("=")
    if not (equals and name.strip() and number.strip().isdecimal()):
        raise click.UsageError(f"--enroll {told!r}: give the cluster's number and a name: 3=Ada")
    return int(number), name


def _enrolled(
    engine: Engine,
    found: Clusters,
    state: Path,
    wanted: list[tuple[int, str]],
    most: int,
    force: bool,
) -> tuple[Clusters, list[dict[str, Any]], list[dict[str, Any]]]:
    """Enrol what was wished for; a refusal keeps nobody else out."""
    from dataclasses import replace  # noqa: PLC0415

    from visavis.engine import enroll_cluster, name_cluster  # noqa: PLC0415

    enrolled, refused = [], []
    for number, name in wanted:
        try:
            one = found.cluster(number)
            done = enroll_cluster(engine, one, name, most=most, force=force)
        except VisavisError as why:
            refused.append(
                {"cluster": number, "person": name, "code": why.code, "message": str(why)}
            )
            continue
        now = name_cluster(engine, state, one, done.person.name)
        found = replace(
            found, clusters=tuple(now if each.id == number else each for each in found.clusters)
        )
        enrolled.append(
            {
                "cluster": number,
                "person": done.person.name,
                "id": done.person.id,
                "added": len(done.added),
                "known": done.known,
            }
        )
    return found, enrolled, refused


def _sheet(engine: Engine, found: Clusters, folder: Path, out: Path) -> None:
    from visavis.cli.sheet import sheet_html  # noqa: PLC0415

    page = sheet_html(found, engine, folder)
    staged = out.with_name(f".{out.name}.part")
    staged.write_text(page, "utf-8")
    staged.replace(out)


class _Bar:
    """Shows progress on standard error, where somebody can see it."""

    def __enter__(self) -> Callable[[int, int], None]:
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import Progress  # noqa: PLC0415

        self._progress = Progress(console=Console(stderr=True), transient=True)
        self._progress.start()
        task = self._progress.add_task("looking for faces", total=None)
        return lambda done, total: self._progress.update(task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def _json(found: Clusters) -> dict[str, Any]:
    return {
        "encoder": found.encoder,
        "fpir": found.fpir,
        "fmr": found.fmr,
        "tau": round(found.tau, 6),
        "extrapolated": found.extrapolated,
        "photographs": found.photographs,
        "embedded": found.embedded,
        "faces": sum(len(c.faces) for c in found.clusters) + len(found.strangers),
        "too_small": found.too_small,
        "clusters": [
            {
                "id": each.id,
                "size": len(each.faces),
                "person": each.person,
                "faces": [_face(face) for face in each.faces],
            }
            for each in found.clusters
        ],
        "strangers": [_face(face) for face in found.strangers],
        "without_a_face": [str(path) for path in found.faceless],
        "errors": [
            {"image": str(u.path), "code": u.code, "message": u.message} for u in found.unusable
        ],
        "ignored": [str(path) for path in found.ignored],
    }


def _face(face: Found) -> dict[str, Any]:
    seen = face.sighting
    return {
        "path": str(face.path),
        "copies": [str(path) for path in face.copies],
        "box": [round(v, 1) for v in seen.face.box],
        "score": round(seen.face.score, 4),
        "fit_for_enrolment": seen.quality.fit_for_enrolment,
    }


def _print(found: Clusters, enrolled: list[dict[str, Any]], out: Path) -> None:
    for each in found.clusters[:_LINES]:
        who = f" ({each.person})" if each.person else ""
        click.echo(f"cluster {each.id}{who}: {len(each.faces)} faces, such as {each.faces[0].path}")
    if len(found.clusters) > _LINES:
        click.echo(f"and {len(found.clusters) - _LINES:,} clusters more")
    for done in enrolled:
        what = f"{done['added']} template(s) added" if done["added"] else "nothing new"
        click.echo(f"enrolled cluster {done['cluster']} as {done['person']}: {what}")
    click.echo(
        f"{len(found.clusters):,} people seen more than once, {len(found.strangers):,} faces of "
        f"strangers, in {found.photographs:,} photographs ({found.embedded:,} looked at now; tau = "
        f"{found.tau:.3f}, FPIR {found.fpir:g} at most)"
    )
    click.echo(f"contact sheet: {out}")
