"""Frames as a busy aggregator would publish them, and a bus that hands them out: for tests of the dashboard.

`Story` is a deterministic tale of a digits classifier in service, labels that follow, and trainings that come and go:
the same second always gives the same frame. `StoryBus` plays it, with the signatures of the real bus.
"""

from __future__ import annotations

import asyncio
import bisect
import math
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import httpx
from msgspec.structs import replace

from headrace.bus import Accepted, Bus, Counts, Delivery, Entry, Places, PublishCall, Receipt, Subscription
from headrace.channels import ALERTS, FRAMES, FRAMES_LONG, JOINED, REQUESTS, TAIL, Names
from headrace.codec import encode
from headrace.curves import CLOCK
from headrace.events import (
    AlertView,
    ChannelView,
    Event,
    Frame,
    GroupView,
    LatencyView,
    LiveView,
    ModelView,
    PredictionJoined,
    PredictionSampled,
    QualityView,
    Rate,
    RunView,
    ServerView,
    WorkerView,
)
from headrace.positions import START, Position
from headrace.settings import Settings
from headrace.testing import wait_until
from tests.unit import flow, trainings
from tests.unit import served as tale

STEP_S = 0.25
DIGITS = [str(digit) for digit in range(10)]
START_S = 60.0
RUN_S = 48.0
"""How long a training of the story takes."""
SPEED = 7.0
"""Its steps a second."""

_GLYPHS = (
    "..####..|.##..##.|.##..##.|.##..##.|.##..##.|.##..##.|.##..##.|..####..",
    "...##...|..###...|.####...|...##...|...##...|...##...|...##...|..####..",
    "..####..|.##..##.|.....##.|....##..|...##...|..##....|.##.....|.######.",
    "..####..|.##..##.|.....##.|...###..|.....##.|.....##.|.##..##.|..####..",
    "....##..|...###..|..####..|.##.##..|.######.|....##..|....##..|....##..",
    ".######.|.##.....|.##.....|.#####..|.....##.|.....##.|.##..##.|..####..",
    "..####..|.##.....|.##.....|.#####..|.##..##.|.##..##.|.##..##.|..####..",
    ".######.|.....##.|....##..|...##...|..###...|..##....|..##....|..##....",
    "..####..|.##..##.|.##..##.|..####..|.##..##.|.##..##.|.##..##.|..####..",
    "..####..|.##..##.|.##..##.|.##..##.|..#####.|.....##.|....##..|..###...",
)


def frame(**fields: Any) -> Frame:
    """A frame with a time, and whatever a test cares about."""
    return Frame(**{"time": 1_763_800_000.0, "number": 1, "aggregator": "aggregator-1", "prefix": "headrace", **fields})


def rate(value: float) -> Rate:
    return Rate(s5=value, s30=value, m5=value)


def digit(number: int, seed: int) -> list[float]:
    """An 8 x 8 picture of a digit with some noise, values 0 to 16."""
    noise = random.Random(seed)
    pixels = "".join(_GLYPHS[number].split("|"))
    return [max(0.0, min(16.0, (14.0 if pixel == "#" else 0.5) + noise.gauss(0, 1.6))) for pixel in pixels]


