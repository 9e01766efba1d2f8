"""The events: one tagged union of frozen structs is the whole protocol. No logic, no I/O.

`type` on the wire is the tag of the struct (`run.metrics`); `match` on the class dispatches.
"""

from headrace.events.base import Event, Matrix, Rows, Scalar, new_id, stamped
from headrace.events.frame import (
    AlertView,
    ChannelView,
    ClockView,
    Frame,
    GroupView,
    LatencyView,
    LiveView,
    ModelView,
    QualityView,
    Rate,
    RunView,
    ServerView,
    WebhookView,
    WorkerView,
)
from headrace.events.inference import (
    PredictionJoined,
    PredictionLabelled,
    PredictionRejected,
    PredictionRequested,
    PredictionSampled,
    PredictionScored,
)
from headrace.events.operations import (
    ActionTaken,
    Alert,
    BatchSample,
    EntryDead,
    ModelPromoted,
    ModelRefused,
    PublisherReport,
    WorkerAlive,
    WorkerStopped,
)
from headrace.events.training import RunAlive, RunCandidate, RunFinished, RunMetrics, RunStarted

AnyEvent = (
    RunStarted
    | RunMetrics
    | RunAlive
    | RunCandidate
    | RunFinished
    | PredictionRequested
    | PredictionScored
    | PredictionRejected
    | PredictionLabelled
    | PredictionJoined
    | PredictionSampled
    | EntryDead
    | WorkerAlive
    | WorkerStopped
    | PublisherReport
    | ModelPromoted
    | ModelRefused
    | Alert
    | ActionTaken
    | Frame
)

__all__ = [
    "ActionTaken",
    "Alert",
    "AlertView",
    "AnyEvent",
    "BatchSample",
    "ChannelView",
    "ClockView",
    "EntryDead",
    "Event",
    "Frame",
    "GroupView",
    "LatencyView",
    "LiveView",
    "Matrix",
    "ModelPromoted",
    "ModelRefused",
    "ModelView",
    "PredictionJoined",
    "PredictionLabelled",
    "PredictionRejected",
    "PredictionRequested",
    "PredictionSampled",
    "PredictionScored",
    "PublisherReport",
    "QualityView",
    "Rate",
    "Rows",
    "RunAlive",
    "RunCandidate",
    "RunFinished",
    "RunMetrics",
    "RunStarted",
    "RunView",
    "Scalar",
    "ServerView",
    "WebhookView",
    "WorkerAlive",
    "WorkerStopped",
    "WorkerView",
    "new_id",
    "stamped",
]
