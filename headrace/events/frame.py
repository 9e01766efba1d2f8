"""The frame: one snapshot of all statistics, published 4 times a second. Channels `frames`, `frames-long`.

Counts are exact (they equal a recount of the logs); rates are per second over the last 5 s, 30 s and 5 min of closed
and running seconds; times are milliseconds unless the name says otherwise.
"""

from __future__ import annotations

import msgspec

from headrace.events.base import Event, Scalar
from headrace.events.operations import BatchSample


class View(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Part of a frame."""


class Rate(View, frozen=True):
    """Events a second over three windows."""

    s5: float = 0.0
    s30: float = 0.0
    m5: float = 0.0


class ChannelView(View, frozen=True, kw_only=True):
    """One channel over all its partitions. `total` counts events ever appended."""

    name: str
    total: int = 0
    rate: Rate = Rate()
    byte_rate: Rate = Rate()
    length: int = 0
    memory_bytes: int = 0
    limit: int = 0
    needed: int = 0
    """Entries that some group still needs; at `limit` publishers are told that the channel is full."""
    full_s: float | None = None
    """Time until then at the pace of the last half minute; None = it does not fill."""


class GroupView(View, frozen=True, kw_only=True):
    """One group: depth = lag + in_flight; `oldest_ms` is the age of the oldest entry not committed."""

    channel: str
    group: str
    lag: int = 0
    in_flight: int = 0
    oldest_ms: float = 0.0
    committed: Rate = Rate()
    dead: Rate = Rate()
    retried: Rate = Rate()
    total: int = 0
    """Entries committed since the log began."""
    dead_total: int = 0
    drain_s: float | None = None
    """Time to drain at the present rates; None = it grows."""
    wait_ms: float | None = None
    """Mean time from the making of an entry to its end, over 30 s; None where nobody measures it."""


class LatencyView(View, frozen=True, kw_only=True):
    """Percentiles of one stage over 30 s.

    `wait`: created to read. `model`. `commit`: all the rest, so that the parts of a request add up. `total`: created to
    the end.
    """

    stage: str
    count: int = 0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0


class QualityView(View, frozen=True, kw_only=True):
    """What labels said of one model version, since it was first joined."""

    joined: int = 0
    correct: int = 0
    confusion: list[list[int]] = []
    """Rows: actual class; columns: predicted class."""
    sum_abs: float = 0.0
    sum_sq: float = 0.0
    sum_y: float = 0.0
    sum_y2: float = 0.0
    recent: list[tuple[float, int, int]] = []
    """(Unix seconds, joined, correct) for the last minutes, by 10 s."""
    calibration: list[tuple[int, int, float]] = []
    """(joined, correct, sum of confidence) in equal bins of confidence from 0 to 1."""
    residual_width: float = 0.0
    residual_first: int = 0
    residuals: list[int] = []
    """Counts of predicted minus actual: bin i begins at (residual_first + i) * residual_width."""
    errors: list[tuple[float, int, float, float, float, float]] = []
    """(Unix seconds, joined, sums of absolute error, squared error, actual, squared actual) for the last minute."""
    pairs: list[tuple[float, float]] = []
    """The newest (predicted, actual) of a regression, oldest first."""
    worst: list[tuple[str, int, float, float, float]] = []
    """(prediction, row in its request, predicted, actual, confidence), the worst first: wrong with the highest
    confidence, or farthest off; of the last minutes that had any."""


class ModelView(View, frozen=True, kw_only=True):
    """One model version that is in service or had traffic lately."""

    name: str
    version: int
    champion: bool = False
    kind: str = "classification"
    labels: list[str] = []
    image: tuple[int, int] | None = None
    """Height and width when a row is an image."""
    requests: Rate = Rate()
    rows: Rate = Rate()
    requests_total: int = 0
    rows_total: int = 0
    latency: LatencyView | None = None
    classes: list[int] = []
    """Predicted classes over 5 min."""
    mix: list[int] = []
    """Predicted classes over 30 s; of more than 12 classes the last counts all the others."""
    confidence: list[int] = []
    """Histogram of confidence over 5 min, 20 equal bins from 0 to 1."""
    quality: QualityView = QualityView()
    scores: dict[str, float] = {}
    """Metrics on held-out rows from training."""


class RunView(View, frozen=True, kw_only=True):
    """One training run over its ranks. `state`: running, stalled, finished, failed, crashed."""

    run: str
    name: str
    state: str
    parent: str = ""
    params: dict[str, Scalar] = {}
    started: float = 0.0
    updated: float = 0.0
    ended: float = 0.0
    step: int = 0
    total_steps: int = 0
    steps_per_s: float = 0.0
    ranks: int = 1
    metrics: dict[str, float | None] = {}
    best: dict[str, float | None] = {}
    """Smallest value of metrics whose name has loss or error in it, largest of the others."""
    error: str = ""
    candidates: int = 0
    cost_us: float = 0.0


class WorkerView(View, frozen=True, kw_only=True):
    """One living process of headrace; `age_s` is the time since its last sign of life."""

    worker: str
    kind: str
    host: str = ""
    pid: int = 0
    started: float = 0.0
    age_s: float = 0.0
    rate: float = 0.0
    batch_mean: float = 0.0
    busy: float = 0.0
    memory_bytes: int = 0
    events: int = 0
    failed: int = 0
    models: dict[str, int] = {}
    state: str = "up"
    """up, late"""


class ServerView(View, frozen=True, kw_only=True):
    """The server. `durability`: always, everysec, no, off, unknown."""

    product: str = ""
    version: str = ""
    uptime_s: float = 0.0
    memory_bytes: int = 0
    memory_limit_bytes: int = 0
    clients: int = 0
    operations: float = 0.0
    """Commands a second, as the server counts them."""
    durability: str = "unknown"
    full_s: float | None = None
    """Time until the memory limit at the pace of the last minute; None = it does not fill."""


class ClockView(View, frozen=True, kw_only=True):
    """The server's clock against that of a host or source: seconds to add to theirs, known to within `error_s`."""

    offset_s: float = 0.0
    error_s: float = 0.0


class LiveView(View, frozen=True, kw_only=True):
    """What all subscribers of headrace's own processes saw: pushed, fetched from the log instead, in neither."""

    live: int = 0
    healed: int = 0
    lost: int = 0
    dropped: int = 0
    """Events that publishers gave up (and said so)."""
    unknown: int = 0
    """Events of unknown type."""
    taken: int = 0
    """Events taken in from plain PUBLISH."""
    refused: int = 0
    """Plain PUBLISH that was no event, or a duplicate."""


class AlertView(View, frozen=True, kw_only=True):
    """An alert that is raised now."""

    name: str
    subject: str = ""
    severity: str = "warning"
    text: str = ""
    since: float = 0.0


class WebhookView(View, frozen=True, kw_only=True):
    """What became of alerts that were to be posted to `place`, since the aggregator began."""

    place: str
    """Where, without anything secret."""
    sent: int = 0
    failed: int = 0
    """Given up after their last attempt."""
    dropped: int = 0
    """Pushed out of the full queue by younger ones."""
    waiting: int = 0
    error: str = ""
    """Why the last attempt failed; empty if it did not."""


class Frame(Event, frozen=True, kw_only=True, tag="frame"):
    """All statistics at `time`. `number` counts the frames of one aggregator; a jump back means a new leader."""

    number: int = 0
    aggregator: str = ""
    prefix: str = ""
    channels: list[ChannelView] = []
    groups: list[GroupView] = []
    latency: list[LatencyView] = []
    models: list[ModelView] = []
    runs: list[RunView] = []
    """Running ones first, the newest of them before older ones, then those that ended last; at most 40."""
    points: dict[str, dict[str, list[tuple[int, float]]]] = {}
    """New points of curves since the last frame: run, metric, (step, value); see `headrace.curves`."""
    spans: dict[str, dict[str, list[tuple[int, float, float]]]] = {}
    """Of those points that cover several values: run, metric, (step, smallest, largest)."""
    runs_total: int = 0
    """Runs that are kept, those in the frame among them."""
    workers: list[WorkerView] = []
    server: ServerView = ServerView()
    live: LiveView = LiveView()
    alerts: list[AlertView] = []
    batches: dict[str, list[BatchSample]] = {}
    """Samples of batches that came since the last frame, by worker."""
    webhook: WebhookView | None = None
    clocks: dict[str, ClockView] = {}
    """By host, of those whose workers or publishers have told, and by the `source` of publishers that have a name of
    their own; at most 50 of each."""
    missed_s: int = 0
    """Seconds that no total holds: their counters were gone before there was an aggregator to add them up."""
    missed_at: int = 0
    """The Unix second before which the last of them was."""
