"""The newest frame in the Prometheus text format, with OpenTelemetry's names for messaging where it has one.

Pure: a frame goes in, families come out. Counters end in `_total` and count what the logs count, so they survive the
restart of any process of headrace. Units are seconds and bytes. Whatever a frame holds only for a window (latencies,
confidence) is a gauge, a summary without sum, or a gauge histogram, never a counter.

The aggregator and the dashboard show the same frame: scrape one of them. Runs and steps are not labels here, as each
new run would be a new series for good; their curves belong to the page.

Names: https://opentelemetry.io/docs/specs/semconv/messaging/messaging-metrics/
"""

from __future__ import annotations

import time as clock
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from headrace.channels import REQUESTS, SCORERS
from headrace.events import ChannelView, Frame, GroupView, LatencyView, ModelView, WorkerView

SYSTEM = "redis"
"""The value of `messaging_system`."""

Rows = Iterable[tuple[Sequence[str], float]]
"""Label values and the number, one a series."""

_CHANNEL = ("messaging_system", "messaging_destination_name")
_GROUP = (*_CHANNEL, "messaging_consumer_group_name")
_MODEL = ("model", "version")


class FrameCollector(Collector):
    """Collects from whatever frame `newest` gives at the moment of a scrape; None = no frame yet."""

    def __init__(self, newest: Callable[[], Frame | None], now: Callable[[], float] = clock.time) -> None:
        self._newest, self._now = newest, now

    def collect(self) -> Iterator[Metric]:
        frame = self._newest()
        if frame is not None:
            yield from families(frame, self._now())

    def describe(self) -> Iterator[Metric]:
        """Nothing: what there is depends on the frame."""
        return iter(())


def exposition(collector: Collector, accept: str = "") -> tuple[bytes, str]:
    """Everything that `collector` (or a registry) gives, and its content type, in the format that `accept` prefers."""
    encode, content_type = choose_encoder(accept)
    return encode(collector), content_type


