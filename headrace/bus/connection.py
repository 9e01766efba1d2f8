"""Clients of the server, with the limits that headrace needs, and its errors in headrace's words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from headrace.errors import BusError, FullError, UnavailableError
from headrace.settings import Settings

if TYPE_CHECKING:
    import redis
    import redis.asyncio

CONNECT_TIMEOUT_S = 2.0
REPLY_TIMEOUT_S = 10.0
"""No answer for so long means that the connection is dead; longer than any blocking read."""


def _limits() -> dict[str, Any]:
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    # Retries are ours: what is safe to repeat, and when, only the caller knows.
    return {
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_timeout": REPLY_TIMEOUT_S,
        "socket_keepalive": True,
        "health_check_interval": 0,
        "retry": Retry(NoBackoff(), 0),
    }


def connect_async(settings: Settings) -> redis.asyncio.Redis:
    """An asyncio client; connects at the first command."""
    import redis.asyncio as client
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    # The client's own limit makes each command a task, which is a quarter of its cost: `answered` limits calls instead.
    limits = {**_limits(), "retry": Retry(NoBackoff(), 0), "socket_timeout": None}
    if settings.cluster:
        limits.pop("retry")
        cluster: Any = client.RedisCluster.from_url(settings.redis_url, **limits)
        return cluster  # type: ignore[no-any-return]
    return client.Redis.from_url(settings.redis_url, **limits)


def connect_sync(settings: Settings, timeout_s: float = CONNECT_TIMEOUT_S) -> redis.Redis:
    """A blocking client that gives up quickly; connects at the first command."""
    import redis as client

    limits = {**_limits(), "socket_connect_timeout": timeout_s, "socket_timeout": timeout_s}
    if settings.cluster:
        limits.pop("retry")
        cluster: Any = client.RedisCluster.from_url(settings.redis_url, **limits)
        return cluster  # type: ignore[no-any-return]
    return client.Redis.from_url(settings.redis_url, **limits)


@contextmanager
def translated(settings: Settings, channel: str = "") -> Iterator[None]:
    """Turn the client's exceptions into BusError, FullError (server out of memory) and UnavailableError (retryable).

    A cancellation always gets through: before Python 3.12, `asyncio.wait_for`, which a client that was given may use,
    loses one that comes at the moment when what it waits for is done, and a loop told to end would go on for ever.
    """
    import redis.exceptions as redis_errors

    task = _task()
    cancelled = task.cancelling() if task else 0
    try:
        yield
    except (redis_errors.AuthenticationError, redis_errors.NoPermissionError) as error:
        raise _refused(settings, error) from error
    except (redis_errors.ConnectionError, redis_errors.TimeoutError, OSError, TimeoutError) as error:
        raise UnavailableError(settings.shown_url, str(error) or type(error).__name__) from error
    except redis_errors.OutOfMemoryError as error:
        raise FullError(channel or "any") from error
    except (redis_errors.ReadOnlyError, redis_errors.TryAgainError, redis_errors.ClusterDownError) as error:
        raise UnavailableError(settings.shown_url, str(error)) from error
    except redis_errors.ResponseError as error:
        text = str(error)
        if text.startswith(("MISCONF", "BUSY ")):
            raise UnavailableError(settings.shown_url, text) from error
        if text.startswith("ACL failure in script"):
            raise _refused(settings, error) from error
        raise BusError(f"{settings.shown_url} answered: {text}") from error
    finally:
        if task and task.cancelling() > cancelled:
            raise asyncio.CancelledError


@asynccontextmanager
async def answered(settings: Settings, channel: str = "") -> AsyncIterator[None]:
    """`translated` for calls of the asyncio client, which must come back within REPLY_TIMEOUT_S."""
    with translated(settings, channel):
        async with asyncio.timeout(REPLY_TIMEOUT_S):
            yield


def _task() -> asyncio.Task[object] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop: a blocking client
        return None


def _refused(settings: Settings, error: Exception) -> BusError:
    return BusError(f"{settings.shown_url} refuses this user: {error}. Check user and password in REDIS_URL")
