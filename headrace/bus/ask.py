"""Questions to the server whose answers differ between Redis, Valkey and fakeredis: the adapter that hides it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.events import ServerView
from headrace.positions import Position

if TYPE_CHECKING:
    from headrace.bus.bus import GroupState

EXAMINED = ("appendfsync", "no-appendfsync-on-rewrite", "client-output-buffer-limit", "bind")
NEEDED = ("XAUTOCLAIM", "XCLAIM", "XGROUP", "EVALSHA", "MEMORY")


def _plain(raw: Any) -> dict[str, Any]:
    return {key.decode() if isinstance(key, bytes) else key: value for key, value in raw.items()}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


async def groups(client: Any, log: str) -> list[GroupState]:
    """The state of each group; empty if there is no log."""
    import redis.exceptions as redis_errors

    from headrace.bus.bus import GroupState

    try:
        raw = await client.xinfo_groups(log)
    except redis_errors.ResponseError as error:
        if "no such key" in str(error).lower():
            return []
        raise
    states: list[GroupState] = []
    length = int(await client.xlen(log)) if raw else 0
    for item in map(_plain, raw):
        name, delivered, in_flight = _text(item["name"]), _text(item["last-delivered-id"]), int(item["pending"])
        lag = item.get("lag")
        if lag is None:  # a group made in the middle of the log, before its first read to the end
            newest = await client.xrevrange(log, count=1)
            lag = max(0, Position.parse(newest[0][0]).number - Position.parse(delivered).number) if newest else 0
        oldest: Position | None = None
        if in_flight:
            summary = _plain(await client.xpending(log, name))
            oldest = Position.parse(summary["min"]) if summary.get("min") else None
        if oldest is None and int(lag):
            following = await client.xrange(log, f"({delivered}", "+", count=1)
            oldest = Position.parse(following[0][0]) if following else None
        members = [_plain(member) for member in await client.xinfo_consumers(log, name)]
        idle_ms = min((int(member["idle"]) for member in members), default=0)
        states.append(
            GroupState(name, min(int(lag), length), in_flight, oldest, len(members), idle_ms),
        )
    return states


async def idle_names(client: Any, log: str, group: str, idle_ms: int) -> list[str]:
    """Consumer names without pending entries that have been idle for `idle_ms`."""
    members = [_plain(member) for member in await client.xinfo_consumers(log, group)]
    return [_text(m["name"]) for m in members if int(m["pending"]) == 0 and int(m["idle"]) >= idle_ms]


async def memory(client: Any, log: str) -> int | None:
    """Bytes in memory, or None where MEMORY USAGE is missing."""
    import redis.exceptions as redis_errors

    try:
        size = await client.memory_usage(log)
    except redis_errors.ResponseError:
        return None
    return int(size or 0)


async def health(client: Any) -> ServerView:
    """The server's own figures; an empty view where INFO is missing, `unknown` where CONFIG is forbidden."""
    import redis.exceptions as redis_errors

    try:
        seen = _plain(await client.info())
    except redis_errors.ResponseError:
        return ServerView()
    durability = "off"
    if seen.get("aof_enabled"):
        try:
            durability = str(_plain(await client.config_get("appendfsync")).get("appendfsync", "unknown"))
        except redis_errors.ResponseError:
            durability = "unknown"
    product = "valkey" if "valkey_version" in seen else "redis"
    return ServerView(
        product=product,
        version=str(seen.get(f"{product}_version", "")),
        uptime_s=float(seen.get("uptime_in_seconds", 0)),
        memory_bytes=int(seen.get("used_memory", 0)),
        memory_limit_bytes=int(seen.get("maxmemory", 0)),
        clients=int(seen.get("connected_clients", 0)),
        operations=float(seen.get("instantaneous_ops_per_sec", 0)),
        durability=durability,
    )


async def examine(client: Any) -> tuple[dict[str, str], dict[str, str] | None, list[str]]:
    """INFO; those of the server's settings that matter, None where CONFIG is forbidden; commands it lacks."""
    import redis.exceptions as redis_errors

    try:
        seen = {key: _text(value) for key, value in _plain(await client.info()).items()}
    except redis_errors.ResponseError:
        seen = {}
    config: dict[str, str] | None = {}
    try:
        for name in EXAMINED:
            found = _plain(await client.config_get(name)).items()
            config |= {key: _text(value) for key, value in found}  # type: ignore[operator]
    except redis_errors.ResponseError:
        config = None
    lacking = []
    for name in NEEDED:
        try:
            raw = await client.execute_command("COMMAND INFO", name)
        except redis_errors.ResponseError:
            break
        if not raw or (isinstance(raw, list) and raw[0] is None):
            lacking.append(name)
    return seen, config, lacking