def frame_metrics(frame: Frame, now: float | None = None) -> str:
    """The frame as Prometheus text; `now` (Unix seconds) dates the age of the frame."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FrameCollector(lambda: frame, clock.time if now is None else lambda: now))
    return exposition(registry)[0].decode()


def families(frame: Frame, now: float) -> Iterator[Metric]:
    """Every family of a frame seen at `now`, Unix seconds."""
    age = GaugeMetricFamily("headrace_frame_age_seconds", "Time since the frame these figures come from.")
    age.add_metric([], max(0.0, now - frame.time))
    yield age
    yield from _channels(frame.channels)
    yield from _groups(frame.groups)
    yield from _latencies(frame.latency)
    yield from _models(frame.models)
    yield from _workers(frame.workers)
    yield from _live(frame)
    yield from _server(frame)
    runs = Counter(run.state for run in frame.runs)
    yield _gauge("headrace_runs", "Training runs of the frame by state.", ("state",), _counted(runs))
    raised = (((a.name, a.subject, a.severity), 1.0) for a in frame.alerts)
    yield _gauge("headrace_alert", "1 for each alert that is raised now.", ("name", "subject", "severity"), raised)


def _channels(channels: Sequence[ChannelView]) -> Iterator[Metric]:
    def rows(number: Callable[[ChannelView], float]) -> Rows:
        return (((SYSTEM, channel.name), number(channel)) for channel in channels)

    sent = (((SYSTEM, channel.name, "publish"), channel.total) for channel in channels)
    yield _counter(
        "messaging_client_sent_messages",
        "Events ever appended to a channel.",
        (*_CHANNEL, "messaging_operation_name"),
        sent,
    )
    yield _gauge("headrace_channel_entries", "Entries in the log now.", _CHANNEL, rows(lambda c: c.length))
    yield _gauge("headrace_channel_memory_bytes", "Server memory of the log.", _CHANNEL, rows(lambda c: c.memory_bytes))
    yield _gauge(
        "headrace_channel_depth_limit", "Depth from which publishers are refused.", _CHANNEL, rows(lambda c: c.limit)
    )


def _groups(groups: Sequence[GroupView]) -> Iterator[Metric]:
    def rows(number: Callable[[GroupView], float]) -> Rows:
        return (((SYSTEM, group.channel, group.group), number(group)) for group in groups)

    consumed = (((SYSTEM, group.channel, group.group, "commit"), group.total) for group in groups)
    yield _counter(
        "messaging_client_consumed_messages",
        "Entries ever committed by a group.",
        (*_GROUP, "messaging_operation_name"),
        consumed,
    )
    yield _counter("headrace_group_dead", "Dead letters of a group.", _GROUP, rows(lambda g: g.dead_total))
    yield _gauge("headrace_group_lag", "Entries that the group was not handed yet.", _GROUP, rows(lambda g: g.lag))
    yield _gauge("headrace_group_in_flight", "Handed out but not committed.", _GROUP, rows(lambda g: g.in_flight))
    yield _gauge(
        "headrace_group_depth", "Entries waiting: lag and in flight.", _GROUP, rows(lambda g: g.lag + g.in_flight)
    )
    yield _gauge(
        "headrace_group_oldest_age_seconds",
        "Age of the oldest entry not committed.",
        _GROUP,
        rows(lambda g: g.oldest_ms / 1000),
    )


def _latencies(stages: Sequence[LatencyView]) -> Iterator[Metric]:
    process = Metric("messaging_process_duration", "Time in the model a request, last 30 s.", "summary", "seconds")
    labels = {"messaging_system": SYSTEM, "messaging_destination_name": REQUESTS}
    labels |= {"messaging_consumer_group_name": SCORERS, "messaging_operation_name": "process"}
    for stage in stages:
        if stage.stage == "model":
            for quantile, seconds in _quantiles(stage):
                process.add_sample("messaging_process_duration_seconds", {**labels, "quantile": quantile}, seconds)
    yield process
    yield _gauge(
        "headrace_stage_duration_seconds",
        "Time from a request's creation to its result by stage, last 30 s.",
        ("stage", "quantile"),
        (((stage.stage, quantile), seconds) for stage in stages for quantile, seconds in _quantiles(stage)),
    )


def _models(models: Sequence[ModelView]) -> Iterator[Metric]:
    def rows(number: Callable[[ModelView], float], wanted: str = "") -> Rows:
        return ((_model(m), number(m)) for m in models if wanted in ("", m.kind))

    def series(pairs: Callable[[ModelView], Iterable[tuple[str, float]]]) -> Rows:
        return (((*_model(m), label), number) for m in models for label, number in pairs(m))

    regression = "regression"
    yield _gauge("headrace_model_in_service", "1 for the version in service.", _MODEL, rows(lambda m: m.champion))
    yield _counter("headrace_model_requests", "Requests scored.", _MODEL, rows(lambda m: m.requests_total))
    yield _counter("headrace_model_rows", "Rows scored.", _MODEL, rows(lambda m: m.rows_total))
    yield _gauge(
        "headrace_model_duration_seconds",
        "Time from a request's creation to its result, last 30 s.",
        (*_MODEL, "quantile"),
        series(lambda m: _quantiles(m.latency) if m.latency else ()),
    )
    yield _gauge(
        "headrace_model_predicted_rows",
        "Rows by predicted class, last 5 min.",
        (*_MODEL, "class"),
        series(lambda m: [(m.labels[i] if i < len(m.labels) else str(i), n) for i, n in enumerate(m.classes)]),
    )
    yield _confidence(models)
    yield _counter("headrace_model_joined", "Rows whose label came.", _MODEL, rows(lambda m: m.quality.joined))
    correct = rows(lambda m: m.quality.correct, "classification")
    yield _counter("headrace_model_correct", "Joined rows that were predicted right.", _MODEL, correct)
    deviation = rows(lambda m: m.quality.sum_abs, regression)
    yield _counter("headrace_model_absolute_error", "Sum of |predicted - actual|.", _MODEL, deviation)
    squares = rows(lambda m: m.quality.sum_sq, regression)
    yield _counter("headrace_model_squared_error", "Sum of (predicted - actual)^2.", _MODEL, squares)
    yield _gauge(
        "headrace_model_held_out_score",
        "Scores on held-out rows from training.",
        (*_MODEL, "score"),
        series(lambda m: m.scores.items()),
    )


def _confidence(models: Sequence[ModelView]) -> Metric:
    family = GaugeHistogramMetricFamily(
        "headrace_model_confidence", "Confidence of predicted rows, last 5 min.", labels=_MODEL
    )
    for model in models:
        bins = model.confidence
        if bins:
            total, cumulated = 0, []
            for index, count in enumerate(bins, 1):
                total += count
                cumulated.append((f"{index / len(bins):g}", float(total)))
            cumulated[-1] = ("+Inf", float(total))
            middles = sum((index + 0.5) / len(bins) * count for index, count in enumerate(bins))
            family.add_metric(_model(model), cumulated, middles)
    return family


def _workers(workers: Sequence[WorkerView]) -> Iterator[Metric]:
    labels = ("worker", "kind")

    def rows(number: Callable[[WorkerView], float]) -> Rows:
        return (((worker.worker, worker.kind), number(worker)) for worker in workers)

    states = Counter((worker.kind, worker.state) for worker in workers)
    yield _gauge("headrace_workers", "Processes by kind and state.", ("kind", "state"), states.items())
    yield _counter("headrace_worker_events", "Events since the worker began.", labels, rows(lambda w: w.events))
    yield _counter("headrace_worker_failed", "Failures since the worker began.", labels, rows(lambda w: w.failed))
    yield _gauge("headrace_worker_busy_ratio", "Share of the time spent working.", labels, rows(lambda w: w.busy))
    yield _gauge("headrace_worker_memory_bytes", "Resident memory.", labels, rows(lambda w: w.memory_bytes))
    yield _gauge("headrace_worker_age_seconds", "Time since its last sign of life.", labels, rows(lambda w: w.age_s))


def _live(frame: Frame) -> Iterator[Metric]:
    live = frame.live
    yield _counter(
        "headrace_live_events",
        "Events that subscribers saw pushed, fetched from the log instead, or lost.",
        ("outcome",),
        _counted({"live": live.live, "healed": live.healed, "lost": live.lost}),
    )
    single = (
        ("headrace_publisher_dropped", "Events that publishers gave up.", live.dropped),
        ("headrace_unknown_events", "Events of a type that this version does not know.", live.unknown),
        ("headrace_intake_taken", "Events taken in from plain PUBLISH.", live.taken),
        ("headrace_intake_refused", "Plain PUBLISH that was no event, or a duplicate.", live.refused),
        ("headrace_missed_seconds", "Seconds that are in no total.", frame.missed_s),
    )
    for name, text, number in single:
        yield _counter(name, text, (), [((), number)])


def _server(frame: Frame) -> Iterator[Metric]:
    server = frame.server
    about = InfoMetricFamily("headrace_server", "The Redis or Valkey server.")
    about.add_metric([], {"product": server.product, "version": server.version, "durability": server.durability})
    yield about
    single = (
        ("headrace_server_uptime_seconds", "Time since the server began.", server.uptime_s),
        ("headrace_server_memory_bytes", "Memory in use.", server.memory_bytes),
        ("headrace_server_memory_limit_bytes", "Memory it may use; 0 = no limit.", server.memory_limit_bytes),
        ("headrace_server_clients", "Connected clients.", server.clients),
        ("headrace_server_operations_per_second", "Commands a second, by its own count.", server.operations),
    )
    for name, text, number in single:
        yield _gauge(name, text, (), [((), number)])


def _model(model: ModelView) -> tuple[str, str]:
    return model.name, str(model.version)


def _quantiles(latency: LatencyView) -> Iterator[tuple[str, float]]:
    for quantile, ms in (("0.5", latency.p50_ms), ("0.95", latency.p95_ms), ("0.99", latency.p99_ms)):
        yield quantile, ms / 1000


def _counted(counts: dict[str, int] | Counter[str]) -> Rows:
    return (((label,), number) for label, number in counts.items())


def _counter(name: str, text: str, labels: Sequence[str], rows: Rows) -> Metric:
    return _filled(CounterMetricFamily(name, text, labels=labels), rows)


def _gauge(name: str, text: str, labels: Sequence[str], rows: Rows) -> Metric:
    return _filled(GaugeMetricFamily(name, text, labels=labels), rows)


def _filled(family: CounterMetricFamily | GaugeMetricFamily, rows: Rows) -> Metric:
    for values, number in rows:
        family.add_metric(values, number)
    return family
