"""The bus, asyncio side: publish, subscribe, consume, commit, and what one may ask a server about its logs.

Every call raises UnavailableError (retryable) while no server answers, and BusError for what a server refuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from headrace.bus.commit import Commit, Left, commit_reply
from headrace.bus.connection import answered, connect_async
from headrace.bus.lanes import Lanes
from headrace.bus.scripts import (
    Accepted,
    PublishCall,
    Request,
    entries_reply,
    head_reply,
    publish_reply,
    publish_request,
    pushing,
    resume_reply,
    resume_request,
    script,
)
from headrace.channels import Names
from headrace.codec import encode
from headrace.errors import FullError, LeaseLostError, UnavailableError
from headrace.events import Event, ServerView, new_id
from headrace.positions import Entry, Position
from headrace.recovery import Snapshot
from headrace.settings import Settings

if TYPE_CHECKING:
    import redis.asyncio

    from headrace.bus.batch import GivenUp
    from headrace.bus.consume import Consumer
    from headrace.bus.subscribe import Subscription

Decided = Callable[["Bus", int, str], Awaitable[tuple[Position, list[Position]]]]
"""Asked for (bus, partition, group): the position up to which all entries are decided, and decided ones after it."""

UNBOUNDED = 2**53
SEEN_S = 600
"""How long an id taken in from plain PUBLISH is remembered."""
TRIM_AT_ONCE = 100_000
"""Entries that one call removes at most: others wait for that, about 15 ms for requests of one digit. A server that is
not told removes 10,000."""


class Receipt(NamedTuple):
    """Where published events are: the log's epoch, and their positions in order."""

    epoch: str
    positions: list[Position]


@dataclass(frozen=True, slots=True)
class GroupState:
    """One group of one partition. `lag + in_flight` is its depth; `oldest` the first entry it has not committed."""

    name: str
    lag: int
    in_flight: int
    oldest: Position | None
    consumers: int
    idle_ms: int
    """Since any of its members last read something; 0 with no members."""


