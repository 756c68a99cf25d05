"""One collection in Milvus: its rows, what it says of itself, and its complaints made ours."""

from __future__ import annotations

import json
import logging
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from visavis.errors import MissingExtra, SearchUnavailable, VisavisError
from visavis.values import PersonId, TemplateId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from pymilvus import MilvusClient

_STATE = "visavis.state"
_IDS_A_REQUEST = 8_192  # Milvus gives at most 16,384 rows an answer
_ROWS_A_REQUEST = 1_024
_BYTES_A_REQUEST = 8 << 20  # gRPC takes 64 MiB as a rule
_PROBES_A_REQUEST = 64
_PAUSE = 0.2  # seconds between two tries
_NOT_FOUND, _NOT_LOADED = 100, 101  # Milvus's own codes
_LONGEST_ID = 32
_WITNESS = "f" * _LONGEST_ID
_FAR_AWAY = 1e3  # from unit vectors, so that the witness is the last that a search finds


class Index(StrEnum):
    """How Milvus looks for neighbours: comparing with all, or along a graph that may miss some."""

    FLAT = "flat"
    HNSW = "hnsw"


@dataclass(frozen=True, slots=True)
class MilvusAddress:
    """Where a Milvus is and how it is asked.

    Attributes
    ----------
    uri
        As pymilvus takes it: ``http://host:port``, ``https://host:port``, or a path ``*.db``.
    database
        Empty for the default one.
    token
        ``user:password`` or an API key, when the server wants one.
    index
        Made with the collection and kept; FLAT is exact.
    ef
        Candidates that HNSW keeps while it walks; more finds more and takes longer.
    timeout
        Seconds that one question may take, trying again included.
    """

    uri: str
    database: str = ""
    token: str | None = field(default=None, repr=False)
    index: Index = Index.FLAT
    ef: int = 1024
    timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class State:
    """What a collection says of itself; it lies in Milvus beside the rows.

    Attributes
    ----------
    generation
        Another one each time the collection is made anew.
    stamp
        Another one each time this is written.
    sequence, mark
        Up to where the gallery's change log is in here.
    count
        Rows at that point.
    adding, removing
        Rows that are on their way to the next point; both 0 at rest. After a crash they stay.
    """

    generation: str
    stamp: str
    dimension: int
    index: str
    sequence: int
    mark: str
    count: int
    adding: int = 0
    removing: int = 0

    @property
    def resting(self) -> bool:
        """True when no portion of changes is on its way."""
        return not (self.adding or self.removing)

    def allows(self, rows: int) -> bool:
        """Tell whether so many rows are what there should be."""
        return self.count - self.removing <= rows <= self.count + self.adding

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read it; None when it was written by something else, which is as good as not there."""
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError):
            return None


class CollectionGone(Exception):
    """The collection is not there, or no longer; never leaves this package."""


class MilvusCollection:
    """A collection by name. It connects when it is first asked for something.

    Every method may raise SearchUnavailable, and all but ``state``, ``make`` and ``drop`` raise
    CollectionGone when there is no such collection. May be used from several threads.
    """

    def __init__(self, address: MilvusAddress, name: str) -> None:
        self.address = address
        self.name = name
        self._connected: MilvusClient | None = None

    def close(self) -> None:
        """Let go of the connection; the next question connects again."""
        if self._connected is not None:
            self._connected.close()
            self._connected = None

    # What it says of itself

    def state(self) -> State | None:
        """Read the state; None when there is no collection, or none of ours.

        This is one small question, about 1 ms.
        """
        try:
            told = self._ask(lambda client, t: client.describe_collection(self.name, timeout=t))
        except CollectionGone:
            return None
        text = told.get("properties", {}).get(_STATE)
        return None if text is None else State.parse(text)

    def put(self, state: State) -> None:
        """Write the state; it is durable once this returns."""
        said = {_STATE: json.dumps(asdict(state))}
        self._ask(
            lambda client, t: client.alter_collection_properties(self.name, said, timeout=t),
            again=True,
        )

    def make(self, state: State) -> None:
        """Make the collection anew, empty but for the witness; whatever it held is dropped."""
        self.drop()
        self._ask(lambda client, t: self._create(client, state, 6 * t))
        self.catch_sight(state.dimension)
        self.put(state)  # last, so that one that was left half made is none of ours

    def drop(self, name: str | None = None) -> None:
        """Drop this collection, or another; nothing happens when there is none."""
        self._ask(lambda client, t: client.drop_collection(name or self.name, timeout=t))

    def beginning(self, prefix: str) -> list[str]:
        """Names of all collections that begin so."""
        names: list[str] = self._ask(lambda client, t: client.list_collections(timeout=t))
        return [name for name in names if name.startswith(prefix)]

    # Its rows

    def add(
        self,
        templates: Sequence[TemplateId],
        persons: Sequence[PersonId],
        vectors: NDArray[np.float32],
    ) -> None:
        """Add rows; those that are there already are replaced by themselves."""
        step = max(1, _BYTES_A_REQUEST // (4 * vectors.shape[1] + 100))
        for begin in range(0, len(templates), step):
            chunk = slice(begin, begin + step)
            rows = [
                {"id": template, "person": person, "vector": vector}
                for template, person, vector in zip(
                    templates[chunk], persons[chunk], vectors[chunk], strict=True
                )
            ]
            self._ask(lambda client, t, r=rows: client.upsert(self.name, r, timeout=t))

    def remove(self, templates: Sequence[TemplateId]) -> None:
        """Remove rows; those that are not there change nothing."""
        for some in _chunks(templates):
            self._ask(lambda client, t, s=some: client.delete(self.name, ids=s, timeout=t))

    def erase(self) -> None:
        """Ask Milvus to write out what it holds and to rewrite it without what was removed."""
        self._ask(lambda client, t: client.flush(self.name, timeout=t))
        self._ask(lambda client, t: client.compact(self.name, timeout=t))

    def catch_sight(self, dimension: int) -> None:
        """See from now on what was added and removed before, by whomever.

        A search sees what this client has added (consistency level Session, the server's time of
        the addition being the token); so it adds one row again, after the others. To ask for
        STRONG each time would cost each search 200 to 400 ms, and removals give no time.
        """
        far = np.zeros((1, dimension), dtype=np.float32)
        far[0, 0] = _FAR_AWAY
        self.add([TemplateId(_WITNESS)], [PersonId(_WITNESS)], far)

    def count(self, *, strong: bool = False) -> int:
        """Count the rows, without the witness."""
        found = self._ask(
            lambda client, t: client.query(
                self.name,
                filter="",
                output_fields=["count(*)"],
                consistency_level=_level(strong),
                timeout=t,
            ),
            again=True,
        )
        return int(found[0]["count(*)"]) - 1

    def holding(self, templates: Sequence[TemplateId], *, strong: bool = False) -> set[TemplateId]:
        """Which of the templates it has."""
        found: set[TemplateId] = set()
        for some in _chunks(templates):
            rows = self._ask(
                lambda client, t, s=some: client.get(
                    self.name, s, output_fields=["id"], consistency_level=_level(strong), timeout=t
                ),
                again=True,
            )
            found.update(TemplateId(row["id"]) for row in rows)
        return found

    def rows(
        self, templates: Sequence[TemplateId]
    ) -> dict[TemplateId, tuple[PersonId, NDArray[np.float32]]]:
        """Give the rows of those of the templates that it has, whole, as they lie there."""
        found: dict[TemplateId, tuple[PersonId, NDArray[np.float32]]] = {}
        for some in _chunks(templates, _ROWS_A_REQUEST):
            rows = self._ask(
                lambda client, t, s=some: client.get(
                    self.name,
                    s,
                    output_fields=["id", "person", "vector"],
                    consistency_level="Strong",
                    timeout=t,
                ),
                again=True,
            )
            for row in rows:
                vector = np.asarray(row["vector"], dtype=np.float32)
                found[TemplateId(row["id"])] = (PersonId(row["person"]), vector)
        return found

    def near(
        self, probes: NDArray[np.float32], limit: int, without: Sequence[PersonId] = ()
    ) -> list[list[tuple[TemplateId, PersonId]]]:
        """Find the nearest rows of each probe (N, D), without those of some people."""
        found: list[list[tuple[TemplateId, PersonId]]] = []
        for begin in range(0, len(probes), _PROBES_A_REQUEST):
            some = list(probes[begin : begin + _PROBES_A_REQUEST])
            answers = self._ask(
                lambda client, t, s=some: client.search(
                    self.name,
                    s,
                    filter=f"person not in {json.dumps(list(without))}" if without else "",
                    limit=limit,
                    output_fields=["person"],
                    search_params=self._search(limit),
                    consistency_level="Session",
                    timeout=t,
                ),
                again=True,
            )
            found += [
                [(TemplateId(hit["id"]), PersonId(hit["entity"]["person"])) for hit in hits]
                for hits in answers
            ]
        return found

    def _search(self, limit: int) -> dict[str, Any]:
        graph = self.address.index is Index.HNSW
        params = {"ef": max(self.address.ef, limit)} if graph else {}
        return {"metric_type": "L2", "params": params}

    def _create(self, client: MilvusClient, state: State, timeout: float) -> None:
        from pymilvus import DataType  # noqa: PLC0415

        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, max_length=_LONGEST_ID, is_primary=True)
        schema.add_field("person", DataType.VARCHAR, max_length=_LONGEST_ID)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=state.dimension)
        index = client.prepare_index_params()
        graph = {"M": 32, "efConstruction": 400} if state.index == Index.HNSW else {}
        index.add_index("vector", index_type=state.index.upper(), metric_type="L2", params=graph)
        client.create_collection(
            self.name, schema=schema, consistency_level="Session", timeout=timeout
        )
        client.create_index(self.name, index, sync=False, timeout=timeout)
        client.load_collection(self.name, timeout=timeout)

    def _ask(self, question: Callable[..., Any], *, again: bool = False) -> Any:  # noqa: ANN401 - whatever pymilvus answers
        """Ask, and with ``again`` once more while time is left.

        A server that has just started refuses for some seconds, or has to load the collection.
        """
        deadline = time.monotonic() + self.address.timeout
        while True:
            left = max(0.1, deadline - time.monotonic())
            try:
                with _complaints(self.address):
                    return question(self._client(left), left)
            except _NotLoaded:
                with _complaints(self.address):
                    self._client(left).load_collection(self.name, timeout=left)
            except SearchUnavailable:
                if not again or time.monotonic() + _PAUSE > deadline:
                    raise
                time.sleep(_PAUSE)

    def _client(self, timeout: float) -> MilvusClient:
        if self._connected is None:
            self._connected = _connected(self.address, timeout)
        return self._connected


class Eraser:
    """Has Milvus rewrite its files after a removal, in a thread of its own: it takes seconds.

    A Milvus limits how often it writes, so removals soon after each other are erased together.
    """

    def __init__(self, collection: MilvusCollection) -> None:
        self._collection = collection
        self._lock = Lock()
        self._thread: Thread | None = None
        self._wanted = False

    def wanted(self) -> None:
        """Note that something was removed."""
        with self._lock:
            self._wanted = True
            if self._thread is None:
                self._thread = Thread(target=self._work, name="visavis-eraser", daemon=True)
                self._thread.start()

    def finish(self) -> None:
        """Wait until what was removed is erased, or cannot be."""
        thread = self._thread
        if thread is not None:
            thread.join(3 * self._collection.address.timeout)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._wanted:
                    self._thread = None
                    return
                self._wanted = False
            # Where it cannot be asked now, Milvus erases at its own times (docs/scaling.md).
            with suppress(SearchUnavailable, CollectionGone):
                self._collection.erase()


class _NotLoaded(SearchUnavailable):
    """The collection lies on the disk and has to be loaded."""


def _level(strong: bool) -> str:
    return "Strong" if strong else "Session"


def _chunks(
    templates: Sequence[TemplateId], size: int = _IDS_A_REQUEST
) -> Iterator[list[TemplateId]]:
    for begin in range(0, len(templates), size):
        yield list(templates[begin : begin + size])


def _connected(address: MilvusAddress, timeout: float) -> MilvusClient:
    ours = "pymilvus" not in sys.modules
    try:
        from pymilvus import MilvusClient  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        raise MissingExtra("Milvus needs pymilvus: pip install 'visavis[milvus]'") from missing
    if ours:
        # It prints a traceback of its own for each of its errors, and all of them become ours.
        for name in ("pymilvus", "pymilvus.milvus_client"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        return MilvusClient(
            uri=address.uri,
            token=address.token or "",
            db_name=address.database,
            timeout=timeout,
        )
    except ModuleNotFoundError as missing:
        raise MissingExtra(
            "a Milvus in a file needs milvus-lite: pip install milvus-lite"
        ) from missing


@contextmanager
def _complaints(address: MilvusAddress) -> Iterator[None]:
    """Turn what pymilvus and gRPC raise into errors of ours."""
    try:
        yield
    except VisavisError:
        raise
    except Exception as fault:
        code = getattr(fault, "code", None)
        if code == _NOT_FOUND:
            raise CollectionGone(str(fault)) from fault
        if not _is_theirs(fault):
            raise
        if code == _NOT_LOADED:
            raise _NotLoaded(str(fault)) from fault
        raise SearchUnavailable(
            f"Milvus at {address.uri} did not answer as it should ({_cause(fault)}); see that it "
            "runs and can be reached. Nothing is lost: what it missed is sent to it as soon as "
            "it answers"
        ) from fault


def _is_theirs(fault: Exception) -> bool:
    from grpc import RpcError  # noqa: PLC0415
    from pymilvus.exceptions import MilvusException  # noqa: PLC0415

    return isinstance(fault, (MilvusException, RpcError))


def _cause(fault: Exception) -> str:
    """Say in one line what happened, without addresses of memory and stack."""
    details = getattr(fault, "details", None)  # of gRPC
    said = details() if callable(details) else getattr(fault, "message", None)
    line = str(said or fault).strip().splitlines()[0]
    return line if len(line) <= 200 else f"{line[:200]} ..."
