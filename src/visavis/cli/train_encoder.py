"""visavis train encoder."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visavis.cli.answers import print_json
from visavis.cli.options import json_option, settings
from visavis.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from visavis.train.config import TrainConfig
    from visavis.train.finish import Delivered
    from visavis.train.progress import Progress
    from visavis.train.run import Trained

    Command = Callable[..., Any]

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""

_WHAT = (
    click.option(
        "--start",
        default="mobilefacenet",
        show_default=True,
        metavar="NAME",
        help="tiny, mobilefacenet, mobilefacenet-half, iresnet18, iresnet34 or iresnet50 with "
        "random weights; or an encoder of 'visavis models list' to go on from, such as sface.",
    ),
    click.option(
        "--objective",
        default="triplet",
        show_default=True,
        metavar="SUM",
        help="contrastive, triplet, softmax, arcface, keep (what a pretrained start knows), or a "
        "sum such as arcface+0.5*triplet.",
    ),
    click.option(
        "--first", metavar="SUM", help="Another objective to begin with, such as arcface."
    ),
    click.option("--first-steps", default=0, show_default=True, help="For so many steps."),
    click.option("--alpha", default=0.2, show_default=True, help="Margin of the triplet loss."),
    click.option(
        "--mining",
        default="semi-hard",
        show_default=True,
        type=click.Choice(["random", "semi-hard", "hard", "all"]),
        help="Which triplets of a batch are learnt from.",
    ),
    click.option(
        "--augment",
        default="standard",
        show_default=True,
        type=click.Choice(["none", "light", "standard", "low-resolution"]),
        help="What photographs suffer on purpose.",
    ),
    click.option("--dimension", type=click.IntRange(2), help="Of the encodings."),
)
_HOW = (
    click.option("--people", default=32, show_default=True, help="Of a batch (P)."),
    click.option("--images", default=4, show_default=True, help="Of each of them (K)."),
    click.option("--steps", default=5000, show_default=True, help="Of the optimiser."),
    click.option(
        "--optimizer", default="adamw", show_default=True, type=click.Choice(["adamw", "sgd"])
    ),
    click.option(
        "--rate",
        type=float,
        show_default="1e-3, from a pretrained start 1e-4",
        help="Learning rate after warm-up.",
    ),
    click.option(
        "--schedule",
        default="cosine",
        show_default=True,
        type=click.Choice(["cosine", "step", "constant"]),
    ),
    click.option("--warmup", default=100, show_default=True, help="Steps."),
    click.option("--decay", default=1e-4, show_default=True, help="Weight decay."),
    click.option("--clip", default=5.0, show_default=True, help="Longest gradient; 0: no limit."),
    click.option("--ema", default=0.99, show_default=True, help="Averaging of weights; 0: none."),
    click.option("--accumulate", default=1, show_default=True, help="Batches of a step."),
    click.option("--seed", default=0, show_default=True, help="Everything drawn follows from it."),
    click.option("--no-recover", is_flag=True, help="Stop a collapsing run; do not mend it."),
)
_HELD_OUT = (
    click.option(
        "--validation", default=0.1, show_default=True, help="Share of people who choose weights."
    ),
    click.option(
        "--calibration", default=0.1, show_default=True, help="Share who measure the result."
    ),
    click.option("--check-every", default=250, show_default=True, help="Steps between checks."),
    click.option(
        "--patience", default=0, show_default="never", help="Checks without a better one, to stop."
    ),
    click.option(
        "--face-width",
        multiple=True,
        type=click.IntRange(4),
        metavar="PIXELS",
        help="Check on faces made so small too; may be given several times.",
    ),
    click.option(
        "--exclude", type=FILE, help="Names of people who take no part, a line each (UTF-8)."
    ),
)
_WHERE = (
    click.option(
        "--accelerator",
        default="auto",
        show_default=True,
        type=click.Choice(["auto", "cpu", "gpu"]),
    ),
    click.option("--devices", default=0, show_default="all GPUs, or one process", help="How many."),
    click.option(
        "--precision",
        default="32-true",
        show_default=True,
        type=click.Choice(["32-true", "bf16-mixed"]),
    ),
    click.option("--threads", default=0, show_default="torch's choice", help="Of the CPU."),
    click.option("--workers", default=1, show_default=True, help="Threads that read ahead."),
    click.option(
        "--compile",
        "compiled",
        is_flag=True,
        help="Have torch compile the network: worth it from some thousand steps on.",
    ),
)


def _options(command: Command) -> Command:
    for option in reversed((*_WHAT, *_HOW, *_HELD_OUT, *_WHERE)):
        command = option(command)
    return command


@click.command()
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="A training set that 'visavis data pack' made.",
)
@click.option("--out", required=True, type=FOLDER, help="Folder of the run.")
@click.option("--name", help="What the encoder is called; default the folder's name.")
@click.option(
    "--licence", default="not stated", show_default=True, help="Of the encoder; yours to say."
)
@click.option("--resume", is_flag=True, help="Go on with the run in --out, as it was asked for.")
@json_option
@_options
@click.pass_context
def encoder(
    ctx: click.Context,
    /,
    data: Path,
    out: Path,
    name: str | None,
    licence: str,
    resume: bool,
    as_json: bool,
    **asked: Any,  # noqa: ANN401 - click's values, by name
) -> None:
    """Learn an encoder on pairs or triplets of your own photographs.

    Some people are held out: by the first group the best weights are chosen, on the second the
    result is measured, with operating points. OUT then holds the encoder as ONNX, its manifest for
    'visavis models add', its operating points, a model card and report.html; and config.json,
    metrics.csv, TensorBoard events and checkpoints. Ctrl-C, or a crash, loses nothing: --resume
    goes on along the same path.

    \b
    Examples:
      visavis data pack photos/ packs/staff
      visavis train encoder --data packs/staff --out runs/staff --objective triplet
      visavis models add runs/staff/staff.toml && visavis verify a.jpg Ada --encoder staff
      visavis train encoder --data packs/staff --out runs/far --start sface \\
        --objective triplet+keep --augment low-resolution --face-width 10 --face-width 14
    """
    try:
        from visavis.train.finish import deliver, name_of  # noqa: PLC0415
        from visavis.train.report import training_html  # noqa: PLC0415
        from visavis.train.run import stored_config, train_encoder  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        raise MissingExtra(
            f"training needs {missing.name}: pip install 'visavis[train]'"
        ) from missing

    if resume:
        _refuse_changes(ctx)
        config = stored_config(out)
    else:
        config = _config(asked)
    store = settings().store
    called = name or name_of(out)
    with _told(config.steps) as told, interruptible() as stop:
        trained = train_encoder(data, out, config, store, resume=resume, told=told, stop=stop)
    if not trained.leads:
        return
    if trained.interrupted:
        click.echo(f"stopped; go on with: visavis train encoder --data {data} --out {out} --resume")
        sys.exit(INTERRUPTED)
    delivered = deliver(trained, store, called, licence)
    page = out / "report.html"
    page.write_text(
        training_html(trained, delivered, shlex.join(["visavis", *sys.argv[1:]])), "utf-8"
    )
    if as_json:
        print_json(_json(trained, delivered, page))
    else:
        click.echo(_text(trained, delivered, page))


def _config(asked: dict[str, Any]) -> TrainConfig:
    from visavis.train.augment import PRESETS, Preset  # noqa: PLC0415
    from visavis.train.config import (  # noqa: PLC0415
        Hardware,
        HeldOut,
        Learning,
        Optimizer,
        Schedule,
        TrainConfig,
    )
    from visavis.train.encoders import EncoderName  # noqa: PLC0415
    from visavis.train.objectives import Mining, ObjectiveConfig, parse_objective  # noqa: PLC0415

    fresh = asked["start"] in {str(each) for each in EncoderName}
    excluded = asked["exclude"].read_text("utf-8").splitlines() if asked["exclude"] else []
    return TrainConfig(
        start=asked["start"],
        dimension=asked["dimension"],
        objective=ObjectiveConfig(
            parse_objective(asked["objective"]), asked["alpha"], Mining(asked["mining"])
        ),
        first=parse_objective(asked["first"]) if asked["first"] else (),
        first_steps=asked["first_steps"],
        augment=PRESETS[Preset(asked["augment"])],
        people=asked["people"],
        images=asked["images"],
        steps=asked["steps"],
        seed=asked["seed"],
        keep_every=asked["check_every"],
        recover=not asked["no_recover"],
        exclude=tuple(line.strip() for line in excluded if line.strip()),
        learning=Learning(
            Optimizer(asked["optimizer"]),
            (1e-3 if fresh else 1e-4) if asked["rate"] is None else asked["rate"],
            Schedule(asked["schedule"]),
            *(asked[each] for each in ("warmup", "decay", "clip", "ema", "accumulate")),
        ),
        held_out=HeldOut(
            asked["validation"],
            asked["calibration"],
            asked["check_every"],
            asked["patience"],
            widths=asked["face_width"],
        ),
        hardware=Hardware(
            asked["accelerator"],
            asked["devices"],
            asked["precision"],
            asked["threads"],
            asked["workers"],
            asked["compiled"],
        ),
    )


def _refuse_changes(ctx: click.Context) -> None:
    """Refuse options that a resumed run, which is the one that was begun, would ignore."""
    own = {"data", "out", "name", "licence", "resume", "as_json"}
    given = [
        param.opts[0]
        for param in ctx.command.params
        if param.name
        and param.name not in own
        and ctx.get_parameter_source(param.name) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(
            f"--resume goes on with the run as it was asked for: leave out {', '.join(given)}"
        )


@contextlib.contextmanager
def _told(steps: int) -> Iterator[Callable[[Progress], None]]:
    """Show how far the run is on standard error, if anybody looks, and say what matters."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar  # noqa: PLC0415

    console = Console(stderr=True)
    if int(os.environ.get("LOCAL_RANK", "0")):
        console.quiet = True
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=steps)
        said = ""

        def told(progress: Progress) -> None:
            nonlocal said
            if progress.note:
                console.print(f"step {progress.step}: {progress.note}", markup=False)
            elif progress.check:
                console.print(_check_text(progress), markup=False, highlight=False)
            else:
                if progress.vitals:
                    v = progress.vitals
                    said = f"d mated {v.mated:.2f}, non-mated {v.nonmated:.2f}"
                rate = f"{progress.images_a_second:,.0f} images/s, loss {progress.loss:.4f}, {said}"
                bar.update(task, completed=progress.step, description=rate)

        yield told


