"""Options that several commands share, and the engine they describe."""

from __future__ import annotations

import getpass
import os
import sys
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visavis.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from visavis.engine import Engine
    from visavis.gallery import Gallery
    from visavis.gallery.search.milvus import MilvusSearcher
    from visavis.gallery.secrets.protection import Keys
    from visavis.image import Source

    Command = Callable[..., Any]

PHOTOGRAPH = click.Path(path_type=Path, allow_dash=True)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on standard output."
)
exit_status_option = click.option(
    "--exit-status", is_flag=True, help="Exit with 1 when the answer is no."
)
_KEY_FILE = "visavis.key_file"


def _keep_key_file(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    ctx.meta[_KEY_FILE] = value


def gallery_option(command: Command) -> Command:
    """Add --gallery, which arrives as ``gallery``, and --key-file, which `gallery_keys` knows."""
    for option in (
        click.option(
            "--key-file",
            metavar="FILE",
            type=click.Path(path_type=Path),
            expose_value=False,
            callback=_keep_key_file,
            help="The master key of a sealed gallery; default VISAVIS_KEY, else "
            "VISAVIS_KEY_FILE, else keys/master.key in your data directory.",
        ),
        click.option(
            "--gallery",
            metavar="FILE",
            help="The people: FILE or postgresql://user@host/database; default VISAVIS_GALLERY, "
            "else people.db in your data directory.",
        ),
    ):
        command = option(command)
    return command


force_option = click.option(
    "--force", is_flag=True, help="Overrule what quality and likeness say against it."
)
keep_option = click.option(
    "--keep-photographs", is_flag=True, help="Store the photographs too; by default none is kept."
)


@dataclass(frozen=True, slots=True)
class LiveChoice:
    """What the user said about liveness."""

    policy: str = "off"
    model: str | None = None
    bpcer: float | None = None
    apcer: float | None = None

    def settings(self) -> dict[str, Any]:
        """Give what of it belongs to EngineConfig."""
        from visavis.liveness.points import Aim, Rate  # noqa: PLC0415
        from visavis.liveness.policy import Policy  # noqa: PLC0415

        policy = Policy(self.policy)
        if policy.active:
            raise click.UsageError(
                f"--live {policy} asks for a challenge, which is answered before a camera: use "
                "Engine.verify(..., answered=...) from Python; photographs can be held against "
                "'--live passive'"
            )
        if self.bpcer is not None and self.apcer is not None:
            raise click.UsageError("name one rate to decide at: --bpcer or --apcer")
        chosen: dict[str, Any] = {"live": policy}
        if self.bpcer is not None:
            chosen["live_at"] = Aim(Rate.BPCER, self.bpcer)
        if self.apcer is not None:
            chosen["live_at"] = Aim(Rate.APCER, self.apcer)
        if self.model is not None:
            chosen["liveness"] = self.model
        return chosen


cache_option = click.option(
    "--no-cache",
    is_flag=True,
    help="Remember no encodings. By default they are kept in the cache directory.",
)
workers_option = click.option(
    "--workers",
    default=0,
    type=click.IntRange(0),
    show_default="one a core",
    help="Photographs worked on side by side.",
)


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """What the user said about the networks."""

    encoder: str
    precision: str | None
    runtime: str
    threads: int
    pick: str
    search: str | None = None

    def instead(self, other: str) -> EngineChoice:
        """Give the same choice with another ``ENCODER[:PRECISION]``."""
        encoder, _, precision = other.partition(":")
        if precision not in {"", "int8", "fp32"}:
            raise click.UsageError(f"{other!r}: the precision is int8 or fp32")
        return replace(self, encoder=encoder, precision=precision or None)

    def open(
        self, gallery: str | None = None, *, workers: int = 1, alive: LiveChoice | None = None
    ) -> Engine:
        """Open the engine that was asked for."""
        from visavis.engine import Engine, EngineConfig  # noqa: PLC0415
        from visavis.models import Cores, Precision, RuntimeName  # noqa: PLC0415
        from visavis.values import Pick  # noqa: PLC0415

        told = settings()
        cores = Cores(workers, workers) if workers > 1 else Cores(self.threads)
        return Engine.open(
            gallery,
            EngineConfig(
                encoder=self.encoder,
                precision=Precision(self.precision) if self.precision else None,
                runtime=RuntimeName(self.runtime),
                cores=cores,
                pick=Pick(self.pick),
                search=self.search or told.search,
                search_token=told.search_token,
                store=told.store,
                keys=gallery_keys() if gallery else None,
                actor=actor(),
                **(alive.settings() if alive else {}),
            ),
        )


def engine_options(command: Command) -> Command:
    """Add --encoder, --precision, --runtime, --threads, --pick and --search, as ``networks``."""

    def gathered(
        encoder: str,
        precision: str | None,
        runtime: str,
        threads: int,
        pick: str,
        search: str | None,
        **rest: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        networks = EngineChoice(encoder, precision, runtime, threads, pick, search)
        return command(networks=networks, **rest)

    gathered.__doc__ = command.__doc__
    gathered.__name__ = command.__name__
    gathered.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for option in (
        click.option(
            "--search",
            metavar="URL",
            help="Where people are looked for: milvus://host:port/database; default "
            "VISAVIS_SEARCH, else exactly, in memory.",
        ),
        click.option(
            "--pick",
            default="clear-subject",
            show_default=True,
            type=click.Choice(["clear-subject", "largest", "most-central"]),
            help="Whom a photograph with several faces is of.",
        ),
        click.option(
            "--threads",
            default=0,
            show_default="all cores",
            type=click.IntRange(0),
            help="Cores that one face may use.",
        ),
        click.option(
            "--runtime",
            default="openvino",
            show_default=True,
            type=click.Choice(["openvino", "onnxruntime"]),
            help="What computes the networks.",
        ),
        click.option(
            "--precision",
            type=click.Choice(["int8", "fp32"]),
            help="Arithmetic of the encoder; default the one it prefers.",
        ),
        click.option(
            "--encoder",
            default="sface",
            show_default=True,
            metavar="NAME",
            shell_complete=_complete_encoder,
            help="A model of 'visavis models list'.",
        ),
    ):
        gathered = option(gathered)
    return gathered


live_option = click.option(
    "--live",
    type=click.Choice(["off", "passive", "active", "passive-and-active"]),
    default="off",
    show_default=True,
    help="What is asked of the face before it may count: to look live in the picture, to have "
    "answered a challenge, or both.",
)


def live_options(command: Command) -> Command:
    """Add --liveness-model, --bpcer and --apcer; with --live they arrive as ``alive``."""

    def gathered(
        liveness_model: str | None,
        bpcer: float | None,
        apcer: float | None,
        live: str = "off",
        **rest: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        return command(alive=LiveChoice(live, liveness_model, bpcer, apcer), **rest)

    gathered.__doc__ = command.__doc__
    gathered.__name__ = command.__name__
    gathered.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for option in (
        click.option(
            "--apcer",
            type=float,
            metavar="RATE",
            help="Decide liveness where so many attacks pass (of the most dangerous kind).",
        ),
        click.option(
            "--bpcer",
            type=float,
            metavar="RATE",
            help="Decide liveness where so many live people are turned away.",
        ),
        click.option(
            "--liveness-model",
            metavar="NAME",
            help="Model that judges liveness in a picture; default visavis-live.",
        ),
    ):
        gathered = option(gathered)
    return gathered


def settings() -> Settings:
    """Read the environment; only the command line does."""
    return Settings.read(os.environ)


def gallery_path(given: str | None) -> str:
    """Give the gallery that was named, else the default one."""
    return given or settings().gallery


def open_gallery(given: str | None, *, create: bool = False) -> Gallery:
    """Open the people without any network."""
    from visavis.gallery import Gallery  # noqa: PLC0415

    path = gallery_path(given)
    return Gallery.open(path, create=create, keys=gallery_keys(), actor=actor())


def gallery_keys() -> Keys:
    """Say where the master key comes from; nothing is read yet."""
    context = click.get_current_context(silent=True)
    named = context.meta.get(_KEY_FILE) if context else None
    if named is None:
        return settings().keys
    from visavis.gallery.secrets.protection import Keys  # noqa: PLC0415

    return Keys(file=named)


def actor() -> str:
    """Name who is at the command line, for the audit log."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a user without a name, as in containers
        return f"cli:{os.getuid()}"


@contextmanager
def searcher_outside(people: Gallery) -> Iterator[MilvusSearcher | None]:
    """Give the Milvus of VISAVIS_SEARCH; None where people are searched in memory."""
    from visavis.gallery.search.searchers import open_milvus  # noqa: PLC0415

    told = settings()
    if told.search is None:
        yield None
        return
    with closing(open_milvus(told.search, people, token=told.search_token)) as searcher:
        yield searcher


def pass_on(people: Gallery) -> None:
    """Have the Milvus of VISAVIS_SEARCH erase who was removed, or say that it cannot be told now.

    It is then told before the next search. Searching in memory leaves nothing to be told.
    """
    from visavis.errors import KeyRefused, SearchUnavailable  # noqa: PLC0415
    from visavis.gallery.search.searchers import catch_up  # noqa: PLC0415

    try:
        with searcher_outside(people) as searcher:
            if searcher is not None:
                catch_up(searcher, people)
    except (SearchUnavailable, KeyRefused) as fault:
        click.echo(
            "the Milvus that is searched in cannot be told now: nobody finds them any more, but "
            f"what it holds of them stays there until the next search reaches it ({fault})",
            err=True,
        )


def photograph(path: Path) -> Source:
    """Give what the user named: a file, or standard input for ``-``."""
    return sys.stdin.buffer.read() if str(path) == "-" else path


def complete_person(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of somebody enrolled."""
    from visavis.errors import VisavisError  # noqa: PLC0415

    try:
        with open_gallery(ctx.params.get("gallery")) as people:
            return [p.name for p in people.people() if p.name.startswith(incomplete)]
    except VisavisError:
        return []


def _complete_encoder(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from visavis.models import Kind  # noqa: PLC0415

    names = [m.name for m in settings().store.manifests() if m.kind is Kind.ENCODER]
    return [name for name in names if name.startswith(incomplete)]
