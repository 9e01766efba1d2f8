"""Whatever anybody writes into a log, each entry of it has one outcome, and no worker ends of it."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.arrays import pack
from headrace.audit import audit
from headrace.bus import Bus
from headrace.channels import ALERTS, DEAD, FRAMES, LABELS, MODELS, REQUESTS, RUNS, WORKERS
from headrace.codec import decode, encode
from headrace.errors import CodecError
from headrace.events import EntryDead, Frame, Matrix, PredictionRequested
from headrace.models.registry import Registry
from headrace.models.training import train
from headrace.settings import REASON_CHARS
from headrace.subscriber.aggregation.aggregator import run_aggregator
from headrace.subscriber.scoring.scorer import Scorer
from headrace.subscriber.scoring.shelf import Shelf
from tests.unit.shapes import KINDS, structs

TIMES = [0.0, 1.0, -1.0, 4_102_444_800.0, 1e308, -1e308, math.nan, math.inf, -math.inf]
"""Among them clocks of 1970 and of 2100."""
WIDTH = 64
GOOD = pack(np.zeros((1, WIDTH), "<f4"))
matrices = st.one_of(
    st.just(GOOD),
    st.builds(
        Matrix,
        st.sampled_from(["<f4", "<f8", "<i8", ">f4", "O", ""]),
        st.sampled_from([(1, WIDTH), (10**9, WIDTH), (-1, -WIDTH), (0, 0), (2**62, 2**62), (), (WIDTH,)]),
        st.sampled_from([b"", bytes(4 * WIDTH), bytes(8 * WIDTH), np.full(WIDTH, np.nan, "<f4").tobytes()]),
    ),
    st.lists(st.lists(st.none() | st.floats(), max_size=3), max_size=3),
    st.lists(st.lists(st.floats(0, 16), min_size=WIDTH, max_size=WIDTH), min_size=1, max_size=2),
)
requests = st.builds(
    PredictionRequested,
    id=st.sampled_from(["", "same", "same", "\x00", "an id" * 50]),
    time=st.sampled_from(TIMES),
    deadline=st.sampled_from([0.0, *TIMES]),
    model=st.sampled_from(["digits", "digits", "nobody", "", "../digits", "di\x00gits", "\x01" * 3_000]),
    version=st.sampled_from([0, 0, 1, 2, -1, 2**63 - 1]),
    inputs=matrices,
    reply_to=st.sampled_from(["", "elsewhere", "{0}:requests:log"]),
    label=st.booleans(),
)
events = st.one_of([structs(kind, st.floats()) for kind in KINDS])
bombs = st.sampled_from(
    [
        b"",
        b'{"type":"prediction.requested","model":"digits","inputs":' + b"[" * 50_000,
        b"\x83\xa4type\xb4prediction.requested\xa6inputs" + b"\x91" * 50_000,
        b"\x83\xa4type\xb4prediction.requested\xa5model\xa6digits\xa6inputs\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b'{"type":"prediction.wished"}',
    ]
)
json_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers())
bodies = st.dictionaries(st.sampled_from(["model", "inputs", "version", "label", "time", "id"]), json_values).map(
    lambda body: json.dumps({"type": "prediction.requested", **body}).encode()
)
wild = st.one_of(requests.map(encode), events.map(encode), bombs, bodies, st.binary(max_size=40)).filter(len)
told = st.tuples(st.sampled_from([RUNS, WORKERS, MODELS, ALERTS, LABELS]), wild)
few = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    found = Registry(tmp_path_factory.mktemp("models"))
    trained = train("digits")
    found.promote("digits", found.save(trained.estimator, trained.card).version)
    return found


async def burst(bus: Bus, registry: Registry) -> None:
    await Scorer(bus, Shelf(registry), "one").run(asyncio.Event(), burst=True)


async def letters(bus: Bus, channel: str) -> list[EntryDead]:
    found = [decode(entry.payload) for entry in await bus.read(DEAD, count=10_000)]
    return [letter for letter in found if isinstance(letter, EntryDead) and letter.channel == channel]


@few
@given(payloads=st.lists(wild, min_size=1, max_size=40))
async def test_whatever_is_asked_has_one_outcome(any_bus: Bus, registry: Registry, payloads: Sequence[bytes]) -> None:
    _, before = await any_bus.last(REQUESTS)
    await any_bus.publish(REQUESTS, payloads)
    await burst(any_bus, registry)
    books = await audit(any_bus)
    assert books.balanced, books.text()
    assert (books.published, books.waiting) == (before.number + len(payloads), 0)
    assert books.scored + books.dead == books.published
    found = await letters(any_bus, REQUESTS)
    assert all(0 < len(letter.reason) <= REASON_CHARS for letter in found)
    assert max(Counter(letter.position for letter in found).values(), default=1) == 1
    assert len(found) == books.dead


async def test_what_takes_much_room_in_a_result_is_scored_too(any_bus: Bus, registry: Registry) -> None:
    limit = 20_000
    long = [PredictionRequested(id=f"{i}" * (limit - 1_000), model="digits", inputs=GOOD) for i in range(4)]
    quoted = PredictionRequested(id="quoted", model="\x00" * (limit - 1_000), inputs=GOOD)
    async with Bus(any_bus.settings.with_(event_limit_bytes=limit)) as small:
        await small.publish(REQUESTS, [*long, quoted])
        await burst(small, registry)
        books = await audit(small)
    assert (books.scored, books.dead, books.waiting, books.balanced) == (4, 1, 0, True), books.text()
    [letter] = await letters(any_bus, REQUESTS)
    assert "unknown model" in letter.reason


@few
@given(pairs=st.lists(told, min_size=1, max_size=40))
async def test_whatever_is_told_the_aggregator_goes_on(any_bus: Bus, pairs: Sequence[tuple[str, bytes]]) -> None:
    for channel, payload in pairs:
        await any_bus.publish(channel, [payload])
    before = len(await letters(any_bus, RUNS))
    await run_aggregator(any_bus.settings, any_bus, stop=asyncio.Event(), burst=True)
    [entry] = await any_bus.read(FRAMES, count=1, newest_first=True)
    frame = decode(entry.payload)
    assert isinstance(frame, Frame)
    assert msgspec.json.decode(encode(frame, "json"))["type"] == "frame"
    broken = [payload for channel, payload in pairs if channel == RUNS and _unreadable(payload)]
    assert len(await letters(any_bus, RUNS)) == before + len(broken)
    for channel in (RUNS, WORKERS, MODELS, LABELS):
        for group in await any_bus.groups(channel):
            assert group.lag == 0


def _unreadable(payload: bytes) -> bool:
    try:
        decode(payload)
    except CodecError:
        return True
    return False
