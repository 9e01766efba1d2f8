"""The client's exceptions in headrace's words, and cancellations that always get through."""

from __future__ import annotations

import asyncio

import pytest
import redis.exceptions as redis_errors

from headrace.bus.connection import translated
from headrace.errors import BusError, FullError, HeadraceError, UnavailableError
from headrace.settings import Settings

SETTINGS = Settings(redis_url="redis://anna:secret@db.example:6380/0")


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (redis_errors.ConnectionError("refused"), UnavailableError, "refused"),
        (redis_errors.TimeoutError("slow"), UnavailableError, "slow"),
        (OSError("unreachable"), UnavailableError, "unreachable"),
        (TimeoutError(), UnavailableError, "TimeoutError"),
        (redis_errors.BusyLoadingError("LOADING the dataset"), UnavailableError, "LOADING"),
        (redis_errors.ResponseError("MISCONF cannot write"), UnavailableError, "MISCONF"),
        (redis_errors.ReadOnlyError("replica"), UnavailableError, "replica"),
        (redis_errors.OutOfMemoryError("command not allowed"), FullError, "'runs' is full"),
        (redis_errors.AuthenticationError("WRONGPASS"), BusError, "Check user and password"),
        (redis_errors.NoPermissionError("NOPERM"), BusError, "Check user and password"),
        (redis_errors.ResponseError("ERR unknown command"), BusError, "answered: ERR unknown command"),
    ],
)
def test_errors_of_the_client(error: Exception, kind: type[HeadraceError], says: str) -> None:
    with pytest.raises(kind, match=says) as caught, translated(SETTINGS, "runs"):
        raise error
    assert type(caught.value) is kind
    assert caught.value.__cause__ is error
    assert "secret" not in str(caught.value)
    assert caught.value.retryable is (kind is not BusError)


def test_our_own_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), translated(SETTINGS):
        raise ZeroDivisionError


@pytest.mark.parametrize("ending", ["returns", "raises"])
async def test_a_cancellation_that_the_client_loses_is_raised_all_the_same(ending: str) -> None:
    inside = asyncio.Event()

    async def deaf() -> None:
        inside.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if ending == "raises":
                raise redis_errors.ConnectionError("closed") from None

    async def loop_for_ever() -> None:
        while True:
            with translated(SETTINGS):
                await deaf()

    task = asyncio.create_task(loop_for_ever())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 2.0)


async def test_a_time_limit_inside_is_no_cancellation() -> None:
    with pytest.raises(UnavailableError), translated(SETTINGS):
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()
