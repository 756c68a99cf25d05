"""visavis: recognise people by one photograph, and know how far to trust the answer.

::

    import visavis

    visavis.compare("a.jpg", "b.jpg")
    engine = visavis.Engine.open("people.db")
    engine.enroll("Ada", ["ada.jpg"])
    engine.verify("door.jpg", "Ada")
    engine.identify("door.jpg")
"""

from __future__ import annotations

import functools
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from visavis.client import AsyncClient, Client
    from visavis.engine import Engine, EngineConfig
    from visavis.errors import VisavisError
    from visavis.image import Source
    from visavis.liveness.policy import Policy
    from visavis.values import Decision, Embedding, Identification, Liveness

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "Client",
    "Decision",
    "Embedding",
    "Engine",
    "EngineConfig",
    "Identification",
    "Liveness",
    "Policy",
    "VisavisError",
    "__version__",
    "compare",
    "distance",
]

_HOMES = {
    "AsyncClient": "visavis.client",
    "Client": "visavis.client",
    "Decision": "visavis.values",
    "Embedding": "visavis.values",
    "Engine": "visavis.engine",
    "EngineConfig": "visavis.engine",
    "Identification": "visavis.values",
    "Liveness": "visavis.values",
    "Policy": "visavis.liveness.policy",
    "VisavisError": "visavis.errors",
    "distance": "visavis.decide",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - each public name on its first use
    """Import a public name when it is first asked for, so that ``import visavis`` is light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'visavis' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__


def compare(a: Source, b: Source, *, fmr: float | None = None) -> Decision:
    """Decide whether two photographs are of the same person, without a gallery.

    The networks are loaded by the first call and kept. See `visavis.engine.Engine.compare`.
    """
    return _engine().compare(a, b, fmr=fmr)


@functools.cache
def _engine() -> Engine:
    from visavis.engine import Engine  # noqa: PLC0415

    return Engine.open()
