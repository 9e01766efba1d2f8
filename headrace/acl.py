"""Users of the server by role: what each may run and touch, and nothing else.

Rules: keys and live channels begin with the prefix. Scripts run with the rights of who calls them, so a role has the
commands inside its scripts, on its own keys only. What a role only reads it cannot write. Nobody may administer the
server (CONFIG, ACL, FLUSHALL, KEYS, SHUTDOWN, ...): that is for whoever starts it.

Pure: names in, lines of `ACL SETUSER` out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from headrace.channels import (
    ACTIONS,
    ALERTS,
    DEAD,
    FRAMES,
    LABELS,
    MODELS,
    REQUESTS,
    RESULTS,
    RUNS,
    TAIL,
    WORKERS,
    Names,
)
from headrace.letters import NAME as LETTERS

_CONNECT = ("ping", "select", "reset", "client|setinfo", "client|setname", "client|id")
_ASK = ("get", "xrange", "xrevrange", "xlen", "xinfo|groups", "xinfo|stream", "xinfo|consumers", "xpending", "time")
_SCRIPT = ("eval", "evalsha", "exists")
_LISTEN = ("subscribe", "unsubscribe", "psubscribe", "punsubscribe")
_APPEND = ("time", "get", "set", "xadd", "xlen", "xinfo|groups", "publish", "hincrby", "expire")
_CONSUME = ("xreadgroup", "xautoclaim", "xclaim", "xack", "xgroup|create", "xgroup|delconsumer", "hset", "hdel")
_ACT = ("hset", "hdel", "del")
_KEEP = ("xtrim", "xgroup|destroy", "hgetall", "hmget", "del", "info", "memory|usage")


@dataclass(frozen=True, slots=True)
class Role:
    """What one kind of process does. Channels by name; `everything` is the whole prefix."""

    summary: str
    commands: tuple[str, ...]
    publishes: tuple[str, ...] = ()
    consumes: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    """Channels whose logs a commit appends to."""
    reads: tuple[str, ...] = ()
    hears: tuple[str, ...] = ()
    """Channels it subscribes to the live side of."""
    answers: bool = False
    """Pushes to `reply_to` channels."""
    asks: bool = False
    """Listens to a reply channel of its own."""
    waits_for_labels: bool = False
    acts: bool = False
    """Deals with dead letters: their marks, and the lease that parts one action from the next."""
    everything: str = ""
    """`R`: reads every key of the prefix; `RW`: also writes it, and uses every live channel."""


_PUBLISHER = Role(
    "training scripts and applications: publish runs, requests and labels, receive results",
    (*_CONNECT, *_SCRIPT, *_APPEND, "subscribe", "unsubscribe", "xrange"),
    publishes=(REQUESTS, RUNS, LABELS, WORKERS),
    reads=(RESULTS, DEAD),
    asks=True,
)

ROLES: dict[str, Role] = {
    "publisher": _PUBLISHER,
    "gateway": Role(
        "the HTTP way in: publishes for others, and finds results",
        (*_PUBLISHER.commands, "xrevrange"),
        publishes=(REQUESTS, RUNS, LABELS, WORKERS),
        reads=(RESULTS, DEAD),
        asks=True,
    ),
    "scorer": Role(
        "score requests, follow promotions",
        (*_CONNECT, *_SCRIPT, *_APPEND, *_ASK, *_CONSUME, "subscribe", "unsubscribe"),
        publishes=(MODELS, WORKERS),
        consumes=(REQUESTS,),
        writes=(RESULTS, DEAD, TAIL),
        hears=(MODELS,),
        answers=True,
        waits_for_labels=True,
    ),
    "aggregator": Role(
        "fold, count, trim, take in plain PUBLISH, publish the frame",
        (*_CONNECT, *_SCRIPT, *_APPEND, *_ASK, *_CONSUME, *_LISTEN, *_KEEP),
        everything="RW",
    ),
    "dashboard": Role(
        "show everything, change nothing but the record of who signed in",
        (*_CONNECT, *_SCRIPT, *_APPEND, *_ASK, "subscribe", "unsubscribe", "hgetall", "hmget", "info"),
        publishes=(ACTIONS, WORKERS),
        hears=(FRAMES, TAIL, ALERTS),
        everything="R",
    ),
    "operator": Role(
        "a dashboard whose operators promote models and send dead letters again",
        (*_CONNECT, *_SCRIPT, *_APPEND, *_ASK, "subscribe", "unsubscribe", "hgetall", "hmget", "info", *_ACT),
        publishes=(ACTIONS, WORKERS, MODELS, REQUESTS, LABELS),
        acts=True,
        hears=(FRAMES, TAIL, ALERTS),
        everything="R",
    ),
}


def user(role: str, prefix: str) -> str:
    """The name of a role's user."""
    return f"{prefix}-{role}"


def rules(role: Role, prefix: str, channels: Iterable[str] = ()) -> list[str]:
    """The rules of a role, as ACL SETUSER takes them, without name and password.

    `channels` are channels of the user's own that those who publish may publish on as well.
    """
    names = Names(prefix)
    own = tuple(channels) if RUNS in role.publishes or role.acts else ()
    write: list[str] = []
    read: list[str] = []
    live: list[str] = []
    for channel in (*role.publishes, *own):
        write += [names.log(channel), names.head(channel), names.fence(channel, 0, "*")]
        live.append(names.live(channel))
    for channel in role.consumes:
        write += [names.log(channel), names.made(channel, 0, "*")]
        read.append(names.head(channel))
    for channel in role.writes:
        write += [names.log(channel), names.head(channel)]
        live.append(names.live(channel))
    for channel in (*role.reads, *role.hears):
        read += [names.log(channel), names.head(channel)]
    live += [names.live(channel) for channel in role.hears]
    if write:
        write.append(f"{names.second(0)}*")
    if role.acts:
        write += [names.state(LETTERS), names.lease(LETTERS)]
    if role.writes:
        write.append(names.tag(0))  # the key that a commit without a source names
    if role.waits_for_labels:
        write.append(f"{names.waiting(0, 0).removesuffix('0')}*")
    if role.answers or role.asks:
        live.append(names.reply("*"))
    everything = f"{names.prefix}:*"
    if role.everything == "RW":
        # Who subscribes to a pattern needs that very pattern, not one that covers it.
        write, live = [everything], [everything, names.intake_pattern]
    elif role.everything == "R":
        read = [everything]
    keys = [f"~{_everywhere(key)}" for key in dict.fromkeys(write)]
    keys += [f"%R~{_everywhere(key)}" for key in dict.fromkeys(read) if key not in write]
    heard = [f"&{_everywhere(name)}" for name in dict.fromkeys(live)]
    allowed = [f"+{command}" for command in dict.fromkeys(role.commands)]
    # A script is taken to write whatever keys it is given. So who only reads may give a script any key of the prefix,
    # and still each command in it is checked by the rules before.
    scripts = [f"(+eval +evalsha ~{everything})"] if role.everything == "R" else []
    return ["resetkeys", *keys, "resetchannels", *heard, "-@all", *allowed, *scripts]


def line(role: str, prefix: str, password: str, channels: Iterable[str] = ()) -> str:
    """The command that makes a role's user."""
    parts = rules(ROLES[role], prefix, channels)
    return " ".join(["ACL SETUSER", user(role, prefix), "reset", "on", f">{password}", *parts])


def _everywhere(name: str) -> str:
    """The same name in every partition."""
    return name.replace("{0}", "{*}", 1)