def _check_text(progress: Progress) -> str:
    assert progress.check is not None
    seen = [
        f"{f'at {each.width} pixels ' if each.width else ''}"
        f"accuracy {100 * each.accuracy:.1f} %, TAR at FAR 1e-2 {100 * each.tar:.1f} %"
        for each in progress.check.sights
    ]
    return f"step {progress.step}: held-out people: {'; '.join(seen)}"


@contextlib.contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Let Ctrl-C end a run at its next step or epoch; a second one ends it at once."""
    stop = threading.Event()

    def interrupt(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _json(trained: Trained, delivered: Delivered, page: Path) -> dict[str, Any]:
    from visavis.evaluate.findings import verification_json  # noqa: PLC0415

    best = max(trained.checks, key=lambda check: check["score"])
    own, *before = delivered.held_out
    return {
        "name": delivered.manifest.stem,
        "manifest": str(delivered.manifest),
        "onnx": str(delivered.onnx),
        "operating_points": str(delivered.points) if delivered.points else None,
        "card": str(delivered.card),
        "report": str(page),
        "ended": trained.ending,
        "notes": list(trained.notes),
        "best_step": best["step"],
        "held_out": verification_json(own),
        "before": verification_json(before[0]) if before else None,
    }


def _text(trained: Trained, delivered: Delivered, page: Path) -> str:
    from visavis.cli.figures import verification_text  # noqa: PLC0415

    lines = [f"ended: {trained.ending}", *trained.notes]
    lines.append(verification_text(delivered.held_out))
    if not delivered.points:
        lines.append(f"no operating points: {delivered.why}")
    lines.append(f"report: {page}")
    lines.append(f"put it to use: visavis models add {delivered.manifest}")
    return "\n".join(lines)
