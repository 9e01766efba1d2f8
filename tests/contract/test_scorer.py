"""The scorer on a bus: one outcome for each request, whatever happens to its worker or its group; balanced books."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.arrays import pack, unpack_any
from headrace.audit import audit
from headrace.bus import Bus
from headrace.channels import DEAD, MODELS, REQUESTS, RESULTS, SCORERS, TAIL
from headrace.codec import decode, encode
from headrace.errors import GroupLostError
from headrace.events import (
    EntryDead,
    ModelPromoted,
    ModelRefused,
    PredictionRejected,
    PredictionRequested,
    PredictionSampled,
    PredictionScored,
    new_id,
    stamped,
)
from headrace.histogram import mean_ms, merge
from headrace.models.datasets import load
from headrace.models.registry import Registry
from headrace.models.training import train
from headrace.subscriber.scoring.scorer import Scorer
from headrace.subscriber.scoring.shelf import Shelf
from headrace.testing import wait_until
from headrace.waiting import Waiting

if TYPE_CHECKING:
    from headrace.settings import Settings
    from tests.contract.conftest import OpenBus


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Two versions of digits, the first in service."""
    found = Registry(tmp_path_factory.mktemp("models"))
    for strength in (0.03, 0.3):
        trained = train("digits", {"C": strength})
        found.save(trained.estimator, trained.card)
    found.promote("digits", 1)
    return found


def scorer(bus: Bus, registry: Registry, name: str = "one") -> Scorer:
    return Scorer(bus, Shelf(registry), name)


async def burst(bus: Bus, registry: Registry, name: str = "one") -> Scorer:
    made = scorer(bus, registry, name)
    await made.run(asyncio.Event(), burst=True)
    return made


def requests(count: int, **more: Any) -> list[PredictionRequested]:
    rows = load("digits").held_out_x.astype("<f4")
    return [
        PredictionRequested(id=new_id(), model="digits", inputs=pack(rows[i % len(rows)][None]), **more)
        for i in range(count)
    ]


def wrong() -> PredictionRequested:
    return PredictionRequested(id=new_id(), model="digits", inputs=pack(np.zeros((1, 63), "<f4")))


async def results(bus: Bus) -> dict[str, int]:
    """Labels by request id; fails if an id comes twice."""
    found: dict[str, int] = {}
    for entry in await bus.read(RESULTS, count=10_000):
        event = decode(entry.payload)
        assert isinstance(event, PredictionScored)
        labels = unpack_any(event.labels)
        assert labels is not None
        assert found.keys().isdisjoint(event.ids)
        found.update(zip(event.ids, labels.tolist(), strict=True))
    return found


async def test_a_backlog_is_scored_and_the_books_balance(any_bus: Bus, registry: Registry) -> None:
    sent = [*requests(700), wrong(), *requests(3)]
    await any_bus.publish(REQUESTS, sent[:400])
    await any_bus.publish(REQUESTS, sent[400:])
    await burst(any_bus, registry)
    found = await results(any_bus)
    good = [event for event in sent if event.inputs.shape == (1, 64)]  # type: ignore[union-attr]
    rows = np.concatenate([unpack_any(event.inputs) for event in good])
    expected = registry.open("digits").estimator.predict(rows.astype("<f8"))
    assert [found[event.id] for event in good] == expected.tolist()
    books = await audit(any_bus)
    assert books.balanced, books.text()
    assert (books.published, books.scored, books.dead, books.waiting) == (704, 703, 1, 0)
    [group] = await any_bus.groups(REQUESTS)
    assert (group.lag, group.in_flight, group.consumers) == (0, 0, 0)


async def test_a_dead_letter_tells_why_and_holds_the_request(any_bus: Bus, registry: Registry) -> None:
    request = wrong()
    await any_bus.publish(REQUESTS, [request])
    await burst(any_bus, registry)
    [entry] = await any_bus.read(DEAD)
    letter = decode(entry.payload)
    assert isinstance(letter, EntryDead)
    assert letter.reason == "model 'digits' takes 64 features, got 63"
    assert decode(letter.payload) == request


async def test_an_entry_larger_than_an_event_may_be_ends_as_a_dead_letter(any_bus: Bus, registry: Registry) -> None:
    async with Bus(any_bus.settings.with_(event_limit_bytes=2000)) as small:
        await any_bus.publish(REQUESTS, [b"\x81" + b"x" * 5000, *requests(2)])
        await burst(small, registry)
        books = await audit(small)
    assert (books.scored, books.dead, books.balanced) == (2, 1, True)
    [entry] = await any_bus.read(DEAD)
    letter = decode(entry.payload)
    assert isinstance(letter, EntryDead)
    assert letter.reason == "a request of 5,001 bytes is over the limit of 2,000"
    assert len(letter.payload) == 2000


