"""Random walks over bus, logs and workers, on fakeredis and on the real server: the books balance after each.

The walks are the same each time; `HEADRACE_DEEP=1` takes new and many more of them. What tests/model proves of a model
in every order of steps, this holds against the scripts themselves.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as profile
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from redis.exceptions import ConnectionError as Lost

import headrace.bus.consume as consuming
from headrace.audit import audit
from headrace.bus import Batch, Bus, Consumer, Decision
from headrace.bus.connection import connect_async
from headrace.bus.scripts import Script, script
from headrace.channels import DEAD, REQUESTS, RESULTS, SCORERS
from headrace.codec import decode, encode
from headrace.errors import GroupLostError, UnavailableError
from headrace.events import EntryDead, PredictionRequested, PredictionScored
from headrace.outbox import Outbox
from headrace.outcomes import decided
from headrace.retry import Backoff
from headrace.settings import Settings

DEEP = "HEADRACE_DEEP" in os.environ
WALKS = profile(
    max_examples=2_000 if DEEP else 25,
    stateful_step_count=60 if DEEP else 40,
    derandomize=not DEEP,
    deadline=None,
    database=None,
    phases=[Phase.generate] if not DEEP else [Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
WORKERS = 3
HURRIED: dict[str, Any] = {
    "claim_ms": 1,
    "retry_base_ms": 1,
    "retry_limit_ms": 1,
    "max_attempts": 4,
    "consume_entries": 5,
}
T = TypeVar("T")

workers = st.integers(0, WORKERS - 1)
kinds = st.lists(st.sampled_from(["plain", "plain", "plain", "poison", "weak"]), min_size=1, max_size=12)
COMMANDS = {"publish": "EVALSHA", "read": "XREADGROUP", "claim": "XAUTOCLAIM", "retry": "XCLAIM", "commit": "EVALSHA"}


class LossyClient:
    """A client whose next reply to the command named in `lose` gets lost, whoever sends it."""

    connection_pool = None  # so that every command comes through `execute_command`

    def __init__(self, client: Any) -> None:
        self._client, self._execute, self.lose = client, client.execute_command, ""
        client.execute_command = self.execute_command

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        answer = await self._execute(*args, **options)
        if args[0] == self.lose:
            self.lose = ""
            raise Lost("reply lost")
        return answer


class Worker:
    """One member of the scorers: its bus, its consumer, the batches in its hands."""

    def __init__(self, settings: Settings, name: str) -> None:
        client: Any = LossyClient(connect_async(settings))
        self.client, self.bus, self.name = client, Bus(settings, client), name
        self.consumer: Consumer
        self.hands: list[Batch] = []

    async def begin(self) -> Worker:
        consumer = self.bus.consume(REQUESTS, SCORERS, worker=self.name, decided=decided)
        self.consumer = await consumer.__aenter__()
        assert consumer._renewal is not None
        consumer._renewal.cancel()  # time is not part of the walk: renewing is a step of its own
        return self

    async def take(self, claiming: bool) -> None:
        """The next batch, with or without a look at what others left."""
        self.consumer._next_claim_s = 0.0 if claiming else float("inf")
        try:
            batch = await self.consumer.next()
        except UnavailableError:
            return
        except GroupLostError:
            self.hands.clear()
            await self.consumer._begin_again()
            return
        if batch:
            self.hands.append(batch)

    async def decide(self) -> None:
        batch = self.hands.pop(0)
        await self.consumer.finish(self.decision(batch), self.decision)

    def decision(self, batch: Batch) -> Decision:
        """Dead letters for the poisonous, another attempt for the weak, one result for all others."""
        work = self.consumer.commit(batch)
        positions, ids = [], []
        for spelled, payload in zip(batch.ids, batch.payloads, strict=True):
            event = decode(payload)
            assert isinstance(event, PredictionRequested)
            if event.model == "poison":
                work.dead(spelled, "poison")
            elif event.model == "plain" or batch.attempts.get(spelled, 1) > 1 or work.retry(spelled, "weak"):
                if spelled in work.retries:
                    continue
                positions.append(spelled.decode())
                ids.append(event.id)
        if positions:
            scored = PredictionScored(model="m", version=1, positions=" ".join(positions), ids=ids)
            work.append(RESULTS, [scored])
            work.count("req:m:1", len(positions))
            work.count("row:m:1", len(positions))
        return work

    async def die(self) -> None:
        """As by SIGKILL: nothing is handed back."""
        self.hands.clear()
        await self.bus.close()

    async def stop(self) -> None:
        await self.consumer.__aexit__(None, None, None)
        await self.die()


class Walk(RuleBasedStateMachine):
    """Everything that users, operators and networks do, in any order."""

    settings_of_test: Settings

    @initialize()
    def start(self) -> None:
        self.runner = asyncio.Runner()
        self.settings = self.settings_of_test.with_(prefix=f"test-{secrets.token_hex(4)}")
        client: Any = LossyClient(connect_async(self.settings))
        self.client = client
        self.bus = Bus(self.settings, client)
        self.now = 0.0
        self.offered = 0
        self.outbox = Outbox(REQUESTS, 0, self.settings, draw=lambda: 1.0)
        self.team = [self.run(Worker(self.settings, f"w{n}").begin()) for n in range(WORKERS)]

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    # the publisher

    @rule(kinds=kinds)
    def offer(self, kinds: list[str]) -> None:
        for kind in kinds:
            self.offered += 1
            event = PredictionRequested(id=f"q{self.offered}", model=kind, inputs=[[1.0]])
            assert self.outbox.offer(encode(event), "prediction.requested", self.now)

    @rule(lost=st.booleans())
    def publish(self, lost: bool) -> None:
        self.client.lose = COMMANDS["publish"] if lost else ""
        self.run(self._send())
        self.client.lose = ""

    async def _send(self) -> None:
        self.now += 10.0
        call = self.outbox.next_batch(self.now)
        if call is None:
            return
        try:
            answer = await self.bus.publish_batch(call)
        except UnavailableError:
            self.outbox.on_failed(self.now)
        else:
            self.outbox.on_accepted(answer, self.now)

    # the workers

    @rule(who=workers, claiming=st.booleans(), lost=st.sampled_from(["", "", "", "read", "claim", "retry"]))
    def take(self, who: int, claiming: bool, lost: str) -> None:
        worker = self.team[who]
        worker.client.lose = COMMANDS.get(lost, "")
        self.run(worker.take(claiming))
        worker.client.lose = ""

    @precondition(lambda self: any(worker.hands for worker in self.team))
    @rule(who=workers, lost=st.booleans())
    def decide(self, who: int, lost: bool) -> None:
        worker = self.team[who]
        if worker.hands:
            worker.client.lose = COMMANDS["commit"] if lost else ""
            self.run(worker.decide())
            worker.client.lose = ""

    @rule(who=workers)
    def renew(self, who: int) -> None:
        """A worker that was asleep wakes up and renews its claims, maybe on what others took over."""
        try:
            self.run(self.team[who].consumer._claim_again(idle_ms=0))
        except Exception as error:
            if "NOGROUP" not in str(error):
                raise

    @rule(who=workers)
    def kill(self, who: int) -> None:
        self.run(self.team[who].die())
        self.team[who] = self.run(Worker(self.settings, f"w{who}").begin())

    @rule(who=workers)
    def restart(self, who: int) -> None:
        self.run(self.team[who].stop())
        self.team[who] = self.run(Worker(self.settings, f"w{who}").begin())

    # operators

    @rule()
    def delete_group(self) -> None:
        self.run(self.bus.remove_group(REQUESTS, 0, SCORERS)) if self._group() else None

    @rule()
    def flush_scripts(self) -> None:
        self.run(self.client.script_flush())

    @rule()
    def trim(self) -> None:
        if self._group():  # without the group nobody knows what is needed
            self.run(self.bus.trim(REQUESTS, 0, before_ms=2**50, keep_bytes=1))

    @rule()
    def forget(self) -> None:
        if self._group():
            self.run(self.bus.forget(REQUESTS, 0, SCORERS, idle_ms=0))

    def _group(self) -> bool:
        return any(group.name == SCORERS for group in self.run(self.bus.groups(REQUESTS)))

    # the end

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            try:
                self.run(self._finish())
            finally:
                self.runner.close()

    async def _finish(self) -> None:
        for worker in self.team:
            worker.client.lose = ""
            while worker.hands:
                await worker.decide()
        while self.outbox.waiting:
            await self._send()
        last = self.team[0]
        deadline = time.monotonic() + 10
        while any(group.lag + group.in_flight for group in await self.bus.groups(REQUESTS)) or not await self._there():
            assert time.monotonic() < deadline, "the work does not come to an end"
            await last.take(claiming=True)
            while last.hands:
                await last.decide()
        try:
            await self._balance()
        finally:
            for worker in self.team:
                await worker.stop()
            keys = [key async for key in self.client.scan_iter(f"{self.settings.prefix}:*")]
            if keys:
                await self.client.delete(*keys)
            await self.bus.close()

    async def _there(self) -> bool:
        return not self.offered or any(group.name == SCORERS for group in await self.bus.groups(REQUESTS))

    async def _balance(self) -> None:
        books = await audit(self.bus)
        assert books.balanced, books.text()
        assert books.waiting == books.unjudged == 0, books.text()
        assert books.published == self.offered
        assert books.scored + books.dead + books.trimmed == self.offered
        requests = [decode(entry.payload).id for entry in await self.bus.read(REQUESTS, count=10_000)]
        assert requests == [f"q{n}" for n in range(self.offered - len(requests) + 1, self.offered + 1)]
        outcomes: list[str] = []
        for channel in (RESULTS, DEAD):
            for entry in await self.bus.read(channel, count=10_000):
                match decode(entry.payload):
                    case PredictionScored(ids=ids):
                        outcomes += ids
                    case EntryDead(payload=payload):
                        outcomes.append(decode(payload).id)
        assert sorted(outcomes) == sorted(f"q{n}" for n in range(1, self.offered + 1))


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers do not wait before they try again."""
    monkeypatch.setattr(consuming, "RECONNECT", Backoff(1, 1))


@pytest.mark.timeout(7200 if DEEP else 120)
@pytest.mark.usefixtures("hurried")
def test_whatever_happens_in_whatever_order_the_books_balance(any_settings: Settings) -> None:
    machine = type("Walk", (Walk,), {"settings_of_test": any_settings.with_(**HURRIED)})
    run_state_machine_as_test(machine, settings=WALKS)


@pytest.mark.usefixtures("hurried")
def test_the_walks_find_a_commit_without_its_proof(
    headrace_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = script("commit").text
    broken = real.replace("if #left <= n then", "if false then")
    assert broken != real
    monkeypatch.setattr("headrace.bus.commit.script", lambda name: Script(broken) if name == "commit" else script(name))
    machine = type("Walk", (Walk,), {"settings_of_test": headrace_settings.with_(**HURRIED)})
    with pytest.raises(AssertionError, match="more than one outcome"):
        run_state_machine_as_test(machine, settings=profile(WALKS, max_examples=500, stateful_step_count=60))
