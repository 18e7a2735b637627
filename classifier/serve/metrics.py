"""What the server tells Prometheus."""

from classifier.core.errors import not_installed

try:
    from fastapi import FastAPI
    from fastapi.responses import PlainTextResponse
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
    from prometheus_fastapi_instrumentator import Instrumentator, metrics
except ImportError as error:
    raise not_installed(str(error.name), "serve") from None

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters of one server, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
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

    def instrument(self, app: FastAPI) -> None:
        """Count the requests of an application by route and status, and report all at /metrics.

        Their methods are left out: clients may make up any number of them.
        """
        counting = Instrumentator(should_group_status_codes=False, registry=self._registry)
        counting.add(
            metrics.requests(should_include_method=False, registry=self._registry),
            metrics.latency(
                should_include_method=False, should_include_status=False,
                buckets=_SECONDS, registry=self._registry,
            ),
        )  # fmt: skip
        counting.instrument(app).expose(app, response_class=PlainTextResponse)
