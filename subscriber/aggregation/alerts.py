"""Alerts that do not flutter. Pure: conditions go in, alerts that were raised or cleared come out.

A condition must hold for `after_s` before it is raised, and be away for `until_s` before it is cleared. Conditions with
a threshold have a lower one once they are raised. Alerts that other processes publish are kept beside our own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from headrace.errors import CodecError
from headrace.events import Alert, AlertView, Frame, new_id
from headrace.models.evaluation import wilson
from headrace.settings import Settings
from headrace.subscriber.aggregation.serving import Refusal
from headrace.subscriber.aggregation.workers import Ended
from headrace.words import counted

SOURCE: Final = "headrace/aggregator"
GROWING: Final = 1000
"""Depth from which a group that does not drain is worth a word; half of it once the word is out."""
FULL: Final = 0.9
LOST_S: Final = 300.0
MISSED_S: Final = 3600.0
ACCURACY_S: Final = 300.0
CRASHED_S: Final = 600.0
"""How long a run that crashed is spoken of."""
EARLY: Final = 0.05
HALF: Final = 0.5
"""Shares of a channel's bound and of the server's memory below which the time to full is no matter."""
KEPT: Final = 200

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that needs a person if it lasts."""

    name: str
    subject: str
    text: str
    severity: Literal["warning", "critical"] = "warning"
    after_s: float = 0.0
    until_s: float = 5.0


class Alerts:
    """Which alerts are raised. Times are Unix seconds."""

    def __init__(self) -> None:
        self._raised: dict[Key, AlertView] = {}
        self._others: set[Key] = set()
        self._since: dict[Key, float] = {}
        self._held: dict[Key, float] = {}
        self._until: dict[Key, float] = {}
        self._dirty: set[Key] = set()
        self._news: deque[Alert] = deque(maxlen=KEPT)

    def raised(self, name: str, subject: str) -> bool:
        return (name, subject) in self._raised

    def step(self, conditions: Iterable[Condition], now: float) -> list[Alert]:
        """Judge the conditions that hold at `now`; the alerts to publish."""
        events: list[Alert] = []
        holding = {(condition.name, condition.subject): condition for condition in conditions}
        for key, condition in holding.items():
            since = self._since.setdefault(key, now)
            self._held[key], self._until[key] = now, condition.until_s
            if key not in self._raised and now - since >= condition.after_s and len(self._raised) < KEPT:
                view = AlertView(
                    name=condition.name,
                    subject=condition.subject,
                    severity=condition.severity,
                    text=condition.text,
                    since=now,
                )
                self._raised[key] = view
                self._dirty.add(key)
                events.append(_event(view, "raised", now))
        for key in [key for key in self._since if key not in holding]:
            if key not in self._raised:
                del self._since[key]
        for key in [key for key in self._raised if key not in holding and key not in self._others]:
            if now - self._held.setdefault(key, now) >= self._until.get(key, 5.0):
                events.append(_event(self._raised.pop(key), "cleared", now))
                self._since.pop(key, None)
                self._held.pop(key, None)
                self._dirty.add(key)
        self._news.extend(events)
        return events

    def fold(self, event: Alert, at: float) -> None:
        """Take an alert that another process published; it stays until that process clears it."""
        if event.source == SOURCE:
            return
        key = (event.name, event.subject)
        if event.state == "cleared":
            if key in self._others:
                self._others.discard(key)
                self._raised.pop(key, None)
        elif key not in self._raised and len(self._raised) < KEPT:
            self._others.add(key)
            self._raised[key] = AlertView(
                name=event.name, subject=event.subject, severity=event.severity, text=event.text, since=at
            )
        else:
            return
        self._dirty.add(key)
        self._news.append(event)

    def views(self) -> list[AlertView]:
        """Alerts that are raised now: critical ones first, then by age."""
        return sorted(self._raised.values(), key=lambda view: (view.severity != "critical", view.since, view.name))

    def take_news(self) -> list[Alert]:
        """What was raised or cleared since the last call, by whomever."""
        news = list(self._news)
        self._news.clear()
        return news

    def take_changes(self) -> tuple[dict[str, bytes], list[str]]:
        """Fields to save and fields to drop since the last call."""
        saves = {
            _field(key): msgspec.msgpack.encode((self._raised[key], key in self._others))
            for key in self._dirty
            if key in self._raised
        }
        drops = [_field(key) for key in sorted(self._dirty) if key not in self._raised]
        self._dirty = set()
        return saves, drops

    @classmethod
    def load(cls, saved: Mapping[str, bytes]) -> Alerts:
        """What `take_changes` gave. Raises CodecError."""
        alerts = cls()
        try:
            for payload in saved.values():
                view, foreign = msgspec.msgpack.decode(payload, type=tuple[AlertView, bool])
                key = (view.name, view.subject)
                alerts._raised[key] = view
                if foreign:
                    alerts._others.add(key)
                else:
                    alerts._since[key] = view.since
        except msgspec.DecodeError as error:
            raise CodecError(f"saved alerts cannot be read: {error}") from None
        return alerts


