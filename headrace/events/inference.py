"""Inference events: a request, its result, its label. Channels `requests`, `results`, `labels`, `joined`, `tail`."""

from __future__ import annotations

from headrace.events.base import Event, Matrix, Rows


class PredictionRequested(Event, frozen=True, kw_only=True, tag="prediction.requested"):
    """Score one or more rows with a model; the result answers all rows at once.

    `version` 0 means the version in service. The result is also pushed to the live channel `reply_to` (the full
    channel name; empty = no push). `label` says that a label will follow. After `deadline` (Unix seconds, 0 = never)
    nobody wants the result any more, and the request becomes a dead letter.
    """

    model: str
    inputs: Rows
    version: int = 0
    reply_to: str = ""
    label: bool = False
    deadline: float = 0.0


class PredictionScored(Event, frozen=True, kw_only=True, tag="prediction.scored"):
    """The results of one model for the n requests of one commit, packed: one event a batch, not one a result.

    `positions` are the requests' positions in their partition, separated by single spaces, in order; `ids` the
    requests' event ids. `rows` holds the number of rows of each request; empty means one row each; R rows in all.
    Classification: `labels` is (R,) class indices, `probabilities` (R, k). Regression: `values` is (R,).
    `worker` scored them; `received`, `scored` are its stamps (Unix seconds).
    """

    model: str
    version: int
    partition: int = 0
    positions: str
    ids: list[str]
    rows: list[int] = []
    labels: Matrix | list[int] | None = None
    probabilities: Rows | None = None
    values: Matrix | list[float] | None = None
    names: list[str] = []
    """Names of the classes; left out for models of more than 64 classes."""
    worker: str = ""
    received: float = 0.0
    scored: float = 0.0


class PredictionRejected(Event, frozen=True, kw_only=True, tag="prediction.rejected"):
    """The reply to a request that became a dead letter: no result will come. Only pushed, never in a log."""

    request: str
    position: str
    partition: int = 0
    reason: str


class PredictionLabelled(Event, frozen=True, kw_only=True, tag="prediction.labelled"):
    """The truth about a prediction became known.

    `prediction` is its handle `PARTITION-MILLISECONDS-NUMBER`; `labels` has one entry a row: a class name (text), a
    class index (whole number), or the true value (regression).
    """

    prediction: str
    labels: list[str | int | float]


class PredictionJoined(Event, frozen=True, kw_only=True, tag="prediction.joined"):
    """Labels met their predictions, each exactly once: R rows of one model version, packed.

    `predictions` are the handles, one a row. Classification: `predicted` and `actual` are class indices, `confidence`
    the probability of the predicted class. Regression: they are values, `confidence` is empty.
    """

    model: str
    version: int
    predictions: list[str]
    predicted: list[float]
    actual: list[float]
    confidence: list[float] = []


class PredictionSampled(Event, frozen=True, kw_only=True, tag="prediction.sampled"):
    """One scored row, picked for the page at a bounded rate: one of `rows_scored`."""

    model: str
    version: int
    prediction: str
    """Its handle."""
    request: str
    """Event id of the request."""
    inputs: list[float]
    label: int | None = None
    value: float | None = None
    confidence: float = 0.0
    created: float = 0.0
    """By the clock of whoever asked; 0 where the request does not say. Unix seconds, as the two below."""
    received: float = 0.0
    scored: float = 0.0
    """When its worker had read the request, and when it had the result; by the worker's clock."""
    rows_scored: int = 0
    """Rows scored by this worker since its previous sample."""
    publisher: str = ""
    """`source` of the request."""
    worker: str = ""