async def test_requesters_are_answered_by_push(any_bus: Bus, registry: Registry) -> None:
    live = any_bus.names.reply("me")
    heard: list[Any] = []
    listening = asyncio.Event()

    async def listen() -> None:
        async for pushed in any_bus.listen(live):
            listening.set()
            heard.extend(decode(payload) for _, payload in pushed or [])

    task = asyncio.create_task(listen())
    await listening.wait()
    good, bad = requests(1, reply_to=live)[0], wrong()
    bad = PredictionRequested(id=bad.id, model="digits", inputs=bad.inputs, reply_to=live)
    stranger = requests(1, reply_to="somewhere-else")[0]
    await any_bus.publish(REQUESTS, [good, bad, stranger])
    await burst(any_bus, registry)
    await wait_until(lambda: len(heard) == 2, description="both answers")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    by_type = {type(event): event for event in heard}
    assert by_type[PredictionScored].ids == [good.id]
    assert by_type[PredictionScored].names == [str(n) for n in range(10)]
    assert by_type[PredictionRejected].request == bad.id
    assert stranger.id in await results(any_bus)


async def test_a_requester_hears_that_its_request_killed_its_workers(
    any_settings: Settings, open_bus: OpenBus, registry: Registry
) -> None:
    bus = await open_bus(any_settings, claim_ms=1, max_attempts=3)
    live = bus.names.reply("me")
    pushed: list[bytes] = []
    listening = asyncio.Event()

    async def listen() -> None:
        async for pushes in bus.listen(live):
            listening.set()
            pushed.extend(payload for _, payload in pushes or ())

    ears = asyncio.create_task(listen())
    await wait_until(listening.is_set)
    await bus.consume(REQUESTS, SCORERS, worker="w")._create()
    [request] = requests(1, reply_to=live)
    await bus.publish(REQUESTS, [request])

    async def left_alone() -> bool:
        rows = await bus._client.xpending_range(bus.names.log(REQUESTS), SCORERS, min="-", max="+", count=9)
        return all(row["time_since_delivered"] >= 2 for row in rows)

    for _ in range(3):
        assert await bus.consume(REQUESTS, SCORERS, worker="victim").next() is not None
        await wait_until(left_alone)
    await burst(bus, registry)
    await wait_until(lambda: len(pushed) == 1, description="the reply")
    ears.cancel()
    await asyncio.gather(ears, return_exceptions=True)
    reply = decode(pushed[0])
    assert isinstance(reply, PredictionRejected)
    assert reply.request == request.id
    assert reply.reason == "delivered 3 times, and no worker lived to decide it"
    assert len(await bus.read(DEAD)) == 1


async def test_predictions_that_expect_a_label_wait_for_it(any_bus: Bus, registry: Registry) -> None:
    receipt = await any_bus.publish(REQUESTS, requests(1, label=True))
    await burst(any_bus, registry)
    [kept] = await any_bus.waiting(0, receipt.positions)
    assert kept is not None
    assert Waiting.decode(kept).model == "digits"


async def test_the_page_gets_a_sample(any_bus: Bus, registry: Registry) -> None:
    await any_bus.publish(REQUESTS, requests(30))
    await burst(any_bus, registry)
    [entry] = await any_bus.read(TAIL)
    sample = decode(entry.payload)
    assert isinstance(sample, PredictionSampled)
    assert len(sample.inputs) == 64
    assert sample.rows_scored == 30