class LossWatch:
    """Whether events were lost lately, told from a count that only grows."""

    def __init__(self) -> None:
        self._known: int | None = None
        self._grew: float | None = None

    def step(self, lost: int, now: float) -> bool:
        if self._known is not None and lost > self._known:
            self._grew = now
        self._known = lost
        return self._grew is not None and now - self._grew < LOST_S


def conditions(
    frame: Frame,
    silent_s: Mapping[Key, float],
    missing: Mapping[str, Ended],
    refusals: Iterable[Refusal],
    losing: int,
    raised: Callable[[str, str], bool],
    settings: Settings,
) -> list[Condition]:
    """What needs a person now, by the frame of this moment and what is in no frame.

    `silent_s` tells how long nobody has worked for (channel, group); `losing` is the count lost, 0 if none was lately.
    """
    found = [
        *_of_groups(frame, silent_s, raised, settings),
        *_of_room(frame, raised, settings),
        *_of_quality(frame, raised, settings),
    ]
    for worker, ended in missing.items():
        text = f"{ended.kind} {worker} on {ended.host or 'an unknown host'} fell silent without saying goodbye"
        found.append(Condition("worker gone", worker, text, until_s=0.0))
    for refusal in refusals:
        what = f"{refusal.model} version {refusal.version}" if refusal.model else "a model"
        text = f"{refusal.worker} could not load {what} and keeps what it has: {refusal.reason}"
        found.append(Condition("model refused", f"{what} {refusal.worker}", text, until_s=0.0))
    if losing:
        text = f"{counted(losing, 'event')} {'is' if losing == 1 else 'are'} in neither the live side nor the log"
        found.append(Condition("events lost", "", text, "critical", until_s=0.0))
    if frame.missed_s and frame.time - frame.missed_at < MISSED_S:
        text = (
            f"totals are too low: what happened in {counted(frame.missed_s, 'second')} is in none of them, as no "
            "aggregator ran while their counters were kept; `headrace audit` recounts what the logs still hold"
        )
        found.append(Condition("totals incomplete", "", text, until_s=0.0))
    for run in frame.runs:
        if run.state == "stalled" or (run.state == "crashed" and frame.time - run.updated < CRASHED_S):
            what = "crashed or was killed" if run.state == "crashed" else "is stalled"
            text = f"training {run.name or run.run} {what} at step {run.step}: it gives no sign of life"
            found.append(Condition("run stalled", run.run, text, until_s=0.0))
    return found


