"""The bus: publish, subscribe, consume, commit. The only room that speaks to Redis, apart from the embedded server.

    publish ──> publish.lua ──> log + live ──> subscribe (recovery rules) ──> a watcher
                                   │
                                   └──> consume (a group) ──> commit.lua ──> outcome, results, statistics

One operation a .lua file; scripts.py builds their arguments and reads their answers for both colours.
"""

from headrace.bus.batch import Batch, Decision
from headrace.bus.bus import Bus, GroupState, Receipt
from headrace.bus.commit import Commit, Left
from headrace.bus.consume import Consumer
from headrace.bus.scripts import Accepted, Places, PublishCall
from headrace.bus.subscribe import Counts, Delivery, Subscription
from headrace.positions import Entry
from headrace.recovery import Lost, Replaced, WentBack

__all__ = [
    "Accepted",
    "Batch",
    "Bus",
    "Commit",
    "Consumer",
    "Counts",
    "Decision",
    "Delivery",
    "Entry",
    "GroupState",
    "Left",
    "Lost",
    "Places",
    "PublishCall",
    "Receipt",
    "Replaced",
    "Subscription",
    "WentBack",
]