class Story:
    """What happens, by Unix second; in rounds that began where `rounds` says."""

    def __init__(self, load: float = 1.0, rounds: trainings.Rounds = trainings.ALWAYS) -> None:
        self.load, self.rounds = load, rounds
        self.alerts: list[AlertView] = []

    @classmethod
    def steady(cls, now: float) -> Story:
        """A story in the middle of all its rounds: for minutes no training ends or begins, however slow the machine."""
        return cls(rounds=trainings.Rounds(now - 200, slow=10))

    def rush(self, t: float) -> float:
        """Requests a second: waves, and a rush hour every two minutes."""
        t -= self.rounds.begin
        wave = 210 + 60 * math.sin(t / 17) + 25 * math.sin(t / 4.1)
        peak = 620 * math.exp(-(((t % 120) - 70) ** 2) / 90)
        return self.load * (wave + peak)

    def depth(self, t: float) -> float:
        """Requests that wait: what the rush leaves behind."""
        t -= self.rounds.begin
        late = (t % 120) - 78
        return self.load * (1800 * math.exp(-((late / 9) ** 2)) + 6 + 4 * math.sin(t))

    def frame(self, t: float, number: int) -> Frame:
        """The frame at `t`."""
        requests, depth = self.rush(t), int(self.depth(t))
        served = min(requests * 1.02 + depth / 12, 900 * self.load)
        p50 = 0.9 + depth / 55 + 0.12 * math.sin(t / 3)
        labels = requests * 0.42
        runs = self.runs(t)
        points = sum(run.steps_per_s for run in runs if run.state == "running")
        ranks, spans = trainings.fresh(t, STEP_S, self.rounds)
        told = Frame(
            id=f"f{number}",
            source="aggregator-1",
            time=t,
            number=number,
            aggregator="aggregator-vault-1",
            prefix="headrace",
            channels=[
                ChannelView(name="requests", total=int(t), rate=rate(requests), length=90_000, memory_bytes=48_000_000),
                ChannelView(name="results", total=int(t), rate=rate(served / 8), length=12_000),
                ChannelView(name="labels", total=int(t), rate=rate(labels), length=41_000),
                ChannelView(name="joined", total=int(t), rate=rate(labels / 6), length=9_000),
                ChannelView(name="runs", total=int(t), rate=rate(points), length=22_000),
                ChannelView(name="workers", total=int(t), rate=rate(5), length=4_000),
                ChannelView(name="frames", total=number, rate=rate(4), length=3_600),
            ],
            groups=[
                GroupView(
                    channel="requests",
                    group="scorers",
                    lag=int(depth * 0.93),
                    in_flight=depth - int(depth * 0.93),
                    oldest_ms=depth * 1.3,
                    committed=rate(served),
                    dead=rate(0.4 if (t - self.rounds.begin) % 120 < 8 else 0.0),
                    total=int(t),
                    dead_total=17,
                    drain_s=None if requests > served else depth / max(1.0, served - requests),
                ),
                GroupView(
                    channel="labels", group="aggregators", lag=int(14 + 9 * math.sin(t / 5)), committed=rate(labels)
                ),
                GroupView(channel="runs", group="aggregators", lag=3, in_flight=2, committed=rate(points)),
            ],
            latency=[
                LatencyView(stage="wait", count=9000, p50_ms=p50 * 0.45, p95_ms=p50 * 1.7, p99_ms=p50 * 3.1),
                LatencyView(stage="model", count=9000, p50_ms=0.21, p95_ms=0.62, p99_ms=1.4),
                LatencyView(stage="commit", count=9000, p50_ms=0.24, p95_ms=0.5, p99_ms=0.9),
                LatencyView(stage="total", count=9000, p50_ms=p50, p95_ms=p50 * 2.4, p99_ms=p50 * 4.2),
            ],
            models=self.models(t, served),
            runs=runs,
            points=self.points(t) | ranks,
            spans=spans,
            runs_total=len(runs) + trainings.PAST,
            workers=self.workers(t, served),
            server=ServerView(
                product="Valkey",
                version="9.1.2",
                uptime_s=t % 86_400,
                memory_bytes=212_000_000 + int(3e6 * math.sin(t / 40)),
                memory_limit_bytes=1_073_741_824,
                clients=14,
                operations=2_400 + 300 * math.sin(t / 6),
                durability="everysec",
            ),
            live=LiveView(live=int((t % 100_000) * 31), healed=12, lost=0, dropped=0),
            alerts=self.alerts,
        )
        return flow.completed(told, depth, (t - self.rounds.begin) % 120)

    def models(self, t: float, served: float) -> list[ModelView]:
        """The champion, the version before it, and a regression."""
        joined = 20_000 + int(t % 10_000) * 8
        confusion = [[int(joined / 10 * share) for share in row] for row in _confusion()]
        joined = sum(map(sum, confusion))
        correct = sum(confusion[n][n] for n in range(10))
        recent = [(t - 10 * n, 900, int(900 * (0.968 + 0.012 * math.sin((t - 10 * n) / 23)))) for n in range(30)]
        late = LatencyView(stage="total", count=800, p50_ms=1.1, p95_ms=2.6 + math.sin(t / 9), p99_ms=6.0)
        return [
            ModelView(
                name="digits",
                version=3,
                champion=True,
                labels=DIGITS,
                image=(8, 8),
                requests=rate(served * 0.93),
                rows=rate(served * 0.93),
                latency=late,
                classes=[2800 + int(500 * math.sin(n * 2 + t / 60)) for n in range(10)],
                confidence=[*[3 + n * n // 3 for n in range(15)], 190, 420, 1_150, 4_200, 21_000],
                mix=[int(served * (2.4 + 1.6 * math.sin(n * 2 + t / 40))) for n in range(10)],
                quality=tale.classifier(
                    t, QualityView(joined=joined, correct=correct, confusion=confusion, recent=recent), self.rounds
                ),
                scores={"accuracy": 0.973},
            ),
            ModelView(
                name="digits", version=2, labels=DIGITS, image=(8, 8), requests=rate(served * 0.05), latency=late
            ),
            ModelView(
                name="diabetes",
                version=1,
                champion=True,
                kind="regression",
                requests=rate(served * 0.02),
                rows=rate(served * 0.02),
                latency=late,
                quality=tale.regression(t, self.rounds),
                scores={"r2": 0.43, "mae": 43.1},
            ),
        ]

    def runs(self, t: float) -> list[RunView]:
        """Four at once, each with another learning rate, and those of the round before."""
        found = []
        current, began = self.rounds.at(t, RUN_S)
        speed = SPEED / self.rounds.slow
        for turn, since in ((current, began), (current - 1, began - RUN_S * self.rounds.slow)):
            for lane, rate_ in enumerate((0.3, 0.1, 0.03, 0.01)):
                age = t - since - lane * 1.5
                if age < 0:
                    continue
                total = 300
                step = min(total, int(age * speed))
                state = "finished" if step == total else "running"
                loss = _loss(turn, lane, step)
                found.append(
                    RunView(
                        run=f"r{turn}-{lane}",
                        name=f"digits sgd lr={rate_}",
                        state=state,
                        params={"learning_rate": rate_, "solver": "sgd"},
                        started=since + lane * 1.5,
                        updated=t,
                        ended=t if state == "finished" else 0.0,
                        step=step,
                        total_steps=total,
                        steps_per_s=speed if state == "running" else 0.0,
                        metrics={"loss": loss, "accuracy": 1 - loss / 2.6},
                        best={"loss": loss * 0.97, "accuracy": 1 - loss / 2.7},
                        cost_us=3.1,
                    )
                )
        return sorted(
            [*found, *trainings.views(t, self.rounds)], key=lambda run: run.state not in ("running", "stalled")
        )

    def points(self, t: float) -> dict[str, dict[str, list[tuple[int, float]]]]:
        """New points since the frame before."""
        found: dict[str, dict[str, list[tuple[int, float]]]] = {}
        turn, began = self.rounds.at(t, RUN_S)
        speed = SPEED / self.rounds.slow
        for lane in range(4):
            age = t - began - lane * 1.5
            low, high = int(max(0.0, age - STEP_S) * speed), int(max(0.0, age) * speed)
            steps = [step for step in range(low + 1, high + 1) if step <= 300]
            if steps:
                losses = [(step, _loss(turn, lane, step)) for step in steps]
                clock = [(step, began + lane * 1.5 + step / speed) for step in steps]
                found[f"r{turn}-{lane}"] = {
                    "loss": losses,
                    "accuracy": [(step, 1 - x / 2.6) for step, x in losses],
                    CLOCK: clock,
                }
        return found

    def workers(self, t: float, served: float) -> list[WorkerView]:
        """Two scorers, an aggregator, a dashboard, a publisher."""
        rows = (
            ("scorer", served * 0.52, 9.1, 0.34, 148),
            ("scorer", served * 0.48, 8.7, 0.31, 147),
            ("aggregator", 460.0, 24.0, 0.09, 92),
            ("dashboard", 4.0, 1.0, 0.02, 121),
            ("publisher", 310.0, 40.0, 0.05, 61),
        )
        return [
            WorkerView(
                worker=f"{kind}-{n}",
                kind=kind,
                host="vault",
                pid=4100 + 7 * n,
                age_s=(t + 0.2 * n) % 1,
                rate=speed,
                batch_mean=batch,
                busy=busy + 0.015 * math.sin(t / 4 + n),
                memory_bytes=memory * 1_000_000,
                models={"digits": 3} if kind == "scorer" else {},
            )
            for n, (kind, speed, batch, busy, memory) in enumerate(rows)
        ]

    def sample(self, t: float, number: int) -> PredictionSampled:
        """One prediction."""
        chance = random.Random(number)
        actual = chance.randrange(10)
        label = actual if chance.random() < 0.94 else (actual + 3) % 10
        sure = min(0.999, 0.62 + chance.random() * 0.5) if label == actual else 0.35 + chance.random() * 0.3
        return PredictionSampled(
            id=f"s{number}",
            time=t + 0.0011,
            model="digits",
            version=3,
            prediction=f"0-{int(t * 1000)}-{number}",
            request=f"q{number}",
            inputs=digit(actual, number),
            label=label,
            confidence=sure,
            created=t,
            received=t + 0.001 + self.depth(t) / 1e5,
            scored=t + 0.0021 + self.depth(t) / 1e5,
            rows_scored=40,
            worker="scorer-0",
        )

    def joined(self, samples: Sequence[PredictionSampled]) -> PredictionJoined:
        """The truth about some of them."""
        numbers = [int(sample.prediction.rpartition("-")[2]) for sample in samples]
        return PredictionJoined(
            model="digits",
            version=3,
            predictions=[sample.prediction for sample in samples],
            predicted=[float(sample.label or 0) for sample in samples],
            actual=[float(random.Random(number).randrange(10)) for number in numbers],
        )


@lru_cache
def _confusion() -> list[list[float]]:
    """What share of the labels of each digit was told to be which."""
    chance = random.Random(4)
    return [[0.972 if a == b else chance.choice([0.0, 0.0, 0.001, 0.004, 0.009]) for b in range(10)] for a in range(10)]


@lru_cache(maxsize=20_000)
def _loss(turn: int, lane: int, step: int) -> float:
    chance = random.Random(f"{turn}/{lane}/{step}")
    speed = (0.03, 0.02, 0.011, 0.006)[lane]
    floor = (0.22, 0.09, 0.12, 0.2)[lane]
    value = floor + 2.2 * math.exp(-speed * step)
    return value * (1 + 0.09 * chance.gauss(0, 1)) + (0.12 * chance.random() if lane == 0 else 0)


class StoryBus(Bus):
    """Plays a story: a past to read, and a frame every quarter of a second. `stop` makes it fall silent."""

    def __init__(self, settings: Settings, story: Story, *, past_s: float = 900.0, every_s: float = STEP_S) -> None:
        self.settings, self.names = settings, Names(settings.prefix, settings.partitions)
        self.story, self.every_s = story, every_s
        self.silent = False
        self.published: list[Event | bytes] = []
        self.epoch = "story"
        self._past: list[Entry] = []
        self._joined: list[Entry] = []
        self.logs: dict[str, list[Entry]] = {
            FRAMES: self._past,
            JOINED: self._joined,
            ALERTS: flow.cleared(time.time()),
        }
        """What is kept of each channel; a test may add to it, or take away what retention would."""
        self._number = int((time.time() - 1_760_000_000) / STEP_S)
        now = time.time()
        for back in range(int(past_s / STEP_S), 0, -1):
            self._past.append(self._frame(now - back * STEP_S))

    def _frame(self, t: float) -> Entry:
        self._number += 1
        return Entry(Position(int(t * 1000), self._number), encode(self.story.frame(t, self._number)))

    @property
    def number(self) -> int:
        """Number of the newest frame."""
        return self._number

    def next_frame(self) -> Entry:
        """The frame of this moment, also kept in the log."""
        entry = self._frame(time.time())
        self._past.append(entry)
        return entry

    async def last(self, channel: str, partition: int = 0) -> tuple[str, Position]:
        log = self._log(channel)
        return (self.epoch, log[-1].position) if log else ("", START)

    async def read(
        self,
        channel: str,
        partition: int = 0,
        *,
        start: Position | None = None,
        stop: Position | None = None,
        count: int = 500,
        newest_first: bool = False,
    ) -> list[Entry]:
        log = self._log(channel)
        low = bisect.bisect_left(log, start or START, key=lambda entry: entry.position)
        high = len(log) if stop is None else bisect.bisect_right(log, stop, key=lambda entry: entry.position)
        return log[low:high][::-1][:count] if newest_first else log[low:high][:count]

    def keep_long(self, hours: float) -> None:
        """Have a frame of every ten seconds of the last hours, as far as `frames` does not go back."""
        end = self._past[0].position.ms / 1000 if self._past else time.time()
        times = [end - 10 * n for n in range(int(hours * 360), 0, -1)]
        self.logs[FRAMES_LONG] = [
            Entry(Position(int(t * 1000), n + 1), encode(replace(self.story.frame(t, n + 1), points={})))
            for n, t in enumerate(times)
        ]

    async def state(self, name: str, partition: int = 0) -> dict[str, bytes]:
        return trainings.saved(name, time.time(), self.story.rounds)

    async def publish(
        self, channel: str, events: Sequence[Event | bytes], *, partition: int = 0, patience_s: float = 5.0
    ) -> Receipt:
        self.published.extend(events)
        return Receipt(self.epoch, [START])

    async def publish_batch(self, call: PublishCall, fence_s: int = 0) -> Accepted:
        self.published.extend(call.events)
        return Accepted("ok", call.first, len(call.events), self.epoch, Places())

    def subscribe(
        self, *channels: str, since: Mapping[str, Position] | Literal["now", "start"] = "now"
    ) -> Subscription:
        return StorySubscription(self, channels)

    async def time(self) -> float:
        return time.time()

    async def close(self) -> None:
        pass

    def _log(self, channel: str) -> list[Entry]:
        if channel == REQUESTS:
            return tale.requests(time.time(), digit, self.story.rounds)
        return self.logs.get(channel, [])


class StorySubscription(Subscription):
    """The live side of a story."""

    def __init__(self, bus: StoryBus, channels: tuple[str, ...]) -> None:
        self.counts = Counts()
        self.connected = True
        self._story_bus = bus

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    async def __aiter__(self) -> AsyncIterator[Delivery]:
        bus, samples, number = self._story_bus, [], 0
        while True:
            await asyncio.sleep(bus.every_s)
            if bus.silent:
                continue
            now = time.time()
            fresh = [bus.story.sample(now - 0.04 - 0.01 * n, int(now * 100) * 8 + n) for n in range(2)]
            samples.extend(fresh)
            number += 1
            place = Position(int(now * 1000), number)
            sampled = [Entry(Position(place.ms, 2 * number + n), encode(sample)) for n, sample in enumerate(fresh)]
            bus.logs.setdefault(TAIL, []).extend(sampled)
            yield Delivery(TAIL, 0, sampled)
            if len(samples) > 14:
                bus._joined.append(Entry(place, encode(bus.story.joined(samples[:6:2]))))
                del samples[:6]
            entry = bus.next_frame()
            self.counts.live += 3
            yield Delivery(FRAMES, 0, [entry])


class StoryPage:
    """A dashboard that shows a story, served on loopback; `served` goes to `serve` as it is."""

    def __init__(self, bus: StoryBus, **served: Any) -> None:
        self.bus = bus
        self.served = served
        self.url = ""
        self._serving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> StoryPage:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    @property
    def socket(self) -> str:
        """Address of the live endpoint."""
        return self.url.replace("http", "ws") + "live"

    async def start(self, port: int = 0) -> None:
        """Serve, and return when it answers and has read the past."""
        from headrace.dashboard import serve

        urls: list[str] = []
        serving = asyncio.create_task(
            serve(self.bus.settings, self.bus, "127.0.0.1", port, urls.append, **self.served), name="page"
        )
        await wait_until(lambda: urls or serving.done(), START_S, "the dashboard to listen")
        self.url, self._serving = urls[0], serving

        async def filled() -> bool:
            return self.bus.silent or (await client.get(self.url + "readyz")).is_success

        async with httpx.AsyncClient() as client:
            await wait_until(filled, START_S, "the dashboard to have read the past")

    async def stop(self) -> None:
        """End it as Ctrl-C would."""
        if self._serving:
            self._serving.cancel()
            await asyncio.wait([self._serving])