def _of_groups(
    frame: Frame, silent_s: Mapping[Key, float], raised: Callable[[str, str], bool], settings: Settings
) -> Iterator[Condition]:
    for group in frame.groups:
        subject = f"{group.channel}/{group.group}"
        depth = group.lag + group.in_flight
        silence_s = silent_s.get((group.channel, group.group), 0.0)
        if depth and silence_s >= settings.abandoned_s:
            waits = f"{counted(depth, 'entry', 'entries')} of {group.channel} {'waits' if depth == 1 else 'wait'}"
            text = f"{waits} for {group.group}; nobody has worked for {silence_s:.0f} s"
            yield Condition("group abandoned", subject, text, "critical")
        elif group.drain_s is None and depth >= (GROWING / 2 if raised("group growing", subject) else GROWING):
            text = f"{group.group} is slower than the publishers of {group.channel}: {depth:,} entries wait"
            yield Condition("group growing", subject, text, after_s=20.0, until_s=10.0)
        bound = settings.alert_dead_rate * (0.5 if raised("dead letters", subject) else 1.0)
        if group.dead.s30 >= bound:
            text = f"entries of {group.channel} become dead letters of {group.group}: {group.dead.s30:.3g} a second"
            yield Condition("dead letters", subject, text, until_s=10.0)


def _of_room(frame: Frame, raised: Callable[[str, str], bool], settings: Settings) -> Iterator[Condition]:
    """What is full, or will be soon. What is nearly empty is no matter yet, however quickly it fills."""

    def soon(subject: str, full_s: float | None) -> bool:
        return full_s is not None and full_s <= settings.alert_full_s * (2 if raised("time to full", subject) else 1)

    for channel in frame.channels:
        if channel.needed >= EARLY * channel.limit and soon(channel.name, channel.full_s):
            text = f"{channel.name} is full in {_spoken(channel.full_s)} at this pace: {channel.needed:,} entries wait"
            yield Condition("time to full", channel.name, text, after_s=5.0, until_s=20.0)
    server = frame.server
    limit = server.memory_limit_bytes
    if limit and server.memory_bytes > (FULL - 0.05 if raised("server full", "") else FULL) * limit:
        text = f"the server uses {server.memory_bytes / limit:.0%} of its memory; publishing stops at 100 %"
        yield Condition("server full", "", text, "critical", after_s=2.0)
    elif server.memory_bytes >= HALF * limit and soon("server memory", server.full_s):
        text = f"the server's memory is full in {_spoken(server.full_s)} at this pace"
        yield Condition("time to full", "server memory", text, after_s=5.0, until_s=30.0)


def _of_quality(frame: Frame, raised: Callable[[str, str], bool], settings: Settings) -> Iterator[Condition]:
    """Raised when even the upper end of the interval is below the bound, held until the share itself is above it."""
    for model in frame.models:
        recent = [(n, right) for at, n, right in model.quality.recent if frame.time - at <= ACCURACY_S]
        joined, correct = sum(n for n, _ in recent), sum(right for _, right in recent)
        if not (model.champion and model.kind == "classification" and joined):
            continue
        subject = f"{model.name}@{model.version}"
        bound = settings.alert_accuracy * model.scores.get("accuracy", 1.0)
        share = correct / joined if raised("low accuracy", subject) else wilson(correct, joined).high
        if share < bound:
            told = f"{subject} is right in {correct / joined:.1%} of {counted(joined, 'prediction')}"
            text = f"{told}; {bound:.1%} is the least"
            yield Condition("low accuracy", subject, text, after_s=10.0, until_s=10.0)


def _spoken(seconds: float | None) -> str:
    return f"{seconds or 0.0:.0f} s" if (seconds or 0.0) < 120 else f"{(seconds or 0.0) / 60:.0f} min"


def _event(view: AlertView, state: Literal["raised", "cleared"], now: float) -> Alert:
    return Alert(
        id=new_id(),
        source=SOURCE,
        time=now,
        subject=view.subject,
        name=view.name,
        state=state,
        severity="critical" if view.severity == "critical" else "warning",
        text=view.text,
        since=view.since,
    )


def _field(key: Key) -> str:
    return f"{key[0]}/{key[1]}"