class Bus:
    """One server, one prefix. Connects at the first call. Use it as a context manager, or `close` it."""

    def __init__(self, settings: Settings, client: redis.asyncio.Redis | None = None) -> None:
        self.settings = settings
        self.names = Names(settings.prefix, settings.partitions)
        self._client: Any = client if client is not None else connect_async(settings)
        for command in ("XREADGROUP", "XRANGE", "XREVRANGE"):
            self._client.set_response_callback(command, _as_sent)  # a third of the reading time goes into reshaping
        self._lanes = Lanes(self._client)

    async def __aenter__(self) -> Bus:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Give back all connections."""
        await self._lanes.close()
        await self._client.aclose()

    async def check(self) -> None:
        """Raises UnavailableError unless the server answers."""
        async with answered(self.settings):
            await self._client.ping()

    async def call(self, request: Request, channel: str = "") -> Any:
        """Run a script, sending its text where the server does not know it yet."""
        import redis.exceptions as redis_errors

        keys, args = request.keys, request.args
        async with answered(self.settings, channel):
            try:
                return await self._lanes.command("EVALSHA", request.script.sha, len(keys), *keys, *args)
            except redis_errors.NoScriptError:
                return await self._lanes.command("EVAL", request.script.text, len(keys), *keys, *args)

    async def read_group(self, log: str, group: str, consumer: str, count: int, block_ms: int | None) -> Any:
        """XREADGROUP of new entries, as (id, fields) pairs; None if there are none in time."""
        wait = () if block_ms is None else ("BLOCK", block_ms)
        async with answered(self.settings):
            raw = await self._lanes.command(
                "XREADGROUP", "GROUP", group, consumer, "COUNT", count, *wait, "STREAMS", log, ">"
            )
        return next(iter(raw.values())) if isinstance(raw, dict) else raw and raw[0][1]

    # publish

    async def publish_batch(self, call: PublishCall, fence_s: int = 0) -> Accepted:
        """One batch of one producer; safe to repeat with the same arguments. See publish.lua."""
        request = publish_request(self.names, self.settings, call, fence_s)
        return publish_reply(call, await self.call(request, call.channel))

    async def publish(
        self, channel: str, events: Sequence[Event | bytes], *, partition: int = 0, patience_s: float = 5.0
    ) -> Receipt:
        """Append events, each exactly once, however often the connection fails on the way.

        For a few events now and then; a stream of them belongs to a publisher, which batches. Raises FullError if the
        channel has no room for all (those it had room for are in), UnavailableError after `patience_s`.
        """
        payloads = [event if isinstance(event, bytes) else encode(event, self.settings.codec) for event in events]
        call = PublishCall(channel, partition, new_id(), 1, payloads)
        if not payloads:
            return Receipt("", [])
        deadline = asyncio.get_running_loop().time() + patience_s
        delay_s = 0.05
        while True:
            try:
                accepted = await self.publish_batch(call, max(60, int(4 * patience_s)))
            except UnavailableError:
                if asyncio.get_running_loop().time() + delay_s > deadline:
                    raise
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, 1.0)
                continue
            if accepted.status != "ok":
                raise FullError(channel, accepted.taken)
            return Receipt(accepted.epoch, accepted.positions.all())

    async def take(self, channel: str, partition: int, events: Iterable[tuple[str, bytes]]) -> tuple[int, int]:
        """Append events that came by plain PUBLISH, as (id, bytes), refusing ids seen lately: (taken, duplicates)."""
        flat = [item for pair in events for item in pair]
        names = self.names
        raw = await self.call(
            Request(
                script("take"),
                [
                    names.log(channel, partition),
                    names.head(channel, partition),
                    names.seen(channel, partition),
                    names.second(partition),
                ],
                [
                    names.live(channel, partition),
                    *pushing(self.settings),
                    channel,
                    self.settings.bucket_ttl_s,
                    SEEN_S,
                    *flat,
                ],
            ),
            channel,
        )
        return int(raw[0]), int(raw[1])

    # subscribe and consume

    def subscribe(
        self, *channels: str, since: Mapping[str, Position] | Literal["now", "start"] = "now"
    ) -> Subscription:
        """Follow channels over one connection: every event of a partition in order, or a notice of what was lost.

        `since` is where to begin: now, the oldest event there is, or positions by channel (others begin now).
        """
        from headrace.bus.subscribe import Subscription

        return Subscription(self, channels, since)

    def consume(
        self,
        channel: str,
        group: str,
        *,
        worker: str,
        partition: int = 0,
        start: Literal["start", "now"] = "start",
        decided: Decided | None = None,
        given_up: GivenUp | None = None,
    ) -> Consumer:
        """Share the work on a channel with the other members of `group`; each entry gets one durable outcome.

        `decided` tells which entries have one, should somebody delete the group; without it the consumer then stops
        with GroupLostError, for it could only do everything again. `given_up` may add to the decision about an entry
        that killed its workers, such as a reply.
        """
        from headrace.bus.consume import Consumer

        return Consumer(
            self, channel, group, worker=worker, partition=partition, start=start, decided=decided, given_up=given_up
        )

    async def listen(
        self, *live: str, patterns: Sequence[str] = ()
    ) -> AsyncGenerator[list[tuple[str, bytes]] | None, None]:
        """What is pushed to live channels, as lists of (live channel, payload), at most once.

        None comes first, when the subscription stands, and again after each reconnect: something may have been missed.
        """
        from headrace.bus.live import RedisLive

        async with RedisLive(self._client, self.settings) as driver:
            await driver.subscribe(live, patterns)
            async for pushed in driver.pushes():
                yield pushed

    async def commit(self, work: Commit) -> list[Position] | Left:
        """Write a commit: the newest position of each output, or what is left if others decided some of it.

        Raises LeaseLostError if the commit asked for a lease that belongs to another now; nothing was written then.
        """
        answer = commit_reply(await self.call(work.request(self.names, self.settings), work.channel))
        if answer is None:
            raise LeaseLostError(work._lease[0] if work._lease else "")
        return answer

    # ask

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
        """Up to `count` entries of a log between `start` and `stop`, both included."""
        low, high = str(start) if start else "-", str(stop) if stop else "+"
        log = self.names.log(channel, partition)
        async with answered(self.settings, channel):
            if newest_first:
                return entries_reply(await self._client.xrevrange(log, high, low, count=count))
            return entries_reply(await self._client.xrange(log, low, high, count=count))

    async def resume(self, channel: str, partition: int, last: Position, count: int = 2000) -> Snapshot:
        """The log as a subscriber at `last` needs to see it, in one moment."""
        return resume_reply(await self.call(resume_request(self.names, channel, partition, last, count), channel))

    async def last(self, channel: str, partition: int = 0) -> tuple[str, Position]:
        """Epoch and newest position of a log; empty and START if there is none."""
        async with answered(self.settings, channel):
            return head_reply(await self._client.get(self.names.head(channel, partition)))

    async def counters(self, partition: int, second: int) -> dict[str, int]:
        """The counters of one Unix second; empty where nothing happened or it is too old."""
        async with answered(self.settings):
            raw = await self._client.hgetall(f"{self.names.second(partition)}{second}")
        return {_text(name): int(value) for name, value in raw.items()}

    async def state(self, name: str, partition: int = 0) -> dict[str, bytes]:
        """Saved state, by field."""
        async with answered(self.settings):
            raw = await self._client.hgetall(self.names.state(name, partition))
        return {_text(field): bytes(value) for field, value in raw.items()}

    async def waiting(self, partition: int, positions: Sequence[Position]) -> list[bytes | None]:
        """The predictions of these requests that wait for a label; None where none waits."""
        minutes: dict[int, list[int]] = {}
        for index, position in enumerate(positions):
            minutes.setdefault(position.ms // 60_000, []).append(index)
        found: list[bytes | None] = [None] * len(positions)
        async with answered(self.settings):
            for minute, indices in minutes.items():
                key = self.names.waiting(partition, minute * 60_000)
                values = await self._client.hmget(key, [str(positions[i]) for i in indices])
                for index, value in zip(indices, values, strict=True):
                    found[index] = value
        return found

    async def groups(self, channel: str, partition: int = 0) -> list[GroupState]:
        """The groups of a partition, with what each still needs."""
        from headrace.bus.ask import groups

        async with answered(self.settings, channel):
            return await groups(self._client, self.names.log(channel, partition))

    async def length(self, channel: str, partition: int = 0) -> int:
        """Entries in a log now."""
        async with answered(self.settings, channel):
            return int(await self._client.xlen(self.names.log(channel, partition)))

    async def memory(self, channel: str, partition: int = 0) -> int | None:
        """Bytes that a log takes in the server's memory, estimated from samples; None where the server cannot say."""
        from headrace.bus.ask import memory

        async with answered(self.settings, channel):
            return await memory(self._client, self.names.log(channel, partition))

    async def time(self) -> float:
        """The server's clock, Unix seconds; positions and statistics are dated by it."""
        async with answered(self.settings):
            seconds, micros = await self._client.time()
        return float(seconds) + float(micros) / 1e6

    async def health(self) -> ServerView:
        """What the server says of itself; fields it cannot give stay empty."""
        from headrace.bus.ask import health

        async with answered(self.settings):
            return await health(self._client)

    async def examine(self) -> tuple[dict[str, str], dict[str, str] | None, list[str]]:
        """What `headrace doctor` asks: INFO, settings (None where they are forbidden), commands the server lacks."""
        from headrace.bus.ask import examine

        async with answered(self.settings):
            return await examine(self._client)

    async def trim(self, channel: str, partition: int, *, before_ms: int, keep_bytes: int) -> int:
        """Remove entries that no group needs and that are older than `before_ms` or beyond `keep_bytes`: how many."""
        length = await self.length(channel, partition)
        size = await self.memory(channel, partition)
        most = UNBOUNDED
        if size is not None and size > keep_bytes:
            most = max(1, int(length * keep_bytes / size))
        request = Request(script("trim"), [self.names.log(channel, partition)], [before_ms, most, TRIM_AT_ONCE])
        removed = part = int(await self.call(request, channel))
        while part > TRIM_AT_ONCE // 2:  # whole nodes go, so a full turn removes a little less than it may
            part = int(await self.call(request, channel))
            removed += part
        return removed

    async def forget(self, channel: str, partition: int, group: str, *, idle_ms: int) -> int:
        """Remove the group's consumer names that hold nothing and were idle for `idle_ms`: how many."""
        from headrace.bus.ask import idle_names

        log = self.names.log(channel, partition)
        async with answered(self.settings, channel):
            idle = await idle_names(self._client, log, group, idle_ms)
        if not idle:
            return 0
        return int(await self.call(Request(script("forget"), [log], [group, *idle[:1000]]), channel))

    async def remove_group(self, channel: str, partition: int, group: str) -> None:
        """Delete a group that nobody works for any more; what it needed may be trimmed from then on."""
        async with answered(self.settings, channel):
            await self._client.xgroup_destroy(self.names.log(channel, partition), group)

    async def lease(self, name: str, token: str, ttl_ms: int, partition: int = 0) -> bool:
        """Take or renew a lease; False while another holds it."""
        key = self.names.lease(name, partition)
        return bool(await self.call(Request(script("lease"), [key], [token, ttl_ms])))

    async def release(self, name: str, token: str, partition: int = 0) -> None:
        """Give up a lease if it is ours."""
        await self.call(Request(script("release"), [self.names.lease(name, partition)], [token]))

    async def intake(self) -> AsyncGenerator[list[tuple[str, bytes]], None]:
        """Events that anybody sends by plain PUBLISH to `PREFIX:in:CHANNEL`, as lists of (channel, payload)."""
        skip = len(self.names.intake_pattern) - 1
        async for pushed in self.listen(patterns=[self.names.intake_pattern]):
            if pushed:
                yield [(live[skip:], payload) for live, payload in pushed]


def _as_sent(response: Any, **options: Any) -> Any:
    return response


def _text(raw: Any) -> str:
    return raw.decode() if isinstance(raw, bytes) else str(raw)
