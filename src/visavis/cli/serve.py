"""visavis serve."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visavis.cli.answers import print_json
from visavis.cli.options import json_option, settings
from visavis.errors import MissingExtra, ServiceUnprotected

if TYPE_CHECKING:
    from visavis.service.config import ServiceConfig


@click.command()
@click.option(
    "--gallery",
    "galleries",
    multiple=True,
    metavar="FILE",
    help="The people: FILE or postgresql://...; several times for several galleries. A key says "
    "which one a request is about. Default VISAVIS_GALLERY, else people.db in your data directory.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option(
    "--open",
    "open_",
    is_flag=True,
    help="Want no keys: whoever is on this machine may do everything. For trying it out.",
)
@click.option("--tls-certificate", default="", metavar="FILE", help="Certificate, for https.")
@click.option("--tls-key", default="", metavar="FILE", help="Its private key.")
@click.option("--proxied", is_flag=True, help="A proxy before it speaks https.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 256))
@click.option(
    "--threads",
    default=0,
    show_default="one a core",
    type=click.IntRange(0, 1024),
    help="Requests that a worker works on side by side.",
)
@click.option("--queue", default=32, show_default=True, type=click.IntRange(0), help="May wait.")
@click.option(
    "--rate", default=6000, show_default=True, type=click.IntRange(0), help="Of a key, a minute."
)
@click.option(
    "--live",
    default="passive",
    show_default=True,
    type=click.Choice(["off", "passive", "active", "passive-and-active"]),
    help="What the door asks of a face's liveness.",
)
@click.option("--fpir", type=float, metavar="RATE", help="What the door decides at; default 1e-3.")
@click.option("--door", default="door", show_default=True, help="What the gate is called.")
@click.option(
    "--webhook",
    default="",
    metavar="URL",
    help="Told, signed with VISAVIS_WEBHOOK_SECRET, when the door opens.",
)
@click.option("--encoder", default="sface", show_default=True, metavar="NAME")
@click.option("--search", metavar="URL", help="As for 'visavis identify'.")
@json_option
def serve(
    galleries: tuple[str, ...],
    open_: bool,
    queue: int,
    rate: int,
    as_json: bool,
    **told: Any,  # noqa: ANN401
) -> None:
    """Answer over HTTP: an API under /v1, the console at /, the door at /door.

    Listens on this machine alone unless --host says otherwise, and wants a key for everything:

    \b
    Examples:
      visavis keys create desk --role admin
      visavis serve
      visavis serve --open                  try it, without keys, on this machine
      visavis serve --host 0.0.0.0 --tls-certificate door.pem --tls-key door.key --workers 2
    """
    try:
        import uvicorn  # noqa: PLC0415

        from visavis.service import app as service  # noqa: PLC0415
        from visavis.service import log  # noqa: PLC0415
        from visavis.service.config import ServiceConfig, ServiceLimits  # noqa: PLC0415
        from visavis.service.protocols import OPTIONS  # noqa: PLC0415
    except ModuleNotFoundError as absent:
        raise MissingExtra(
            f"the service needs {absent.name}: pip install 'visavis[serve]'"
        ) from absent
    told_settings = settings()
    config = ServiceConfig(
        galleries=galleries or (told_settings.gallery,),
        open=open_,
        limits=ServiceLimits(queue=queue, rate=rate),
        **told,
    )
    _check(config, os.environ.get(service.SECRET, ""))
    for gallery in config.galleries:
        if "://" not in gallery:
            Path(gallery).parent.mkdir(parents=True, exist_ok=True)
    log.begin()
    # What cannot be opened is said now, in one line, and not by every worker.
    service.close_houses(service.open_houses(config, told_settings, 1))
    os.environ[service.TOLD] = config.as_json()
    scheme = "https" if config.tls_certificate else "http"
    shown = f"[{config.host}]" if ":" in config.host else config.host
    url = f"{scheme}://{shown}:{config.port}"
    if as_json:
        print_json({"url": url, "workers": config.workers, "open": config.open})
    if sys.stderr.isatty():
        click.echo(f"visavis answers on {url}; Ctrl-C stops it", err=True)
    else:
        log.say("listening", url=url, workers=config.workers)
    # uvicorn raises the signal that stopped it once more when all is answered: that is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="visavis-metrics-") as counts:
        if config.workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = counts
        uvicorn.run(
            "visavis.service.app:worker",
            factory=True,
            host=config.host,
            port=config.port,
            workers=config.workers,
            ssl_certfile=config.tls_certificate or None,
            ssl_keyfile=config.tls_key or None,
            proxy_headers=config.proxied,
            timeout_graceful_shutdown=30,
            **OPTIONS,
        )


def _check(config: ServiceConfig, secret: str) -> None:
    """Say now what would otherwise be found by every worker, or at the first visit."""
    from visavis.service.app import SECRET  # noqa: PLC0415
    from visavis.service.webhook import Webhook, WebhookConfig  # noqa: PLC0415

    if config.webhook and not secret:
        raise ServiceUnprotected(
            f"a gate must know who tells it to open: set {SECRET} to a long random text, here and "
            "at the gate"
        )
    if config.webhook:
        Webhook(WebhookConfig(config.webhook), secret.encode())
    if config.fpir is not None and not 0 < config.fpir < 1:
        raise click.UsageError("--fpir is a rate, above 0 and below 1")
    if bool(config.tls_certificate) != bool(config.tls_key):
        raise click.UsageError("--tls-certificate and --tls-key go together")
    for file in (config.tls_certificate, config.tls_key):
        if file and not os.access(file, os.R_OK):
            raise click.UsageError(f"{file} cannot be read")
