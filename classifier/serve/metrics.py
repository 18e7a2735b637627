"""What the server tells Prometheus."""

from classifier.extras import not_installed

try:
    from prometheus_client import (
        CollectorRegistry,
        Counter,
        Gauge,
        Histogram,
        ProcessCollector,
        generate_latest,
    )
except ImportError as error:
    raise not_installed(str(error.name), "serve") from None

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters of one server, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.requests = Counter(
            "classifier_requests_total",
            "Requests by path and status.",
            ("path", "status"),
            registry=self._registry,
        )
        self.seconds = Histogram(
            "classifier_request_seconds",
            "Time of a request.",
            ("path",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.pictures = Counter(
            "classifier_pictures_total",
            "Pictures by outcome.",
            ("outcome",),
            registry=self._registry,
        )
        self.batches = Histogram(
            "classifier_batch_pictures", "Pictures in one call of the network.",
            buckets=_SIZES, registry=self._registry,
        )  # fmt: skip
        self.waiting = Gauge(
            "classifier_waiting_pictures",
            "Pictures accepted and not yet answered.",
            registry=self._registry,
        )
        self.bodies = Gauge(
            "classifier_body_bytes",
            "Bytes of the bodies of requests under way.",
            registry=self._registry,
        )

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)
