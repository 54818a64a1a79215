"""Prometheus numbers. Nothing here runs per packet; batchers and slots are read when somebody scrapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from batcher.stats import BatcherStats, Distribution
from server.models import ServedModel
from server.speaker.models import ServedSpeaker

LAG_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)
COUNTERS = ("submitted", "rejected", "done", "failed", "cancelled", "timed_out")

Pick = Callable[[BatcherStats], Distribution]


class Metrics:
    """The server's own counters, in a registry of their own so that two servers fit in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._running = Gauge("chorus_calls_running", "Calls under way", ["method"], registry=self.registry)
        self._calls = Counter("chorus_calls", "Calls ended", ["method", "status"], registry=self.registry)
        self._seconds = Histogram("chorus_call_seconds", "Length of calls", ["method"], registry=self.registry)
        self._audio = Counter("chorus_audio_seconds", "Audio worked on", ["method"], registry=self.registry)
        self.loop_lag = Histogram(
            "chorus_event_loop_lag_seconds", "Lateness of a timer on the event loop", buckets=LAG_BUCKETS,
            registry=self.registry,
        )  # fmt: skip

    def call_started(self, method: str) -> None:
        """Count a call in."""
        self._running.labels(method).inc()

    def call_ended(self, method: str, status: str, seconds: float, audio_s: float) -> None:
        """Count a call out, once for each `call_started`."""
        self._running.labels(method).dec()
        self._calls.labels(method, status).inc()
        self._seconds.labels(method).observe(seconds)
        self._audio.labels(method).inc(audio_s)

    def watch(self, models: Iterable[ServedModel], speakers: Iterable[ServedSpeaker] = ()) -> None:
        """Export the batchers of all, and the slots of recognisers, from now on."""
        self.registry.register(_ModelCollector(list(models), list(speakers)))


class _ModelCollector(Collector):
    """Reads batcher statistics at scrape time."""

    def __init__(self, models: list[ServedModel], speakers: list[ServedSpeaker]) -> None:
        self._models = models
        self._speakers = speakers

    def collect(self) -> Iterator[Metric]:
        slots = GaugeMetricFamily("chorus_slots", "Stream slots by state", labels=["model", "state"])
        for model in self._models:
            pool = model.lanes
            for state, count in (("free", pool.num_free), ("leased", pool.num_leased), ("draining", pool.num_draining)):
                slots.add_metric([model.name, state], count)
        yield slots
        served: list[ServedModel | ServedSpeaker] = [*self._models, *self._speakers]
        stats = [(model.name, name, batcher.stats) for model in served for name, batcher in model.batchers()]
        for counter in COUNTERS:
            family = CounterMetricFamily(
                f"chorus_batch_items_{counter}", f"Items {counter}", labels=["model", "batcher"]
            )
            for model_name, name, each in stats:
                family.add_metric([model_name, name], getattr(each, counter))
            yield family
        yield _histogram("chorus_batch_size", "Items per batch", stats, lambda each: each.batch_size)
        yield _histogram(
            "chorus_queue_delay_seconds", "Ready item to batch start", stats, lambda each: each.queue_delay_s
        )
        yield _histogram("chorus_batch_run_seconds", "Time of one batch on its engine", stats, lambda each: each.run_s)


def _histogram(name: str, text: str, stats: list[tuple[str, str, BatcherStats]], pick: Pick) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, text, labels=["model", "batcher"])
    for model, batcher, each in stats:
        distribution = pick(each)
        buckets = [
            ("+Inf" if bound == float("inf") else str(bound), count) for bound, count in distribution.cumulative()
        ]
        family.add_metric([model, batcher], buckets, distribution.sum)
    return family
