"""What a service is told, in one frozen value that travels to its worker processes."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import asdict, dataclass, field
from typing import Self

from visavis.errors import ServiceUnprotected

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """How much is taken at once.

    Attributes
    ----------
    body
        Bytes of a request.
    images
        Photographs of a request.
    queue
        Requests that may wait beside those worked on; the next is told to come again.
    patience
        Seconds that a request may take to arrive, and then may wait and be worked on.
    rate
        Requests a minute of one key in one process; 0 sets no limit.
    sockets
        Cameras connected at the same time, in one process.
    connections
        Of any kind, in one process: about half of the files that it may usually have open.
    """

    body: int = 16 * MIB
    images: int = 10
    queue: int = 32
    patience: float = 20.0
    rate: int = 6000
    sockets: int = 16
    connections: int = 512


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """How ``visavis serve`` answers.

    Attributes
    ----------
    galleries
        Files or URLs; a key is one gallery's, so it says which one a request is about.
    host, port
        Where it listens.
    open
        Answer without keys; only on this machine's own addresses.
    tls_certificate, tls_key
        Files, for https.
    proxied
        A proxy before it speaks https and is the only one that reaches it.
    workers, threads
        Processes, and requests each works on side by side; 0 threads is one a core.
    live
        What the door asks of a face's liveness: the name of a policy.
    fpir
        The rate that the door decides at; None takes the engine's.
    door
        What the gate is called in the webhook and the audit log.
    webhook
        Where an opened door is told to, or "".
    encoder, search
        As for EngineConfig.
    """

    galleries: tuple[str, ...]
    host: str = "127.0.0.1"
    port: int = 8000
    open: bool = False
    tls_certificate: str = ""
    tls_key: str = ""
    proxied: bool = False
    workers: int = 1
    threads: int = 0
    live: str = "passive"
    fpir: float | None = None
    door: str = "door"
    webhook: str = ""
    encoder: str = "sface"
    search: str | None = None
    limits: ServiceLimits = field(default_factory=ServiceLimits)

    def __post_init__(self) -> None:
        """Raise ServiceUnprotected for what must not be started."""
        if self.open and (self.proxied or self.tls_certificate):
            raise ServiceUnprotected(
                "--open is for this machine alone, not behind a proxy and not by https: "
                "leave it out and make keys with 'visavis keys create'"
            )
        if self.loopback:
            return
        if self.open:
            raise ServiceUnprotected(
                f"--open lets everybody in, so it listens here only, not on {self.host}: "
                "leave --open out and make keys with 'visavis keys create'"
            )
        if not self.secure:
            raise ServiceUnprotected(
                f"on {self.host} keys and photographs would travel in the clear: give "
                "--tls-certificate and --tls-key, or --proxied when a proxy before it speaks https"
            )

    @property
    def loopback(self) -> bool:
        """True when only this machine reaches it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def secure(self) -> bool:
        """True when browsers reach it by https."""
        return bool(self.tls_certificate) or self.proxied

    @property
    def cookie(self) -> str:
        """The session cookie's name.

        With this prefix a browser takes it from this very host alone: neither a neighbour under the
        same domain nor somebody on the way who answers for http:// can plant one of theirs.
        """
        return "__Host-visavis_session" if self.secure else "visavis_session"

    def as_json(self) -> str:
        """Give what `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what a parent process handed on."""
        told = json.loads(text)
        limits = ServiceLimits(**told.pop("limits"))
        return cls(**{**told, "galleries": tuple(told["galleries"])}, limits=limits)
