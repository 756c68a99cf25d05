"""Which searcher a gallery is searched with, by URL; and how it is brought up to date."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from visavis.errors import SearchUnavailable

from .exact import ExactSearcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from visavis.gallery.registry import Gallery

    from .exact import Searcher
    from .milvus import MilvusSearcher, Registry
    from .milvus_collection import MilvusAddress

_SHAPES = (
    "milvus://host:port[/database], milvus+tls://host:port[/database] or "
    "milvus-lite:///path/file.db, with ?index=flat (exact) or ?index=hnsw&ef=1024, and ?timeout=10"
)
_PORT = 19_530
_FILLS = 5
"""How often something else may empty a searcher while it is filled."""


def open_searcher(
    url: str | None, gallery: Gallery, *, token: str | None = None, secret: bytes | None = None
) -> Searcher:
    """Open the searcher that a URL names; it connects when it is first used.

    Parameters
    ----------
    url
        None searches exactly, in this process's memory. Otherwise ``milvus://host:port/database``,
        ``milvus+tls://...`` or ``milvus-lite:///path/file.db``; ``?index=hnsw`` (with ``&ef=``)
        chooses a graph that may miss a neighbour, ``?timeout=`` the seconds that one question may
        take.
    token
        ``user:password`` or an API key of the server.
    secret
        What the vectors are turned with before they leave; None takes the gallery's own.

    Raises
    ------
    SearchUnavailable
        When the URL is none of these.
    """
    if url is None:
        return ExactSearcher(gallery.owned_vectors_of)
    return open_milvus(url, gallery, token=token, secret=secret)


def open_milvus(
    url: str, gallery: Gallery, *, token: str | None = None, secret: bytes | None = None
) -> MilvusSearcher:
    """Open the Milvus that a URL names, see `open_searcher`."""
    from .milvus import MilvusSearcher  # noqa: PLC0415

    address = milvus_address(url, token)
    own = gallery.search_secret() if secret is None else secret
    return MilvusSearcher(gallery, address, own)


def catch_up(
    searcher: Searcher, gallery: Registry, told: Callable[[int, int], None] | None = None
) -> None:
    """Bring a searcher to where the gallery is now, portion by portion.

    Parameters
    ----------
    told
        Called after every portion with log entries done and log entries in all.

    Raises
    ------
    SearchUnavailable
        When it cannot be reached, or others undo what is done.
    """
    fills = 0
    while True:
        changes = gallery.changes(searcher.sequence, searcher.mark)
        if changes.empty:
            return
        fills += changes.full
        if fills > _FILLS:
            raise SearchUnavailable(
                "the searcher was emptied again and again while it was filled; two galleries with "
                "one id may share it: give each a database of its own (milvus://host:port/database)"
            )
        searcher.update(changes)
        if told:
            told(changes.sequence, gallery.info().sequence)
        # What another process does at the same time counts as well, so it is looked at again.
        if not changes.more and (searcher.sequence, searcher.mark) == (
            changes.sequence,
            changes.mark,
        ):
            return


def milvus_address(url: str, token: str | None = None) -> MilvusAddress:
    """Read a URL.

    Raises
    ------
    SearchUnavailable
        Naming what can be given instead.
    """
    from .milvus_collection import Index, MilvusAddress  # noqa: PLC0415

    try:
        parts = urlsplit(url)
        port = parts.port or _PORT
        asked = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        index = Index(asked.pop("index", Index.FLAT))
        ef, timeout = int(asked.pop("ef", 1024)), float(asked.pop("timeout", 10.0))
    except ValueError as fault:
        raise _misspelt(url, str(fault)) from fault
    where, database = unquote(parts.path), ""
    match parts.scheme:
        case "milvus-lite" if where.endswith(".db") and not parts.netloc:
            uri = str(Path(where).absolute())
        case "milvus" | "milvus+tls" if parts.hostname and not parts.username:
            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            uri = f"{'https' if parts.scheme.endswith('tls') else 'http'}://{host}:{port}"
            database = where.strip("/")
        case _:
            raise _misspelt(url, "the token goes by VISAVIS_SEARCH_TOKEN" if "@" in url else "")
    if asked or ef < 1 or not timeout > 0 or "/" in database:
        raise _misspelt(url, f"unknown: {', '.join(asked)}" if asked else "")
    return MilvusAddress(uri, database, token, index, ef, timeout)


def _misspelt(url: str, why: str) -> SearchUnavailable:
    shown = url.rpartition("@")[2]  # no password in a message
    return SearchUnavailable(
        f"{shown!r} names no searcher{f' ({why})' if why else ''}; give {_SHAPES}"
    )
