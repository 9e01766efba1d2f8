"""The test kit: a bus that needs no server, waiting without sleeping, and sources whose crashes are part of the script.

Installed by `pip install headrace[testing]`; pytest finds the fixtures by itself. A test with pytest-asyncio:

    from headrace.events import RunStarted
    from headrace.testing import collect

    async def test_a_run_is_announced(headrace_bus):
        await headrace_bus.publish("runs", [RunStarted(run="r1", name="digits")])
        [event] = await collect(headrace_bus, "runs", 1)
        assert event.name == "digits"

Fixtures, all new for each test:

- `headrace_fake`      a fakeredis server; `headrace_fake.connected = False` takes it away, True brings it back
- `headrace_settings`  settings with a prefix of their own; whatever connects with them reaches that server
- `headrace_bus`       a Bus on it

The fixtures are plain ones, so they work with any asyncio plugin and with `asyncio.run`. As every pytest run imports
this module where headrace is installed, it imports pytest only; headrace and fakeredis load with the first fixture.
"""

from __future__ import annotations

import enum
import hashlib
import inspect
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    import fakeredis

    from headrace.bus import Batch, Bus, Entry
    from headrace.events import AnyEvent, Event
    from headrace.settings import Settings

__all__ = [
    "CRASH",
    "END",
    "PAUSE",
    "Crash",
    "Source",
    "collect",
    "headrace_bus",
    "headrace_fake",
    "headrace_settings",
    "mend_fakeredis",
    "wait_until",
    "wait_until_sync",
]

T = TypeVar("T")
Description = str | Callable[[], str]

FAKE_HOST: Final = "headrace-fake"
POLL_LIMIT_S: Final = 0.02
PATIENCE_S: Final = 15.0
"""What holds is seen at once; what does not is waited for long enough for a machine that has much else to do."""


@overload
async def wait_until(
    predicate: Callable[[], Awaitable[T | None]], timeout_s: float = ..., description: Description = ...
) -> T: ...


@overload
async def wait_until(
    predicate: Callable[[], T | None], timeout_s: float = ..., description: Description = ...
) -> T: ...


async def wait_until(predicate: Callable[[], Any], timeout_s: float = PATIENCE_S, description: Description = "") -> Any:
    """The first true value of `predicate`, plain or async, asked again and again until then.

    Raises AssertionError after `timeout_s`, with the description (text, or a call that makes it) and the last value.
    """
    import asyncio

    polling = _Polling(timeout_s, description or getattr(predicate, "__name__", "a condition"))
    while True:
        found = predicate()
        value = await found if inspect.isawaitable(found) else found
        if value:
            return value
        await asyncio.sleep(polling.delay_s(value))


def wait_until_sync(
    predicate: Callable[[], T | None], timeout_s: float = PATIENCE_S, description: str | Callable[[], str] = ""
) -> T:
    """`wait_until` for code without asyncio."""
    polling = _Polling(timeout_s, description or getattr(predicate, "__name__", "a condition"))
    while not (value := predicate()):
        time.sleep(polling.delay_s(value))
    return value


class _Polling:
    """Short delays that grow, until time is up."""

    def __init__(self, timeout_s: float, description: Description) -> None:
        self._timeout_s, self._description = timeout_s, description
        self._until_s = time.monotonic() + timeout_s
        self._delay_s = 0.0005

    def delay_s(self, value: object) -> float:
        if time.monotonic() > self._until_s:
            said = self._description() if callable(self._description) else self._description
            raise AssertionError(f"waited {self._timeout_s:g} s in vain for {said}; last value: {value!r}")
        self._delay_s = min(2 * self._delay_s, POLL_LIMIT_S)
        return self._delay_s


async def collect(
    bus: Bus, channel: str, count: int, *, partition: int = 0, timeout_s: float = PATIENCE_S
) -> Sequence[AnyEvent]:
    """The first `count` events of a log, decoded, once they are there. Raises AssertionError if they do not come."""
    from headrace.codec import decode

    entries: list[Entry] = []

    async def complete() -> bool:
        entries[:] = await bus.read(channel, partition, count=count)
        return len(entries) >= count

    await wait_until(complete, timeout_s, lambda: f"{count} events on {channel!r}, which has {len(entries)}")
    return [decode(entry.payload) for entry in entries]


class Crash(BaseException):
    """What CRASH raises in whoever reads a source. Not an Exception: like `kill -9`, no handler of errors stops it."""


class _Mark(enum.Enum):
    CRASH = "crash"
    END = "end"


CRASH: Final = _Mark.CRASH
"""The reader of a source dies here; the next one goes on behind it."""
END: Final = _Mark.END
"""The source ends here for its reader; the next one goes on behind it."""


@dataclass(frozen=True, slots=True)
class PAUSE:
    """Nothing comes for so long."""

    seconds: float


