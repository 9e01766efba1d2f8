"""The aggregator on a bus: what it acknowledged is saved, what it saved comes back, and only the leader writes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from headrace.bus import Bus, Commit
from headrace.channels import (
    AGGREGATORS,
    ALERTS,
    DEAD,
    FRAMES,
    FRAMES_LONG,
    JOINED,
    LABELS,
    MODELS,
    REQUESTS,
    RUNS,
    SCORERS,
    WORKERS,
)
from headrace.codec import decode
from headrace.curves import (
    CLOCK,
    RUNS_STATE,
    read_candidates,
    read_curves,
    read_run,
    run_state,
    search_state,
)
from headrace.errors import LeaseLostError
from headrace.events import (
    Alert,
    EntryDead,
    Frame,
    ModelPromoted,
    PredictionJoined,
    PredictionLabelled,
    PredictionRequested,
    RunCandidate,
    RunFinished,
    RunMetrics,
    RunStarted,
    WorkerAlive,
)
from headrace.positions import Handle, Position
from headrace.subscriber.aggregation.aggregator import run_aggregator
from headrace.subscriber.aggregation.term import LEASE, Term
from headrace.testing import wait_until
from headrace.waiting import Waiting


@dataclass(frozen=True)
class Card:
    kind: str = "classification"
    labels: Sequence[str] = ("cat", "dog")
    image_shape: tuple[int, int] | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


async def burst(bus: Bus, **options: Any) -> Frame:
    """Let an aggregator fold what is there; the frame that it published."""
    await run_aggregator(
        bus.settings, bus, stop=asyncio.Event(), burst=True, cards=lambda model, version: Card(), **options
    )
    return await newest_frame(bus)


async def newest_frame(bus: Bus) -> Frame:
    [entry] = await bus.read(FRAMES, count=1, newest_first=True)
    frame = decode(entry.payload)
    assert isinstance(frame, Frame)
    return frame


async def request(bus: Bus, **options: Any) -> Position:
    receipt = await bus.publish(REQUESTS, [PredictionRequested(model="pets", inputs=[[1.0]], label=True, **options)])
    return receipt.positions[0]


async def predict(bus: Bus, positions: Sequence[Position], guess: int = 0) -> None:
    """What a scorer does: commit every request, and keep its prediction for the label."""
    async with bus.consume(REQUESTS, SCORERS, worker="scorer") as consumer:
        while batch := await consumer.next():
            work = consumer.commit(batch)
            work.count("req:pets:3", len(batch))
            work.count("row:pets:3", len(batch))
            for position in positions:
                work.wait_for_label(position, Waiting("pets", 3, "c", [float(guess)], [0.9], "id").encode())
            await consumer.finish(work)


async def label(bus: Bus, position: Position, *labels: str | int) -> None:
    await bus.publish(LABELS, [PredictionLabelled(prediction=str(Handle(0, position)), labels=list(labels))])


async def depth(bus: Bus, channel: str) -> int:
    return sum(g.lag + g.in_flight for g in await bus.groups(channel) if g.name == AGGREGATORS)


async def test_a_frame_shows_what_was_published(any_bus: Bus) -> None:
    bus = any_bus
    await bus.publish(RUNS, [RunStarted(run="r", name="digits"), RunMetrics(run="r", step=1, metrics={"loss": 0.5})])
    await bus.publish(WORKERS, [WorkerAlive(worker="w", kind="scorer", live=7)])
    await bus.publish(MODELS, [ModelPromoted(model="pets", version=3, sha256="")])
    await bus.publish(ALERTS, [Alert(name="disk full", state="raised", source="w")])
    await predict(bus, [await request(bus)])
    await request(bus)
    frame = await burst(bus, champions=lambda: {"other": 1})
    assert [(run.name, run.metrics) for run in frame.runs] == [("digits", {"loss": 0.5})]
    assert frame.points["r"]["loss"] == [(1, 0.5)]
    assert {worker.kind for worker in frame.workers} == {"scorer", "aggregator"}
    assert frame.live.live == 7
    assert [(model.name, model.champion, model.requests_total) for model in frame.models] == [
        ("other", True, 0),
        ("pets", True, 1),
    ]
    [queue] = [group for group in frame.groups if group.group == SCORERS]
    assert (queue.lag, queue.in_flight, queue.total) == (1, 0, 1)
    assert {channel.name: channel.total for channel in frame.channels}[REQUESTS] == 2
    assert [alert.name for alert in frame.alerts] == ["disk full"]
    assert frame.number == 1
    assert len(await bus.read(FRAMES_LONG)) == 1


async def test_everything_is_acknowledged_and_the_next_leader_goes_on_from_what_was_saved(any_bus: Bus) -> None:
    bus = any_bus
    await bus.publish(RUNS, [RunMetrics(run="r", step=step, metrics={"loss": 4.0 - step}) for step in range(3)])
    await bus.publish(MODELS, [ModelPromoted(model="pets", version=3, sha256="")])
    await burst(bus)
    assert [await depth(bus, channel) for channel in (RUNS, WORKERS, MODELS)] == [0, 0, 0]
    await bus.publish(RUNS, [RunMetrics(run="r", step=3, metrics={"loss": 1.0}), RunFinished(run="r")])
    frame = await burst(bus)
    [run] = frame.runs
    assert (run.state, run.step, run.best) == ("finished", 3, {"loss": 1.0})
    assert [(model.name, model.version) for model in frame.models] == [("pets", 3)]
    saved = read_run((await bus.state(RUNS_STATE))["r"])
    assert saved.view.step == 3
    curve = read_curves(await bus.state(run_state("r")))["loss"]
    assert curve.points() == [(0, 4.0), (1, 3.0), (2, 2.0), (3, 1.0)]


async def test_candidates_ranks_and_the_clock_of_a_run_survive_a_change_of_leader(any_bus: Bus) -> None:
    bus = any_bus

    def logged(step: int, rank: int, loss: float) -> RunMetrics:
        return RunMetrics(run="s", step=step, metrics={"loss": loss}, rank=rank, time=1000.0 + step + 2 * rank)

    await bus.publish(
        RUNS,
        [
            RunStarted(run="s", name="search", time=1000.0),
            logged(1, 0, 4.0),
            RunCandidate(run="s", candidate="a", metrics={"score": 0.5}, params={"C": 1.0}, time=1001.0),
            RunCandidate(run="s", candidate="b", metrics={"score": 0.7}, params={"C": 2.0}, time=1002.0),
        ],
    )
    await burst(bus)
    await bus.publish(
        RUNS,
        [
            logged(1, 1, 2.0),
            RunCandidate(run="s", candidate="b", rung=1, resource=9, metrics={"score": 0.8}, time=1003.0),
            RunCandidate(run="s", candidate="c", metrics={"score": 0.1}, time=1004.0),
        ],
    )
    frame = await burst(bus)
    assert frame.runs[0].candidates == 3
    assert frame.points["s"]["loss"] == [(1, 3.0)]
    assert frame.spans["s"]["loss"] == [(1, 2.0, 4.0)]
    assert frame.points["s"][CLOCK] == [(1, 1002.0)]
    found = read_candidates(await bus.state(search_state("s")))
    assert [(one.number, one.candidate, one.rung, one.metrics["score"]) for one in found] == [
        (1, "a", 0, 0.5),
        (2, "b", 0, 0.7),
        (2, "b", 1, 0.8),
        (3, "c", 0, 0.1),
    ]


async def test_a_label_meets_its_prediction_once(any_bus: Bus) -> None:
    bus = any_bus
    positions = [await request(bus) for _ in range(3)]
    await predict(bus, positions)
    await label(bus, positions[0], "cat")
    await label(bus, positions[1], 1)
    await label(bus, positions[1], 0)
    await label(bus, positions[2], "cow")
    frame = await burst(bus)
    [joined] = [decode(entry.payload) for entry in await bus.read(JOINED)]
    assert isinstance(joined, PredictionJoined)
    assert (joined.model, joined.version, joined.predicted, joined.actual) == ("pets", 3, [0.0, 0.0], [0.0, 1.0])
    [model] = frame.models
    assert model.quality.confusion == [[1, 0], [1, 0]]
    [letter] = [decode(entry.payload) for entry in await bus.read(DEAD)]
    assert isinstance(letter, EntryDead)
    assert "'cow' is no class of pets version 3" in letter.reason
    assert await bus.waiting(0, positions) == [None, None, Waiting("pets", 3, "c", [0.0], [0.9], "id").encode()]
    assert await depth(bus, LABELS) == 0
    frame = await burst(bus)
    assert frame.models[0].quality.joined == 2
    assert len(await bus.read(JOINED)) == 1


async def test_a_label_that_came_first_waits_for_its_prediction(any_bus: Bus) -> None:
    bus = any_bus
    position = await request(bus)
    await label(bus, position, "dog")
    await burst(bus)
    assert await depth(bus, LABELS) == 1
    assert await bus.read(DEAD) == []
    await predict(bus, [position], guess=1)
    await burst(bus)
    assert await depth(bus, LABELS) == 0
    [joined] = [decode(entry.payload) for entry in await bus.read(JOINED)]
    assert isinstance(joined, PredictionJoined)
    assert joined.actual == joined.predicted == [1.0]


async def test_what_is_no_event_becomes_a_dead_letter_and_stops_nothing(any_bus: Bus) -> None:
    bus = any_bus
    await bus.publish(RUNS, [b"\xc1nonsense", b'{"type":"run.exploded"}', RunStarted(run="r")])
    await bus.publish(LABELS, [PredictionLabelled(prediction="nonsense", labels=[1])])
    frame = await burst(bus)
    assert [run.run for run in frame.runs] == ["r"]
    reasons = [decode(entry.payload) for entry in await bus.read(DEAD)]
    assert len(reasons) == 3
    assert await depth(bus, RUNS) == 0


async def test_whoever_does_not_lead_writes_nothing(any_bus: Bus) -> None:
    bus = any_bus
    assert await bus.lease(LEASE, "another", 60_000)
    await bus.publish(RUNS, [RunStarted(run="r")])
    with pytest.raises(LeaseLostError):
        await burst(bus)
    assert await bus.state(RUNS_STATE) == {}
    assert await bus.read(FRAMES) == []


async def test_a_burst_whose_lease_ran_out_takes_it_again_and_counts_nothing_twice(
    any_bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus, publish_frame, holders = any_bus, Term.publish_frame, []

    async def robbed_once(term: Term) -> Any:
        holders.append(term.token)
        if len(holders) == 1:
            await bus.release(LEASE, term.token)
            raise LeaseLostError(LEASE)
        return await publish_frame(term)

    monkeypatch.setattr(Term, "publish_frame", robbed_once)
    await bus.publish(RUNS, [RunStarted(run="r"), RunMetrics(run="r", step=1, metrics={"loss": 0.5})])
    frame = await burst(bus)
    assert len(set(holders)) == 2
    assert [(run.run, run.metrics) for run in frame.runs] == [("r", {"loss": 0.5})]
    assert frame.points["r"]["loss"] == [(1, 0.5)]
    assert frame.number == 1


async def test_a_leader_that_lost_its_lease_stands_by_and_leads_again_later(
    any_bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    bus, stop = any_bus, asyncio.Event()
    leading = asyncio.create_task(run_aggregator(bus.settings, bus, stop=stop, interval_s=0.02, worker="first"))
    try:
        await wait_until(lambda: bus.read(FRAMES))
        await bus._client.set(bus.names.lease(LEASE), "another")
        await wait_until(lambda: "first stands by: the lease 'aggregator' belongs to another" in caplog.text)
        _, last_frame = await bus.last(FRAMES)
        await bus.publish(RUNS, [RunStarted(run="r")])
        _, last_sign = await bus.last(WORKERS)

        async def lives_on() -> bool:
            return (await bus.last(WORKERS))[1] > last_sign

        await wait_until(lives_on)
        assert (await bus.last(FRAMES))[1] == last_frame
        assert await bus.state(RUNS_STATE) == {}
        await bus.release(LEASE, "another")

        async def shows_the_run() -> bool:
            return [run.run for run in (await newest_frame(bus)).runs] == ["r"]

        await wait_until(shows_the_run)
    finally:
        stop.set()
        await leading
    assert await bus.lease(LEASE, "next", 1000)


async def test_a_group_that_somebody_deleted_is_made_again_without_folding_anything_twice(any_bus: Bus) -> None:
    bus = any_bus
    await bus.publish(RUNS, [RunMetrics(run="r", step=1, metrics={"loss": 1.0})])
    await burst(bus)
    await bus.remove_group(RUNS, 0, AGGREGATORS)
    await bus.publish(RUNS, [RunMetrics(run="r", step=1, metrics={"loss": 3.0})])
    await burst(bus)
    curve = read_curves(await bus.state(run_state("r")))["loss"]
    assert curve.save().buckets == [(1, 4.0, 2)]


async def test_plain_publish_reaches_the_log_while_an_aggregator_leads(any_bus: Bus) -> None:
    bus, stop = any_bus, asyncio.Event()
    leading = asyncio.create_task(run_aggregator(bus.settings, bus, stop=stop, interval_s=0.02))
    try:
        await wait_until(lambda: bus.read(FRAMES))
        live = bus.names.intake(RUNS)
        await wait_until(lambda: bus._client.publish(live, b'{"type":"run.started","id":"1","run":"plain"}'))
        await bus._client.publish(live, b"nonsense")

        async def counted() -> bool:
            frame = await newest_frame(bus)
            return bool(frame.runs) and (frame.live.taken, frame.live.refused) == (1, 1)

        await wait_until(counted)
    finally:
        stop.set()
        await leading


async def test_totals_survive_a_change_of_leader(any_bus: Bus) -> None:
    bus = any_bus
    for number in range(3):
        await predict(bus, [await request(bus)])
        frame = await burst(bus)
        assert frame.models[0].requests_total == number + 1


async def test_a_commit_of_a_former_leader_changes_nothing(any_bus: Bus) -> None:
    bus = any_bus
    await bus.lease(LEASE, "new", 60_000)
    work = Commit(partition=0)
    work.under_lease(LEASE, "old")
    work.save("totals", {"statistics": b"stale"})
    with pytest.raises(LeaseLostError):
        await bus.commit(work)
    assert await bus.state("totals") == {}
