"""Counts for Prometheus; of all worker processes together where there are several."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

if TYPE_CHECKING:
    from visavis.service.work import Work

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""The library's own variable: where worker processes put their counts."""
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """What is counted; never by person."""

    def __init__(self, work: Work) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "visavis_requests",
            "Requests answered.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self.seconds = Histogram(
            "visavis_request_seconds",
            "From a request's head to its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.decisions = Counter(
            "visavis_decisions",
            "Decisions by kind and outcome.",
            ("kind", "outcome"),
            registry=self._registry,
        )
        if SHARED not in os.environ:  # the library asks no other process for what a function gives
            admitted = Gauge(
                "visavis_requests_admitted",
                "Requests that wait or are worked on.",
                registry=self._registry,
            )
            admitted.set_function(lambda: work.admitted)

    def text(self) -> tuple[bytes, str]:
        """Give what Prometheus reads, and its content type."""
        if SHARED not in os.environ:
            return generate_latest(self._registry), CONTENT_TYPE_LATEST
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together), CONTENT_TYPE_LATEST