class Source:
    """A scripted source: events (or their bytes) with PAUSE(seconds), CRASH and END between them.

    Iterate it, with `for` or `async for`, to drive a publisher; `batches` stands in for a consumer. A crash or an end
    stops that reader only: whoever iterates next goes on behind it, as a restarted process would.
    """

    def __init__(self, *script: Event | bytes | PAUSE | _Mark) -> None:
        self._script = script
        self.place = 0
        """How many steps of the script were played."""

    @property
    def done(self) -> bool:
        """Whether the whole script was played."""
        return self.place >= len(self._script)

    def __iter__(self) -> Iterator[Event | bytes]:
        while (step := self._step()) is not None:
            if isinstance(step, PAUSE):
                time.sleep(step.seconds)
            else:
                yield step

    async def __aiter__(self) -> AsyncIterator[Event | bytes]:
        import asyncio

        while (step := self._step()) is not None:
            if isinstance(step, PAUSE):
                await asyncio.sleep(step.seconds)
            else:
                yield step

    async def batches(self, size: int = 512) -> AsyncIterator[Batch]:
        """The events as a consumer hands them out: up to `size` at once, fewer before a sentinel, numbered from 1."""
        from headrace.bus import Batch
        from headrace.codec import encode

        ids: list[bytes] = []
        payloads: list[bytes] = []
        number = sum(not isinstance(step, PAUSE | _Mark) for step in self._script[: self.place])
        ended = False
        while not ended:
            ended = self.done or isinstance(self._script[self.place], _Mark)
            if ids and (ended or len(ids) >= size or isinstance(self._script[self.place], PAUSE)):
                yield Batch(f"source.{number}", ids, payloads, read_at=time.time())
                ids, payloads = [], []
            step = self._step()
            if isinstance(step, PAUSE):
                import asyncio

                await asyncio.sleep(step.seconds)
            elif step is not None:
                number += 1
                ids.append(b"1-%d" % number)
                payloads.append(step if isinstance(step, bytes) else encode(step))

    def _step(self) -> Event | bytes | PAUSE | None:
        """The next step; None at an end. Raises Crash."""
        if self.done:
            return None
        step = self._script[self.place]
        self.place += 1
        if step is CRASH:
            raise Crash
        return None if isinstance(step, _Mark) else step


def mend_fakeredis() -> None:
    """Make fakeredis 2.40 answer a blocking XREADGROUP, and run scripts that carry flags, as servers do.

    Its first look at the stream either ends the wait before it began (with COUNT) or marks entries as delivered
    without returning them (without). Treating that look like every later one, where no entries mean "go on waiting",
    cures both. Its Lua stumbles over a first line `#!lua flags=...`, which becomes a comment. Harmless when repeated.
    """
    from fakeredis.commands_mixins.scripting_mixin import ScriptingCommandsMixin
    from fakeredis.commands_mixins.streams_mixin import StreamsCommandsMixin

    streams: Any = StreamsCommandsMixin
    scripting: Any = ScriptingCommandsMixin
    look, evaluate = streams._xreadgroup, scripting.eval
    if hasattr(look, "__wrapped__"):
        return

    @wraps(look)
    def read(self: Any, consumer: Any, groups: Any, count: Any, noack: Any, min_idle: Any, first_pass: bool) -> Any:
        return look(self, consumer, groups, count, noack, min_idle, False) or None

    @wraps(evaluate)
    def run(self: Any, script: bytes, *more: Any) -> Any:
        if not script.startswith(b"#!"):
            return evaluate(self, script, *more)
        sha = hashlib.sha1(script, usedforsecurity=False).hexdigest().encode()
        self._server.script_cache[sha] = script
        return evaluate(self, b"--" + script[2:], *more)

    streams._xreadgroup, scripting.eval = read, run


@pytest.fixture
def headrace_fake(monkeypatch: pytest.MonkeyPatch) -> fakeredis.FakeServer:
    """A fakeredis server for this test; clients made for `redis://headrace-fake`, of both colours, reach it."""
    import fakeredis
    import redis
    import redis.asyncio

    mend_fakeredis()
    server = fakeredis.FakeServer(version=(7, 0))
    pairs: list[tuple[Any, Any]] = [
        (redis.Redis, fakeredis.FakeRedis),
        (redis.asyncio.Redis, fakeredis.FakeAsyncRedis),
    ]
    for real, fake in pairs:
        monkeypatch.setattr(real, "from_url", classmethod(_redirected(real.from_url.__func__, real, fake, server)))
    return server


def _redirected(original: Callable[..., Any], real: Any, fake: Any, server: object) -> Callable[..., Any]:
    def from_url(cls: Any, url: str, **options: Any) -> Any:
        if cls is real and urlsplit(url).hostname == FAKE_HOST:
            return fake.from_url(url, server=server, **options)
        return original(cls, url, **options)

    return from_url


@pytest.fixture
def headrace_settings(headrace_fake: fakeredis.FakeServer) -> Settings:
    """Default settings with a prefix of this test's own; Bus, Publisher and the rest connect to `headrace_fake`."""
    from headrace.settings import Settings

    return Settings(redis_url=f"redis://{FAKE_HOST}:6379/0", prefix=f"test-{secrets.token_hex(4)}")


@pytest.fixture
def headrace_bus(headrace_settings: Settings) -> Bus:
    """A Bus on `headrace_fake`; it may be used in one event loop and need not be closed."""
    from headrace.bus import Bus

    return Bus(headrace_settings)