async def test_the_parts_of_a_latency_add_up(any_bus: Bus, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a scorer does between model and commit is in a part, too."""
    sample = Scorer._sample

    def slow(self: Scorer, *args: Any) -> None:
        time.sleep(0.2)
        sample(self, *args)

    monkeypatch.setattr(Scorer, "_sample", slow)
    began = int(time.time())
    await any_bus.publish(REQUESTS, [stamped(request, "test") for request in requests(20)])
    await burst(any_bus, registry)
    seconds = [await any_bus.counters(0, second) for second in range(began - 1, int(time.time()) + 2)]

    def mean(stage: str) -> float:
        start = f"lat:{stage}:"
        found = [
            {int(name.removeprefix(start)): n for name, n in one.items() if name.startswith(start)} for one in seconds
        ]
        return mean_ms(merge(found)) or 0.0

    assert mean("commit") > 190
    assert mean("wait") + mean("model") + mean("commit") == pytest.approx(mean("total"), rel=0.07)


async def test_what_was_stolen_is_decided_once(any_bus: Bus, registry: Registry) -> None:
    """A worker that renews nothing is robbed of its batch; the thief commits, the first wakes up and commits too."""
    await any_bus.publish(REQUESTS, requests(50))
    slow = scorer(any_bus, registry, "slow")
    slow.shelf.load()
    async with (
        any_bus.consume(REQUESTS, SCORERS, worker="slow") as stalled,
        Bus(any_bus.settings.with_(claim_ms=150)) as quick,
    ):
        batch = await stalled.next()
        assert batch is not None
        _, late = slow._score(stalled, batch)
        await wait_until(lambda: _claimable(quick), description="the batch to be free to claim")
        thief = await burst(quick, registry, "quick")
        await stalled.finish(late)
    assert thief.tally.events == 50
    assert len(await results(any_bus)) == 50
    books = await audit(any_bus)
    assert books.balanced, books.text()


async def _claimable(bus: Bus) -> bool:
    [group] = await bus.groups(REQUESTS)
    return group.idle_ms > 150


async def test_a_deleted_group_is_made_again_without_doing_anything_twice(any_bus: Bus, registry: Registry) -> None:
    bus = any_bus
    await bus.publish(REQUESTS, [*requests(20), wrong()])
    await burst(bus, registry)
    await bus.publish(REQUESTS, requests(30))
    async with bus.consume(REQUESTS, SCORERS, worker="holds") as consumer:
        held = await consumer.next()
        assert held is not None
        # The end of the log is decided, its middle is not: as if two workers had been at it.
        part = scorer(bus, registry, "part")
        part.shelf.load()
        tail = type(held)(held.consumer, held.ids[20:], held.payloads[20:], read_at=held.read_at)
        _, work = part._score(consumer, tail)
        work.kept = 20
        await consumer.finish(work)
        await bus.remove_group(REQUESTS, 0, SCORERS)
    await burst(bus, registry, "next")
    books = await audit(bus)
    assert books.balanced, books.text()
    assert (books.scored, books.dead, books.waiting) == (50, 1, 0)
    [group] = await bus.groups(REQUESTS)
    assert (group.lag, group.in_flight) == (0, 0)


async def test_a_group_whose_outcomes_were_trimmed_is_not_made_up(any_bus: Bus, registry: Registry) -> None:
    await any_bus.publish(REQUESTS, requests(3))
    await burst(any_bus, registry)
    await any_bus.remove_group(REQUESTS, 0, SCORERS)
    await any_bus._client.xtrim(any_bus.names.log(RESULTS), maxlen=0, approximate=False)
    await any_bus.publish(RESULTS, [PredictionScored(model="digits", version=1, positions="1-99", ids=["x"])] * 2)
    await any_bus._client.xtrim(any_bus.names.log(RESULTS), maxlen=1, approximate=False)
    with pytest.raises(GroupLostError, match="may have an outcome that was trimmed"):
        await burst(any_bus, registry, "next")


async def test_a_promotion_is_served_and_a_refused_one_is_not(any_bus: Bus, registry: Registry) -> None:
    made = scorer(any_bus, registry)
    stop = asyncio.Event()
    running = asyncio.create_task(made.run(stop))
    await wait_until(lambda: made.shelf.versions() == {"digits": 1}, description="the first version")
    await any_bus.publish(MODELS, [ModelPromoted(model="digits", version=2, sha256="")])
    await wait_until(lambda: made.shelf.versions() == {"digits": 2}, description="the promotion")
    await any_bus.publish(MODELS, [ModelPromoted(model="digits", version=77, sha256="")])

    async def refusals() -> list[ModelRefused]:
        events = [decode(entry.payload) for entry in await any_bus.read(MODELS)]
        return [event for event in events if isinstance(event, ModelRefused)]

    [refusal] = await wait_until(refusals, description="the refusal")
    assert (refusal.version, refusal.worker) == (77, "one")
    assert made.shelf.versions() == {"digits": 2}
    stop.set()
    await running


async def test_the_audit_finds_what_is_lost_doubled_and_miscounted(any_bus: Bus, registry: Registry) -> None:
    await any_bus.publish(REQUESTS, requests(3))
    await burst(any_bus, registry)
    [first] = await any_bus.read(RESULTS)
    event = decode(first.payload)
    assert isinstance(event, PredictionScored)
    await any_bus.publish(RESULTS, [encode(event)])
    books = await audit(any_bus)
    assert (books.doubled, books.lost, books.balanced) == (3, 0, False)
    await any_bus.publish(REQUESTS, requests(1))
    await any_bus._client.xgroup_setid(any_bus.names.log(REQUESTS), SCORERS, "$")
    books = await audit(any_bus)
    assert (books.doubled, books.lost) == (3, 1)
    assert "THE BOOKS DO NOT BALANCE" in books.text()
